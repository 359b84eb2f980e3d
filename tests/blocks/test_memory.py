"""How many pictures are looked at together, and what freed memory does."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from blocks.memory import ACTIVATIONS_AT_ONCE, map_large_tensors, pictures_at_once

RESNET50 = [(64, 56, 56)] + 3 * [(256, 56, 56)] + 4 * [(512, 28, 28)] + 6 * [(1024, 14, 14)] + 3 * [(2048, 7, 7)]
HOLES = """
import torch
from blocks.memory import map_large_tensors

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
    assert left("") > 100


def test_where_the_c_library_has_no_such_setting_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    assert not map_large_tensors()
