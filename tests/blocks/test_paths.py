"""Paths and their places in the gate matrix."""

from __future__ import annotations

import pytest

from blocks.paths import UNIVERSAL, Path, slots


@pytest.mark.parametrize(("depth", "skips"), [(1, 0), (3, 5), (6, 2)])
def test_a_path_for_every_place_that_holds_one_and_no_two_share_a_key(depth: int, skips: int) -> None:
    places = [(int(row), int(column)) for row, column in slots(depth, skips).nonzero()]
    assert len(places) == depth + sum(min(skips, layer) for layer in range(1, depth + 1))
    paths = [Path(row + 1, slot, UNIVERSAL if slot == 0 else "conv1x1") for row, slot in places]
    assert [path.place for path in paths] == places
    assert all(0 <= path.source < path.target for path in paths)
    assert len({path.key for path in paths}) == len(paths)


def test_keys_name_source_and_target() -> None:
    block, near, far = Path(5, 0, UNIVERSAL), Path(5, 1, "conv1x1"), Path(5, 3, "identity")
    assert [path.key for path in (block, near, far)] == ["G5", "A4-5", "A2-5"]
    assert block.source == near.source == 4, "the block and the proxy beside it read the same activation"
    assert [path.is_universal for path in (block, near, far)] == [True, False, False]
