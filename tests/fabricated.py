"""Records with figures that are easy to reckon with: no training makes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from blocks import Backbone, CompactNet, Plan, TailoredNet, compact
from nettailor.artifacts import delta
from nettailor.artifacts.board import Board, Figure, Row
from nettailor.artifacts.pareto import Front, FrontPoint
from nettailor.artifacts.predictions import Predictions, SplitPredictions
from nettailor.artifacts.report import (
    BackboneFigures,
    CompactFigures,
    DataFigures,
    PruneFigures,
    RemovedFigures,
    Report,
    StudentFigures,
    TeacherFigures,
)
from nettailor.artifacts.study import CellFigures
from nettailor.backbones.load import load_backbone
from nettailor.pruning.graph import BlockGraph

CLASSES = ["cat", "dog", "emu"]
TINY = "tests.tiny:tiny_resnet"


def report(**changes: Any) -> Report:
    """A run of ours: 60 % of a backbone of 2 M MACs and 1,000 parameters are left, half a point is lost."""
    made = Report(
        task="birds",
        method="nettailor",
        backbone=BackboneFigures("tiny", "ab" * 32, macs=2_000_000, params=1000, universal_blocks=6),
        data=DataFigures(train=48, val=24, test=20, classes=3, input_size=16, sha256="cd" * 32),
        seed=3,
        teacher=TeacherFigures(0.95, 0.9, macs=2_000_000, params=1000, latency_ms=4.0),
        student=StudentFigures(0.93, 0.92, 0.8, macs=2_400_000, params=1300, task_params=300),
        compact=CompactFigures(0.945, 0.91, 1_200_000, 700, 250, 4096, 3.0, universal_blocks_kept=4, proxies_kept=2),
        removed=RemovedFigures(macs=0.4, params=0.3, universal_blocks=1 / 3),
        prune=PruneFigures("importance", 0.5, within_drop=True, trials=[]),
        seconds={"prepare": 1.0, "teacher": 10.0, "student": 20.0, "prune": 5.0, "recover": 4.0, "measure": 2.0},
        device="cpu",
        epochs={"teacher": 3, "student": 4, "importance": 0.5, "prune": 2, "recover": 1},
        versions={"python": "3"},
    )
    return replace(made, **changes)


def predictions() -> Predictions:
    """Five test pictures, of which the compact net gets three right and the teacher four."""
    val = SplitPredictions(["v"], [0], compact=[0], teacher=[0])
    test = SplitPredictions(
        ["a", "b", "c", "d", "e"], [0, 0, 0, 1, 2], compact=[0, 0, 1, 1, 0], teacher=[0, 0, 0, 1, 0]
    )
    return Predictions("birds", CLASSES, val, test)


def without_teacher(method: str = "linear") -> Report:
    """A run of a method that trains one network alone."""
    return report(method=method, teacher=None, student=None, prune=None, epochs={method: 4}, seconds={method: 8.0})


def point(macs: int, val: float, test: float, **changes: Any) -> FrontPoint:
    """A network of a curve."""
    made = FrontPoint(
        macs, params=macs // 2000, task_params=100, universal_blocks=5, proxies=1, val_accuracy=val, test_accuracy=test
    )
    return replace(made, **changes)


def front() -> Front:
    """A curve of three networks, the middle one chosen."""
    points = [point(1_800_000, 0.92, 0.94), point(1_200_000, 0.91, 0.93, chosen=True), point(600_000, 0.7, 0.72)]
    return Front("birds", "tiny", 2_000_000, 1000, 3, 0.9, 0.95, points)


def row(name: str, accuracy: list[float], macs: float = 0.5) -> Row:
    """One method of a board."""
    same = {
        key: Figure(value, 0.0)
        for key, value in {"params": 0.4, "task_params": 0.1, "epochs": 7, "seconds": 12}.items()
    }
    points = Figure.of([100 * (value - 0.95) for value in accuracy])
    return Row(name, len(accuracy), Figure.of(accuracy), points, Figure(macs, 0.0), **same)


def board() -> Board:
    """Two methods over two seeds."""
    rows = [row("finetune", [0.94, 0.96], 1.0), row("nettailor", [0.9, 0.92])]
    return Board("birds", "tiny", 2_000_000, 1000, 48, 20, 3, [0, 1], rows)


def pruned(backbone: Backbone) -> CompactNet:
    """A compact net of three classes in which the third of six blocks has given way to the proxy beside it."""
    student = TailoredNet(backbone, len(CLASSES), Plan(skips=1)).eval()
    whole = BlockGraph.of(student)
    gone = {path.key for path in whole.proxies()} - {"A2-3"} | {"G3"}
    student.keep(whole.without([path for path in whole.paths if path.key in gone]).paths)
    return compact(student)


def saved_delta(folder: Path) -> CompactNet:
    """Write the delta of `pruned` over the backbone that `--backbone tests.tiny:tiny_resnet` names."""
    net = pruned(load_backbone(TINY, None, 16))
    delta.save(net, folder, "birds", CLASSES)
    return net


def cell(accuracy: float = 0.9, method: str = "finetune", seed: int = 0, **more: Any) -> CellFigures:
    """A cell of a study; what is no field of it is one of its factors."""
    known = set(CellFigures.__dataclass_fields__)  # type: ignore[attr-defined]
    fields = {name: value for name, value in more.items() if name in known}
    factors = {name: value for name, value in more.items() if name not in known}
    made = CellFigures(
        study="factors",
        factors=factors,
        baseline=False,
        method=method,
        task="birds",
        seed=seed,
        folder=f"cells/{method}-{seed}",
        train=48,
        test_accuracy=accuracy,
        val_accuracy=accuracy,
        balanced_accuracy=None,
        macs=2_000_000,
        task_params=1000,
        epochs=20,
        seconds=8.0,
    )
    return replace(made, **fields)
