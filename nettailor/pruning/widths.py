"""How many channels thinned blocks have inside, chosen for each before a student trains (docs/how_it_works.md).

    student as it begins -> each width of each thinned block, fitted, in its place -> what it costs, what it loses
                         -> one rate of exchange for all layers, by which a network is as lean as it is wanted
                         -> the width that is best by it, layer by layer

Where training is at a rate that keeps pretrained features it brings back little of what too narrow a block lost, and what
that is differs from block to block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from blocks import TailoredNet
from blocks.memory import pictures_at_once
from blocks.paths import UNIVERSAL
from blocks.proxies import AUTO
from blocks.teachers import Teacher
from blocks.thinned import PARTS
from blocks.warm_start import ThinnedChannels, fit_proxies, thinned_paths
from nettailor.data.task import Task
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.criterion import ROUNDING
from nettailor.pruning.importance import Refits, losses_in_place_of_blocks, some_pictures
from nettailor.training.config import StudentConfig
from nettailor.training.run import Run
from nettailor.training.stages import has_begun, students_rate_keeps_features, warm_pictures

STAGE = "student-widths"
LOSS = 0.2
"""Nats for each point of accuracy that may be lost: so much do the layers of the network lose together that widths are chosen
for, where pruning is not to a given cost. Training brings back a good part of it."""


@dataclass(frozen=True)
class Way:
    """One way to leave a layer: what it costs, in the unit of the run, and what it loses."""

    price: float
    loss: float


Ways = Mapping[str, Way]
"""By the form of the one path that the layer keeps, its block (`UNIVERSAL`) among them."""


def choose_widths(
    student: TailoredNet, teacher: Teacher, task: Task, prune: PruneConfig, settings: StudentConfig, run: Run
) -> float:
    """Give the thinned blocks of a student that has begun the widths that suit them, and fit them to their blocks.

    Nothing is done where the recipe names a form of proxy or fits none at the start, where cuts are not fitted anew, or where
    the run counts in milliseconds: what each width takes would have to be measured.

    Returns:
        What was looked at, in passes over the training pictures, forward alone.
    """
    kept = run.checkpoints.load(STAGE)
    if has_begun(run):  # it goes on from there, and has them already (`kept_widths`)
        return 0.0 if kept is None else float(kept[1]["passes"])
    if not _are_free(student, prune, settings, run):
        return 0.0
    trial = _Trial(student, task, settings, run)
    if kept is None:
        forms, passes = trial.choice(teacher, prune)
        run.checkpoints.save(STAGE, {}, {"forms": forms, "passes": passes})
    else:
        forms, passes = kept[1]["forms"], kept[1]["passes"]
    trial.take(forms)
    return passes


def kept_widths(run: Run) -> dict[str, str]:
    """The forms that were chosen for the thinned blocks of a student that has begun, by the keys of their paths.

    None where nothing was chosen: earlier versions trained students with quarters alone.
    """
    kept = run.checkpoints.load(STAGE) if has_begun(run) else None
    return {} if kept is None else dict(kept[1]["forms"])


def best_widths(ways: Mapping[int, Ways], is_enough: Callable[[float, float], bool]) -> dict[int, str]:
    """A form for each layer: of the network of least loss by one rate of exchange, the lowest at which it is lean enough.

    A layer whose block stays in that network takes the form that replaces it first where the rate rises; where no network is
    lean enough, all take their cheapest.

    Args:
        ways: to leave each layer.
        is_enough: by the price and the loss of all these layers together, whether a network need be no leaner.
    """
    chosen: dict[int, str] = {}
    is_reached = False
    for rate in sorted({rate for some in ways.values() for rate in _rates(some)}):
        best = {layer: _best(some, rate) for layer, some in ways.items()}
        found = [ways[layer][form] for layer, form in best.items()]
        is_reached = is_reached or is_enough(sum(way.price for way in found), sum(way.loss for way in found))
        for layer, form in best.items() if is_reached else ():
            if form != UNIVERSAL:
                chosen.setdefault(layer, form)
    return {layer: chosen.get(layer) or min(some, key=lambda form: some[form].price) for layer, some in ways.items()}


def _best(ways: Ways, rate: float) -> str:
    """The form of least loss and price, prices exchanged for losses at a rate; the cheapest of equals."""
    return min(ways, key=lambda form: (ways[form].loss + rate * ways[form].price, ways[form].price))


def _rates(ways: Ways) -> list[float]:
    """Just above where one way becomes as good as another that costs more."""
    pairs = [(dear, cheap) for dear in ways.values() for cheap in ways.values() if dear.price > cheap.price]
    return [max(0.0, (cheap.loss - dear.loss) / (dear.price - cheap.price)) * (1 + ROUNDING) for dear, cheap in pairs]


def _are_free(student: TailoredNet, prune: PruneConfig, settings: StudentConfig, run: Run) -> bool:
    """Whether a run leaves the widths of its thinned blocks open, and has some."""
    refits = prune.refits(students_rate_keeps_features(prune.lr, run))
    is_open = settings.proxies == AUTO and settings.warm_start > 0 and refits
    return is_open and student.cost_model.unit != "latency" and len(thinned_paths(student)) > 0


class _Trial:
    """A student that has begun, in which all thinned blocks take one width after another."""

    def __init__(self, student: TailoredNet, task: Task, settings: StudentConfig, run: Run) -> None:
        self._student, self._task, self._run = student, task, run
        self._batches, self._count = warm_pictures(student, task, settings, run)
        self._channels = ThinnedChannels(student, self._batches, self._count)

    def take(self, forms: Mapping[str, str]) -> None:
        """Give thinned blocks widths, by the keys of their paths, and fit them to their blocks.

        What a fit leaves as it is, their low-rank weights, is drawn by the seed: the same in a run that goes on.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._run.seed + 2)
            self._student.reform(forms)
        self._channels.write()
        fit_proxies(self._student, self._batches, self._count, thinned_paths(self._student))

    def choice(self, teacher: Teacher, prune: PruneConfig) -> tuple[dict[str, str], float]:
        """The form of every thinned block, by the key of its path, and the passes that it took to find them."""
        task, model = self._task, self._student.cost_model
        thin = {path.target: path.key for path in thinned_paths(self._student)}
        pictures = min(prune.pictures_to_measure_on(True), len(task.val))
        ways = self._ways(teacher, pictures, thin)
        others = sum(price for path, price in model.paths.items() if path.is_universal and path.target not in thin)
        if prune.how == "budget" and prune.budget is not None:
            limit = model.limit(prune.budget) - others
            chosen = best_widths(ways, lambda price, loss: price <= limit)
        else:
            chosen = best_widths(ways, lambda price, loss: loss >= LOSS * prune.drop)
        fitted = (len(PARTS) + 2) * self._count
        passes = (fitted + len(PARTS) * len(thin) * pictures) / len(task.train)
        return {key: chosen[layer] for layer, key in thin.items()}, passes

    def _ways(self, teacher: Teacher, pictures: int, thin: Mapping[int, str]) -> Mapping[int, Ways]:
        """Of each layer with a thinned block, `thin` of which are the keys of their paths: its block, and every width."""
        student = self._student
        prices = {path.target: price for path, price in student.cost_model.paths.items() if path.is_universal}
        ways: dict[int, dict[str, Way]] = {layer: {UNIVERSAL: Way(prices[layer], 0.0)} for layer in thin}
        refits = Refits.of(student, self._task, self._run, teacher)
        size = pictures_at_once(student.backbone.shapes, pictures)
        turns = len(PARTS) * len(thin) * -(-pictures // size)
        with self._run.display.turns("student    measuring how wide blocks are to be", turns) as advance:
            for form in PARTS:
                self.take(dict.fromkeys(thin.values(), form))
                seen = some_pictures(student, self._task, pictures, size, refits)
                for option in losses_in_place_of_blocks(student, thinned_paths(student), seen, advance):
                    (path,) = option.kept
                    ways[option.layer][form] = Way(student.cost_model.paths[path], max(0.0, option.loss))
        return ways
