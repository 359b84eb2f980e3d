"""What each branch of a grown network knows alone."""

from __future__ import annotations

import torch

from blocks import Backbone, NetPlan, Path
from blocks.grown import CLASSIFIER, Grown, Growth
from blocks.paths import UNIVERSAL
from blocks.whole import WholeNet
from nettailor.data.task import Task
from nettailor.training.branches import BranchWatch, alone
from nettailor.training.loop import accuracy


def grown(backbone: Backbone, *steps: Growth) -> WholeNet:
    paths = tuple(Path(layer, 0, UNIVERSAL) for layer in range(1, backbone.depth + 1))
    torch.manual_seed(0)
    return WholeNet(backbone, NetPlan(paths, 4, copied=True, gated=False, top=Grown(steps))).eval()


def test_a_branch_whose_share_of_the_classifier_is_zero_is_what_the_other_lacks(backbone: Backbone, task: Task) -> None:
    net = grown(backbone, Growth("width", 8)).train()
    classifier = net.head.get_submodule(CLASSIFIER)
    with torch.no_grad():
        classifier.weight[:, -8:] = 0  # type: ignore[index, operator]
    found = alone(net, task.val)
    assert net.training
    assert found["val_accuracy_old"] == accuracy(net, task.val)
    bias_alone = float((task.val.labels == int(classifier.bias.argmax())).float().mean())  # type: ignore[operator, union-attr]
    assert found["val_accuracy_new"] == bias_alone
    assert alone(grown(backbone, Growth("depth", 8)), task.val) == {}, "its classifier reads one branch"
    twice = alone(grown(backbone, Growth("width", 8), Growth("width", 4)), task.val)
    assert list(twice) == ["val_accuracy_old", "val_accuracy_new1", "val_accuracy_new2"]


def test_passes_are_kept_by_their_number() -> None:
    watch = BranchWatch()
    for epoch in (1, 2, 10):
        watch.take_down(epoch, {"val_accuracy": epoch / 10, "val_accuracy_old": 0.5, "loss": 9.0})
    again = BranchWatch(dict(watch.memory))
    assert again.passes()[10] == {"val_accuracy": 1.0, "val_accuracy_old": 0.5}
    assert list(again.passes()) == [1, 2, 10]
