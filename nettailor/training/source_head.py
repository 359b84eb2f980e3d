"""The source classifier that is trained beside a target's: the backbone's own, or a new one for other pictures.

    classes of the folder -> rows of W_s, all or some          -> kept        source logits = W_s h + b_s
                          -> none of them: fit on frozen h     -> new

Which rows answer for a folder is told by names. Where a backbone's are not known, a folder of as many classes as W_s has rows
is taken for its own in the order of their names, if W_s is then right on more than half of the pictures.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, fx, nn

from blocks import Backbone
from blocks.cut import new_classifier
from blocks.trace import with_modules
from nettailor.backbones import efficientnet_lite0 as lite0
from nettailor.data.batches import evaluation_batches
from nettailor.data.class_names import plain_name
from nettailor.data.source import SourceConfig, SourcePictures, evenly
from nettailor.data.task import Split, Task
from nettailor.errors import UsageError
from nettailor.training.probe import Probe, fit_probe
from nettailor.training.run import Run

FITTED_ON = 20_000
"""Most source pictures that a new classifier is fitted to."""
RIGHT = 0.5  # of the pictures: by chance no order of classes comes near it where there are more than a few
CHECKPOINT = "source-head"


@dataclass(frozen=True)
class SourceRows:
    """Which of the source classifier's logits answer for the classes of a folder.

    Attributes:
        rows: (classes,), the place of each class among the logits.
        told_by: what says so.
    """

    rows: Tensor
    told_by: Literal["names", "order"]


@dataclass
class SourceHead:
    """Classifiers in place of those of a network's head, which reads the source's classes then.

    Attributes:
        classifiers: by their path in the head.
        rows: (classes,), the logit of each class of the source pictures.
        kind: kept, the backbone's own; or new.
        told_by: how its rows were found: names, order, or fitted.
    """

    classifiers: dict[str, nn.Module]
    rows: Tensor
    kind: Literal["kept", "new"]
    told_by: Literal["names", "order", "fitted"]

    def on(self, net: Backbone) -> fx.GraphModule:
        """A head that reads x_L and answers with source logits; all but the classifiers is the network's own head."""
        return with_modules(net.head, dict(self.classifiers))

    def parameters(self) -> list[nn.Parameter]:
        """What trains."""
        return [parameter for classifier in self.classifiers.values() for parameter in classifier.parameters()]


def kept_head(
    backbone: Backbone, rows: Tensor | None = None, told_by: Literal["names", "order"] = "order"
) -> SourceHead:
    """A copy of the backbone's own classifier that is free to change.

    Args:
        rows: see `SourceHead`; all of its logits if left out.
    """
    own = {path: copy.deepcopy(backbone.head.get_submodule(path)) for path in backbone.classifier_paths}
    for classifier in own.values():
        classifier.requires_grad_(True)
    return SourceHead(own, torch.arange(backbone.classes) if rows is None else rows, "kept", told_by)


def check_source_head(backbone: Backbone, source: SourcePictures, config: SourceConfig) -> None:
    """Refuse what `source_head` could not find, before anything is written.

    Raises:
        UsageError: `source.head` is kept, and the pictures' classes are not the backbone's; or a new one is wanted where
            there are several classifiers.
    """
    by_name = rows_by_name(source.classes, backbone) is not None
    in_order = len(source.classes) == backbone.classes
    if config.head == "kept" and not (by_name or in_order):
        raise UsageError(
            f"source.head: {source.train.source.where} has {len(source.classes)} classes, the classifier of {backbone.name} "
            f"{backbone.classes}, and their names are not its own; leave source.head out for a new classifier"
        )
    if (config.head == "new" or not (by_name or in_order)) and len(backbone.classifier_paths) > 1:
        raise _no_new_head(backbone, source)


