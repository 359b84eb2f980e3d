"""What all trainings of a run share beside nets and data: seed, device, augmentation, checkpoints, display, figures.

Run -> stage -> Run.fitted[stage], Run.seconds, checkpoints, Run.recorder
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch

from nettailor.data.config import DataConfig
from nettailor.progress import Display
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import TrainingConfig
from nettailor.training.recorder import NoRecorder, Recorder
from nettailor.training.stage_seconds import StageSeconds

if TYPE_CHECKING:
    from nettailor.training.targets import TeacherTargets


class BeforeStep(Protocol):
    """Something that happens while a net trains, such as paths that fade out; `memory` is what it has found so far."""

    memory: dict[str, float]

    @property
    def is_over(self) -> bool:
        """Whether it will not change the net any more: no pass before that is one to go back to."""
        ...

    def __call__(self, epoch: float, /) -> None: ...


@dataclass
class Fitted:
    """What a stage leaves behind: the metrics of the net that it ends with, its seconds, and the epochs that really ran."""

    metrics: dict[str, float]
    seconds: float
    epochs: int = 0


@dataclass
class Run:
    """What stages need beside nets and data. The default keeps nothing, shows nothing and runs on the CPU.

    `fitted` fills with what each stage measured, by the stage's name; `seconds` with where the time went; `rate` is the peak
    learning rate of the teacher and `targets` its answers, once they are known. `shared` is what a method's own stages hand
    on to each other in memory, by name.
    """

    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "float32"
    augmentation: DataConfig = field(default_factory=DataConfig)
    checkpoints: Checkpoints = field(default_factory=lambda: Checkpoints(None))
    display: Display = field(default_factory=lambda: Display(quiet=True))
    recorder: Recorder = field(default_factory=NoRecorder)
    fitted: dict[str, Fitted] = field(default_factory=dict)
    seconds: StageSeconds = field(default_factory=StageSeconds)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    rate: float | None = None
    targets: TeacherTargets | None = None
    shared: dict[str, Any] = field(default_factory=dict)

    def timed(self, stage: str) -> AbstractContextManager[None]:
        """Count the time inside for a stage."""
        return self.seconds.stage(stage)

    def passes(self, stage: str) -> int:
        """Passes over the training pictures that a stage took, with the search for its rate."""
        search = self.fitted.get(f"{stage}-rate")
        return self.fitted[stage].epochs + (0 if search is None else search.epochs)

    def autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 autocast where the recipe wants it."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
