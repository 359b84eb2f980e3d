"""Accuracy of a delta's network: which pictures it is measured on, and the measuring.

    named by --data                     those; all of them where they have no splits and none is asked for
    a run's folder, nothing named       the pictures of its own recipe, split as its split.json says
    a delta on its own, nothing named   refused: what a delta says of pictures may be anybody's words

Only what the user names is fetched from a network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from nettailor.artifacts.confusion import Confusion, balanced_accuracy
from nettailor.artifacts.delta import Delta
from nettailor.artifacts.hub import shown
from nettailor.artifacts.run_folder import RunFolder
from nettailor.data.config import DataConfig
from nettailor.data.task import Split, load_split
from nettailor.errors import FileError, UsageError
from nettailor.jobs.recipe import own_recipe
from nettailor.training.loop import predictions


@dataclass(frozen=True)
class Evaluation:
    """What was measured. `split` is None where all pictures of a data set without splits were read.

    Attributes:
        balanced_accuracy: the mean over the classes.
    """

    accuracy: float
    pictures: int
    split: str | None
    balanced_accuracy: float
    confusion: Confusion


def evaluate(
    run: Path,
    delta: Delta,
    device: torch.device,
    data: str | None = None,
    split: str | None = None,
    skip_bad: bool = False,
) -> Evaluation:
    """Measure a delta's network.

    Args:
        run: the folder that the user named: a run's, or a delta's.
        delta: loaded from it.
        data: pictures that the user named, in the same classes; the run's own if left out.
        split: train, val or test; if left out, test, or all there is where `data` has no splits.
        skip_bad: go on without pictures that can't be read.

    Raises:
        UsageError: no pictures are named, and the folder is no run's.
        DataError, FileError: the pictures are missing or damaged, or have other classes than the task.
    """
    taken, pictures = pictures_of(run, delta, data, split, skip_bad)
    said, labels = predictions(delta.net.to(device), pictures).tolist(), pictures.labels.tolist()
    confusion = Confusion.of(run.name, delta.classes, labels, said)
    right = sum(row[place] for place, row in enumerate(confusion.counts))
    return Evaluation(right / len(labels), len(labels), taken, balanced_accuracy(labels, said), confusion)


def pictures_of(
    run: Path, delta: Delta, data: str | None = None, split: str | None = None, skip_bad: bool = False
) -> tuple[str | None, Split]:
    """The pictures that a delta's network is measured on, and the name of their split; arguments as for `evaluate`.

    Raises:
        UsageError: no pictures are named, and the folder is no run's.
        DataError, FileError: the pictures are missing or damaged, or have other classes than the task.
    """
    recipe, seed, record = own_recipe(run), 0, None
    if recipe is not None:
        seed = recipe.seed
    if data is not None:
        config = DataConfig(source=data)
    elif recipe is not None:
        config, split = recipe.data, split or "test"
        record = RunFolder(run).split if RunFolder(run).split.is_file() else None
    else:
        raise UsageError(f"{shown(run)}: is a delta and no run, so its pictures are not known; name some with --data")
    config = replace(config, skip_bad=config.skip_bad or skip_bad)
    classes, taken, pictures = load_split(config, delta.net.spec, split, seed, record, fetch=data is not None)
    if classes != delta.classes:
        odd = ", ".join(sorted(set(classes) ^ set(delta.classes))[:3])
        raise FileError(config.source, f"has other classes than the task ({odd or 'in another order'})")
    return taken, pictures
