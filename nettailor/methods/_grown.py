"""What the four methods share that grow new units at the top of a backbone (`blocks.grown`; Wang et al., CVPR 2017).

    [via: grow, train on a middle task, drop its classifier] -> grow -> train -> compact [-> forgetting: learn the source]

Published: the source classifier is dropped, cross entropy alone, new units at the top, branches normalised and scaled, new
layers at ten times the rate, the sizes in parts of d, and the comparison of starts. They train with the section `teacher`.
Ours: AdamW as for everything on the board (`optimizer: sgd` is the published one), passes and rate, the noise on copied
units, and what stands for the old units of a block (`blocks.grown_start`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from blocks import Backbone, CompactNet, Grown, Growth
from blocks.counting import count_macs, count_params, tensors_of
from blocks.grown import CLASSIFIER, GROWN, GrowthKind
from blocks.grown_start import OldUnits, Start, begin, carry_over, copy_units, old_counts, old_units
from blocks.top import NEW, TopError
from blocks.whole import WholeNet
from nettailor.artifacts.grown_record import BranchPass, ForgettingFigures, GrownFigures, ViaFigures
from nettailor.data.batches import normalise
from nettailor.data.config import DataConfig
from nettailor.data.overlap import same_place, shared_picture
from nettailor.data.task import Task, data_path, find_layout, load_task
from nettailor.errors import UsageError
from nettailor.methods._protocol import Context, MethodSettings, Sections, Trained
from nettailor.methods._tuned import TunedTop, TuneSettings, tuning_of, with_optimizer
from nettailor.schema import STRICT, Count, Positive
from nettailor.training.branches import ALONE, BranchWatch, alone
from nettailor.training.config import TeacherConfig
from nettailor.training.finetuning import Objective, ObjectiveOf, labels_alone, tune
from nettailor.training.forgetting import remember
from nettailor.training.run import Run
from nettailor.training.source_head import rows_by_name, source_accuracy

OFF = "off"
LARGEST_PART = 2.0
OF_THE_TASK = ("classes", "group", "train_limit", "per_class", "thin")
"""Settings of the data that choose among a task's own pictures; a middle task has all of its own."""
BATCH = 64

Scale = Annotated[
    Positive | Literal["off"],
    BeforeValidator(lambda value: OFF if value is False else value),  # as YAML reads it
    Field(description="what the factors of a normalised branch begin as: 10 or 20; off: branches as they are"),
]


@dataclass(config=STRICT, frozen=True)
class GrowSettings(TuneSettings):
    """How much grows, how it begins, and what for."""

    new_lr: Annotated[
        Positive, Field(description="factor of the learning rate for what the backbone has not trained")
    ] = 10.0
    units: Annotated[
        Positive,
        Field(description="S: up to 2 as a part of d, the length of h; above, a number of new units"),
    ] = 0.5
    scale: Scale = 10.0
    init: Annotated[
        Start,
        Field(
            description="of new units: kaiming; normal: deviation 0.005; copy: old units and noise, beside them alone"
        ),
    ] = "kaiming"
    via: Annotated[
        str | None,
        Field(
            description="pictures of a middle task that the network grows for first, as data.source; none if left out"
        ),
    ] = None
    via_classes: Annotated[
        str | None, Field(description="regular expression; only these classes of the middle task are used")
    ] = None
    forgetting: Annotated[
        bool,
        Field(
            description="afterwards a source classifier and the new units learn source.data, the rest frozen, to report it"
        ),
    ] = False
    forgetting_passes: Annotated[
        Count | None, Field(description="over the source pictures; left out: teacher.epochs")
    ] = None

    def resolved(self) -> GrowSettings:
        """With an absolute path to the middle task's pictures."""
        path = None if self.via is None else data_path(self.via)
        return self if path is None else replace(self, via=str(Path(path).resolve()))


