"""Which learning rate fits a network: a short training at each of a few, judged by the loss on the validation split.

    rates -> trial(rate): a fresh net, a few passes -> loss on validation -> the best rate, kept with the checkpoints

A pretrained network and few pictures want a far lower rate than one that has to learn much; neither the network alone nor
the number of pictures says which. The trials count as part of the stage that they are for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from blocks import InputSpec
from nettailor.data.batches import evaluation_batches
from nettailor.data.task import Split
from nettailor.errors import TrainingError
from nettailor.progress import Display
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.loop import Run, no_scalars

RATES = (2e-3, 5e-4, 1.25e-4)
USUAL = RATES[0]
TRIAL_EPOCHS = 2
STUDENT_FACTOR = 2.0
"""A student's own tensors are few and new: twice the teacher's rate."""


def search_rate(stage: str, trial: Callable[[float, Run], float], run: Run) -> float:
    """The rate whose short training ends with the lowest loss.

    Args:
        stage: that the rate is for; what was found is kept as its checkpoint `STAGE-rate`.
        trial: trains a fresh net at a rate, in a run that keeps and shows nothing, and returns the loss on validation.
    """
    kept = run.checkpoints.load(f"{stage}-rate")
    if kept is not None:
        return float(kept[1]["rate"])
    quiet = replace(run, checkpoints=Checkpoints(None), display=Display(quiet=True), scalars=no_scalars, fitted={})
    losses: dict[float, float] = {}
    for rate in RATES:
        try:
            losses[rate] = trial(rate, quiet)
        except TrainingError:  # a gradient that is not finite: this rate is too high
            losses[rate] = math.inf
        run.display.say(f"{stage}    rate {rate:g}: loss on validation {losses[rate]:.3f} after {TRIAL_EPOCHS} passes")
    best = min(losses, key=lambda rate: losses[rate] if math.isfinite(losses[rate]) else math.inf)
    tried = {f"{rate:g}": loss if math.isfinite(loss) else None for rate, loss in losses.items()}
    run.checkpoints.save(f"{stage}-rate", {}, {"rate": best, "tried": tried, "seconds": 0.0})
    return best


def search_passes(configured: float | None) -> int:
    """Passes over the training pictures that a search takes; none where the rate is configured."""
    return 0 if configured is not None else len(RATES) * TRIAL_EPOCHS


@torch.no_grad()
def loss_on(net: nn.Module, split: Split, spec: InputSpec) -> float:
    """Mean cross entropy of a net in eval mode, where the net is; its mode is put back."""
    device = next(net.parameters()).device
    training = net.training
    net.eval()
    total = 0.0
    for x, labels in evaluation_batches(split, spec, device):
        total += float(cross_entropy(net(x).float(), labels, reduction="sum"))
    net.train(training)
    return total / len(split)
