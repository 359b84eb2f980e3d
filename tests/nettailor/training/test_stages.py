"""Trainings: what they change, what decides them, and that they learn."""

from __future__ import annotations

import pytest
import torch

from blocks import Backbone
from nettailor.data.batches import normalise
from nettailor.data.task import Task
from nettailor.training.config import StudentConfig, TeacherConfig
from nettailor.training.finetuning import finetune
from nettailor.training.loop import accuracy
from nettailor.training.run import Run
from nettailor.training.stages import recalibrate, tailor, train
from tests.nettailor.conftest import TEACHER
from tests.nettailor.training.conftest import Terms, everything


def test_the_backbone_is_the_same_after_a_whole_run(backbone: Backbone, task: Task) -> None:
    before = {name: t.clone() for name, t in backbone.state_dict().items()}
    everything(backbone, task, Run())
    assert all(torch.equal(t, before[name]) for name, t in backbone.state_dict().items())


def test_seeds_decide_and_nothing_else(backbone: Backbone, task: Task) -> None:
    one, same, other = (finetune(backbone, task, TEACHER, Run(seed=seed)) for seed in (0, 0, 1))
    x = torch.randn(4, 3, 16, 16)
    assert torch.equal(one(x), same(x))
    assert not torch.equal(one(x), other(x))


def test_a_teacher_learns(backbone: Backbone, task: Task) -> None:
    run = Run()
    teacher = finetune(backbone, task, TeacherConfig(epochs=15, batch=16, start="fresh", lr=2e-3), run)
    assert accuracy(teacher, task.train) > 0.7
    assert run.fitted["teacher"].seconds > 0


def test_a_warm_start_looks_at_no_picture_alone(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """48 training pictures of 16 px, whose last activations are 1x1: a batch of one would have no variance there."""
    monkeypatch.setattr("nettailor.training.stages.WARM_BATCH", 47)
    monkeypatch.setattr("blocks.memory.ACTIVATIONS_AT_ONCE", 2**40)
    student = tailor(backbone, task, StudentConfig(warm_start=48), Run())
    assert all(torch.isfinite(tensor).all() for tensor in student.task_tensors().values())


def test_a_student_of_a_probe_begins_with_what_the_probe_reads(backbone: Backbone, task: Task) -> None:
    probe = backbone.teacher(len(task.classes)).requires_grad_(False).eval()
    student = tailor(backbone, task, StudentConfig(batch_norm="affine", warm_start=32), teacher=probe).eval()
    student.keep(path for path in student.paths if path.is_universal)
    x = normalise(task.val.batch(torch.arange(16)), backbone.spec, torch.device("cpu"))
    with torch.no_grad():
        assert torch.allclose(student(x), probe(x), rtol=1e-4, atol=1e-4)
    statistics = [tensor for name, tensor in student.task_tensors().items() if name.endswith("running_mean")]
    theirs = [tensor for name, tensor in probe.named_buffers() if name.endswith("running_mean")]
    assert statistics
    assert not any(torch.equal(own, old) for own in statistics for old in theirs), "and has statistics of its own"


def test_where_scale_and_shift_are_not_its_own_statistics_are_estimated_anew(backbone: Backbone, task: Task) -> None:
    probe = backbone.teacher(len(task.classes)).requires_grad_(False).eval()
    student = tailor(backbone, task, StudentConfig(batch_norm="stats", warm_start=32), teacher=probe)
    statistics = [tensor for name, tensor in student.task_tensors().items() if name.endswith("running_mean")]
    theirs = [tensor for name, tensor in probe.named_buffers() if name.endswith("running_mean")]
    assert statistics
    assert not any(torch.equal(own, old) for own in statistics for old in theirs)


def test_a_warm_start_holds_no_more_pictures_than_fit(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    monkeypatch.setattr(
        "nettailor.training.stages.warm_start",
        lambda student, batches, unchanged: counts.extend(len(x) for x in batches()),
    )
    monkeypatch.setattr("blocks.memory.ACTIVATIONS_AT_ONCE", 1)
    tailor(backbone, task, StudentConfig(warm_start=40), Run())
    assert counts == [16, 16, 8], "at least as many as statistics need"
    counts.clear()
    monkeypatch.setattr("blocks.memory.ACTIVATIONS_AT_ONCE", 2**40)
    tailor(backbone, task, StudentConfig(warm_start=40), Run())
    assert counts == [40]


@pytest.mark.parametrize("much", [False, True])
def test_a_student_that_keeps_much_has_large_tensors_mapped(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, much: bool
) -> None:
    called: list[bool] = []
    monkeypatch.setattr("nettailor.training.stages.map_large_tensors", lambda: called.append(True))
    monkeypatch.setattr("blocks.memory.KEPT_BY_PROXIES", 0 if much else 2**40)
    tailor(backbone, task, StudentConfig(warm_start=0), Run())
    assert called == [True] * much


@pytest.mark.parametrize(("rate", "matched"), [(5e-4, True), (2e-3, False)])
def test_from_python_too_a_student_at_a_low_rate_matches_activations(
    backbone: Backbone, task: Task, rate: float, matched: bool
) -> None:
    """The teacher here has learned nothing, so it is often wrong."""
    teacher, terms = backbone.teacher(len(task.classes)).requires_grad_(False).eval(), Terms()
    run = Run(recorder=terms, rate=rate)
    settings = StudentConfig(epochs=1, batch=16, warm_start=0)
    train(tailor(backbone, task, settings, run, teacher), teacher, task, settings, run)
    assert ("matching" in terms.of["student"]) == matched
    assert settings.matching_weight is None


def test_statistics_are_estimated_on_every_picture_once_in_batches_of_several_classes(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures of a folder stand class by class."""
    assert task.train.labels.tolist() == sorted(task.train.labels.tolist())
    monkeypatch.setattr("nettailor.data.batches.EVALUATION_BATCH", 12)
    student = tailor(backbone, task, StudentConfig(warm_start=16), Run())
    pictures = normalise(task.train.batch(torch.arange(len(task.train))), student.spec, torch.device("cpu"))
    rows: list[list[int]] = []

    def look(_: object, given: tuple[torch.Tensor, ...]) -> None:
        rows.append([int((pictures == x).flatten(1).all(1).nonzero()[0]) for x in given[0]])

    handle = student.stem.register_forward_pre_hook(look)
    recalibrate(student, task, Run())
    handle.remove()
    assert [len(batch) for batch in rows] == [12] * 4
    assert sorted(row for batch in rows for row in batch) == list(range(len(task.train)))
    assert all(len(set(task.train.labels[batch].tolist())) > 1 for batch in rows)