def source_head(backbone: Backbone, source: SourcePictures, config: SourceConfig, run: Run) -> SourceHead:
    """The classifier that answers for source pictures; a new one is fitted to features of the frozen backbone.

    Raises:
        UsageError: there can be none, see `check_source_head`; or no vector is read by the classifier that is to be new.
    """
    check_source_head(backbone, source, config)
    if config.head != "new" and (found := _rows(backbone, source, config, run)) is not None:
        return kept_head(backbone, found.rows, found.told_by)
    return _fitted(backbone, source, config, run)


def rows_by_name(classes: list[str], backbone: Backbone) -> Tensor | None:
    """Places (classes,) of a folder's classes among the logits; None where one has no place, or none are known."""
    for known in _names(backbone):
        number = {plain_name(name): place for place, name in enumerate(known)}
        places = [number.get(plain_name(name)) for name in classes]
        if all(place is not None for place in places) and len(set(places)) == len(places):
            return torch.tensor(places)
    return None


def _names(backbone: Backbone) -> list[list[str]]:
    """What the classes of a source classifier may be called: as the backbone says, and of ImageNet's 1,000 by their ids."""
    names = [] if backbone.source_classes is None else [backbone.source_classes]
    library = backbone.name.split("/")[0].split(",")[0]
    if library in ("timm", "torchvision", lite0.NAME) and backbone.classes == lite0.SOURCE_CLASSES:
        names.append(lite0.imagenet_ids())
    return names


def _rows(backbone: Backbone, source: SourcePictures, config: SourceConfig, run: Run) -> SourceRows | None:
    if (rows := rows_by_name(source.classes, backbone)) is not None:
        return SourceRows(rows, "names")
    if len(source.classes) != backbone.classes or (_names(backbone) and config.head != "kept"):
        return None
    in_order = SourceRows(torch.arange(backbone.classes), "order")
    if config.head == "kept":
        return in_order
    split = source.some_held_out(config.measured_on)
    return in_order if source_accuracy(backbone, backbone.head, in_order.rows, split, run) > RIGHT else None


@torch.no_grad()
def source_accuracy(net: Backbone, head: nn.Module, rows: Tensor, split: Split, run: Run) -> float:
    """Part of a split's pictures that a head on a network in eval mode gives the logit of their class.

    Args:
        net: in eval mode, or a `frozen_copy`.
        rows: see `SourceHead`.
    """
    head.eval()
    right, rows = 0, rows.to(run.device)
    for x, labels in evaluation_batches(split, net.spec, run.device):
        right += int((head(net.activations(x)[-2]).argmax(1) == rows[labels]).sum())
    return right / len(split)


def _fitted(backbone: Backbone, source: SourcePictures, config: SourceConfig, run: Run) -> SourceHead:
    kept = run.checkpoints.load(CHECKPOINT)
    if kept is not None:
        probe: Probe | None = Probe(kept[0]["weight"], kept[0]["bias"], kept[1]["val_loss"])
    else:
        some = source.some_held_out(config.measured_on)
        train = evenly(source.train, FITTED_ON)
        probe = fit_probe(backbone, Task(source.name, source.classes, train, some, some, train.size), run)
    if probe is None:
        raise _no_new_head(backbone, source)
    if kept is None:
        run.checkpoints.save(
            CHECKPOINT, {"weight": probe.weight, "bias": probe.bias}, {"val_loss": probe.val_loss, "seconds": 0.0}
        )
    path = backbone.classifier_paths[0]
    head = new_classifier(backbone.head.get_submodule(path), len(source.classes)).to(run.device)
    holder = nn.ModuleDict({"classifier": head})
    probe.write(holder, "classifier")
    return SourceHead({path: head.requires_grad_(True)}, torch.arange(len(source.classes)), "new", "fitted")


def _no_new_head(backbone: Backbone, source: SourcePictures) -> UsageError:
    return UsageError(
        f"source.data: {source.train.source.where} has other classes than {backbone.name}, and its head has no single "
        "linear classifier to fit anew; name pictures of its own classes, or use lwf"
    )
