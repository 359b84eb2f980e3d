"""How much is held at a time: as many pictures as fit, between the least and the most."""

from __future__ import annotations

import pytest

from blocks.memory import ACTIVATIONS_AT_ONCE, KEPT_BY_PROXIES, pictures_at_once, size_of, worth_recomputing


@pytest.mark.parametrize("copies", [1, 6])
def test_just_so_many_pictures_are_looked_at_as_fit(copies: int) -> None:
    shapes = [(64, 112, 112), (128, 56, 56)]
    count = pictures_at_once(shapes, 10**9, copies)
    one = copies * sum(size_of(shape) for shape in shapes)
    assert count * one <= ACTIVATIONS_AT_ONCE < (count + 1) * one


def test_never_more_than_wanted_nor_fewer_than_needed() -> None:
    assert pictures_at_once([(1, 1, 1)], 64) == 64
    huge = [(2**14, 2**7, 2**7)] * 9
    assert pictures_at_once(huge, 64) == 1
    assert pictures_at_once(huge, 64, least=16) == 16, "statistics of too few pictures are worth nothing"


def test_what_is_kept_twice_is_counted_twice() -> None:
    floats = KEPT_BY_PROXIES // 4 // 2
    assert not worth_recomputing([(floats, 1, 1)])
    assert worth_recomputing([(floats, 1, 1), (1, 1, 1)])
