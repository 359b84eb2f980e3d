"""Soft fine-tuning as a method: what it trains, what its delta holds, what it writes down, and that it can be stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from blocks import Backbone, NetPlan
from blocks.whole import WholeNet
from nettailor.artifacts.confusion import Confusion
from nettailor.artifacts.report import Report
from nettailor.artifacts.source_record import SourceRecord
from nettailor.data.config import DataConfig
from nettailor.data.probe_pictures import ProbeConfig, ProbePictures, load_probe
from nettailor.data.source import SourceBatches, SourceConfig, SourcePictures
from nettailor.data.task import Task
from nettailor.errors import UsageError
from nettailor.jobs.recipe import Recipe
from nettailor.methods import find
from nettailor.methods._protocol import Context, Trained
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import TeacherConfig
from nettailor.training.run import Run
from tests.conftest import CommandLine
from tests.nettailor.training.conftest import Stopped, Stopping
from tests.tiny import QUICK

TEACHER = TeacherConfig(epochs=2, batch=8, start="fresh", lr=2e-3)


@pytest.fixture
def probe(target: Task, backbone: Backbone) -> Iterator[ProbePictures]:
    return ProbePictures("probe", target.classes, target.train, target.test)


def run_of(
    name: str,
    backbone: Backbone,
    target: Task,
    source: SourcePictures | None,
    probe: ProbePictures | None = None,
    run: Run | None = None,
    teacher: TeacherConfig = TEACHER,
    **settings: Any,
) -> Trained:
    method = find(name)
    recipe = Recipe(teacher=teacher, method=method.settings(name=name, **settings))
    return method.train(Context(recipe, backbone, target, run or Run(), None, "", source, probe))  # type: ignore[arg-type]


def same(one: Trained, other: Trained) -> bool:
    mine, theirs = one.net.task_tensors(), other.net.task_tensors()
    assert mine.keys() == theirs.keys()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())


def timeless(record: SourceRecord | None) -> Any:
    assert record is not None
    tree = asdict(record)
    for moment in tree["passes"]:
        del moment["seconds"]
    return tree


@pytest.mark.parametrize("tune_from", ["layer2.0", pytest.param("all", marks=pytest.mark.slow)])
def test_with_a_weight_of_zero_it_is_fine_tuning_bit_for_bit(
    backbone: Backbone, target: Task, source: SourcePictures, tune_from: str
) -> None:
    plain = run_of("finetune", backbone, target, None, tune_from=tune_from)
    soft = run_of("soft", backbone, target, source, weight=0.0, tune_from=tune_from)
    assert same(soft, plain)
    assert soft.beside is not None
    assert soft.beside.source is not None
    assert soft.beside.source.pictures_read == 0


def test_both_classifiers_are_trained_and_its_delta_is_fine_tunings_without_the_sources(
    backbone: Backbone, target: Task, source: SourcePictures, tmp_path: Path
) -> None:
    run = Run(checkpoints=Checkpoints(tmp_path))
    soft = run_of("soft", backbone, target, source, run=run)
    plain = NetPlan(soft.net.plan.paths, 2, copied=True, gated=False)
    assert soft.net.plan == plain
    assert {name: t.shape for name, t in soft.net.task_tensors().items()} == {
        name: t.shape for name, t in WholeNet(backbone, plain).task_tensors().items()
    }
    assert soft.keep == (), "no other run could begin with its stage"
    kept = run.checkpoints.load("teacher")
    assert kept is not None
    beside = {name: tensor for name, tensor in kept[0].items() if name.startswith("net.beside.")}
    own = backbone.head.get_submodule(backbone.classifier_paths[0])
    assert set(beside) == {"net.beside.source0.weight", "net.beside.source0.bias"}
    assert not torch.equal(beside["net.beside.source0.weight"], own.weight)


def test_source_pictures_are_read_until_it_weighs_nothing_and_counted(
    backbone: Backbone, target: Task, source: SourcePictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 24 // 8 * 2
    handed: list[int] = []
    real = SourceBatches.__call__
    monkeypatch.setattr(SourceBatches, "__call__", lambda self, number: handed.append(number) or real(self, number))
    for settings, read in (({"until": 0.4}, 3), ({"schedule": "constant"}, steps)):
        handed.clear()
        record = run_of("soft", backbone, target, source, **settings).beside
        assert record is not None
        assert record.source is not None
        assert record.source.pictures_read == 8 * read
        assert handed == list(range(read))
        assert [moment.source_pictures for moment in record.passes] == [min(8 * read, 24 * n) for n in range(3)]
        lambdas = [moment.source_weight for moment in record.passes]
        assert lambdas[0] == 1
        assert lambdas[-1] == (1 if "schedule" in settings else 0)


@pytest.mark.parametrize(
    "name", ["soft", *(pytest.param(name, marks=pytest.mark.slow) for name in ("finetune", "lwf"))]
)
def test_what_is_measured_before_and_after_every_pass(
    name: str, backbone: Backbone, target: Task, source: SourcePictures, probe: ProbePictures
) -> None:
    trained = run_of(name, backbone, target, source, probe)
    record = trained.beside
    assert record is not None
    assert record.source is not None
    assert record.probe is not None
    assert [moment.number for moment in record.passes] == [0, 1, 2]
    first, last = record.passes[0], record.passes[-1]
    assert (first.val_accuracy, first.source_accuracy) == (None, record.source.accuracy_before)
    assert first.probe_accuracy == record.probe.accuracy_before
    assert last.val_accuracy is not None
    assert last.source_accuracy == record.source.accuracy_after, "the sample is all of them here"
    assert last.probe_accuracy == record.probe.accuracy_after
    assert (record.source.head, record.source.told_by, record.source.held_out) == ("kept", "names", 12)
    assert (record.probe.gallery, record.probe.queries, record.probe.neighbours) == (24, 12, 5)
    assert record.source.pictures_read == (24 if name == "soft" else 0)
    assert last.seconds >= first.seconds


def test_measuring_changes_nothing_of_the_training(
    backbone: Backbone, target: Task, source: SourcePictures, probe: ProbePictures
) -> None:
    assert same(run_of("finetune", backbone, target, None), run_of("finetune", backbone, target, source, probe))


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in ("soft", "finetune", "lwf")])
def test_stopped_and_gone_on_it_ends_the_same(
    name: str, backbone: Backbone, target: Task, source: SourcePictures, probe: ProbePictures, tmp_path: Path
) -> None:
    whole = run_of(name, backbone, target, source, probe)
    stopped = Run(checkpoints=Checkpoints(tmp_path), recorder=Stopping(1, Stopped))
    with pytest.raises(Stopped):
        run_of(name, backbone, target, source, probe, run=stopped)
    gone_on = run_of(name, backbone, target, source, probe, run=Run(checkpoints=Checkpoints(tmp_path)))
    assert same(whole, gone_on)
    assert timeless(whole.beside) == timeless(gone_on.beside)
    again = run_of(name, backbone, target, source, probe, run=Run(checkpoints=Checkpoints(tmp_path)))
    assert timeless(whole.beside) == timeless(again.beside), "killed after the training, before its report"


@pytest.mark.slow
def test_the_search_for_a_rate_is_plain_fine_tunings_and_reads_no_source_picture(
    backbone: Backbone, target: Task, source: SourcePictures
) -> None:
    config = replace(TEACHER, lr=None, epochs=1)
    plain, soft = Run(), Run()
    run_of("finetune", backbone, target, None, run=plain, teacher=config)
    record = run_of("soft", backbone, target, source, run=soft, teacher=config, schedule="constant").beside
    assert soft.rate == plain.rate
    assert record is not None
    assert record.source is not None
    assert record.source.pictures_read == 24


def test_where_the_probe_is_taken_the_features_are_the_backbones_and_it_can_still_go_on(
    backbone: Backbone, target: Task, source: SourcePictures, probe: ProbePictures, tmp_path: Path
) -> None:
    config = TeacherConfig(epochs=1, batch=8, start="probe", lr=1e-9)
    monkey = pytest.MonkeyPatch()
    values = iter([0.1, 0.9, 0.9])
    with monkey.context() as patched:
        patched.setattr("nettailor.training.finetuning.accuracy", lambda *_: next(values))
        run = Run(checkpoints=Checkpoints(tmp_path))
        first = run_of("soft", backbone, target, source, probe, run=run, teacher=config)
        again = run_of(
            "soft", backbone, target, source, probe, run=Run(checkpoints=Checkpoints(tmp_path)), teacher=config
        )
    assert same(first, again)
    for trained in (first, again):
        assert trained.beside is not None
        assert trained.beside.source is not None
        assert trained.beside.source.accuracy_after == trained.beside.source.accuracy_before


@pytest.mark.slow
def test_other_pictures_than_the_backbones_get_a_head_of_their_own(
    backbone: Backbone, target: Task, source: SourcePictures
) -> None:
    backbone.source_classes = None
    record = run_of("soft", backbone, target, source).beside
    assert record is not None
    assert record.source is not None
    assert (record.source.head, record.source.told_by) == ("new", "fitted")
    assert record.source.accuracy_before > 0.6, "fitted before the first step"


def test_a_recipe_without_source_pictures_is_refused(data: DataConfig) -> None:
    with pytest.raises(
        UsageError, match=r"source\.data: soft needs pictures of the source.*, lwf is the method that needs"
    ):
        find("soft").check(Recipe().with_method("soft"))
    find("soft").check(replace(Recipe(), source=SourceConfig(data="x")).with_method("soft"))
    for section, config in (("source", SourceConfig(data="x")), ("probe", ProbeConfig(data="x"))):
        recipe = replace(Recipe(), method=find("linear").settings(name="linear"), **{section: config})
        with pytest.raises(UsageError, match=rf"{section}\.data: method linear reads no {section} pictures"):
            find("linear").check(recipe)
        assert getattr(recipe.with_method("linear"), section).data is None, "a board's other methods go without"
        assert getattr(recipe.with_method("lwf"), section).data == "x"


def test_of_the_targets_own_data_the_probe_takes_what_it_leaves(
    data: DataConfig, target: Task, backbone: Backbone
) -> None:
    found = load_probe(ProbeConfig(data=data.source), data, target, None, [], backbone.spec)
    assert found is not None
    trained = run_of("finetune", backbone, target, None, found)
    assert trained.beside is not None
    assert trained.beside.probe is not None
    assert trained.beside.source is None
    assert trained.beside.probe.classes == 2


@pytest.mark.slow
def test_how_a_thinned_class_fares_is_in_the_runs_files(
    nettailor: CommandLine, digit_folder: Path, other_digits: Path
) -> None:
    for method in ("soft", "finetune"):
        words = ("--method", method, "--data", digit_folder, "--out", method, f"source.data={other_digits}", *QUICK)
        status, _, said = nettailor("adapt", *words, "data.thin={digit 1: 0.1}")
        assert status == 0, said
        report, confusion = Report.read(Path(method, "report.json")), Confusion.read(Path(method, "confusion.json"))
        assert report.data.train == 36 + 1
        recalls = [row[number] / sum(row) for number, row in enumerate(confusion.counts)]
        assert confusion.classes[1] == "digit 1"
        assert report.compact.balanced_accuracy == pytest.approx(sum(recalls) / 4)
        record = SourceRecord.read(Path(method, "source.json"))
        assert record.source == report.source
        assert record.source is not None
        assert record.source.pictures_read == (0 if method == "finetune" else record.passes[-1].source_pictures)
        assert record.source.pictures_read > 0 or method == "finetune"
