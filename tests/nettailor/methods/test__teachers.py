"""What a student learns from: networks of other methods, finished runs, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from rich.console import Console

from blocks import Backbone, CompactNet, compact
from blocks.counting import tensors_of
from blocks.shallow import ShallowNet
from nettailor.artifacts import delta
from nettailor.artifacts.report import Report
from nettailor.artifacts.run_folder import RunFolder
from nettailor.backbones.load import load_backbone
from nettailor.config.loading import merge
from nettailor.data.task import Task, load_task
from nettailor.errors import UsageError
from nettailor.jobs.board_rows import in_order
from nettailor.jobs.compare import cells
from nettailor.jobs.context import resolve
from nettailor.jobs.recipe import Recipe, parse_recipe
from nettailor.methods import _teachers as module
from nettailor.methods import find
from nettailor.methods._protocol import Context
from nettailor.methods._teachers import check_teacher, check_teacher_with, taken_by, teach, teach_in_folds
from nettailor.progress import Display
from nettailor.pruning.folds import FoldJudge
from nettailor.pruning.graph import BlockGraph
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import StudentConfig, TeacherConfig, TrainingConfig
from nettailor.training.run import Run
from nettailor.training.stages import new_student
from tests.conftest import CommandLine
from tests.fabricated import TINY
from tests.nettailor.training.conftest import Stopped, Stopping
from tests.tiny import LINEAR, QUICK

TUNED = {"tune_from": 5, "new_lr": 10.0}
TRAINED = {"epochs": 2, "batch": 16, "start": "fresh"}
STUDENT = StudentConfig(epochs=1, batch=16, warm_start=16, views=1)


def recipe_with(**teacher: Any) -> Recipe:
    """One of ours with such a teacher."""
    return Recipe(teacher=TeacherConfig(**{"lr": 2e-3, **TRAINED, **teacher}), student=STUDENT)


def context_of(recipe: Recipe, backbone: Backbone, task: Task, folder: Path | None = None, **run: Any) -> Context:
    """Where a method finds what it needs."""
    own = Run(checkpoints=Checkpoints(folder), **run)
    return Context(recipe, backbone, task, own, RunFolder(Path("nowhere")), "")


def same(one: CompactNet, other: CompactNet) -> bool:
    mine, theirs = tensors_of(one), tensors_of(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_teacher_of_another_method_is_that_methods_network(backbone: Backbone, task: Task, tmp_path: Path) -> None:
    recipe = recipe_with(method="finetune", settings=TUNED, lr=None)
    context = context_of(recipe, backbone, task, tmp_path)
    taught = teach(context)
    assert isinstance(taught.net, CompactNet)
    alone = replace(
        recipe, method=find("finetune").settings(name="finetune", **TUNED), teacher=recipe.teacher.plainly()
    )
    other = context_of(alone, backbone, task)
    trained = find("finetune").train(other)
    assert same(taught.net, trained.net)
    assert taught.net.plan.tuned_from == 5
    run = context.run
    assert run.passes("teacher") == sum(trained.epochs.values()) > 2, "the search for its rate counts"
    assert run.rate == other.run.rate is not None
    assert set(run.seconds.totals) == {"teacher"}
    assert [path.name for path in tmp_path.iterdir()] == ["teacher.safetensors"], "its stages have gone"
    again = context_of(recipe, backbone, task, tmp_path)
    kept = teach(again)
    assert isinstance(kept.net, CompactNet)
    assert same(kept.net, taught.net)
    assert (kept.method, again.run.rate, again.run.passes("teacher")) == ("finetune", run.rate, run.passes("teacher"))


def test_a_teacher_goes_on_where_it_was_stopped(backbone: Backbone, task: Task, tmp_path: Path) -> None:
    recipe = recipe_with(method="finetune", settings=TUNED)
    whole = teach(context_of(recipe, backbone, task))
    with pytest.raises(Stopped):
        teach(context_of(recipe, backbone, task, tmp_path, recorder=Stopping(1, Stopped())))
    assert (tmp_path / "teacher" / "teacher.safetensors").is_file()
    on = teach(context_of(recipe, backbone, task, tmp_path, recorder=Stopping(1, Stopped())))
    assert isinstance(on.net, CompactNet)
    assert isinstance(whole.net, CompactNet)
    assert same(on.net, whole.net)


def test_a_rate_of_another_optimiser_is_none_for_a_student(backbone: Backbone, task: Task) -> None:
    context = context_of(recipe_with(settings={"optimizer": "sgd"}, lr=0.01), backbone, task, rate=None)
    teach(context)
    assert context.run.rate is None
    assert context.run.fitted["teacher"].metrics["rate"] == 0.01, "which teachers of folds are trained at"


def test_the_plain_teacher_is_the_fine_tuned_backbone(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = backbone.teacher(4)
    monkeypatch.setattr(module, "finetune", lambda *_: net)
    taught = teach(context_of(recipe_with(), backbone, task))
    assert (taught.net, taught.method, taught.gives) == (net, "finetune", ("answers",))
    assert teach_in_folds(context_of(recipe_with(), backbone, task)) is module.finetune


@pytest.mark.parametrize(
    ("student", "gives"),
    [
        (StudentConfig(), ("start", "answers", "drop")),
        (StudentConfig(matching_weight=1.0, start="backbone"), ("activations", "answers", "drop")),
        (StudentConfig(distill_weight=0.0, start="backbone"), ("drop",)),
        (StudentConfig(shared_prefix=2), ("answers", "drop")),
    ],
)
def test_a_report_says_what_is_taken_of_a_teacher(student: StudentConfig, gives: tuple[str, ...]) -> None:
    assert taken_by(student) == gives


def test_teachers_of_folds_are_trained_by_the_same_method(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_with(settings=TUNED, lr=None)
    context = context_of(recipe, backbone, task)
    teach(context)
    by = teach_in_folds(context)
    assert by is not None
    searched: list[str] = []
    monkeypatch.setattr("nettailor.training.finetuning.search_rate", lambda stage, *_: searched.append(stage))
    run, made = context.run, []

    def teach_fold(*given: Any) -> CompactNet:
        made.append(by(*given))
        assert isinstance(made[-1], CompactNet)
        return made[-1]

    before = dict(run.seconds.totals)
    judge = FoldJudge(backbone, task, 3, recipe.teacher, STUDENT, run, teach_fold)
    right = torch.ones(len(task.val), dtype=torch.bool)
    judge.drop((right, right), BlockGraph.of(new_student(backbone, task, STUDENT, run)).paths, "recover-1", 1, 0.5)
    assert [net.plan.tuned_from for net in made] == [5, 5]
    assert not searched, "at the rate that was found"
    assert judge.passes == pytest.approx(2 * (2 + 1) * 48 / 48), "two passes of each teacher and one of each network"
    assert set(run.seconds.totals) == {"teacher", "folds"}
    assert run.seconds.totals["teacher"] == before["teacher"], "all of it is time of the folds"


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"teacher": {"method": "linaer"}}, "teacher.method: there is no method 'linaer'; did you mean 'linear'"),
        ({"teacher": {"method": "finetune", "settings": {"tune_frm": 3}}}, "teacher.settings.tune_frm: no such key"),
        (
            {"teacher": {"settings": {"name": "linear"}}},
            "teacher.settings.name: the method's name stands in teacher.method",
        ),
        ({"teacher": {"method": "channel_pruning"}}, "channel_pruning learns from a teacher itself"),
        ({"teacher": {"method": "nettailor"}}, "teacher.method: is nettailor itself"),
        ({"teacher": {"method": "shallow", "settings": {"distill": True}}}, "shallow learns from a teacher itself"),
        (
            {"teacher": {"method": "linear", "run": "there"}},
            "teacher.run: is a finished network; leave out teacher.method",
        ),
        ({"teacher": {"method": "linear"}, "method": "adapters"}, "teacher.method: adapters learns from no teacher"),
        ({"teacher": {"run": "there"}, "method": "shallow"}, "teacher.run: shallow learns from no teacher"),
        ({"teacher": {"method": "linear"}, "method": "channel_pruning"}, "has to be the fine-tuned backbone"),
        ({"teacher": {"method": "shallow"}, "student": {"matching_weight": 1}}, "teaches by its answers alone"),
        ({"teacher": {"run": "there"}, "prune": {"folds": 3}}, "prune.folds: a teacher that is a finished run"),
    ],
)
def test_teachers_that_can_not_be_are_refused_before_anything_is_loaded(tree: dict[str, Any], says: str) -> None:
    if "channel_pruning" in str(tree):
        pytest.importorskip("torch_pruning")
    with pytest.raises(UsageError, match=says):
        resolve(parse_recipe(tree, "test"))


def test_a_resolved_recipe_holds_all_settings_of_the_teachers_method() -> None:
    recipe = resolve(parse_recipe({"teacher": {"method": "finetune", "settings": TUNED}}, "test"))
    assert recipe.teacher.settings == {"tune_from": 5, "new_lr": 10.0, "optimizer": "training", "passes": None}
    assert resolve(recipe) == recipe
    assert resolve(parse_recipe({"teacher": {"settings": {"new_lr": 1.0}}}, "test")).teacher.is_plain, "its defaults"


def test_a_layer_that_is_not_there_is_refused_once_the_backbone_is(backbone: Backbone, task: Task) -> None:
    context = context_of(recipe_with(settings={"tune_from": 9}), backbone, task)
    with pytest.raises(UsageError, match="is 9, but tiny has 6 blocks"):
        check_teacher_with(context.recipe, backbone, task)


def test_a_teacher_that_answers_alone_can_not_be_matched(backbone: Backbone, task: Task, tmp_path: Path) -> None:
    net = compact(ShallowNet(backbone, 3, len(task.classes)), backbone)
    delta.save(net, tmp_path, "digits", task.classes, "shallow")
    recipe = recipe_with(run=str(tmp_path))
    context = context_of(replace(recipe, student=replace(STUDENT, matching_weight=1.0)), backbone, task)
    with pytest.raises(UsageError, match="it teaches by its answers alone; set student.matching_weight=0"):
        check_teacher_with(context.recipe, backbone, task)
    with pytest.raises(UsageError, match="it teaches by its answers alone"):
        teach(context, taken_by(context.recipe.student))
    text = StringIO()
    context = context_of(recipe, backbone, task)
    context = replace(context, run=replace(context.run, display=Display(Console(file=text, width=200))))
    check_teacher_with(context.recipe, backbone, task)
    taught = teach(context, taken_by(recipe.student))
    assert text.getvalue().startswith(
        "teacher    shallow has not all activations of the backbone: it teaches by its answers alone"
    )
    assert isinstance(taught.net, CompactNet)
    assert (taught.method, context.run.passes("teacher"), context.run.rate) == ("shallow", 0, None)
    assert same(taught.net, net)
    assert teach_in_folds(context) is None


def test_a_run_of_other_classes_or_another_backbone_is_refused(backbone: Backbone, task: Task, tmp_path: Path) -> None:
    others = [*task.classes[:-1], "emu"]
    delta.save(compact(backbone.teacher(4), backbone), tmp_path / "classes", "birds", others)
    delta.save(compact(backbone.teacher(4), backbone), tmp_path / "backbone", "digits", task.classes)
    with pytest.raises(
        UsageError, match=r"teacher.run: .*classes tells 4 classes apart.*'digit 3' is in one of them alone"
    ):
        check_teacher_with(recipe_with(run=str(tmp_path / "classes")), backbone, task)
    with torch.no_grad():
        next(backbone.blocks.parameters()).add_(1)
    with pytest.raises(UsageError, match=r"teacher.run: .*belongs to another tiny"):
        check_teacher_with(recipe_with(run=str(tmp_path / "backbone")), backbone, task)


def test_a_run_that_saw_pictures_which_choose_or_test_here_is_refused(
    backbone: Backbone, task: Task, tmp_path: Path
) -> None:
    delta.save(compact(backbone.teacher(4), backbone), tmp_path / "task", "digits", task.classes)
    context = context_of(recipe_with(run=str(tmp_path)), backbone, task)
    record = task.record()
    (tmp_path / "split.json").write_text(json.dumps(record))
    check_teacher_with(context.recipe, backbone, task)
    first = task.classes[0]
    record["train"][first] = [*record["train"][first], *record["test"][first][:2]]
    (tmp_path / "split.json").write_text(json.dumps(record))
    for place in (tmp_path, tmp_path / "task"):
        with pytest.raises(UsageError, match="was trained on 2 pictures that choose or test here"):
            check_teacher_with(recipe_with(run=str(place)), backbone, task)
    (tmp_path / "task").rename(tmp_path / "another")
    check_teacher_with(recipe_with(run=str(tmp_path / "another")), backbone, task)  # whose split isn't known


def test_boards_hand_over_the_fine_tuned_backbone_to_those_alone_that_learn_from_it(tmp_path: Path) -> None:
    rows = in_order(["nettailor", "nettailor+labels", "nettailor+by_linear", "linear", "shallow"])
    jobs = {job.out.name: job for job in cells(Recipe(), rows, tmp_path / "seed-0")}
    assert jobs["nettailor+by_linear"].recipe.teacher.method == "linear"
    begun = {name for name, job in jobs.items() if job.begin_with is not None}
    assert begun == {"nettailor", "nettailor+labels"}
    mine = Recipe(teacher=TeacherConfig(method="linear"))
    others = {job.out.name: job for job in cells(mine, rows, tmp_path / "seed-0")}
    assert others["nettailor"].recipe.teacher.method == "linear"
    assert others["nettailor"].begin_with is None
    assert all(others[name].recipe.teacher.is_plain for name in ("finetune", "linear", "shallow"))
    for job in others.values():
        check_teacher(job.recipe)


@pytest.mark.slow
def test_a_student_of_another_methods_network_from_the_command_line(
    nettailor: CommandLine, digit_folder: Path, linear_run: Path
) -> None:
    shutil.copytree(linear_run, "linear")
    words = ("adapt", "--data", digit_folder, "--out", "run", *QUICK, "student.matching_weight=1", "prune.how=budget")
    status, said, err = nettailor(*words, "prune.budget=0.9", "teacher.run=linear")
    assert status == 0, err
    report, theirs = Report.read(Path("run/report.json")), Report.read(Path("linear/report.json"))
    assert report.teacher is not None
    assert (report.teacher.method, report.teacher.run) == ("linear", str(Path("linear").resolve()))
    assert report.teacher.gives == ["start", "activations", "answers", "drop"]
    assert report.teacher.test_accuracy == theirs.compact.test_accuracy
    assert (report.teacher.macs, report.teacher.params) == (theirs.compact.macs, theirs.compact.params)
    assert report.teacher.task_params == theirs.compact.task_params < report.teacher.params
    assert report.epochs["teacher"] == 0
    assert "teacher (linear)" in said


def test_a_student_of_a_finished_run_trains_by_the_rate_of_its_teacher(
    nettailor: CommandLine, digit_folder: Path, linear_run: Path
) -> None:
    """Configured or found; a student of a teacher that kept pretrained features is not to lose them."""
    words = ("adapt", "--data", digit_folder, "--method", "finetune", *QUICK, "data.train_limit=40")
    for name, rate in (("given", "0.0003"), ("found", "null")):
        status, _, err = nettailor(*words, f"teacher.lr={rate}", "--out", name)
        assert status == 0, err
    kept = Checkpoints(Path("found/nets")).load("teacher-rate")
    assert kept is not None
    shutil.copytree("given/task", "alone")
    backbone = load_backbone("resnet34_tiny")
    task = load_task(str(digit_folder), backbone.spec)

    def rate_by(run: str, optimizer: Literal["adamw", "sgd"] = "adamw") -> float | None:
        context = context_of(recipe_with(run=run), backbone, task, training=TrainingConfig(optimizer=optimizer))
        teach(context)
        return context.run.rate

    assert rate_by("given") == rate_by("given/task") == 0.0003
    assert rate_by("found") == kept[1]["rate"]
    assert rate_by("given", "sgd") is rate_by("found", "sgd") is None
    assert rate_by(str(linear_run)) is rate_by("alone") is None


@pytest.mark.slow
def test_a_finished_teacher_is_not_needed_any_more_when_another_size_is_chosen(
    nettailor: CommandLine, digit_folder: Path, linear_run: Path
) -> None:
    shutil.copytree(linear_run, "linear")
    words = ("adapt", "--data", digit_folder, "--out", "run", *QUICK, "prune.folds=0", "teacher.run=linear")
    status, _, err = nettailor(*words)
    assert status == 0, err
    report = Report.read(Path("run/report.json"))
    assert report.teacher is not None
    shutil.rmtree("linear")
    status, _, err = nettailor("prune", "run", "--macs", "0.8")
    assert status == 0, err
    again = Report.read(Path("run/prune/macs-0.8/report.json"))
    assert again.teacher is not None
    assert (again.teacher.method, again.teacher.val_accuracy) == ("linear", report.teacher.val_accuracy)


def test_a_teacher_of_another_task_ends_with_2_and_writes_nothing(
    nettailor: CommandLine, digit_folder: Path, linear_run: Path
) -> None:
    shutil.copytree(digit_folder, "three", ignore=shutil.ignore_patterns("digit 3"))
    words = ("adapt", "--data", "three", "--out", "run", *QUICK, f"teacher.run={linear_run}")
    assert "tells 4 classes apart, three has 3: 'digit 3' is in one" in nettailor.fails(*words, status=2)
    assert not Path("run").exists()
    backbone = load_backbone(TINY, input_size=16)
    classes = load_task(str(digit_folder), backbone.spec).classes
    delta.save(compact(ShallowNet(backbone, 3, 4), backbone), Path("shallow"), "digits", classes, "shallow")
    words = ("adapt", "--data", digit_folder, "--out", "run", *QUICK, "--backbone", TINY, "backbone.input_size=16")
    said = nettailor.fails(*words, "teacher.run=shallow", "student.matching_weight=10", status=2)
    assert "teacher.run: " in said
    assert "has not all activations of the backbone" in said
    assert not Path("run").exists()
    words = ("adapt", "--data", digit_folder, "--out", "run", *LINEAR, "teacher.method=finetune")
    said = nettailor.fails(*words, "teacher.settings.tune_from=3", status=2)
    assert "linear learns from no teacher" in said
    assert not Path("run").exists()


def test_another_method_does_not_get_the_settings_of_the_one_before() -> None:
    below = {"teacher": {"method": "finetune", "settings": {"tune_from": 3}, "epochs": 2}}
    assert merge(below, {"teacher": {"method": "linear"}}) == {"teacher": {"method": "linear", "epochs": 2}}
    more = {"teacher": {"settings": {"new_lr": 2.0}}}
    assert merge(below, more)["teacher"]["settings"] == {"tune_from": 3, "new_lr": 2.0}