class Grows(TunedTop):
    """New units at the top of the backbone, trained with the layers below them from one of them up."""

    kind: ClassVar[GrowthKind]
    reads: tuple[str, ...] = ("source",)
    settings: type[MethodSettings] = GrowSettings
    variants: Mapping[str, Mapping[str, Any]] = {
        "unscaled": {"scale": OFF},
        "new": {"tune_from": "new"},
    }

    def pictures(self, own: MethodSettings) -> tuple[str, ...]:
        """The source's, where forgetting is measured."""
        return self.reads if grows(own).forgetting else ()

    def check(self, recipe: Sections) -> None:
        """Refuse settings that nothing would read, too."""
        super().check(recipe)
        own, name = grows(recipe.method), recipe.method.name
        _units(own, 4)
        if own.forgetting and recipe.source.data is None:
            raise UsageError(
                "source.data: --forgetting needs pictures of the source: class folders, a zip of them or a torchvision data "
                "set"
            )
        if own.forgetting_passes is not None and not own.forgetting:
            raise UsageError("method.forgetting_passes: is read with --forgetting alone; leave it out")
        if own.via_classes is not None and own.via is None:
            raise UsageError("method.via_classes: is read with --via DATA alone; leave it out")
        if own.init == "copy" and self.kind == "depth":
            raise UsageError(
                f"method.init: copy takes units beside old ones, and {name} has none; use kaiming or normal"
            )

    def check_with(self, recipe: Sections, backbone: Backbone, task: Task) -> None:
        """Refuse a head at which nothing can grow, more copies than old units, and a middle task that is the target."""
        super().check_with(recipe, backbone, task)
        own = grows(recipe.method)
        try:
            top = self._top(own, backbone)
            with torch.device("meta"):
                top.build(backbone, len(task.classes))
        except TopError as error:
            raise UsageError(f"method {self.name}: {error}") from error
        if own.init == "copy":
            for made in (Grown(top.steps[:1]), top):
                _refuse_copies(made, backbone)
        if own.via is not None:
            _check_middle(own, recipe.data, task)

    def stages(self, recipe: Sections) -> dict[str, int]:
        """One; before it the middle task's, behind it that on the source."""
        own, epochs = grows(recipe.method), recipe.teacher.epochs
        found = {f"{self.name}-via": epochs} if own.via is not None else {}
        found[self.name] = epochs
        return found | ({f"{self.name}-forgetting": _forgetting_passes(own, recipe)} if own.forgetting else {})

    def top(self, context: Context) -> Grown:
        """As the settings say; with a middle task two steps of the same kind."""
        return self._top(grows(context.recipe.method), context.backbone)

    def begin(self, net: WholeNet, context: Context) -> None:
        """Random or copied units; what a middle task left is taken over."""
        own, run = grows(context.recipe.method), context.run
        middle = self._middle(context)
        generator = torch.Generator().manual_seed(run.seed + 1)
        begin(net, own.init, 1.0 if isinstance(own.scale, str) else own.scale, generator)
        if middle is not None:
            carry_over(net, middle)
        if own.init == "copy":
            copy_units(net, _old(net, context), generator)

    def objective(self, context: Context) -> ObjectiveOf[WholeNet]:
        """Cross entropy; after every pass each branch is measured alone."""
        return self._watched(context, self.name)

    def train(self, context: Context) -> Trained:
        """One stage, called after the method; before it the middle task's, behind it that on the source."""
        own, run, name = grows(context.recipe.method), context.run, self.name
        self._middle(context)
        trained = super().train(context)
        via, forgetting = None, None
        epochs = dict(trained.epochs)
        if own.via is not None:
            epochs = {f"{name}-via": run.passes(f"{name}-via"), **epochs}
            task: Task = run.shared[f"{name}-via-task"]
            value = run.fitted[f"{name}-via"].metrics["val_accuracy"]
            passes = _passes(run, f"{name}-via")
            via = ViaFigures(task.name, len(task.classes), len(task.train), value, passes)
        if own.forgetting:
            with run.timed(f"{name}-forgetting"):
                forgetting = self._forget(context, trained.net)
        return replace(trained, epochs=epochs, grown=self._figures(context, trained.net, via, forgetting))

    def _top(self, own: GrowSettings, backbone: Backbone) -> Grown:
        units = _units(own, backbone.features)
        growth = Growth(self.kind, units, max(1, units // 2) if self.kind == "twice" else 0)
        return Grown((growth,) * (1 if own.via is None else 2), own.scale != OFF)

    def _watched(self, context: Context, stage: str) -> ObjectiveOf[WholeNet]:
        """Cross entropy, with a watch over the branches in the run's own training; not in the search for a rate."""

        def objective(net: WholeNet, task: Task, config: TeacherConfig, run: Run) -> Objective:
            made = labels_alone(net, task, config, run)
            if run.fitted is not context.run.fitted:
                return made
            watch = context.run.shared[f"{stage}-watch"] = BranchWatch()
            return replace(made, evaluate=lambda _: alone(net, task.val), before_step=watch, passed=watch.take_down)

        return objective

    def _middle(self, context: Context) -> WholeNet | None:
        """The network that was grown for the middle task: trained once in a run."""
        own, run, recipe, stage = grows(context.recipe.method), context.run, context.recipe, f"{self.name}-via"
        if own.via is None:
            return None
        if stage not in run.shared:
            with run.timed(stage):
                run.display.say(f"reading {own.via} ...")
                task = load_task(middle_data(own, recipe.data), context.backbone.spec, run.seed)
                plain = replace(own, via=None, via_classes=None, forgetting=False, forgetting_passes=None)
                inner = replace(context, task=task, recipe=replace(recipe, method=plain))  # type: ignore[type-var]
                config, tuned_run = with_optimizer(own, recipe.teacher, run)
                tuning, towards = tuning_of(recipe, context.backbone), self._watched(context, stage)
                run.shared[f"{stage}-task"] = task
                net = tune(stage, lambda rate: self.new_net(inner), task, config, tuned_run, tuning, towards)
                run.shared[stage] = net.requires_grad_(False).eval()
        found: WholeNet = run.shared[stage]
        return found

    def _forget(self, context: Context, net: CompactNet) -> ForgettingFigures:
        own, recipe, source, run = grows(context.recipe.method), context.recipe, context.source, context.run
        assert source is not None
        config, tuned_run = with_optimizer(own, recipe.teacher, run)
        config = replace(config, epochs=_forgetting_passes(own, recipe))
        rate = run.fitted[f"{self.name}-rate"].metrics["rate"] if config.lr is None else config.lr
        stage = f"{self.name}-forgetting"
        found = remember(stage, net, source, rate * own.new_lr, config, tuned_run, recipe.data.memory_gib)
        backbone = context.backbone
        rows = rows_by_name(source.classes, backbone)
        before = None if rows is None else source_accuracy(backbone, backbone.head, rows, source.held_out, run)
        return ForgettingFigures(
            source.name,
            len(source.classes),
            found.train,
            len(source.held_out),
            source.held_out_as,
            source.crop,
            found.epochs,
            found.accuracy,
            before,
        )

    def _figures(
        self, context: Context, net: CompactNet, via: ViaFigures | None, forgetting: ForgettingFigures | None
    ) -> GrownFigures:
        top, own, backbone = net.plan.top, grows(context.recipe.method), context.backbone
        assert isinstance(top, Grown)
        units = [
            tensor
            for name, part in net.head.named_children()
            if name.startswith((NEW, GROWN)) and name != CLASSIFIER
            for tensor in tensors_of(part).values()
        ]
        classifier: Any = net.head.get_submodule(CLASSIFIER)
        read = [torch.zeros(1, *backbone.shapes[number], device=context.run.device) for number in net.head_reads]
        return GrownFigures(
            what=top.describe(backbone),
            features=backbone.features,
            units=top.steps[-1].units,
            below=top.steps[-1].below,
            scale=None if isinstance(own.scale, str) else own.scale,
            init=own.init,
            new_params=count_params(units),
            new_macs=count_macs(net.head, *read) - backbone.head_cost.macs - classifier.weight.numel(),
            passes=_passes(context.run, self.name),
            via=via,
            forgetting=forgetting,
        )


def grows(own: MethodSettings) -> GrowSettings:
    """A method's settings, as those of growth."""
    assert isinstance(own, GrowSettings)
    return own


def middle_data(own: GrowSettings, data: DataConfig) -> DataConfig:
    """The section `data` for the middle task: its own pictures and classes, the same splits and augmentation."""
    assert own.via is not None
    usual = DataConfig()
    left_out: dict[str, Any] = {name: getattr(usual, name) for name in OF_THE_TASK}
    return replace(data, **{**left_out, "source": own.via, "classes": own.via_classes})


def _units(own: GrowSettings, features: int) -> int:
    """S.

    Raises:
        UsageError: neither a part of d nor a whole number.
    """
    if own.units <= LARGEST_PART:
        return max(1, round(own.units * features))
    if own.units != int(own.units):
        raise UsageError(
            f"method.units: is {own.units:g}; give a part of d up to {LARGEST_PART:g}, or a whole number of units above"
        )
    return int(own.units)


def _refuse_copies(top: Grown, backbone: Backbone) -> None:
    step = top.steps[-1]
    for name, old in old_counts(top, backbone).items():
        wanted = step.below if name.startswith(f"{NEW}below") else step.units
        if wanted > old:
            raise UsageError(
                f"method.init: copy has {old} old units for {wanted} new ones; set method.units lower, or use kaiming"
            )


def _check_middle(own: GrowSettings, data: DataConfig, task: Task) -> None:
    layout = find_layout(middle_data(own, data), named="method.via")
    common = [name for name in layout.classes if name in set(task.classes)]
    if common and same_place(layout.source, task.train.source):
        raise UsageError(
            f"method.via: {layout.source.where} is also the target, and class {common[0]!r} is in both; name other pictures, "
            "or classes of its own for each with method.via_classes and data.classes"
        )
    theirs = [name for split in layout.splits.values() for name, _ in split]
    ours = [name for split in ("train", "val", "test") for name in task.split(split).names]
    if (name := shared_picture((layout.source, theirs), (task.train.source, ours))) is not None:
        raise UsageError(
            f"method.via: {layout.source.where}: {name} is also a picture of the target {task.name}; middle task and target "
            "must have no picture in common"
        )


def _old(net: WholeNet, context: Context) -> dict[str, OldUnits]:
    """Old units to copy, found once for each step of growth of a run."""
    run, key = context.run, f"old-units-{net.plan.top}"

    def pictures() -> Iterator[Tensor]:
        train = context.task.train
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(run.seed))
        for rows in order.split(BATCH):
            yield normalise(train.batch(rows), net.spec, run.device)

    if key not in run.shared:
        run.shared[key] = old_units(net, pictures)
    found: dict[str, OldUnits] = run.shared[key]
    return found


def _forgetting_passes(own: GrowSettings, recipe: Sections) -> int:
    return recipe.teacher.epochs if own.forgetting_passes is None else own.forgetting_passes


def _passes(run: Run, stage: str) -> list[BranchPass]:
    watch: BranchWatch = run.shared[f"{stage}-watch"]
    return [
        BranchPass(
            number,
            metrics["val_accuracy"],
            {name.removeprefix(ALONE): value for name, value in metrics.items() if name.startswith(ALONE)},
        )
        for number, metrics in watch.passes().items()
    ]
