"""`nettailor adapt`, unchanged, on backbones of five different families, traffic signs where they are at hand.

A file of random weights stands in for what can't be fetched here; with the shared weights, MobileNetV2 and the CIFAR ResNet
are the real ones.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torchvision

from blocks.proxies import FORMS
from nettailor.files import write_tensors
from tests.cifar_resnet import resnet20
from tests.conftest import CommandLine
from tests.tiny import QUICK

SHARED = Path(__file__).parents[3] / "shared"
MOBILENET = ("backbone.mean=[0.5,0.5,0.5]", "backbone.std=[0.5,0.5,0.5]", "backbone.crop=1.0")
FAMILIES = {
    "resnet34_tiny": (None, None, ()),
    "timm/mobilenetv2_100,pad_type=same": ("mobilenetv2_100_imagenet", timm.create_model, MOBILENET),
    "tests.cifar_resnet:resnet20": ("cifar_resnet20", None, ()),
    "torchvision/shufflenet_v2_x0_5": (None, torchvision.models.shufflenet_v2_x0_5, ()),
    "timm/convnext_zepto_rms": (None, timm.create_model, ()),
}


def adapt(nettailor: CommandLine, name: str, data: Path, *settings: str) -> dict[str, object]:
    shared, build, own = FAMILIES[name]
    words: list[str | Path] = []
    weights = SHARED / "weights" / f"{shared}.safetensors"
    if shared and weights.is_file():
        words = ["--weights", weights]
    elif name != "resnet34_tiny":
        key = name.partition("/")[2].partition(",")[0]
        model = resnet20() if build is None else build(key) if build is timm.create_model else build()
        write_tensors(Path("w.safetensors"), model.state_dict())
        words = ["--weights", "w.safetensors"]
    words += ["backbone.input_size=32", "--data", data, "--out", "run", *own, *QUICK, *settings]
    status, _, said = nettailor("adapt", "--backbone", name, *words)
    assert status == 0, said
    hand = ["--backbone", name, *words[:2]] if name != "resnet34_tiny" else []
    assert nettailor("eval", "run", *hand)[0] == 0
    report: dict[str, object] = json.loads(Path("run/report.json").read_text())
    return report


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_backbone_of_each_family_is_adapted_and_evaluated(
    nettailor: CommandLine, name: str, digit_folder: Path
) -> None:
    report = adapt(nettailor, name, digit_folder)
    assert 0 < report["removed"]["universal_blocks"] <= 1  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not on this machine")
@pytest.mark.parametrize("name", FAMILIES)
def test_traffic_signs_on_each_family(nettailor: CommandLine, name: str) -> None:
    report = adapt(nettailor, name, SHARED / "data" / "gtsrb.zip", r"data.group=([^/]+/\d+)_", "teacher.epochs=2")
    assert report["data"]["classes"] == 43  # type: ignore[index]
    chance = 1 / 43
    if FAMILIES[name][0] or name == "resnet34_tiny":  # random weights learn little in two passes
        assert report["teacher"]["test_accuracy"] > 5 * chance  # type: ignore[index]


@pytest.mark.slow
def test_a_proxy_of_the_users_own_from_adapt_to_eval(nettailor: CommandLine, digit_folder: Path) -> None:
    Path("own_proxies.py").write_text(
        "from torch import nn\n\ndef plain(site):\n    return nn.Conv2d(site.source[0], site.target[0], 1)\n"
    )
    words = ("--data", digit_folder, "--out", "run", *QUICK, "student.proxies=own_proxies:plain", "prune.shrink=0.9")
    assert nettailor("adapt", *words)[0] == 0
    del FORMS["own_proxies:plain"]  # as in a new process
    said = nettailor.fails("eval", "run")
    assert "own_proxies:plain'; it is code to import: allow it with --proxies own_proxies:plain" in said
    assert nettailor("eval", "run", "--proxies", "own_proxies:plain")[0] == 0
