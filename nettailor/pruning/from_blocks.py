"""The first networks where training is at a low rate: cut out of a student's blocks as they began, before it was trained.

    begun student, its blocks alone -> what each layer loses with the thinned block in the place of its block
                                    -> the best network of each size -> cut, fitted to what the blocks gave -> Pruned

The blocks of a student that has begun answer nearly as its teacher does. A student that is trained mixes them with their
proxies, and a network that is nearly all blocks is farther from the teacher when it is cut out of that mixture. Whether it
comes within the drop is left to recovery: at a low rate a training between removals brings back little.
"""

from __future__ import annotations

import math

from blocks import Path, TailoredNet
from blocks.memory import pictures_at_once
from blocks.teachers import Teacher
from blocks.warm_start import thinned_paths
from nettailor.data.task import Task
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.criterion import ROUNDING
from nettailor.pruning.graph import BlockGraph, GraphError
from nettailor.pruning.importance import Refits, losses_in_place_of_blocks, some_pictures
from nettailor.pruning.job import Job
from nettailor.pruning.prune import Pruned
from nettailor.pruning.refit import count_to_fit_on, cut_blocks_and_refit
from nettailor.pruning.rounds import Rounds, Trial, Whole
from nettailor.pruning.solver import Option, within_budget
from nettailor.pruning.states import Begun
from nettailor.training.checkpoint import restore
from nettailor.training.config import StudentConfig
from nettailor.training.loop import accuracy
from nettailor.training.run import Run

PREFIX = "blocks-"


def prune_blocks(
    student: TailoredNet,
    begun: Begun | None,
    teacher: Teacher,
    task: Task,
    config: PruneConfig,
    settings: StudentConfig,
    run: Run,
) -> tuple[Pruned, bool] | None:
    """Try networks in which thinned blocks replace some blocks, from the largest down.

    They end where more of them in a row than `patience` are below what recovery can bring back.

    Args:
        student: has the choice afterwards.
        begun: what the task owned of it before it was trained.

    Returns:
        None where nothing is tried: it is for pruning to a drop, with cuts that are fitted anew, and for blocks that can be
        thinned. Else what was found, and whether they ended because no such network is cheaper: then there may be a leaner
        one in the trained student.
    """
    job = Job(student, teacher, task, config, settings, run, accuracy(teacher, task.val))
    is_free = config.how == "tolerance" and config.epochs is None and job.fits_anew
    if begun is None or not is_free or not thinned_paths(student):
        return None
    begun.put_into(student)
    whole = Whole.of(student, task)
    state, _ = Rounds.resume(student, task, run, whole, PREFIX)
    if not state.over:
        _search(job, begun, state, whole.val_accuracy)
    restore(student.task_tensors(), state.best, "student")
    graph, looked_at = BlockGraph.of(student), state.importance_passes
    found = Pruned(graph, job.least, state.best_value, state.trials, 0, looked_at, state.steps, whole)
    return found, state.misses <= config.patience


def _search(job: Job, begun: Begun, state: Rounds, before: float) -> None:
    """The networks of all sizes, one after the other.

    Args:
        before: accuracy of the blocks alone on the validation split.
    """
    student = job.student
    begun.put_into(student)
    graph = BlockGraph.of(student)
    options = _losses(job, state, graph)
    price, tried = student.cost_model.blocks, [trial.paths for trial in state.trials]
    while state.misses <= job.config.patience:
        price *= math.sqrt(job.config.shrink)
        try:
            left = within_budget(graph, options, price)
        except GraphError:
            break  # no network is that cheap
        paths = [path.key for path in left.paths]
        if paths not in tried:
            tried.append(paths)
            begun.put_into(student)
            _try(job, state, graph, left, before)
    state.over = True
    if state.trials:
        state.save(student, job.run, len(state.trials))


def _losses(job: Job, state: Rounds, graph: BlockGraph) -> list[Option]:
    """What each layer loses with its thinned block in the place of its block, all others being blocks."""
    student, task, thin = job.student, job.task, thinned_paths(job.student)
    pictures = min(job.config.pictures_to_measure_on(job.keeps_features), len(task.val))
    size = pictures_at_once(student.backbone.shapes, pictures)
    refits = Refits.of(student, task, job.run, job.teacher)
    seen = some_pictures(student, task, pictures, size, refits)  # held to what the teacher answers; nothing is fitted
    with job.run.display.turns(
        "prune      measuring thinned blocks", len(thin) * math.ceil(pictures / size)
    ) as advance:
        found = losses_in_place_of_blocks(student, thin, seen, advance)
    state.importance_passes += len(thin) * pictures / len(task.train)
    return [*(Option(path.target, frozenset([path]), 0.0) for path in graph.paths if path.is_universal), *found]


def _try(job: Job, state: Rounds, whole: BlockGraph, left: BlockGraph, before: float) -> None:
    """Cut one network out of the blocks of the begun student.

    Args:
        whole: the graph of the student.
        before: accuracy of the blocks alone on the validation split.
    """
    student, task = job.student, job.task
    cut_blocks_and_refit(student, left.paths, task, job.run)
    after = accuracy(student, task.val)
    state.importance_passes += (count_to_fit_on(student, task, job.run) + len(task.val)) / len(task.train)
    kept: set[Path] = set(left.paths)
    removed = [path.key for path in whole.paths if path not in kept]
    keys = [path.key for path in left.paths]
    trial = Trial(keys, left.macs(), left.price(), after, removed, 0, before, after, from_blocks=True)
    allowed = job.config.drop / 100 + ROUNDING
    state.record(student, trial, job.least, allowed, job.reach(after))
    state.save(student, job.run, len(state.trials))
    job.say("the blocks", trial)
