"""Slices cover everything once, and leave no single picture behind."""

from __future__ import annotations

import pytest

from blocks.batching import batch_slices


@pytest.mark.parametrize("size", [1, 2, 4, 64])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 8, 9, 64, 65, 66, 129])
def test_slices_cover_everything_in_order(count: int, size: int) -> None:
    parts = [list(range(count))[part] for part in batch_slices(count, size)]
    assert [n for part in parts for n in part] == list(range(count))
    assert all(parts)
    assert all(len(part) <= size + 1 for part in parts)
    if count > 1 and size > 1:
        assert min(len(part) for part in parts) > 1
