"""How pictures are cut into batches for one pass over all of them.

10 pictures, at most 4 at a time -> 0..4, 4..8, 8..10          9 pictures -> 0..4, 4..9: no batch of one
"""

from __future__ import annotations


def batch_slices(count: int, size: int) -> list[slice]:
    """Slices of `size` that together cover `count` pictures; a last one of a single picture goes to the one before it.

    A batch norm in training mode has no variance to take from a single picture at 1x1 resolution.
    """
    starts = list(range(0, count, size))
    if size > 1 and len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    ends = [*starts[1:], count]
    return [slice(start, end) for start, end in zip(starts, ends, strict=False)]  # where count is 0 there is but an end
