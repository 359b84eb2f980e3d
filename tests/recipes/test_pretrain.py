"""The pretraining procedure on a few pictures: it can be stopped and goes on, and it ships what its card says."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nettailor.backbones import resnet34_tiny as embedded
from nettailor.errors import DataError
from nettailor.files import read_tensors
from nettailor.training import pretraining
from recipes import pretrain


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training pictures and one validation picture of each of 200 classes, 40 px."""
    path = tmp_path_factory.mktemp("pictures") / "tiny.zip"
    draw = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for label in range(embedded.SOURCE_CLASSES):
            for name in (f"train/{label:03d}/a.png", f"train/{label:03d}/b.png", f"val/{label:03d}/c.png"):
                data = BytesIO()
                Image.fromarray(draw.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(data, "PNG")
                archive.writestr(name, data.getvalue())
    return path


def options(pictures: Path, folder: Path, epochs: int) -> list[str]:
    words = {"--data": pictures, "--out": folder / "w.safetensors", "--checkpoint": folder / "c.safetensors"}
    words |= {"--epochs": str(epochs), "--batch": "100"}
    return [str(word) for pair in words.items() for word in pair]


@pytest.mark.slow
def test_stopped_and_gone_on_gives_the_same_weights(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrain.parse(options(pictures, tmp_path / "whole", 2))
    pretrain.ship(pretrain.pretrain(whole), whole)
    stopped = pretrain.parse(options(pictures, tmp_path / "stopped", 2))
    real, calls = pretraining.train_epoch, []

    def once(*arguments: object) -> float:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pretraining, "train_epoch", once)
    with pytest.raises(KeyboardInterrupt):
        pretrain.pretrain(stopped)
    monkeypatch.setattr(pretraining, "train_epoch", real)
    pretrain.ship(pretrain.pretrain(stopped), stopped)
    one, other = (read_tensors(tmp_path / name / "w.safetensors")[0] for name in ("whole", "stopped"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    assert {t.dtype for t in one.values() if t.is_floating_point()} == {torch.float16}
    assert "| top-1 | 0.0" in (tmp_path / "whole" / "w.md").read_text()
    names = (tmp_path / "whole" / "w.classes.txt").read_text().split()
    assert names == [f"{label:03d}" for label in range(embedded.SOURCE_CLASSES)]


def test_other_pictures_are_refused(digit_folder: Path) -> None:
    with pytest.raises(DataError, match="must have train/ and val/ folders of 200 classes"):
        pretrain.read_pictures(digit_folder)
