"""Weights come from safetensors or from checkpoints of tensors alone, whatever their names are wrapped in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from nettailor.backbones.weights import fit_weights, read_weights
from nettailor.errors import BackboneError, FileError
from nettailor.files import write_tensors
from tests import tiny


def same(model: nn.Module, state: dict[str, Tensor]) -> bool:
    mine = model.state_dict()
    return all(torch.equal(mine[key], value) for key, value in state.items() if not key.endswith("num_batches_tracked"))


@pytest.fixture
def state() -> dict[str, Tensor]:
    return tiny.live_in(tiny.tiny_resnet(), 16).state_dict()


@pytest.mark.parametrize("section", [None, "state_dict", "model", "model_state_dict", "model_ema"])
@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model.", "_orig_mod.", "module._orig_mod."])
def test_a_checkpoint_with_wrapped_names(
    tmp_path: Path, state: dict[str, Tensor], section: str | None, prefix: str
) -> None:
    tensors = {prefix + key: tensor for key, tensor in state.items()}
    torch.save(tensors if section is None else {"epoch": 3, "lr": 0.1, section: tensors}, tmp_path / "w.pth")
    model = tiny.tiny_resnet()
    assert not same(model, state)
    fit_weights(model, read_weights(tmp_path / "w.pth"), "w.pth")
    assert same(model, state)


def test_wrapped_names_in_safetensors(tmp_path: Path, state: dict[str, Tensor]) -> None:
    write_tensors(tmp_path / "w.safetensors", {f"module.{key}": tensor for key, tensor in state.items()})
    model = tiny.tiny_resnet()
    fit_weights(model, read_weights(tmp_path / "w.safetensors"), "w")
    assert same(model, state)


def test_a_prefix_that_the_model_has_itself_stays(state: dict[str, Tensor]) -> None:
    model = nn.ModuleDict({"model": tiny.tiny_resnet()})
    fit_weights(model, {f"model.{key}": tensor for key, tensor in state.items()}, "w")
    fit_weights(model, {f"module.model.{key}": tensor for key, tensor in state.items()}, "w")
    assert same(model["model"], state)


def test_another_architectures_weights_are_named() -> None:
    model = torchvision.models.resnet18()
    with pytest.raises(
        BackboneError, match=r"w.pth: holds another architecture's weights: missing .* and \d+ more; un"
    ):
        fit_weights(model, torchvision.models.mobilenet_v2().state_dict(), "w.pth")
    deeper = torchvision.models.resnet34().state_dict()
    with pytest.raises(BackboneError, match=r"unexpected layer1.2.bn1.bias, .* \(102 of 102 names agree\)"):
        fit_weights(model, deeper, "w.pth")
    fewer = {**model.state_dict(), "fc.weight": torch.zeros(10, 512)}
    with pytest.raises(BackboneError, match="fc.weight is 10 x 512, but the model has 1000 x 512; .*num_classes=10"):
        fit_weights(model, fewer, "w.pth")


class Treasure:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pwned",)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Treasure()}, "w.pth")
    with pytest.raises(FileError, match="is no checkpoint of tensors alone .* save the model's state_dict"):
        read_weights(Path("w.pth"))
    assert not Path("pwned").exists()


def test_what_is_no_checkpoint_is_named(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "w.pt"
    with pytest.raises(FileError, match="does not exist"):
        read_weights(path)
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(FileError, match="w.pt: is no"):
        read_weights(path)
    path.write_bytes(b"")
    with pytest.raises(FileError, match="w.pt: is no"):
        read_weights(path)
    path.write_text("not a checkpoint at all")
    with pytest.raises(FileError, match="w.pt: is no"):
        read_weights(path)
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}}, path)
    with pytest.raises(FileError, match="holds no model's tensors, but epoch, optimizer"):
        read_weights(path)
