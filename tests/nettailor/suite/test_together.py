"""A suite's tasks with a shared prefix: computed once for a picture, held once in memory, the same answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from blocks import Backbone
from nettailor.suite.changes import add
from nettailor.suite.suite import Mode, Suite, prepared, storages
from tests.fabricated import TINY
from tests.nettailor.suite.conftest import Make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make: Make, signs: Path, shared: Backbone) -> Path:
    """Cats and dogs share four blocks, owls two of them; signs share nothing."""
    lengths = {"cats": ({"A5-6"}, 4), "dogs": ({"G5"}, 4), "owls": ({"G3", "G6"}, 2)}
    deltas = [
        make(task, gone, seed, batch_norm="affine", rank=2, shared_prefix=length)
        for seed, (task, (gone, length)) in enumerate(lengths.items())
    ]
    path = tmp_path_factory.mktemp("suites") / "zoo"
    add(path, [*deltas, signs], shared)
    return path


@pytest.mark.parametrize("mode", ["resident", "fast"])
def test_all_tasks_of_a_picture_answer_as_each_alone(folder: Path, mode: Mode) -> None:
    pictures = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    resident, suite = Suite.load(folder, backbone=TINY), Suite.load(folder, backbone=TINY, mode=mode)
    with torch.inference_mode():
        x = prepared(pictures, resident.spec, resident.device)
        alone = {task: resident.nets[task](x) for task in resident}
    found = suite(pictures)
    assert list(found) == ["cats", "dogs", "owls", "signs"]
    for task, logits in found.items():
        assert (logits - alone[task]).abs().max() <= 1e-5 * max(1.0, float(logits.abs().max())), task
        assert torch.equal(suite[task](pictures), logits)
    some = suite(pictures, tasks=["signs", "dogs"])
    assert list(some) == ["signs", "dogs"]
    assert torch.equal(some["dogs"], found["dogs"])


def test_in_resident_mode_shared_blocks_run_once(folder: Path) -> None:
    suite = Suite.load(folder, backbone=TINY)
    calls: list[int] = []
    for number in (1, 3):
        block = suite.backbone.blocks[number - 1]
        first = next(part for part in block.modules() if isinstance(part, nn.Conv2d))
        first.register_forward_hook(lambda *_, number=number: calls.append(number))
    suite(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), tasks=["cats", "dogs", "owls"])
    assert sorted(calls) == [1, 3]


def test_in_fast_mode_shared_blocks_are_held_once(folder: Path) -> None:
    fast = Suite.load(folder, backbone=TINY, mode="fast")
    memory = fast.memory()
    assert memory.backbone > 0
    assert memory.total == sum(storages(fast.nets.values()).values())
    apart = sum(sum(storages([net]).values()) for net in fast.nets.values())
    assert apart > memory.total + memory.backbone
    one = Suite.load(folder, backbone=TINY, mode="fast", tasks=["cats"])
    assert one.memory().backbone == 0
    assert one.memory().total == sum(storages([fast.nets["cats"]]).values())
