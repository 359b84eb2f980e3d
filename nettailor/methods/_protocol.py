"""What every method answers, what it is given, and what it hands back.

Recipe, Context -> Method.train -> Trained -> (jobs) delta, report
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic.dataclasses import dataclass as settings

from blocks import Backbone, CompactNet, Path
from blocks.teachers import Teacher
from nettailor.artifacts.pareto import FrontPoint
from nettailor.artifacts.report import PruneFigures, Report, StudentFigures
from nettailor.artifacts.run_folder import RunFolder
from nettailor.data.config import DataConfig
from nettailor.data.task import Task
from nettailor.errors import UsageError
from nettailor.pruning.config import PruneConfig
from nettailor.schema import STRICT
from nettailor.training.config import RecoverConfig, StudentConfig, TeacherConfig, TrainingConfig
from nettailor.training.run import Run


@settings(config=STRICT, frozen=True)
class MethodSettings:
    """What stands under `method` in a recipe: the method's name, and in a subclass its own settings."""

    name: str


class Sections(Protocol):
    """What a method reads of a recipe (`nettailor.jobs.recipe.Recipe`)."""

    @property
    def seed(self) -> int: ...
    @property
    def cost(self) -> str: ...
    @property
    def cost_table(self) -> str | None: ...
    @property
    def data(self) -> DataConfig: ...
    @property
    def training(self) -> TrainingConfig: ...
    @property
    def teacher(self) -> TeacherConfig: ...
    @property
    def student(self) -> StudentConfig: ...
    @property
    def prune(self) -> PruneConfig: ...
    @property
    def recover(self) -> RecoverConfig: ...
    @property
    def method(self) -> MethodSettings: ...


@dataclass(frozen=True)
class Context:
    """What a running job holds. `data_hash` is the pictures' fingerprint."""

    recipe: Sections
    backbone: Backbone
    task: Task
    run: Run
    folder: RunFolder
    data_hash: str


@dataclass(frozen=True)
class FinishedRun:
    """What a method may take over of another one's finished run: its report, and the kept paths of its compact net."""

    report: Report
    paths: tuple[Path, ...]

    @property
    def passes(self) -> float:
        """All passes over the training pictures that the run took, its teacher's included."""
        return sum(self.report.epochs.values())


@dataclass(frozen=True)
class Taught:
    """A network to learn from (`nettailor.methods._teachers`).

    Attributes:
        method: that trained it.
        gives: what is taken of it, as `artifacts.report.TeacherFigures` says.
    """

    net: Teacher
    method: str
    gives: tuple[str, ...] = ()


@dataclass
class Trained:
    """What a method ends with.

    Attributes:
        net: what the delta holds.
        teacher: the network that it learned from, if it did.
        epochs: passes over the training pictures by stage; a part of a pass where only some pictures were looked at.
        prune: how the network was chosen, where something was pruned.
        student: figures of the network before pruning; called after the test accuracy of `net` has been read.
        front: accuracy and cost of every network on the way, where the recipe asks for the curve.
        keep: stages whose networks stay in the run's folder, for another run to begin with.
    """

    net: CompactNet
    teacher: Taught | None = None
    epochs: dict[str, float] = field(default_factory=dict)
    prune: PruneFigures | None = None
    student: Callable[[], StudentFigures] | None = None
    front: Callable[[], list[FrontPoint]] | None = None
    keep: tuple[str, ...] = ()


class Method(Protocol):
    """One way to adapt a backbone to a task.

    Attributes:
        name: as people type it.
        summary: one line for lists.
        needs_teacher: whether it always learns from another network, which is then trained first.
        any_teacher: whether that may be any network of the task, and not a fine-tuned backbone alone.
        shares_prefix: whether it can leave the backbone's first blocks as they are (`student.shared_prefix`).
        settings: dataclass of what stands under `method`.
        defaults: settings of other sections of the recipe that go with it; what the user sets lies over them.
        sized_like: another method whose size and passes `sized` takes over where `compare` runs both; None for most.
        variants: settings of its own, or of a section (`section.key`), by a name that `compare` takes after a plus, as in
            `shallow+distill`.
    """

    name: str
    summary: str
    needs_teacher: bool
    any_teacher: bool
    shares_prefix: bool
    settings: type[MethodSettings]
    defaults: Mapping[str, Any]
    sized_like: str | None
    variants: Mapping[str, Mapping[str, Any]]

    def check(self, recipe: Sections) -> None:
        """Refuse a recipe before anything is loaded.

        Raises:
            UsageError: settings that do not go together.
        """
        ...

    def check_loaded(self, context: Context) -> None:
        """Refuse a recipe for this backbone and this task, before anything is written or trained.

        Args:
            context: whose run keeps and shows nothing.

        Raises:
            UsageError: settings that this backbone or this task can't have.
        """
        ...

    def stages(self, recipe: Sections) -> dict[str, int]:
        """About how many passes over the data each stage takes, in their order: for the time left alone."""
        ...

    def train(self, context: Context) -> Trained:
        """Train what the recipe says, going on from checkpoints where there are any."""
        ...

    def wants_teacher(self, own: MethodSettings) -> bool:
        """Whether it learns from another network with these settings."""
        ...

    def gives_activations(self, own: MethodSettings) -> bool:
        """Whether a network that it trains has all activations of the backbone, for a student to match."""
        ...

    def sized(self, own: MethodSettings, other: FinishedRun) -> MethodSettings:
        """These settings for a network of the size of another run's, trained for as many passes."""
        ...


class Plain:
    """What methods answer that have nothing special to say."""

    needs_teacher = False
    any_teacher = True
    shares_prefix = False
    settings: type[MethodSettings] = MethodSettings
    defaults: Mapping[str, Any] = {}
    sized_like: str | None = None
    variants: Mapping[str, Mapping[str, Any]] = {}

    def check(self, recipe: Sections) -> None:
        """Refuse a shared prefix where the method can't have one."""
        if recipe.student.shared_prefix and not self.shares_prefix:
            name = recipe.method.name
            raise UsageError(
                f"student.shared_prefix: method {name} can't leave the first blocks as they are; leave it out, or use "
                "nettailor"
            )

    def check_loaded(self, context: Context) -> None:
        """Refuse nothing."""

    def wants_teacher(self, own: MethodSettings) -> bool:
        """If it always needs one."""
        return self.needs_teacher

    def gives_activations(self, own: MethodSettings) -> bool:
        """Every block is there, as wide as the backbone's."""
        return True

    def sized(self, own: MethodSettings, other: FinishedRun) -> MethodSettings:
        """The settings as they are."""
        return own
