"""lambda(t): where it begins, how it falls, and that it is nothing from `until` on."""

from __future__ import annotations

import itertools
import math

import pytest

from nettailor.training.source_weight import SHAPES, SourceWeight


@pytest.mark.parametrize("falls", sorted(SHAPES))
def test_it_falls_from_its_first_value_to_exactly_zero(falls: str) -> None:
    weight = SourceWeight(3.0, falls, until=0.25)  # type: ignore[arg-type]
    assert weight(0) == pytest.approx(3.0)
    values = [weight(step / 1000) for step in range(1000)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(values))
    assert all(value > 0 for value in values[:250])
    assert all(value == 0 for value in values[250:])


def test_the_shapes_are_what_they_are_called() -> None:
    assert SourceWeight()(0.25) == pytest.approx(0.5), "linear, over half of the steps"
    assert SourceWeight(falls="cosine")(0.125) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert SourceWeight(falls="step")(0.499) == 1
    exponential = SourceWeight(falls="exponential", until=1.0)
    tail = math.exp(-5)
    assert exponential(0.4) == pytest.approx((math.exp(-2) - tail) / (1 - tail))
    assert exponential(0.9999) < 1e-4, "no jump at the end"


def test_joint_training_keeps_it_to_the_end() -> None:
    weight = SourceWeight(0.7, "constant", until=0.1)
    assert [weight(t) for t in (0, 0.1, 0.5, 0.999)] == [0.7] * 4
