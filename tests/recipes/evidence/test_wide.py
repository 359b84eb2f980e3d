"""The net that is wide from the start: it has as many units as a grown one, is pretrained, and loaded as a backbone."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nettailor.backbones import resnet34_tiny as embedded
from nettailor.backbones.load import load_backbone
from nettailor.files import read_json
from recipes.evidence import wide

NAME = "recipes.evidence.wide:resnet34_tiny_wide"


def test_it_has_units_beside_the_last_block_that_read_its_input() -> None:
    torch.manual_seed(0)
    net, narrow = wide.resnet34_tiny_wide().eval(), embedded.resnet34_tiny()
    own = sum(p.numel() for p in net.parameters()) - sum(p.numel() for p in narrow.parameters())
    assert own == 128 * 64 * 9 + 64 + 64 * embedded.SOURCE_CLASSES
    seen: list[torch.Tensor] = []
    net.layer4[-1].register_forward_hook(lambda module, inputs, output: seen.extend([*inputs, output]))
    with torch.no_grad():
        assert net(torch.rand(2, 3, 32, 32)).shape == (2, 200)
        x, out = seen
        assert torch.equal(out[:, :128], net.layer4[-1].block(x))
        assert torch.equal(out[:, 128:], torch.relu(net.layer4[-1].units(x)))


def test_it_is_cut_as_a_backbone_of_32_px() -> None:
    backbone = load_backbone(NAME, None, 32, crop=1.0)
    assert backbone.features == 192
    assert (backbone.spec.size, backbone.spec.mean, backbone.spec.std) == (32, embedded.MEAN, embedded.STD)


@pytest.mark.slow
def test_it_is_pretrained_and_loaded(tmp_path: Path) -> None:
    data, out = tmp_path / "tiny.zip", tmp_path / "runs"
    draw = np.random.default_rng(0)
    with zipfile.ZipFile(data, "w") as archive:
        for label in range(embedded.SOURCE_CLASSES):
            for name in (f"train/{label:03d}/a.png", f"train/{label:03d}/b.png", f"val/{label:03d}/c.png"):
                file = BytesIO()
                Image.fromarray(draw.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(file, "PNG")
                archive.writestr(name, file.getvalue())
    assert wide.main(["--data", str(data), "--out", str(out), "--epochs", "1"]) == 0
    record = read_json(out / "resnet34_tiny_wide.json")
    assert record["passes"] == 1
    backbone = load_backbone(NAME, out / "resnet34_tiny_wide.safetensors", 32, crop=1.0)
    assert backbone.classes == 200
