"""What a report counts (tests/recipes/test_adapt.py reads whole reports)."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pytest

from blocks import Backbone, Plan, TailoredNet, compact
from nettailor.artifacts import delta
from nettailor.artifacts.run_folder import RunFolder
from nettailor.backbones.load import load_backbone
from nettailor.data.task import Split, Task
from nettailor.jobs.measure import measure
from nettailor.jobs.recipe import Recipe
from nettailor.methods._protocol import Context, Trained
from nettailor.training.config import StudentConfig
from nettailor.training.loop import accuracy
from nettailor.training.run import Fitted, Run
from nettailor.training.stages import plan_of


def test_a_teacher_has_no_parameters_of_its_students() -> None:
    """On the digits' 10 classes 1,340,450, not the 1,341,262 with the low-rank weights of the student's stem."""
    backbone = load_backbone()
    teacher = backbone.teacher(10)
    student = TailoredNet(backbone, 10, plan_of(StudentConfig()))
    assert teacher.network_cost().params == 1_340_450
    assert teacher.network_cost().macs == student.fixed_cost().macs + sum(block.macs for block in backbone.block_costs)


@pytest.mark.parametrize("with_teacher", [True, False])
def test_each_network_reads_each_split_once_and_figures_and_predictions_agree(
    backbone: Backbone, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_teacher: bool
) -> None:
    folder, run = RunFolder(tmp_path), Run()
    net = compact(TailoredNet(backbone, 4, Plan(skips=1)).eval())
    teacher = backbone.teacher(4).eval() if with_teacher else None
    delta.save(net, folder.delta, task.name, task.classes)
    run.fitted["teacher"] = Fitted({"val_accuracy": 0.5}, 1.0)
    read: list[int] = []
    batch = Split.batch
    monkeypatch.setattr(Split, "batch", lambda self, rows: (read.append(id(self)), batch(self, rows))[1])
    report, said = measure(Context(Recipe(), backbone, task, run, folder, "hash"), Trained(net, teacher))
    assert read.count(id(task.test)) == read.count(id(task.val)) == (2 if with_teacher else 1)
    monkeypatch.undo()
    assert report.compact.test_accuracy == accuracy(net, task.test) == sum(said.test.right()) / 24
    assert report.compact.val_accuracy == accuracy(net, task.val) == sum(said.val.right()) / 24
    assert report.compact.balanced_accuracy == pytest.approx(report.compact.test_accuracy), "six pictures a class"
    assert (said.task, said.classes) == (task.name, task.classes)
    assert (report.teacher is not None) == with_teacher
    if report.teacher is not None and teacher is not None:
        assert report.teacher.test_accuracy == accuracy(teacher, task.test) == sum(said.test.right("teacher")) / 24
        assert report.teacher.balanced_accuracy == pytest.approx(report.teacher.test_accuracy)
        assert report.teacher.val_accuracy == 0.5, "as its training measured it"
        assert (report.teacher.macs, report.teacher.params) == astuple(teacher.network_cost()), "nothing of a student's"
