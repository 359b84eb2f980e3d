"""Judge an architecture where validation pictures are too few: over folds of training and validation pictures together.

    Folds of the task -> for each: a teacher and a network of these paths, trained without it -> both answer it
                      -> Drop over all pictures, each answered by networks that have not seen it

What is judged is the architecture with its training: every fold has a teacher of its own by the run's method at the run's
learning rate, and a network that begins as that teacher, without the paths that are gone, and is trained as long as the run's
student and its recovery together; the rounds between them found the paths, and are not repeated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from blocks import Backbone, Path
from blocks.teachers import Teacher
from nettailor.data.folds import Folds
from nettailor.data.task import Task
from nettailor.progress import PartDisplay
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.criterion import Drop, answered_right
from nettailor.pruning.refit import cut_and_refit
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import StudentConfig, TeacherConfig
from nettailor.training.finetuning import finetune
from nettailor.training.rates import students_teacher_keeps_features
from nettailor.training.recorder import NoRecorder
from nettailor.training.run import Run
from nettailor.training.stages import begin, fit_student, new_student, start_for, student_rate

MOST_FOLDS = 3
Teach = Callable[[Backbone, Task, TeacherConfig, Run], Teacher]
"""Trains a teacher for a task, as `finetune` does: its passes are those of the run's stage `teacher`."""


def wanted_folds(config: PruneConfig, task: Task) -> int:
    """Over how many folds a drop is to be judged: as configured, or `usual_folds` where a picture is more than that drop."""
    if config.how != "tolerance":
        return 0
    if config.folds is not None:
        return config.folds
    return usual_folds(len(task.train), len(task.val)) if 0 < config.drop < 100 / len(task.val) else 0


def usual_folds(train: int, val: int) -> int:
    """As few as train every network on as many pictures as the run's own, and `MOST_FOLDS` at most.

    All pictures are answered however few folds there are; every fold more costs a teacher and a network more, and each of
    these sees more pictures. With three folds they see two thirds, for half of what five would cost.
    """
    return min(MOST_FOLDS, math.ceil((train + val) / val))


class FoldJudge:
    """The drop of an architecture, picture by picture, over the folds of a task. Its time counts as the stage `folds`.

    Args:
        count: number of folds.
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
        self._folds = Folds(task, count, run.augmentation.group, run.seed)
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

        None as well where all pictures are one group (`data.group`), of which there are no folds.
        """
        count = wanted_folds(config, task)
        if count == 0:
            return None
        judge = cls(backbone, task, count, teacher, settings, run, teach, config)
        return judge if len(judge) > 1 else None

    def __len__(self) -> int:
        return len(self._folds)

    def drop(self, paths: Sequence[Path], stage: str, passes: int, allowed: float) -> tuple[Drop, int]:
        """What a network of these paths loses against the teachers, and over how many folds that was found.

        Folds end early where those that are answered show by themselves that more than the allowed points are lost.

        Args:
            stage: name of the networks' checkpoints.
            passes: that every network is trained.
        """
        with self._run.timed("folds"):
            self._run.display.say(
                f"folds      {stage} is judged over {len(self)} folds of training and validation pictures, with a teacher "
                f"and a network of {passes} passes for each; prune.folds=0 takes the validation pictures alone"
            )
            teachers, nets = [], []
            for number in range(len(self)):
                by_teacher, by_net = self._answers(number, list(paths), stage, passes)
                teachers.append(by_teacher)
                nets.append(by_net)
                found = Drop.between(torch.cat(teachers), torch.cat(nets))
                figures = f"teacher {by_teacher.double().mean():.3f}, {stage} {by_net.double().mean():.3f}"
                over = found.is_surely_beyond(allowed)
                enough = "; that is enough" if over and number + 1 < len(self) else ""
                self._run.display.say(f"folds      {number + 1} of {len(self)}: {figures}{enough}")
                if over:
                    break
        return found, len(nets)

    def _answers(self, number: int, paths: list[Path], stage: str, passes: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Which of a fold's pictures its teacher gets right, and a network of these paths: (n,) bool each."""
        task = self._folds.task(number)
        teacher = self._teacher_of(number, task)
        run = self._run_of(number, stage)
        net = new_student(self._backbone, task, self._settings, run)
        begin(net, task, self._settings, run, start_for(net, teacher, task, self._teacher, self._settings, run))
        rate = student_rate(self._settings.lr, run)
        refits = self._config.refits(students_teacher_keeps_features(rate, run.training))
        if refits and not run.checkpoints.has("student"):
            cut_and_refit(net, paths, task, run)
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
            checkpoints=Checkpoints(None if folder is None else folder / f"fold-{number + 1}-{name}"),
            display=PartDisplay(self._run.display, f"fold {number + 1}/{len(self)}"),
            recorder=NoRecorder(),
            fitted={},
            targets=None,
        )
