"""How much each branch of a grown network knows: the accuracy of all together, and of each with the others put to zero.

WholeNet, split -> {"val_accuracy_old": ..., "val_accuracy_new": ...}     after every pass, kept with the checkpoint
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from blocks.grown import CLASSIFIER, Grown
from blocks.whole import WholeNet
from nettailor.data.batches import evaluation_batches
from nettailor.data.task import Split

ALONE = "val_accuracy_"


@torch.no_grad()
def alone(net: WholeNet, split: Split) -> dict[str, float]:
    """Accuracy on a split of every branch that the classifier reads, the other branches' share of its input zero.

    Nothing where it reads but one. The net's mode is put back.
    """
    top, classifier = net.plan.top, net.head.get_submodule(CLASSIFIER)
    assert isinstance(top, Grown)
    assert isinstance(classifier, nn.Linear)
    widths = list(top.branches(net.backbone).values())
    if len(widths) < 2:
        return {}
    seen: list[Tensor] = []
    handle = classifier.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    was_training, right = net.training, [0] * len(widths)
    net.eval()
    try:
        for x, labels in evaluation_batches(split, net.spec, next(net.parameters()).device):
            net(x)
            parts = seen.pop().split(widths, 1)
            weights = classifier.weight.split(widths, 1)
            for number, (part, weight) in enumerate(zip(parts, weights, strict=True)):
                logits = nn.functional.linear(part, weight, classifier.bias)
                right[number] += int((logits.argmax(1) == labels).sum())
    finally:
        handle.remove()
        net.train(was_training)
    names = ["old", "new"] if len(widths) == 2 else ["old", *(f"new{number}" for number in range(1, len(widths)))]
    return {f"{ALONE}{name}": count / len(split) for name, count in zip(names, right, strict=True)}


@dataclass
class BranchWatch:
    """What was measured after every pass, in the memory that is kept with the checkpoint (`training.run.BeforeStep`)."""

    memory: dict[str, float] = field(default_factory=dict)
    is_over = True

    def __call__(self, epoch: float, /) -> None:
        """Change nothing of the training."""

    def take_down(self, epoch: int, metrics: dict[str, float]) -> None:
        """Keep the accuracies after `epoch` passes."""
        found = {name: value for name, value in metrics.items() if name.startswith("val_accuracy")}
        self.memory.update({f"{epoch}.{name}": value for name, value in found.items()})

    def passes(self) -> dict[int, dict[str, float]]:
        """The accuracies after every pass so far, by its number: `val_accuracy`, and each branch's."""
        found: dict[int, dict[str, float]] = {}
        for key, value in self.memory.items():
            number, _, name = key.partition(".")
            found.setdefault(int(number), {})[name] = value
        return dict(sorted(found.items()))
