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
from nettailor import methods
from nettailor.artifacts.grown_record import GrownFigures
from nettailor.artifacts.pareto import FrontPoint
from nettailor.artifacts.report import PruneFigures, Report, StudentFigures
from nettailor.artifacts.run_folder import RunFolder
from nettailor.artifacts.source_record import SourceRecord
from nettailor.config.loading import parse
from nettailor.data.config import DataConfig
from nettailor.data.probe_pictures import ProbeConfig, ProbePictures
from nettailor.data.source import SourceConfig, SourcePictures
from nettailor.data.task import Task
from nettailor.errors import UsageError
from nettailor.pruning.config import PruneConfig
from nettailor.schema import STRICT
from nettailor.training.config import RecoverConfig, StudentConfig, TeacherConfig, TrainingConfig
from nettailor.training.run import Run

BESIDE = ("source", "probe")
"""Sections of a recipe that name pictures beside the task's own."""


@settings(config=STRICT, frozen=True)
class MethodSettings:
    """What stands under `method` in a recipe: the method's name, and in a subclass its own settings."""

    name: str

    def resolved(self) -> MethodSettings:
        """With absolute paths to what they name, so that they mean the same anywhere."""
        return self


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
    def source(self) -> SourceConfig: ...
    @property
    def probe(self) -> ProbeConfig: ...
    @property
    def method(self) -> MethodSettings: ...


@dataclass(frozen=True)
class Context:
    """What a running job holds. `data_hash` is the pictures' fingerprint; `source` and `probe` are what the recipe names."""

    recipe: Sections
    backbone: Backbone
    task: Task
    run: Run
    folder: RunFolder
    data_hash: str
    source: SourcePictures | None = None
    probe: ProbePictures | None = None


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
        beside: what was measured on source and probe pictures, where the recipe names them.
        grown: new units, where the network has grown.
    """

    net: CompactNet
    teacher: Taught | None = None
    epochs: dict[str, float] = field(default_factory=dict)
    prune: PruneFigures | None = None
    student: Callable[[], StudentFigures] | None = None
    front: Callable[[], list[FrontPoint]] | None = None
    keep: tuple[str, ...] = ()
    beside: SourceRecord | None = None
    grown: GrownFigures | None = None


class Method(Protocol):
    """One way to adapt a backbone to a task.

    Attributes:
        name: as people type it.
        summary: one line for lists.
        needs_teacher: whether it always learns from another network, which is then trained first.
        any_teacher: whether that may be any network of the task, and not a fine-tuned backbone alone.
        needs_source: whether it can do nothing without source pictures.
        reads: sections of the recipe with pictures beside the task's that it reads: some of `BESIDE`.
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
    needs_source: bool
    reads: tuple[str, ...]
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

    def check_with(self, recipe: Sections, backbone: Backbone, task: Task) -> None:
        """Refuse a recipe that this backbone or these pictures don't allow, before anything is written.

        Raises:
            UsageError: settings that do not go with them.
        """
        ...

    def check_weights(self, recipe: Sections, backbone: Backbone) -> None:
        """Refuse a recipe that the backbone's weights don't allow, before anything is written.

        Raises:
            UsageError: settings that do not go with them.
        """
        ...

    def pictures(self, own: MethodSettings) -> tuple[str, ...]:
        """Those of `reads` that it reads with these settings."""
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
    needs_source = False
    reads: tuple[str, ...] = ()
    shares_prefix = False
    settings: type[MethodSettings] = MethodSettings
    defaults: Mapping[str, Any] = {}
    sized_like: str | None = None
    variants: Mapping[str, Mapping[str, Any]] = {}

    def check(self, recipe: Sections) -> None:
        """Refuse a shared prefix where the method can't have one, and pictures that it would not read."""
        if recipe.student.shared_prefix and not self.shares_prefix:
            name = recipe.method.name
            raise UsageError(
                f"student.shared_prefix: method {name} can't leave the first blocks as they are; leave it out, or use "
                "nettailor"
            )
        for section in BESIDE:
            if getattr(recipe, section).data is not None and section not in pictures_of(recipe):
                raise UsageError(
                    f"{section}.data: method {recipe.method.name} reads no {section} pictures; leave it out, or use soft"
                )

    def check_with(self, recipe: Sections, backbone: Backbone, task: Task) -> None:
        """Refuse nothing."""

    def check_weights(self, recipe: Sections, backbone: Backbone) -> None:
        """Refuse nothing."""

    def pictures(self, own: MethodSettings) -> tuple[str, ...]:
        """All of `reads`."""
        return self.reads

    def wants_teacher(self, own: MethodSettings) -> bool:
        """If it always needs one."""
        return self.needs_teacher

    def gives_activations(self, own: MethodSettings) -> bool:
        """Every block is there, as wide as the backbone's."""
        return True

    def sized(self, own: MethodSettings, other: FinishedRun) -> MethodSettings:
        """The settings as they are."""
        return own


def teacher_settings(config: TeacherConfig, origin: str = "recipe") -> MethodSettings:
    """Settings of the method that trains a teacher.

    Raises:
        UsageError: there is no such method, or it has no such settings.
    """
    method = methods.find(config.method, "teacher.method")
    if "name" in config.settings:
        raise UsageError("teacher.settings.name: the method's name stands in teacher.method")
    return parse(method.settings, {**config.settings, "name": method.name}, origin, "teacher.settings.")


def pictures_of(recipe: Sections) -> tuple[str, ...]:
    """The sections with pictures beside the task's that a recipe's method reads, or the one that trains its teacher."""
    method, config = methods.find(recipe.method.name), recipe.teacher
    read = method.pictures(recipe.method)
    if config.is_plain or config.run is not None or not method.wants_teacher(recipe.method):
        return read
    return (*read, *methods.find(config.method, "teacher.method").pictures(teacher_settings(config)))
