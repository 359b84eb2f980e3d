"""Where backbones come from, and what is said when they can't be had."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision

from nettailor.backbones import fingerprint, load_backbone
from nettailor.errors import BackboneProblem, FileProblem
from nettailor.files import write_tensors
from tests import tiny

SHARED = Path(__file__).parents[3] / "shared" / "weights"


def test_the_embedded_backbone_is_loaded_frozen_and_the_same_every_time() -> None:
    one, other = load_backbone(), load_backbone()
    assert fingerprint(one) == fingerprint(other)
    assert not any(parameter.requires_grad for parameter in one.parameters())
    assert not one.training
    assert "G_16" in str(one)


def test_the_fingerprint_sees_every_bit_that_tasks_share() -> None:
    backbone = load_backbone()
    before = fingerprint(backbone)
    with torch.no_grad():
        backbone.head.get_submodule(backbone.classifier_paths[0]).weight.add_(1)
    assert fingerprint(backbone) == before, "no task uses the source classifier"
    with torch.no_grad():
        backbone.tensors()["layer3.2.bn1.running_mean"][0] += 1e-6
    assert fingerprint(backbone) != before


def test_a_users_own_module_with_its_weights_in_a_file(tmp_path: Path) -> None:
    model = tiny.live_in(tiny.tiny_resnet(), 16)
    write_tensors(tmp_path / "w.safetensors", model.state_dict())
    backbone = load_backbone("tests.tiny:tiny_resnet", tmp_path / "w.safetensors", input_size=16)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(backbone(x), model(x), atol=1e-5)


def test_local_weights_for_models_of_timm_and_torchvision(tmp_path: Path) -> None:
    for name, model in (
        ("timm/test_resnet", timm.create_model("test_resnet", num_classes=1000)),
        ("torchvision/resnet18", torchvision.models.resnet18()),
    ):
        write_tensors(tmp_path / "w.safetensors", model.state_dict())
        backbone = load_backbone(name, tmp_path / "w.safetensors", input_size=64)
        assert backbone.spec.size == 64
        x = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            assert torch.allclose(backbone(x), model.eval()(x), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("resnet34_tny", "did you mean 'resnet34_tiny'"),
        ("nonsense", "there are resnet34_tiny, timm/NAME"),
        ("timm/mobilenetv2_10", "did you mean timm/mobilenetv2_1"),
        ("torchvision/resnet19", "did you mean torchvision/resnet1"),
        ("no_such_package:model", "can't be imported"),
        ("tests.tiny:no_such_function", "can't be imported"),
        ("tests.tiny:write_digits", "can't be imported and called"),
        ("os:getcwd", "gives a str, not an nn.Module"),
    ],
)
def test_a_backbone_that_is_not_there_is_named(name: str, says: str) -> None:
    with pytest.raises(BackboneProblem, match=says.replace("(", r"\(")):
        load_backbone(name)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    state = tiny.tiny_resnet().state_dict()
    less = {key: tensor for key, tensor in state.items() if key != "fc.bias"}
    wider = {**state, "fc.weight": torch.zeros(7, 99)}
    broken = {**state, "layer1.0.bn1.weight": state["layer1.0.bn1.weight"] * torch.nan}
    for tensors, says in (
        (less, "missing fc.bias"),
        ({**state, "extra": torch.zeros(1)}, "unexpected extra"),
        (wider, "fc.weight is 7 x 99, but the model has 7 x 16"),
        (broken, "layer1.0.bn1.weight holds numbers that are not finite"),
    ):
        write_tensors(tmp_path / "w.safetensors", tensors)
        with pytest.raises(BackboneProblem, match=says):
            load_backbone("tests.tiny:tiny_resnet", tmp_path / "w.safetensors", 16)
    with pytest.raises(FileProblem, match="does not exist"):
        load_backbone("tests.tiny:tiny_resnet", tmp_path / "nowhere.safetensors", 16)


def test_without_a_network_the_remedy_is_a_local_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(BackboneProblem, match="--weights FILE"):
        load_backbone("timm/mobilenetv2_100")


def test_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    model = timm.create_model("test_vit")
    write_tensors(tmp_path / "w.safetensors", model.state_dict())
    with pytest.raises(BackboneProblem, match="timm/test_vit: .*at least 2 are needed"):
        load_backbone("timm/test_vit", tmp_path / "w.safetensors")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared weights are not on this machine")
def test_the_shared_resnets_are_cut_where_their_blocks_end() -> None:
    weights = SHARED / "mobilenetv2_100_imagenet.safetensors"
    backbone = load_backbone("timm/mobilenetv2_100", weights, input_size=96)
    assert backbone.depth == 17
    assert [len(shape) for shape in backbone.shapes] == [3] * 18
