"""A suite of networks that grew at the top, and of ones that were tuned from a block up, answers as their deltas do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blocks import Backbone, Grown, Growth, NetPlan
from blocks import Path as NetPath
from blocks.compact import CompactNet
from blocks.paths import UNIVERSAL
from nettailor.artifacts import delta
from nettailor.suite.changes import add, pack
from nettailor.suite.suite import Suite
from tests.fabricated import CLASSES, TINY

X = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
TOPS = {
    "width": Grown((Growth("width", 5),)),
    "depth": Grown((Growth("depth", 6),)),
    "again": Grown((Growth("both", 7), Growth("both", 7)), scaled=False),
    "twice": Grown((Growth("twice", 6, 3),)),
    "tuned": None,
}


@pytest.mark.parametrize("first", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_it_answers_as_the_deltas_do_and_packed_with_the_same_bits(
    shared: Backbone, tmp_path: Path, first: int
) -> None:
    paths = tuple(NetPath(layer, 0, UNIVERSAL) for layer in range(1, shared.depth + 1))
    torch.manual_seed(5)
    for name, top in TOPS.items():
        plan = NetPlan(paths, len(CLASSES), copied=True, gated=False, tuned_from=first, top=top)
        delta.save(CompactNet(shared, plan), tmp_path / name, name, CLASSES, "grow_width")
    add(tmp_path / "suite", [tmp_path / name for name in TOPS], shared)
    pack(tmp_path / "suite", tmp_path / "packed", TINY)
    for place in (tmp_path / "suite", tmp_path / "packed"):
        answers = Suite.load(place, backbone=TINY)
        for name in TOPS:
            with torch.no_grad():
                assert torch.equal(answers[name](X), delta.load(tmp_path / name, shared).net(X)), (place.name, name)
