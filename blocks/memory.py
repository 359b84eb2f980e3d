"""How much of a net's activations is held at a time: pictures in a batch, and what a student keeps for its gradients.

The rules go by shapes alone, so the same net is always split in the same way. All sizes are of float32.
"""

from __future__ import annotations

import ctypes
import math
import platform
from collections.abc import Sequence

from blocks.proxies import Shape

ACTIVATIONS_AT_ONCE = 256 * 2**20
"""Bytes that x_0..x_L of the pictures of one batch may take where nothing is trained."""

KEPT_BY_PROXIES = 32 * 2**20
"""Bytes that all proxies may keep of one picture: a ResNet-34 at 224 px keeps that much, a ResNet-50 four times as much."""

LARGE_TENSOR = 4 * 2**20
HEAP_KEPT = 64 * 2**20
"""Bytes at the heap's end that are kept for the next small tensors."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # malloc.h
USUAL_MAPS = 65536
"""Of glibc: how many blocks of memory may have pages of their own."""

ROOM = 36
"""Times the size of x_0..x_L of a batch that a machine is to have: a training holds some six, and holes come on top."""

FLOAT = 4


def size_of(shape: Shape) -> int:
    """Bytes of one picture's activation."""
    return FLOAT * math.prod(shape)


def pictures_at_once(
    shapes: Sequence[Shape], most: int, copies: int = 1, least: int = 1, size: int | None = None
) -> int:
    """How many pictures may be looked at together, between `least` and `most`.

    Args:
        shapes: of x_0..x_L.
        copies: how many times the size of x_0..x_L is held: 1 where no gradient is wanted.
        size: bytes that they may take; `ACTIVATIONS_AT_ONCE` if left out.
    """
    fitting = (size or ACTIVATIONS_AT_ONCE) // (copies * sum(map(size_of, shapes)))
    return max(least, min(most, fitting))


def worth_recomputing(outputs: Sequence[Shape]) -> bool:
    """Whether what proxies keep for their gradients is so large that it is computed again in the backward pass instead.

    Args:
        outputs: shapes of what the live proxies give. Each keeps its convolution's output for its batch norm, and the batch
            norm's for its gate.
    """
    return 2 * sum(map(size_of, outputs)) > KEPT_BY_PROXIES


def map_large_tensors() -> bool:
    """Let every large tensor on the CPU have pages of its own, which go back to the system when it is freed.

    glibc soon takes tensors below 32 MiB from its heap. A backward pass frees them in another order and in other sizes than
    it asks for new ones, and a ResNet-50's student at batch 8 was found to take 295 MiB a picture instead of 165. It holds
    for the whole process; repeated calls change nothing.

    Returns:
        Whether this machine's C library has such a setting.
    """
    return _told((M_MMAP_MAX, USUAL_MAPS), (M_MMAP_THRESHOLD, LARGE_TENSOR), (M_TRIM_THRESHOLD, HEAP_KEPT))


def leaves_room(shapes: Sequence[Shape], batch: int, memory: int) -> bool:
    """Whether a machine of so many bytes has room to keep freed memory while a net is trained (`keep_large_tensors`).

    Args:
        shapes: of x_0..x_L.
        batch: pictures.
    """
    return ROOM * batch * sum(map(size_of, shapes)) <= memory


def keep_large_tensors() -> bool:
    """Let the process keep what large tensors on the CPU give back, for those that come: the opposite of `map_large_tensors`.

    glibc takes tensors of more than 32 MiB from the system one by one, and all pages of each are made anew, which for
    batches of photographs takes as long as many a layer. The price is memory: what is freed in another order than it is asked
    for leaves holes. It holds for the whole process, until `map_large_tensors`.

    Returns:
        Whether this machine's C library has such a setting.
    """
    return _told((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1))


def _told(*settings: tuple[int, int]) -> bool:
    """Make settings of glibc's malloc; False where the C library is another one."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(*setting) for setting in settings)
