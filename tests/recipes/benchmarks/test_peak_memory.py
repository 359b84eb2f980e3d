"""The memory recipe runs every stage, and its figures are resident sets."""

from __future__ import annotations

import pytest

from blocks import Backbone
from recipes.benchmarks.peak_memory import MIB, Peaks, random_task, run_stages


@pytest.mark.slow
def test_every_stage_of_an_adaptation_is_looked_at(backbone: Backbone) -> None:
    plain = run_stages("plain", backbone, random_task(12, 16), 4, 2)
    adapt = run_stages("adapt", backbone, random_task(12, 16), 4, 2)
    assert list(plain.stages) == ["teacher"]
    assert list(adapt.stages) == ["warm start", "teacher", "student", "prune", "recover"]
    found = [adapt.loaded, *adapt.stages.values()]
    assert found == sorted(found)
    assert found[0] > 50 * MIB
    assert Peaks(1, {"a": 5, "b": 7}).largest == 7
