"""The methods that grow: their settings, what they refuse, a middle task, and what is still known of the source."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from blocks import Backbone, Grown, Growth, NetPlan, compact
from blocks import Path as NetPath
from blocks.paths import UNIVERSAL
from blocks.whole import WholeNet
from nettailor.artifacts import delta
from nettailor.artifacts.report import Report
from nettailor.data.config import DataConfig
from nettailor.data.source import SourcePictures
from nettailor.data.task import Task
from nettailor.errors import UsageError
from nettailor.jobs.adapt import adapt
from nettailor.jobs.context import resolve
from nettailor.jobs.recipe import Recipe, parse_recipe
from nettailor.methods import find
from nettailor.methods._grown import GrowSettings, _units, middle_data
from nettailor.methods._protocol import Context
from nettailor.training.branches import BranchWatch, alone
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import TeacherConfig
from nettailor.training.forgetting import remember
from nettailor.training.loop import accuracy
from nettailor.training.run import Run
from tests import tiny
from tests.conftest import CommandLine

TINY = ("--backbone", "tests.tiny:tiny_resnet", "backbone.input_size=16", "teacher.lr=0.002", "teacher.batch=16")


def grown(backbone: Backbone, *steps: Growth, scaled: bool = True) -> WholeNet:
    paths = tuple(NetPath(layer, 0, UNIVERSAL) for layer in range(1, backbone.depth + 1))
    return WholeNet(backbone, NetPlan(paths, 4, copied=True, gated=False, top=Grown(steps, scaled)))


@pytest.mark.parametrize(("given", "units"), [(0.25, 32), (1, 128), (1.5, 192), (2, 256), (3, 3), (64, 64)])
def test_units_are_a_part_of_d_or_a_number(given: float, units: int) -> None:
    assert _units(GrowSettings("grow_width", units=given), 128) == units


def test_settings_as_they_are_written() -> None:
    for off in ("off", False):
        own = parse_recipe({"method": {"name": "grow_width", "scale": off}}, "t").method
        assert isinstance(own, GrowSettings)
        assert own.scale == "off"
    own = parse_recipe({"method": "grow_twice"}, "t").method
    assert isinstance(own, GrowSettings)
    assert (own.units, own.scale, own.init, own.new_lr, own.tune_from) == (0.5, 10.0, "kaiming", 10.0, "all")
    with pytest.raises(UsageError, match=r"method\.units: is 2\.5; give a part of d up to 2, or a whole number"):
        _units(GrowSettings("grow_width", units=2.5), 128)


def test_a_middle_task_has_all_of_its_own_pictures() -> None:
    own = GrowSettings("grow_width", via="x", via_classes="[ab]")
    data = DataConfig(source="y", classes="c", train_limit=9, augment="photo")
    assert middle_data(own, data) == DataConfig(source="x", classes="[ab]", augment="photo")


def test_a_relative_folder_of_the_middle_task_is_kept_as_an_absolute_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "middle").mkdir()
    monkeypatch.chdir(tmp_path)
    recipe = resolve(parse_recipe({"method": {"name": "grow_width", "via": "middle"}}, "t"))
    assert recipe.method.via == str((tmp_path / "middle").resolve())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "grow_width", "--forgetting"], "--forgetting needs pictures of the source"),
        (["--method", "grow_width", "source.data=four"], "reads no source pictures"),
        (["--method", "grow_width", "method.forgetting_passes=2"], "is read with --forgetting alone"),
        (["--method", "grow_width", "method.via_classes=a"], "is read with --via DATA alone"),
        (["--method", "grow_depth", "method.init=copy"], "copy takes units beside old ones, and grow_depth has none"),
        (["--method", "grow_width", "method.init=copy", "method.units=17"], "copy has 16 old units for 17 new ones"),
        (["--method", "grow_twice", "method.tune_from=7"], "is 7, but tests.tiny:tiny_resnet has 6 blocks"),
        (["--method", "grow_width", "--via", "DIGITS"], "is also the target, and class 'digit 0' is in both"),
        (["--via", "digits"], "method.via: no such key"),
        (["--method", "grow_width", "method.init=xavier"], "method.init"),
        (["--method", "grow_width", "method.scale=-1"], "method.scale"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(
    words: list[str], said: str, nettailor: CommandLine, digit_folder: Path
) -> None:
    words = [str(digit_folder) if word == "DIGITS" else word for word in words]
    assert said in nettailor.fails("adapt", "--data", digit_folder, *TINY, *words, "--out", "run", status=2)
    assert list(Path().iterdir()) == []


def test_a_copy_of_the_target_is_no_middle_task(nettailor: CommandLine, digit_folder: Path, tmp_path: Path) -> None:
    middle = tiny.write_digits(tmp_path / "middle")
    for split in middle.iterdir():
        for folder in list(split.iterdir()):
            folder.rename(folder.with_name(f"other {folder.name}"))
    said = nettailor.fails(
        "adapt", "--data", digit_folder, *TINY, "--method", "grow_width", "--via", middle, "--out", "run", status=2
    )
    assert "is also a picture of the target" in said
    assert not Path("run").exists()


@torch.no_grad()
def test_each_branch_alone_is_measured_with_the_others_at_zero(backbone: Backbone, task: Task) -> None:
    net = grown(backbone, Growth("width", 5)).train()
    found = alone(net, task.val)
    assert net.training == net.train().training
    weight = net.head.new_classifier.weight  # type: ignore[union-attr]
    whole = weight.clone()  # type: ignore[operator]
    for name, kept in (("old", slice(0, 16)), ("new", slice(16, 21))):
        weight.zero_()  # type: ignore[operator]
        weight[:, kept] = whole[:, kept]  # type: ignore[index, operator]
        assert found[f"val_accuracy_{name}"] == accuracy(net, task.val)
    twice = grown(backbone, Growth("width", 5), Growth("width", 5))
    assert list(alone(twice, task.val)) == ["val_accuracy_old", "val_accuracy_new1", "val_accuracy_new2"]
    assert alone(grown(backbone, Growth("both", 5)), task.val) == {}
    watch = BranchWatch()
    watch.take_down(10, {"val_accuracy": 0.5, **found, "loss": 1.0})
    watch.take_down(9, {"val_accuracy": 0.25})
    assert watch.passes() == {9: {"val_accuracy": 0.25}, 10: {"val_accuracy": 0.5, **found}}


def test_forgetting_trains_new_units_alone_and_leaves_the_network(backbone: Backbone, task: Task) -> None:
    net = compact(grown(backbone, Growth("width", 5)))
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    trained: list[set[str]] = []

    class Watched(Checkpoints):
        def save(self, stage: str, tensors: dict[str, torch.Tensor], notes: dict[str, Any]) -> None:
            trained.append({name.removeprefix("net.") for name in tensors if name.startswith("net.")})

    source = SourcePictures("old", task.classes, task.train, task.val, "val", 1.0)
    run = Run(checkpoints=Watched(None))
    found = remember("f", net, source, 0.01, TeacherConfig(epochs=8, batch=16), run, memory=1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert (found.train, found.epochs) == (len(task.train), 8)
    assert found.accuracy > 0.5, "four classes, of which a quarter is chance"
    assert {name.split(".")[0] for name in trained[-1]} == {
        "new_beside1",
        "new_classifier",
        "new_scale_h",
        "new_scale_beside1",
    }
    each = 4 * sum(torch.Size(backbone.shapes[number]).numel() for number in net.head_reads)
    few = remember("f", net, source, 0.01, TeacherConfig(epochs=1, batch=16), Run(), memory=9.5 * each / 2**30)
    assert few.train == 9, "as many pictures as their activations have room for"


def test_a_frozen_backbone_stays_and_the_rate_is_found_without_a_watch(backbone: Backbone, task: Task) -> None:
    recipe = Recipe(teacher=TeacherConfig(epochs=2, batch=16)).with_method("grow_twice")
    recipe = replace(recipe, method=replace(recipe.method, tune_from="new", init="copy", units=8))  # type: ignore[call-arg]
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    run = Run()
    trained = find("grow_twice").train(Context(recipe, backbone, task, run, None, ""))  # type: ignore[arg-type]
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    assert {name.split(".")[1][:4] for name in trained.net.task_tensors()} == {"new_"}
    assert trained.grown is not None
    assert [entry.number for entry in trained.grown.passes] == [1, 2]
    assert set(trained.grown.passes[-1].alone) == {"old", "new"}
    units = 4 * 8 * 9 + 4 + 8 * (16 + 4) * 9 + 8 + 16 + 8
    assert trained.grown.new_params == units
    assert (trained.grown.units, trained.grown.below, trained.grown.features) == (8, 4, 16)


class Killed(BaseException):
    """In the place of a signal that ends the process."""


@pytest.mark.slow
@pytest.mark.parametrize("last", [1, 2, 3, 4])
def test_a_middle_task_and_forgetting_stopped_anywhere_give_the_same_report(
    last: int, digit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle task's pass, behind it, in the task's own, and in the source's."""
    old = tiny.write_digits(tmp_path / "old", classes=10)
    recipe = parse_recipe(
        {
            "data": {"source": str(digit_folder)},
            "method": {
                "name": "grow_width",
                "via": str(old),
                "via_classes": "digit [4-6]",
                "forgetting": True,
                "init": "copy",
                "units": 8,
            },
            "source": {"data": str(old), "classes": "digit [7-9]"},
            "teacher": {"epochs": 1, "batch": 16, "lr": 0.002},
            "machine": {"device": "cpu"},
        },
        "test",
    )
    backbone = tiny.tiny_backbone()
    report, written, save = adapt(recipe, tmp_path / "whole", backbone=backbone), 0, Checkpoints.save

    def save_and_die(self: Checkpoints, *words: Any) -> None:
        nonlocal written
        save(self, *words)
        written += 1
        if written == last:
            raise Killed

    monkeypatch.setattr(Checkpoints, "save", save_and_die)
    if last < 4:
        with pytest.raises(Killed):
            adapt(recipe, tmp_path / "stopped", backbone=backbone)
    again = adapt(recipe, tmp_path / "stopped", backbone=backbone)
    assert again.grown == report.grown
    assert again.epochs == report.epochs == {"grow_width-via": 1, "grow_width": 1}
    assert set(report.seconds) == {"prepare", "grow_width-via", "grow_width", "grow_width-forgetting", "measure"}
    assert again.compact.test_accuracy == report.compact.test_accuracy
    one, two = ((tmp_path / name / "task" / "task.safetensors").read_bytes() for name in ("whole", "stopped"))
    assert one == two
    grown_for = report.grown
    assert grown_for is not None
    assert grown_for.via is not None
    assert grown_for.forgetting is not None
    assert (grown_for.via.classes, grown_for.forgetting.classes) == (3, 3)
    assert [set(entry.alone) for entry in grown_for.passes] == [{"old", "new1", "new2"}]
    assert Report.read(tmp_path / "whole" / "report.json") == report
    net = delta.load(tmp_path / "whole", backbone).net
    assert net.plan.top == Grown((Growth("width", 8),) * 2)
    assert "8 units beside the top layer, then 8 units" in (tmp_path / "whole" / "task" / "README.md").read_text()
    assert json.loads((tmp_path / "whole" / "task" / "task.json").read_text())["plan"]["top"]["kind"] == "grown"


def test_what_was_grown_is_shown(nettailor: CommandLine, digit_folder: Path) -> None:
    words = ("--method", "grow_width", "method.units=8", "teacher.epochs=1", "--out", "run")
    status, said, err = nettailor("adapt", "--data", digit_folder, *TINY, *words)
    assert status == 0, err
    assert "val_accuracy_old" in said
    assert "grown by 8 units beside the top layer" in said
    status, said, err = nettailor("show", "run", "--backbone", "tests.tiny:tiny_resnet")
    assert status == 0, err
    assert "head: grown by 8 units beside the top layer; each branch of unit length" in " ".join(said.split())
