"""Judge an architecture where validation pictures are too few: over folds of training and validation pictures together.

    validation pictures: the run's teacher and its recovered network have not been trained on them, and answer them
    parts of the training pictures -> for each: a teacher and a network of these paths, trained without it -> both answer it
                      -> Drop over all pictures, each answered by networks that have not seen it

What is judged is the architecture with its training: every part has a teacher of its own by the run's method at the run's
learning rate, and a network that begins as that teacher, without the paths that are gone. It is trained as long as the run's
student and its recovery together, or its recovery alone where that is all the training that it had; the rounds between them
found the paths, and are not repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from blocks import Backbone, Path
from blocks.teachers import Teacher
from nettailor.data.folds import Folds
from nettailor.data.task import Task
from nettailor.progress import PartDisplay
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.criterion import Drop, answered_right, are_too_few
from nettailor.pruning.refit import cut_and_refit, cut_blocks_and_refit
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import StudentConfig, TeacherConfig
from nettailor.training.finetuning import finetune
from nettailor.training.recorder import NoRecorder
from nettailor.training.run import Run
from nettailor.training.stages import (
    begin,
    fit_student,
    new_student,
    start_for,
    student_rate,
    students_rate_keeps_features,
)

LEAST_TRAINED = Fraction(2, 3)
"""Of as many pictures as the run trains on: with so many every other network of a judgement is trained, at least."""
Teach = Callable[[Backbone, Task, TeacherConfig, Run], Teacher]
"""Trains a teacher for a task, as `finetune` does: its passes are those of the run's stage `teacher`."""


def wanted_folds(config: PruneConfig, task: Task) -> int:
    """Over how many folds a drop is to be judged: as configured, or `usual_folds` where a picture is more than that drop."""
    if config.how != "tolerance":
        return 0
    if config.folds is not None:
        return config.folds
    return usual_folds(len(task.train), len(task.val)) if are_too_few(len(task.val), config.drop) else 0


def usual_folds(train: int, val: int) -> int:
    """The validation split and as few parts of the training pictures as leave enough to train on (`LEAST_TRAINED`).

    All pictures are answered however few folds there are; every part more costs a teacher and a network more.
    """
    least = LEAST_TRAINED * train
    return 1 + next(parts for parts in range(1, train + 1) if val + train - Fraction(train, parts) >= least)


