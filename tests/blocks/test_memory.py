"""How many pictures are looked at together, and what freed memory does."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from blocks.memory import ACTIVATIONS_AT_ONCE, keep_large_tensors, leaves_room, map_large_tensors, pictures_at_once

RESNET50 = [(64, 56, 56)] + 3 * [(256, 56, 56)] + 4 * [(512, 28, 28)] + 6 * [(1024, 14, 14)] + 3 * [(2048, 7, 7)]
HOLES = """
import torch
from blocks.memory import keep_large_tensors, map_large_tensors

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

{call}
torch.ones(7 * 2**20)  # 28 MiB, freed: from here on glibc takes smaller ones from its heap
start = resident()
kept, tensors = [], []
for number in range(40):
    tensors.append(torch.ones(5 * 2**18))  # 5 MiB
    kept.append(torch.ones(2**15))  # between them
del tensors
print(resident() - start)
"""


def test_so_many_pictures_that_their_activations_fit() -> None:
    count = pictures_at_once(RESNET50, 200)
    size = 4 * sum(c * h * w for c, h, w in RESNET50)
    assert count * size <= ACTIVATIONS_AT_ONCE < (count + 1) * size
    assert pictures_at_once(RESNET50, 200, copies=4) == count // 4
    assert pictures_at_once(RESNET50, 200, least=16) == 16
    assert pictures_at_once(RESNET50, 3) == 3
    assert pictures_at_once([(64, 8, 8)] * 17, 200) == 200
    assert pictures_at_once([(4096, 512, 512)], 200) == 1


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
@pytest.mark.slow
def test_freed_tensors_between_small_ones_go_back_to_the_system() -> None:
    def left(call: str) -> float:
        code = HOLES.format(call=call)
        return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)

    assert left("map_large_tensors()") < 20
    assert left("keep_large_tensors(); map_large_tensors()") < 20
    assert left("") > 100


FAULTS = """
import resource
from blocks.memory import keep_large_tensors, map_large_tensors

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        bytearray(line)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

line = bytes([1]) * 2**26
left = faults()
assert keep_large_tensors()
bytearray(line)
kept = faults()
assert map_large_tensors()
print(kept / left, faults() / left)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_pages_of_large_tensors_are_made_once_where_they_are_kept() -> None:
    """Of ten buffers of 64 MiB, how many pages are made anew, beside a process that was told nothing, and told otherwise."""
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    kept, mapped = map(float, done.stdout.split())
    assert kept < 0.1
    assert mapped > 0.5


def test_they_are_kept_where_there_is_room() -> None:
    sizes = 4 * sum(c * h * w for c, h, w in RESNET50)
    assert leaves_room(RESNET50, 16, 16 * 36 * sizes)
    assert not leaves_room(RESNET50, 17, 16 * 36 * sizes)
    assert not leaves_room([(1, 1, 1)], 1, 0), "a machine whose memory is not known"


def test_where_the_c_library_has_no_such_setting_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    assert not map_large_tensors()
    assert not keep_large_tensors()
