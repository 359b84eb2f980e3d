"""From a trained student to the leanest network within the drop: what is tried, and what of it is recovered.

blocks as they began -> networks of thinned blocks -> recover -> the leanest of all these is within the drop, or a front
                                                                 is wanted: train, rounds below them -> recover
elsewhere            -> train -> rounds -> recover

The student itself is trained only where something is cut out of it.
"""

from __future__ import annotations

from collections.abc import Callable

from blocks import TailoredNet
from blocks.teachers import Teacher
from nettailor.data.task import Task
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.folds import FoldJudge
from nettailor.pruning.from_blocks import prune_blocks
from nettailor.pruning.prune import Pruned, prune
from nettailor.pruning.recover import Recovered, recover_leanest
from nettailor.pruning.states import Begun, snapshot
from nettailor.training.checkpoint import restore
from nettailor.training.config import RecoverConfig, StudentConfig
from nettailor.training.run import Run


def prune_and_recover(
    student: TailoredNet,
    begun: Begun | None,
    train: Callable[[], None],
    teacher: Teacher,
    task: Task,
    config: PruneConfig,
    recovery: RecoverConfig,
    settings: StudentConfig,
    run: Run,
    judge: FoldJudge | None = None,
) -> tuple[Pruned, Recovered]:
    """Prune a student and recover what is left, in place. The time counts as the stages `prune` and `recover`.

    Args:
        student: as it began, or as it was trained by another run.
        begun: what the task owned of it before it was trained, where that is known.
        train: trains it as it is then; called at most once, and not at all where no rounds are needed.
        settings: how it is trained.
        judge: of the drop, as for `recover_leanest`.

    Raises:
        GraphError: a budget that no network of these paths meets.
    """

    def recovered(pruned: Pruned, before: Recovered | None = None) -> Recovered:
        with run.timed("recover"):
            return recover_leanest(student, teacher, task, pruned, recovery, config.drop, settings, run, judge, before)

    with run.timed("prune"):
        asks = recovery.epochs != 0  # of a network of blocks recovery says whether it is within the drop
        first = prune_blocks(student, begun, teacher, task, config, settings, run) if asks else None
    if first is None or begun is None:
        train()
        with run.timed("prune"):
            pruned = prune(student, teacher, task, config, settings, run)
        return pruned, recovered(pruned)
    found, is_open = first
    choice, ended = snapshot(student), recovered(found)
    if not config.front and not (is_open and ended.took_leanest_of(found)):
        return found, ended
    begun.put_into(student)
    train()
    with run.timed("prune"):
        below = min((trial.price for trial in found.trials), default=student.cost_model.blocks)
        more = prune(student, teacher, task, config, settings, run, below)
    restore(student.task_tensors(), choice, "student")
    found = found.then(more)
    return found, recovered(found, ended)
