"""Pages to look at: made-up networks over backbones of any depth, and a finished run on disk that nothing trained."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from nettailor.artifacts import delta
from nettailor.artifacts.confusion import Confusion
from nettailor.artifacts.predictions import Predictions, SplitPredictions
from nettailor.artifacts.run_folder import RunFolder
from nettailor.backbones.load import load_backbone
from nettailor.jobs.mistakes import thumbnail
from nettailor.jobs.recipe import parse_recipe
from nettailor.views.html.data import (
    BackboneData,
    BlockData,
    ConfusionData,
    FiguresData,
    FrontData,
    GraphData,
    MistakeData,
    PageData,
    PathData,
    PointData,
    SharedData,
    TaskData,
)
from tests import fabricated, tiny

MACS = 1_000_000


def page(blocks: int = 16, tasks: int = 1, classes: list[str] | None = None, name: str = "task") -> PageData:
    """`tasks` networks over a backbone of so many blocks; everything that a page can show is there."""
    classes = classes or [f"class {number}" for number in range(10)]
    sides = [
        BlockData(f"layer{i // 5 + 1}.{i % 5}", (16 * (1 + i // 5), 8, 8), MACS - i * 9000, 5000) for i in range(blocks)
    ]
    backbone = BackboneData("tiny", MACS * blocks, 5000 * blocks, 32, MACS // 2, (16, 8, 8), sides)
    made = [task(f"{name} {number}", backbone, classes, number) for number in range(tasks)]
    shared = SharedData(4_000_000, 2_000_000, 300_000, 900_000) if tasks > 1 else None
    return PageData("1.2.3", backbone, made, shared)


def task(label: str, backbone: BackboneData, classes: list[str], seed: int) -> TaskData:
    """One network, drawn by a seed: of every three blocks about two are kept."""
    draw, depth = random.Random(seed), len(backbone.blocks)
    paths = []
    for layer in range(1, depth + 1):
        if layer % 3:
            paths.append(PathData(f"G{layer}", layer - 1, layer, "universal", draw.random(), MACS, 4800, 200))
        for back in range(1, min(3, layer) + 1):
            if layer % 3 == 0 or draw.random() < 0.3:
                key = f"A{layer - back}-{layer}"
                paths.append(PathData(key, layer - back, layer, "conv1x1", draw.random(), MACS // 20, 0, 300))
    blocks = sum(path.form == "universal" for path in paths)
    figures = FiguresData(MACS * blocks, 4000, 500, 50_000, blocks, len(paths) - blocks, 0.91, 0.93, 0.9, 300, 1.5, 2.5)
    count = len(classes)
    cells = [(place, place, 25) for place in range(count)] + [(0, count - 1, 5), (count - 1, 0, 1)]
    return TaskData(
        label=label,
        task=label,
        method="nettailor",
        seed=seed,
        classes=count,
        graph=GraphData(depth, None, paths, 100, 640, 650),
        figures=figures,
        front=front(backbone),
        prune_command="nettailor prune runs/some",
        confusion=ConfusionData(classes, cells),
        mistakes=[MistakeData("test/one.png", classes[0], classes[-1], some_picture())],
    )


def front(backbone: BackboneData) -> FrontData:
    """Four networks; the second is the one in the delta, and the third was recovered."""
    points = [
        PointData(backbone.macs // 10, 1, 9, 0.6, 0.61, 400),
        PointData(backbone.macs // 4, 3, 8, 0.9, 0.89, 450, chosen=True),
        PointData(backbone.macs // 2, 6, 7, 0.85, 0.84, 480, recovered=0.92),
        PointData(backbone.macs, 9, 6, 0.88, 0.87, 500),
    ]
    return FrontData("front.json", 0.93, points)


def some_picture() -> str:
    """A small picture as a data: URI."""
    from PIL import Image

    return thumbnail(Image.new("RGB", (20, 16), "teal"))


def finished_run(folder: Path, pictures: Path, name: str = "digits") -> RunFolder:
    """A run on real digits 0 to 2 that was never trained: the delta of `fabricated.pruned` and files around it.

    Args:
        pictures: written there if the folder is not there yet; of the test split two are wrong.
    """
    if not pictures.exists():
        tiny.write_digits(pictures, classes=3, train=3, val=2, test=2)
    run = RunFolder(folder)
    classes = ["digit 0", "digit 1", "digit 2"]
    net = fabricated.pruned(load_backbone(fabricated.TINY, None, 16))
    delta.save(net, run.delta, name, classes)
    tree = {"task": name, "data": {"source": str(pictures)}, "backbone": {"name": fabricated.TINY, "input_size": 16}}
    parse_recipe(tree, "test").write(run.recipe)
    names = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("test/*/*.png"))
    test = SplitPredictions(names, [0, 0, 1, 1, 2, 2], compact=[0, 0, 1, 2, 2, 0])
    Predictions(name, classes, test, test).write(run.predictions)
    Confusion.of(name, classes, test.labels, test.compact).write(run.confusion)
    figures = fabricated.report()
    own = replace(figures.compact, macs=net.cost().macs, test_accuracy=4 / 6, private_params=900)
    replace(figures, task=name, compact=own).write(run.report)
    return run