class FoldJudge:
    """The drop of an architecture, picture by picture, over the folds of a task. Its time counts as the stage `folds`.

    Args:
        count: number of folds, of which the validation split is one.
        settings: how the student was trained; the complexity term is off.
        run: whose learning rate is known by now; checkpoints of the folds lie beside its own.
        teach: how teachers are trained.
        config: how a network loses the paths that are gone, before its training.
    """

    def __init__(
        self,
        backbone: Backbone,
        task: Task,
        count: int,
        teacher: TeacherConfig,
        settings: StudentConfig,
        run: Run,
        teach: Teach = finetune,
        config: PruneConfig | None = None,
    ) -> None:
        self._backbone, self._run, self._teach, self._config = backbone, run, teach, config or PruneConfig()
        self._folds = Folds(task, count - 1, run.augmentation.group, run.seed)
        self._teacher = replace(teacher, lr=run.rate)
        self._settings = replace(settings, complexity_weight=0.0)
        self._teachers: dict[int, Teacher] = {}
        self.passes = 0.0

    @classmethod
    def of(
        cls,
        backbone: Backbone,
        task: Task,
        config: PruneConfig,
        teacher: TeacherConfig,
        settings: StudentConfig,
        run: Run,
        teach: Teach = finetune,
    ) -> FoldJudge | None:
        """A judge where the config wants one, or leaves it open and one validation picture is more than the allowed drop.

        None as well where parts of the training pictures are wanted, and they are one group (`data.group`).
        """
        count = wanted_folds(config, task)
        if count == 0:
            return None
        judge = cls(backbone, task, count, teacher, settings, run, teach, config)
        return judge if len(judge) >= min(count, 3) else None

    def __len__(self) -> int:
        return 1 + len(self._folds)

    def drop(
        self,
        answered: tuple[Tensor, Tensor],
        paths: Sequence[Path],
        stage: str,
        passes: int,
        allowed: float,
        from_blocks: bool = False,
    ) -> tuple[Drop, int]:
        """What a network of these paths loses against the teachers, and over how many folds that was found.

        Folds end early where those that are answered show by themselves that more than the allowed points are lost.

        Args:
            answered: which validation pictures the run's teacher gets right, and its network: (n,) bool each.
            stage: name of the networks' checkpoints.
            passes: that every other network is trained.
            from_blocks: whether they are cut out of the blocks alone.
        """
        with self._run.timed("folds"):
            self._run.display.say(
                f"folds      {stage} is judged over {len(self)} folds: validation, and {len(self) - 1} of training pictures, "
                f"each with a teacher and a network of {passes} passes; prune.folds=0 takes validation alone"
            )
            teachers, nets = [answered[0]], [answered[1]]
            found = self._so_far(teachers, nets, stage)
            for number in range(len(self._folds)):
                if found.is_surely_beyond(allowed):
                    self._run.display.say("folds      that is enough")
                    break
                by_teacher, by_net = self._answers(number, list(paths), stage, passes, from_blocks)
                teachers.append(by_teacher)
                nets.append(by_net)
                found = self._so_far(teachers, nets, stage)
        return found, len(nets)

    def _so_far(self, teachers: list[Tensor], nets: list[Tensor], stage: str) -> Drop:
        """The drop over the folds that are answered; how the last of them ended is said."""
        last_teacher, last_net = (float(each[-1].double().mean()) for each in (teachers, nets))
        figures = f"teacher {last_teacher:.3f}, {stage} {last_net:.3f}"
        self._run.display.say(f"folds      {len(nets)} of {len(self)}: {figures}")
        return Drop.between(torch.cat(teachers), torch.cat(nets))

    def _answers(
        self, number: int, paths: list[Path], stage: str, passes: int, from_blocks: bool
    ) -> tuple[Tensor, Tensor]:
        """Which pictures of a part its teacher gets right, and a network of these paths: (n,) bool each."""
        task = self._folds.task(number)
        teacher = self._teacher_of(number, task)
        run = self._run_of(number, stage)
        net = new_student(self._backbone, task, self._settings, run)
        net.reform({path.key: path.form for path in paths if path not in net.paths})
        begin(net, task, self._settings, run, start_for(net, teacher, task, self._teacher, self._settings, run))
        rate = student_rate(self._settings.lr, run)
        refits = self._config.refits(students_rate_keeps_features(self._settings.lr, run))
        if refits and not run.checkpoints.has("student"):
            (cut_blocks_and_refit if from_blocks else cut_and_refit)(net, paths, task, run)
        net.keep(paths)
        fit_student("student", net, teacher, task, self._settings, passes, rate, run)
        trained = run.passes("student") + (run.passes("start") if "start" in run.fitted else 0)
        self.passes += trained * len(task.train) / self._pictures
        return answered_right(teacher, task.val), answered_right(net, task.val)

    def _teacher_of(self, number: int, task: Task) -> Teacher:
        if number not in self._teachers:
            run = self._run_of(number, "teacher")
            self._teachers[number] = self._teach(self._backbone, task, self._teacher, run)
            self.passes += run.passes("teacher") * len(task.train) / self._pictures
        return self._teachers[number]

    @property
    def _pictures(self) -> int:
        """Training pictures of the run itself, which its passes are counted in."""
        return self._folds.training_pictures

    def _run_of(self, number: int, name: str) -> Run:
        """A run for one training of a fold: like the run itself, with no word of its own; it goes on where it was."""
        folder = self._run.checkpoints.folder
        return replace(
            self._run,
            checkpoints=Checkpoints(None if folder is None else folder / f"fold-{number + 2}-{name}"),
            display=PartDisplay(self._run.display, f"fold {number + 2}/{len(self)}"),
            recorder=NoRecorder(),
            fitted={},
            targets=None,
        )
