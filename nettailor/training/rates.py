"""Which learning rate fits a network: a short training at each of a few, judged by the loss on the validation split.

    rates -> trial(rate): a fresh net, a few passes -> loss on validation -> the best rate, kept with the checkpoints

A pretrained network and few pictures want a far lower rate than one that has to learn much; neither the network alone nor
the number of pictures says which. The trials count as part of the stage that they are for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from blocks import InputSpec
from nettailor.data.batches import evaluation_batches
from nettailor.data.task import Split, Task
from nettailor.errors import TrainingError
from nettailor.progress import Display
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import TrainingConfig
from nettailor.training.loop import Schedule
from nettailor.training.recorder import NoRecorder
from nettailor.training.run import Fitted, Run

RATES = (2e-3, 5e-4, 1.25e-4)
SGD_RATES = (0.05, 0.01, 0.002)
"""That are tried with AdamW and with SGD, the usual one first."""
HIGH_RATE, SGD_HIGH_RATE = 1e-3, 0.015
"""From here on fine-tuning replaces pretrained features rather than keeping them."""
TRIAL_STEPS, MOST_TRIAL_EPOCHS = 30, 4
LEARNED = 0.95
"""A trial has learned something where its loss is below this part of what the classes' frequencies alone lose, or of what the
trial at the usual rate does."""
STUDENT_FACTOR = 2.0
"""A student's own tensors are few and new: twice the teacher's rate."""


def rates_of(training: TrainingConfig) -> Sequence[float]:
    """The rates that are tried with an optimiser."""
    return SGD_RATES if training.optimizer == "sgd" else RATES


def rates_of_few(training: TrainingConfig) -> Sequence[float]:
    """The rates that are tried where the backbone stays as it is and only a few tensors train, such as its norms'.

    A whole network would lose what it has learned at the higher ones.
    """
    usual, lower, _ = rates_of(training)
    return usual, 4 * usual, 16 * usual, lower


def usual_rate(training: TrainingConfig) -> float:
    """A teacher's peak rate where none was configured or found."""
    return rates_of(training)[0]


def keeps_features(rate: float, training: TrainingConfig) -> bool:
    """Whether a network that is fine-tuned at this peak rate keeps its pretrained features."""
    return rate < (SGD_HIGH_RATE if training.optimizer == "sgd" else HIGH_RATE)


def students_teacher_keeps_features(student_rate: float, training: TrainingConfig) -> bool:
    """Whether a peak rate of a student's own tensors goes with a teacher that kept its pretrained features."""
    return keeps_features(student_rate / STUDENT_FACTOR, training)


def search_rate(
    stage: str,
    trial: Callable[[float, Run], float],
    task: Task,
    batch: int,
    run: Run,
    rates: Sequence[float] = RATES,
    settle: Callable[[float], float] = lambda best: best,
) -> float:
    """The rate whose short training ends with the lowest loss; the first, where none has learned anything.

    From random weights a few passes may not be enough to see anything, and the lowest of such losses would be a matter of
    chance, and often the lowest rate's.

    Args:
        stage: that the rate is for; what was found is kept as its checkpoint `STAGE-rate`.
        trial: trains a fresh net at a rate for `trial_epochs`, in a run that keeps and shows nothing, and returns the loss on
            validation.
        rates: that are tried, the usual one first; those of AdamW if left out.
        settle: given the rate of the lowest loss, after all trials, the one to take.
    """
    name, kept = f"{stage}-rate", run.checkpoints.load(f"{stage}-rate")
    if kept is None:
        epochs = trial_epochs(len(task.train), batch, run.training.accumulate)
        quiet = replace(
            run, checkpoints=Checkpoints(None), display=Display(quiet=True), recorder=NoRecorder(), fitted={}
        )
        losses: dict[float, float] = {}
        for rate in rates:
            try:
                losses[rate] = trial(rate, quiet)
            except TrainingError:  # a gradient that is not finite: this rate is too high
                losses[rate] = math.inf
            run.display.say(f"{stage:<10} rate {rate:g}: loss {losses[rate]:.3f} on validation after {epochs} pass(es)")
        usual = next((rate for rate in rates if math.isfinite(losses[rate])), rates[0])
        best = settle(min(rates, key=lambda rate: losses[rate] if math.isfinite(losses[rate]) else math.inf))
        if losses[best] >= LEARNED * max(constant_loss(task), losses[usual]):
            best = usual
            run.display.say(f"{stage:<10} no rate has learned anything so soon: {best:g}, as is usual")
        tried = {f"{rate:g}": loss if math.isfinite(loss) else None for rate, loss in losses.items()}
        kept = {}, {"rate": best, "tried": tried, "epochs": epochs * len(rates), "seconds": 0.0}
        run.checkpoints.save(name, *kept)
    notes = kept[1]
    run.fitted[name] = Fitted({"rate": notes["rate"]}, notes["seconds"], notes["epochs"])
    return float(notes["rate"])


def settle_by_steps(best: float, losses: Mapping[float, Tensor], training: TrainingConfig, many_steps: bool) -> float:
    """The rate to take where short trainings can't tell the usual one from those that keep pretrained features.

    A short training speaks for low rates, the more so the smaller the part of the whole that it is (Wu et al. 2018,
    "short-horizon bias"). Where many steps follow, the usual rate is taken unless a lower one's loss is lower by more than
    two standard errors; where few do, as with few photographs, only if its own is lower by more than one.

    Args:
        best: the rate of the lowest loss.
        losses: of each picture of the validation split (n,), after trials that began alike, by rate; none where one failed.
    """
    usual = usual_rate(training)
    others = {rate: loss for rate, loss in losses.items() if rate != usual and math.isfinite(float(loss.mean()))}
    if usual not in losses or not math.isfinite(float(losses[usual].mean())) or not others:
        return best
    lower = min(others, key=lambda rate: float(others[rate].mean()))
    gain = others[lower] - losses[usual]
    mean, error = float(gain.mean()), float(gain.std()) / math.sqrt(len(gain))
    return usual if mean > (-2 * error if many_steps else error) else lower


def trial_epochs(pictures: int, batch: int, accumulate: int = 1) -> int:
    """Passes of a trial: as many as make up some steps, where there are few pictures."""
    return min(MOST_TRIAL_EPOCHS, math.ceil(TRIAL_STEPS / Schedule(1, batch).steps_of(pictures, accumulate)))


def constant_loss(task: Task) -> float:
    """Mean cross entropy on the validation split of answers that are the classes' frequencies among the training pictures."""
    asked = task.val.labels
    counts = torch.bincount(task.train.labels, minlength=len(task.classes)) + 1  # a class of none may be asked for
    return float(cross_entropy(torch.log(counts / counts.sum()).expand(len(asked), -1), asked))


def loss_on(net: nn.Module, split: Split, spec: InputSpec) -> float:
    """Mean cross entropy of a net in eval mode, where the net is; its mode is put back."""
    return float(losses_on(net, split, spec).mean())


@torch.no_grad()
def losses_on(net: nn.Module, split: Split, spec: InputSpec) -> Tensor:
    """The same picture by picture: (n,), on the CPU."""
    device = next(net.parameters()).device
    training = net.training
    net.eval()
    batches = evaluation_batches(split, spec, device)
    found = [cross_entropy(net(x).float(), labels, reduction="none").cpu() for x, labels in batches]
    net.train(training)
    return torch.cat(found).double()
