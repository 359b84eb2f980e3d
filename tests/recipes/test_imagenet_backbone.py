"""The ImageNet backbone from a folder of photographs to a folded and packed compact net, at three sizes of picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blocks.fold import fold
from blocks.prepack import pack
from nettailor.artifacts import delta
from nettailor.artifacts.board import Board
from nettailor.artifacts.cost_table import CostTable
from nettailor.artifacts.report import Report
from nettailor.backbones import efficientnet_lite0 as lite0
from nettailor.backbones.load import load_backbone
from nettailor.data.batches import normalise
from nettailor.data.images import FileSource, read_square
from nettailor.files import read_json
from nettailor.methods.paper import Paper
from tests import fabricated
from tests.conftest import CommandLine
from tests.extras import needs
from tests.tiny import QUICK

pytestmark = needs(lite0.PACKAGE)
SIZES = (96, 160, 224)
BACKBONE = ("--backbone", "efficientnet_lite0")
SHORT = (*QUICK, "prune.measured_on=4", "student.warm_start=8", "recover.leaner=0", "machine.threads=1")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JPEGs of two classes that colour tells apart, of several shapes: 8 to train on, 4 to choose by, 4 to test on."""
    root, noise = tmp_path_factory.mktemp("data") / "photos", np.random.default_rng(0)
    for label, colour in (("rust", (160, 80, 40)), ("sea", (40, 90, 160))):
        for split, count in (("train", 4), ("val", 2), ("test", 2)):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                height, width = 230 + 20 * number, 300 - 20 * number
                pixels = np.asarray(colour) + noise.normal(0, 30, (height, width, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.jpg")
    return root


@pytest.mark.parametrize("size", SIZES)
def test_a_compact_net_is_reloaded_to_the_same_bits_folded_and_packed(size: int, tmp_path: Path) -> None:
    backbone = load_backbone("efficientnet_lite0", input_size=size)
    net = fabricated.pruned(backbone)
    delta.save(net, tmp_path, "birds", fabricated.CLASSES)
    described = read_json(tmp_path / "task.json")
    assert (described["backbone"]["name"], described["input"]["size"]) == ("efficientnet_lite0", size)
    again = delta.load(tmp_path).net  # finds the backbone by its name
    assert again.backbone is not backbone
    assert again.spec == backbone.spec
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        logits = net(x)
        assert torch.equal(again(x), logits)
        folded = fold(again)
        span = logits.max() - logits.min()
        assert (folded(x) - logits).abs().max() <= 1e-4 * span
        assert (pack(folded)(x) - logits).abs().max() <= 1e-4 * span
    assert net.cost().macs < backbone.cost.macs


def test_photographs_are_adapted_and_answered_from_the_delta_alone(nettailor: CommandLine, photographs: Path) -> None:
    """At 96 px, counted in MACs; nothing but the names in the delta finds the backbone again."""
    words = (*BACKBONE, "--data", photographs, "--out", "run", "backbone.input_size=96", *SHORT)
    assert nettailor("adapt", *words)[0] == 0
    report = Report.read(Path("run/report.json"))
    assert (report.backbone.name, report.backbone.universal_blocks) == ("efficientnet_lite0", 16)
    assert report.backbone.params == 4_652_008 - 1001 * 1000 - 280 * 1000 + 2 * 21_008, "statistics, no classifier"
    assert report.compact.macs < report.backbone.macs
    status, said, _ = nettailor("eval", "run/task", "--data", photographs, "--split", "test")
    assert status == 0
    assert f"{report.compact.test_accuracy:.4f} of 4 test pictures right" in said
    picture = photographs / "test" / "sea" / "0.jpg"
    status, said, _ = nettailor("predict", "run/task", picture)
    assert status == 0
    assert "sea" in said


def test_blocks_and_profile_need_no_weights(nettailor: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite0, "find_spec", lambda name: None)
    status, said, _ = nettailor("blocks", "efficientnet_lite0", "--input-size", "96", "--json")
    assert status == 0
    parts = json.loads(said)["parts"]
    assert [part["module"] for part in parts][::17] == ["stem", "head"]
    words = ("--input-size", "96", "--rounds", "1", "--threads", "1", "--skips", "1", "--out", "costs.json")
    assert nettailor("profile", "efficientnet_lite0", *words)[0] == 0
    assert CostTable.read(Path("costs.json")).input_size == 96


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_milliseconds_other_sizes_and_a_board(
    nettailor: CommandLine, photographs: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """adapt by a cost table measured on the way, another size of its student, and every method beside it."""
    student = {**Paper.defaults["student"], "epochs": 1}
    prune = {**Paper.defaults["prune"], "epochs": 1, "remove": (1, 2), "proxies_below": 0.001}
    monkeypatch.setattr(Paper, "defaults", {**Paper.defaults, "student": student, "prune": prune})
    words = ("--data", photographs, f"backbone.input_size={size}", *SHORT)
    assert nettailor("adapt", *BACKBONE, *words, "--out", "run", "cost=latency")[0] == 0
    report = Report.read(Path("run/report.json"))
    assert report.prune is not None
    assert (report.prune.cost, report.data.input_size) == ("latency", size)
    assert CostTable.read(Path("run/costs.json")).input_size == size
    net = delta.load("run").net
    pictures = torch.stack([net_input(file, size) for file in sorted(photographs.rglob("test/*/*.jpg"))])
    with torch.no_grad():
        answers = net(normalise(pictures, net.spec, torch.device("cpu"))).argmax(1)
    right = (answers == torch.tensor([0, 0, 1, 1])).float().mean()
    assert float(right) == report.compact.test_accuracy
    assert nettailor("prune", "run", "--macs", "0.7", "cost=macs", "--out", "smaller")[0] == 0
    smaller = Report.read(Path("smaller/report.json"))
    assert smaller.compact.macs <= 0.7 * smaller.backbone.macs
    assert delta.load("smaller").net.cost().macs == smaller.compact.macs
    methods = "nettailor,paper,shallow,linear,batch_norm,adapters" if size == min(SIZES) else "linear"  # all take long
    assert nettailor("compare", *BACKBONE, *words, "--methods", methods, "--out", "board")[0] == 0
    board = Board.read(Path("board/board.json"))
    assert [row.name for row in board.rows if row.weight] == ["finetune", *methods.split(",")]
    for method in methods.split(","):
        assert delta.load(f"board/seed-0/{method}").net.spec.size == size


def net_input(file: Path, size: int) -> torch.Tensor:
    """A picture as the backbone reads it: bicubic, the middle 0.875."""
    return read_square(FileSource(file), file.name, size, "bicubic", 0.875)
