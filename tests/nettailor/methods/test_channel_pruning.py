"""Pruning by channels: how passes are shared out, and at what size it ends. `test_methods` runs it from the command line."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nettailor.errors import UsageError
from nettailor.jobs.recipe import Recipe
from nettailor.methods import channel_pruning as module
from nettailor.methods.channel_pruning import METHOD, Settings
from tests import fabricated


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(st.integers(1, 12), st.integers(1, 60), st.floats(1, 80) | st.none(), st.integers(1, 30))
def test_half_of_the_passes_lie_between_the_rounds_and_none_is_lost(
    rounds: int, epochs: int, passes: float | None, teacher: int
) -> None:
    shares = module._shares(Settings(rounds=rounds, passes=passes), epochs, teacher)
    whole = epochs if passes is None else module.epochs_left(passes, teacher)
    assert sum(shares) == whole
    assert 1 <= len(shares) <= rounds
    assert len(set(shares[:-1])) <= 1, "the same after every round but the last"
    assert all(share > 0 for share in shares)
    assert sum(shares[:-1]) <= whole / 2 <= shares[-1]


def test_it_ends_at_the_size_of_another_run_with_as_many_passes() -> None:
    other: Any = SimpleNamespace(report=fabricated.report(), passes=10.5)
    sized = METHOD.sized(Settings(importance="magnitude"), other)
    assert sized == Settings(importance="magnitude", macs=0.6, passes=10.5)


def test_without_the_library_it_is_refused_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nettailor.pruning.channels.importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="channel_pruning: needs Torch-Pruning"):
        METHOD.check(Recipe(method=Settings()))
