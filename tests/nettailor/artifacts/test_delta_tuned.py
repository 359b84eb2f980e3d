"""Deltas of nets that were tuned from a layer up, and of tops."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from blocks import compact
from nettailor.artifacts import delta
from nettailor.errors import FileError
from tests import tiny


@pytest.mark.parametrize("tuned_from", [0, 4, 8])
def test_a_net_that_was_tuned_from_a_layer_up_comes_back(tmp_path: Path, tuned_from: int) -> None:
    backbone = tiny.tiny_backbone()
    net = compact(backbone.teacher(3, tuned_from), backbone)
    delta.save(net, tmp_path, "t", ["a", "b", "c"])
    again = delta.load(tmp_path, backbone).net
    assert again.plan.tuned_from == tuned_from
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(again(x), net(x))
    said = json.loads((tmp_path / "task.json").read_text())["plan"]
    assert ("tuned_from" in said) == (tuned_from > 0)
    assert "top" not in said


def test_a_top_that_is_not_known_is_refused(tmp_path: Path) -> None:
    backbone = tiny.tiny_backbone()
    delta.save(compact(backbone.teacher(3), backbone), tmp_path, "t", ["a", "b", "c"])
    for edit, said in (
        ({"top": {"kind": "from_the_future"}}, r"plan\.top\.kind: is 'from_the_future', this nettailor knows"),
        ({"top": {"kind": 3}}, r"plan\.top\.kind: is 3"),
        ({"tuned_from": 99}, r"plan\.tuned_from: is 99, but the backbone has 6 blocks"),
        ({"tuned_from": 2, "copied": False}, r"plan\.tuned_from: only a copied net"),
    ):
        tree = json.loads((tmp_path / "task.json").read_text())
        edited = tmp_path / "edited"
        shutil.copytree(tmp_path, edited, ignore=shutil.ignore_patterns("edited"))
        tree["plan"] |= edit
        (edited / "task.json").write_text(json.dumps(tree))
        with pytest.raises(FileError, match=said):
            delta.load(edited, backbone)
        shutil.rmtree(edited)
