"""Tensors of a delta are compared with what the network wants before they are read, and their values afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from blocks import Backbone, CompactNet, Plan, TailoredNet, compact
from blocks.proxies import Site, conv1x1, register
from nettailor.artifacts import delta, delta_tensors
from nettailor.artifacts.delta_tensors import LARGEST, read_checked, wanted_tensors
from nettailor.errors import FileError
from nettailor.files import TensorInfo, write_tensors
from tests import fabricated
from tests.tiny import tiny_backbone

WANTED = {"head.weight": TensorInfo("F32", (2, 3)), "norm.running_var": TensorInfo("F32", (3,))}


def tensors() -> dict[str, torch.Tensor]:
    return {"head.weight": torch.randn(2, 3), "norm.running_var": torch.rand(3)}


def test_what_fits_is_read_with_its_notes(tmp_path: Path) -> None:
    path = tmp_path / "task.safetensors"
    written = tensors()
    write_tensors(path, written, {"plan": {"rank": 2}})
    found, notes = read_checked(path, WANTED)
    assert found.keys() == written.keys()
    assert all(torch.equal(found[name], written[name]) for name in written)
    assert notes["plan"] == {"rank": 2}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"head.weight": None}, "tensor 'head.weight' does not fit this network: it is missing"),
        ({"extra": torch.zeros(1)}, "tensor 'extra' does not fit this network, which has none of that name"),
        ({"head.weight": torch.zeros(3, 2)}, "it is F32 [3, 2], but has to be F32 [2, 3]"),
        ({"head.weight": torch.zeros(2, 3).half()}, "it is F16 [2, 3], but has to be F32 [2, 3]"),
        ({"head.weight": torch.full((2, 3), torch.inf)}, "tensor 'head.weight' has values that are not finite"),
        ({"norm.running_var": torch.tensor([1.0, -1e-9, 1.0])}, "tensor 'norm.running_var' has negative variances"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, change: dict[str, torch.Tensor | None], says: str) -> None:
    path = tmp_path / "task.safetensors"
    write_tensors(path, {name: value for name, value in {**tensors(), **change}.items() if value is not None})
    with pytest.raises(FileError) as raised:
        read_checked(path, WANTED)
    assert str(raised.value).startswith(f"{path}: ")
    assert says in str(raised.value)


def test_no_values_are_read_of_a_file_that_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "task.safetensors"
    write_tensors(path, tensors())
    monkeypatch.delattr(delta_tensors, "read_tensors")
    with pytest.raises(FileError, match="does not fit"):
        read_checked(path, {})


def test_a_network_wants_the_tensors_that_it_has(backbone: Backbone) -> None:
    net = fabricated.pruned(backbone)
    wanted = wanted_tensors(backbone, net.plan)
    own = net.task_tensors()
    assert {name: info.shape for name, info in wanted.items()} == {name: tuple(own[name].shape) for name in own}
    assert {info.dtype for info in wanted.values()} == {"F32"}


def test_what_a_network_wants_is_known_without_memory_for_it(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its classifier is made on the meta device: half a million classes take no memory (the slow test measures it)."""
    plan = compact(TailoredNet(backbone, 3, Plan(skips=1))).plan
    made: list[str] = []

    def noted(*words: Any) -> CompactNet:
        net = CompactNet(*words)
        made.extend(tensor.device.type for tensor in net.task_tensors().values())
        return net

    monkeypatch.setattr(delta_tensors, "CompactNet", noted)
    wanted = wanted_tensors(backbone, replace(plan, classes=500_000))
    assert wanted["head.fc.bias"].shape == (500_000,)
    assert set(made) == {"meta"}


def test_a_form_that_computes_with_values_while_it_is_built_is_built_for_once(backbone: Backbone) -> None:
    @register("valued")
    def valued(site: Site) -> nn.Module:
        made = conv1x1(site)
        if float(next(made.parameters()).detach().sum()) > 1e9:  # which torch's meta device can't tell
            raise AssertionError("no such start")
        return made

    net = compact(TailoredNet(backbone, 3, Plan(1, "valued")).eval())
    with pytest.raises((NotImplementedError, RuntimeError)), torch.device("meta"):
        CompactNet(backbone, net.plan)
    own = net.task_tensors()
    assert {name: info.shape for name, info in wanted_tensors(backbone, net.plan).items()} == {
        name: tuple(own[name].shape) for name in own
    }


def test_a_number_that_could_overflow_on_some_pictures_is_refused(tmp_path: Path) -> None:
    wanted = {"w": TensorInfo("F32", (2,))}
    write_tensors(tmp_path / "t.safetensors", {"w": torch.tensor([1.0, 3e38])})
    with pytest.raises(FileError, match=r"tensor 'w' has values above 1e\+09"):
        read_checked(tmp_path / "t.safetensors", wanted)


def test_finite_tensors_whose_answers_are_not_finite_are_refused(tmp_path: Path) -> None:
    """No value is above what is allowed, but one layer after the other multiplies by it."""
    backbone = tiny_backbone()
    net = compact(TailoredNet(backbone, 3, Plan(skips=0, batch_norm="affine")))
    delta.save(net, tmp_path, "three", ["a", "b", "c"])
    delta.load(tmp_path, backbone)
    with torch.no_grad():
        for name, tensor in net.task_tensors().items():
            if name.endswith("weight") and tensor.ndim == 1:
                tensor.fill_(LARGEST)
    delta.save(net, tmp_path, "three", ["a", "b", "c"])
    with pytest.raises(FileError, match=r"task\.safetensors: gives answers that are not finite"):
        delta.load(tmp_path, backbone)
