"""Where backbones come from, and what is said when they can't be had."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import timm
import torch
import torchvision

from nettailor.backbones.hashes import tensors_sha256
from nettailor.backbones.load import load_backbone
from nettailor.data.batches import normalise
from nettailor.data.task import load_task
from nettailor.errors import BackboneError, FileError
from nettailor.files import read_tensors, write_tensors
from nettailor.jobs.context import resolve
from nettailor.jobs.recipe import parse_recipe
from tests import tiny

SHARED = Path(__file__).parents[4] / "shared" / "weights"


def test_the_embedded_backbone_is_loaded_frozen_and_the_same_every_time() -> None:
    one, other = load_backbone(), load_backbone()
    assert tensors_sha256(one) == tensors_sha256(other)
    assert not any(parameter.requires_grad for parameter in one.parameters())
    assert not one.training
    assert "G_16" in str(one)


def test_the_fingerprint_sees_every_bit_that_tasks_share() -> None:
    backbone = load_backbone()
    before = tensors_sha256(backbone)
    with torch.no_grad():
        backbone.head.get_submodule(backbone.classifier_paths[0]).weight.add_(1)
    assert tensors_sha256(backbone) == before, "no task uses the source classifier"
    with torch.no_grad():
        backbone.tensors()["layer3.2.bn1.running_mean"][0] += 1e-6
    assert tensors_sha256(backbone) != before


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
        ("nonsense", "there are resnet34_tiny, efficientnet_lite0, timm/NAME"),
        ("efficientnet_lite", "did you mean 'efficientnet_lite0'"),
        ("timm/mobilenetv2_10", "did you mean timm/mobilenetv2_1"),
        ("torchvision/resnet19", "did you mean torchvision/resnet1"),
        ("no_such_package:model", "can't be imported"),
        ("tests.tiny:no_such_function", "can't be imported"),
        ("tests.tiny:write_digits", "can't be called without arguments"),
        ("os:getcwd", "gives a str, not an nn.Module"),
    ],
)
def test_a_backbone_that_is_not_there_is_named(name: str, says: str) -> None:
    with pytest.raises(BackboneError, match=says.replace("(", r"\(")):
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
        with pytest.raises(BackboneError, match=says):
            load_backbone("tests.tiny:tiny_resnet", tmp_path / "w.safetensors", 16)
    with pytest.raises(FileError, match="does not exist"):
        load_backbone("tests.tiny:tiny_resnet", tmp_path / "nowhere.safetensors", 16)


def test_without_a_network_the_remedy_is_a_local_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(BackboneError, match="--weights FILE"):
        load_backbone("timm/mobilenetv2_100")


def test_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    model = timm.create_model("test_vit")
    write_tensors(tmp_path / "w.safetensors", model.state_dict())
    with pytest.raises(BackboneError, match="timm/test_vit: .*at least 2 are needed"):
        load_backbone("timm/test_vit", tmp_path / "w.safetensors")


def test_what_a_model_says_of_its_pictures_is_gone_by_and_can_be_overruled(tmp_path: Path) -> None:
    write_tensors(tmp_path / "timm.safetensors", timm.create_model("mobilenetv3_small_050").state_dict())
    spec = load_backbone("timm/mobilenetv3_small_050", tmp_path / "timm.safetensors").spec
    assert (spec.size, spec.interpolation, spec.crop) == (224, "bicubic", 0.875)
    spec = load_backbone(
        "timm/mobilenetv3_small_050", tmp_path / "timm.safetensors", 96, mean=[0.5] * 3, std=(0.5,) * 3, crop=1.0
    ).spec
    assert (spec.size, spec.mean, spec.std, spec.interpolation, spec.crop) == (
        96,
        (0.5,) * 3,
        (0.5,) * 3,
        "bicubic",
        1.0,
    )
    write_tensors(tmp_path / "tv.safetensors", torchvision.models.mobilenet_v3_small().state_dict())
    spec = load_backbone("torchvision/mobilenet_v3_small", tmp_path / "tv.safetensors").spec
    assert (spec.size, spec.interpolation, spec.crop) == (224, "bilinear", 0.875)
    spec = load_backbone("tests.cifar_resnet:resnet20").spec
    assert (spec.size, spec.interpolation, spec.crop) == (32, "bilinear", 1.0)
    assert load_backbone("tests.tiny:tiny_resnet", input_size=32).spec.mean == (0.485, 0.456, 0.406)


def test_arguments_of_a_model_follow_its_name(tmp_path: Path) -> None:
    same = load_backbone("timm/mobilenetv2_100,pad_type=same", input_size=64, untrained=True)
    plain = load_backbone("timm/mobilenetv2_100", input_size=64, untrained=True)
    assert type(same.stem.get_submodule("conv_stem")) is not type(plain.stem.get_submodule("conv_stem"))
    assert same.name == "timm/mobilenetv2_100,pad_type=same"
    write_tensors(tmp_path / "w.safetensors", tiny.tiny_resnet(3).state_dict())
    assert load_backbone("tests.tiny:tiny_resnet,num_classes=3", tmp_path / "w.safetensors", 16).depth == 6
    for name, says in (
        ("timm/mobilenetv2_100,same", "'same' is no argument; write NAME,argument=value"),
        ("tests.tiny:tiny_resnet,width=3", "can't be called with width"),
    ):
        with pytest.raises(BackboneError, match=says):
            load_backbone(name)


def test_a_model_that_is_built_for_one_size_is_built_for_the_size_that_is_wanted() -> None:
    backbone = load_backbone("timm/levit_conv_128s", input_size=160, untrained=True)
    assert backbone(torch.zeros(1, 3, 160, 160)).shape == (1, 1000)


def test_torchvisions_weights_are_named_by_their_enum(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = torchvision.models.get_model

    def get_model(key: str, weights: object, **given: object) -> object:
        asked.append(weights)
        return real(key, weights=None, **given)

    monkeypatch.setattr(torchvision.models, "get_model", get_model)
    load_backbone("torchvision/resnet50", "IMAGENET1K_V1", input_size=64)
    load_backbone("torchvision/resnet50", None, input_size=64)
    enum = torchvision.models.ResNet50_Weights
    assert asked == [enum.IMAGENET1K_V1, enum.DEFAULT]
    with pytest.raises(FileError, match="IMAGENET1K_V9: does not exist"):
        load_backbone("torchvision/resnet50", "IMAGENET1K_V9", input_size=64)


def test_timm_has_no_weights_for_some_models_and_random_ones_are_not_taken_instead() -> None:
    with pytest.raises(BackboneError, match="no pretrained weights for it; give a file with --weights"):
        load_backbone("timm/halonet_h1")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared weights are not on this machine")
def test_the_shared_mobilenet_at_96_px() -> None:
    weights = SHARED / "mobilenetv2_100_imagenet.safetensors"
    pictures = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    backbone = load_backbone("timm/mobilenetv2_100,pad_type=same", weights, 96, **pictures)
    assert backbone.depth == 17
    assert backbone.block_names[:3] == ["blocks.0.0", "blocks.1.0", "blocks.1.1"]
    model = timm.create_model("mobilenetv2_100", pad_type="same").eval()
    model.load_state_dict(read_tensors(weights)[0])
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.allclose(backbone(x), model(x), atol=1e-4)
    assert backbone.spec.mean == (0.5, 0.5, 0.5)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared weights are not on this machine")
@pytest.mark.parametrize(("depth", "blocks"), [(20, 9), (56, 27)])
def test_the_shared_cifar_resnets_recognise_cifars_pictures(depth: int, blocks: int) -> None:
    """The weights are in the right places of the user's own module: nine in ten of CIFAR-10's test pictures are right."""
    backbone = load_backbone(f"tests.cifar_resnet:resnet{depth}", SHARED / f"cifar_resnet{depth}.safetensors")
    assert (backbone.depth, backbone.block_names[0]) == (blocks, "layer1.0")
    test = load_task(str(SHARED.parent / "data" / "cifar10_jpeg.zip"), backbone.spec).test
    rows = torch.arange(0, len(test), max(1, len(test) // 400))
    with torch.no_grad():
        answers = backbone(normalise(test.batch(rows), backbone.spec, torch.device("cpu"))).argmax(1)
    assert (answers == test.labels[rows]).float().mean() > 0.6  # the pictures went through strong JPEG


def test_a_member_of_a_weights_enum_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for weights, resolved in (("IMAGENET1K_V1", "IMAGENET1K_V1"), ("w.pth", str(tmp_path / "w.pth"))):
        recipe = parse_recipe({"backbone": {"name": "torchvision/resnet18", "weights": weights}}, "test")
        assert resolve(recipe).backbone.weights == resolved


@pytest.mark.parametrize("name", ["torchvision/resnet18", "timm/resnet18.a1_in1k"])
def test_what_may_not_be_fetched_is_not_asked_for(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[object] = []

    def connect(self: socket.socket, address: object) -> None:
        asked.append(address)
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(BackboneError, match="give a local file with --weights FILE"):
        load_backbone(name, fetch=False)
    assert asked == []
