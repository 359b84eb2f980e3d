"""Small source networks: a backbone's architecture, pretrained on some classes of a data set as the embedded one was.

    SourceNet (classes, pictures, settings) -> PretrainJob -> sources/NET/weights.safetensors, source.json

The weights are written last but for the record; a training that was stopped goes on from its checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from blocks import Backbone, InputSpec
from nettailor.artifacts.lock import lock_folder
from nettailor.artifacts.study import SourceFigures
from nettailor.backbones.config import BackboneConfig
from nettailor.backbones.load import load_backbone, random_model
from nettailor.data.config import DataConfig
from nettailor.data.layout import Layout, check
from nettailor.data.sample import per_class, some_classes
from nettailor.data.splits import Members
from nettailor.data.task import Split, data_path, find_layout
from nettailor.files import read_tensors, write_tensors
from nettailor.jobs.job import Job
from nettailor.progress import Display
from nettailor.training.pretraining import (
    Pass,
    Pictures,
    PretrainConfig,
    passes_done,
    picture_side,
    pretrain,
    steps_of,
    top1_and_top5,
)

WEIGHTS, RECORD, CHECKPOINT = "weights.safetensors", "source.json", "checkpoint.safetensors"
STAGE = "pretrain"


@dataclass(frozen=True)
class SourceNet:
    """A small source network: which classes and pictures, drawn by the seed, and how it is pretrained.

    Attributes:
        backbone: the architecture, named without its number of classes, and the pictures that it reads; no weights.
        data: the pictures, with an absolute path where they are a folder or zip.
        classes: how many.
        total, each: training pictures in all, or of each class; every one if neither is given.
    """

    backbone: BackboneConfig
    data: str
    classes: int
    total: int | None
    each: int | None
    config: PretrainConfig

    @property
    def key(self) -> str:
        """Its folder's name: the same for the same network."""
        return f"{self.classes}-classes-{short_hash(asdict(self))}"

    @property
    def name(self) -> str:
        """Of its architecture, with the number of its classes."""
        return f"{self.backbone.name},num_classes={self.classes}"

    def pictures(self) -> tuple[Layout, Members]:
        """Its classes, and its training pictures.

        Raises:
            DataError: the data has fewer classes or pictures.
        """
        layout = some_classes(_layout(self.data), self.classes, self.config.seed)
        return layout, per_class(layout, self.config.seed, self.total, self.each)


def source_net(
    backbone: BackboneConfig,
    data: str,
    classes: int | None,
    total: int | None,
    each: int | None,
    config: PretrainConfig,
) -> SourceNet:
    """A small source network of a data set's classes, all of them if their number is left out.

    Raises:
        DataError, FileError: the data is missing, or has fewer classes or pictures.
    """
    data = whole_path(data)
    count = classes or len(_layout(data).classes)
    if total is not None and each is None and total % count == 0:
        each, total = total // count, None  # the same network, whichever way it is asked for
    net = SourceNet(backbone, data, count, total, each, config)
    net.pictures()
    return net


def whole_path(source: str) -> str:
    """A data source with an absolute path where it is a folder or zip."""
    path = data_path(source)
    return source if path is None else str(path.resolve())


def short_hash(tree: Any) -> str:
    """Ten hexadecimal digits of a hash of plain values."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True, default=str).encode()).hexdigest()[:10]


@lru_cache(maxsize=8)
def _layout(data: str) -> Layout:
    layout = find_layout(DataConfig(source=data), named="pretrain")
    check(layout)
    return layout


@dataclass(frozen=True)
class PretrainJob(Job):
    """Pretrains one small source network."""

    net: SourceNet | None = None

    def stages(self) -> dict[str, int]:
        """One."""
        assert self.net is not None
        return {STAGE: self.net.config.epochs}

    def run(self, display: Display, backbone: Callable[[BackboneConfig], Backbone]) -> None:
        """Train it, or go on; nothing is done where its record lies there already."""
        assert self.net is not None
        self.out.mkdir(parents=True, exist_ok=True)
        with lock_folder(self.out):
            if not (self.out / RECORD).is_file():
                _pretrain(self.net, self.out, display)


def _pretrain(net: SourceNet, folder: Path, display: Display) -> None:
    spec = load_backbone(**asdict(replace(net.backbone, name=net.name)), untrained=True).spec
    layout, members = net.pictures()
    display.say(f"{net.name}: reading {len(members)} pictures of {net.data} ...")
    train = _pictures(layout, members, spec)
    held_out = layout.splits.get("val") or layout.splits.get("test")
    val = _pictures(layout, held_out, spec) if held_out else None
    checkpoint, config, last = folder / CHECKPOINT, net.config, list[Pass]()
    with display.stage(STAGE, config.epochs, passes_done(checkpoint), steps_of(train, config)) as shown:

        def after(done: Pass) -> None:
            last[:] = [done]
            measured = {} if done.top1 is None else {"val_accuracy": done.top1}
            shown.epoch(done.number, {"loss": done.loss}, measured)

        size = net.backbone.input_size
        model = pretrain(lambda: random_model(net.name, size), train, val, spec, config, checkpoint, shown.step, after)
    notes = read_tensors(checkpoint)[1]
    write_tensors(folder / WEIGHTS, model.state_dict())
    counts = Counter(label for _, label in members)
    accuracy = _accuracy(last, model, val, spec)
    SourceFigures(
        backbone=net.backbone.name,
        data=net.data,
        classes=layout.classes,
        each=[counts[label] for label in range(len(layout.classes))],
        epochs=config.epochs,
        seed=config.seed,
        val_accuracy=accuracy,
        seconds=notes["seconds"],
    ).write(folder / RECORD)
    checkpoint.unlink(missing_ok=True)


def _accuracy(last: list[Pass], model: torch.nn.Module, val: Pictures | None, spec: InputSpec) -> float | None:
    """Of the last pass; measured where a training went on behind it."""
    if last or val is None:
        return last[0].top1 if last else None
    return top1_and_top5(model, val, spec)[0]


def _pictures(layout: Layout, members: Members, spec: InputSpec) -> Pictures:
    """Decoded at the side that random crops are taken from."""
    labels = torch.tensor([label for _, label in members])
    split = Split(layout.source, [name for name, _ in members], labels, picture_side(spec), None, spec.interpolation)
    return Pictures(split.batch(torch.arange(len(split))), labels)
