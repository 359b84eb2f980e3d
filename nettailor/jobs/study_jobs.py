"""What a study runs beside pretraining: its cells, and the distances between the source and target of each pair.

    CellJob      an adaptation, then how each layer changed: RUN/layers.json
    DistanceJob  pictures of both sides -> frozen backbone -> h -> DIR/distance.json

Both go on where they were stopped, and do nothing that is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from blocks import Backbone
from blocks.representation import representation
from blocks.top import TopError
from nettailor.artifacts import delta
from nettailor.artifacts.report import Report
from nettailor.artifacts.run_folder import RunFolder
from nettailor.artifacts.study import Distance, LayerChanges
from nettailor.backbones.config import BackboneConfig
from nettailor.data.batches import evaluation_batches, evaluation_size, normalise
from nettailor.data.config import DataConfig
from nettailor.data.sample import drawn, sampled
from nettailor.data.task import Split, load_split
from nettailor.environment import pick_device
from nettailor.errors import DataError
from nettailor.jobs.job import Job
from nettailor.jobs.recipe import Recipe
from nettailor.jobs.study_file import PRETRAINED_ON, DistanceFile, PretrainedOn
from nettailor.jobs.study_sources import SourceNet
from nettailor.progress import Display
from nettailor.training.layer_change import changes
from nettailor.training.pretraining import MARGIN
from nettailor.training.set_distance import FEWEST, set_distance

LAYERS, DISTANCE = "layers.json", "distance.json"


@dataclass(frozen=True)
class CellJob(Job):
    """Adapts, and measures on `pictures` validation pictures what that changed."""

    pictures: int = 500

    def run(self, display: Display, backbone: Callable[[BackboneConfig], Backbone]) -> Report | None:
        """As of any job; then the layers, where they are not measured yet."""
        report = super().run(display, backbone)
        path = self.out / LAYERS
        if not path.is_file():
            layer_changes(self.out, backbone(self.recipe.backbone), self.pictures).write(path)
        return report


def is_finished(folder: Path) -> bool:
    """Whether nothing is left to do for a cell."""
    return RunFolder(folder).report.is_file() and (folder / LAYERS).is_file()


def layer_changes(run: Path, backbone: Backbone, count: int) -> LayerChanges:
    """How the network of a finished run differs from its backbone, on at most `count` of its validation pictures.

    Raises:
        FileError, DataError: the run's files or pictures are not what they were.
    """
    folder = RunFolder(run)
    recipe, loaded = Recipe.read(folder.recipe), delta.load(run, backbone)
    _, _, split = load_split(recipe.data, backbone.spec, "val", recipe.seed, folder.split)
    rows = torch.linspace(0, len(split) - 1, min(count, len(split))).round().long()
    device = next(backbone.parameters()).device

    def batches() -> Iterator[Tensor]:
        for part in rows.split(evaluation_size(backbone.spec)):
            yield normalise(split.batch(part), backbone.spec, device)

    return LayerChanges(len(rows), changes(backbone, loaded.net.to(device), batches()))


@dataclass(frozen=True)
class DistanceJob(Job):
    """Measures how far the source of a backbone and the pictures of a recipe are apart.

    Attributes:
        source: the pictures that the backbone was pretrained on.
        net: the small source network that it is: of the source its classes alone count.
    """

    source: PretrainedOn | None = None
    net: SourceNet | None = None
    settings: DistanceFile = DistanceFile()

    def stages(self) -> dict[str, int]:
        """One, about as long as a pass."""
        return {"distance": 1}

    def run(self, display: Display, backbone: Callable[[BackboneConfig], Backbone]) -> None:
        """Measure it, where that is not done yet."""
        assert self.source is not None
        if (self.out / DISTANCE).is_file():
            return
        frozen = backbone(self.recipe.backbone).to(pick_device(self.recipe.machine.device))
        count, seed, target_data = self.settings.pictures, self.settings.seed, self.recipe.data
        source = self._source(frozen)
        display.say(f"{source.source.where} and {target_data.source}: {count} pictures a side ...")
        target = sampled(target_data, frozen.spec, count, seed)
        for split in (source, target):
            if len(split) < FEWEST:
                few = f"{len(split)} pictures are too few for a distance"
                raise DataError(f"{split.source.where}: {few}; at least {FEWEST} are needed")
        found = set_distance(features(frozen, source), features(frozen, target), seed)
        names = self.source.data, target_data.source, frozen.name
        Distance(*names, (len(source), len(target)), **asdict(found)).write(self.out / DISTANCE)

    def _source(self, backbone: Backbone) -> Split:
        """Pictures of the source, framed as in pretraining."""
        count, seed, own = self.settings.pictures, self.settings.seed, self.source
        assert own is not None
        crop = own.crop or (1 / MARGIN if self.net is not None else backbone.source_crop) or backbone.spec.crop
        framed = replace(backbone.spec, crop=crop)
        if self.net is not None:
            layout, members = self.net.pictures()
            return drawn(layout.source, members, framed, count, seed)
        data = DataConfig(source=own.data, root=self.recipe.data.root, classes=own.classes)
        return sampled(data, framed, count, seed, named=named_by(own, self.recipe))


def named_by(source: PretrainedOn, recipe: Recipe) -> str:
    """The section that names the pictures which a backbone was pretrained on."""
    return "source" if recipe.source.data == source.data else PRETRAINED_ON


@torch.no_grad()
def features(backbone: Backbone, split: Split) -> Tensor:
    """h (N, d) of a split's pictures, on the CPU; where a head reads no single vector, x_L averaged over positions."""
    backbone.eval()
    try:
        head: Callable[[Tensor], Tensor] = representation(backbone).eval()
    except TopError:
        head = _mean
    device, spec = next(backbone.parameters()).device, replace(backbone.spec, crop=split.crop)
    seen = []
    for x, _ in evaluation_batches(split, spec, device):
        x = backbone.stem(x)
        for block, act in zip(backbone.blocks, backbone.acts, strict=True):
            x = act(block(x))
        seen.append(head(x).float().cpu())
    return torch.cat(seen)


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3))
