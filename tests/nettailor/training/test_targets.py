"""What a student is held to: fixed views that its teacher answers once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from blocks import Backbone, compact
from blocks.shallow import ShallowNet
from nettailor.data.batches import normalise
from nettailor.data.config import DataConfig
from nettailor.data.task import Task
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.prune import prune
from nettailor.training.config import RecoverConfig, StudentConfig
from nettailor.training.finetuning import finetune
from nettailor.training.passes import HARD
from nettailor.training.run import Run
from nettailor.training.stages import recover, tailor, train
from nettailor.training.targets import USUAL_VIEWS, TeacherTargets
from tests.nettailor.conftest import STUDENT, TEACHER


@pytest.fixture
def teacher(backbone: Backbone, task: Task) -> Backbone:
    return finetune(backbone, task, TEACHER, Run())


def test_rows_name_a_view_and_a_picture_and_the_answers_are_to_just_these(teacher: Backbone, task: Task) -> None:
    targets = TeacherTargets(teacher, task.train, StudentConfig(views=3), Run())
    assert targets.has_views
    seen = set()
    for epoch in range(12):
        generator = torch.Generator().manual_seed(epoch)
        rows_of_epoch = []
        for x, labels, rows in targets.batches(16, generator):
            (logits,) = targets.known(rows)  # type: ignore[misc]
            torch.testing.assert_close(logits, teacher(x), rtol=1e-3, atol=1e-3)
            pictures = rows % len(task.train)
            assert torch.equal(labels, task.train.labels[pictures])
            rows_of_epoch.append(pictures)
            seen |= set((rows // len(task.train)).tolist())
        order = torch.cat(rows_of_epoch)
        assert len(order.unique()) == len(order) == len(task.train) // 16 * 16
    assert seen == {0, 1, 2}


def test_views_differ_and_the_seed_decides_them(teacher: Backbone, task: Task) -> None:
    def pictures(seed: int) -> list[torch.Tensor]:
        return TeacherTargets(teacher, task.train, StudentConfig(views=2), Run(seed=seed))._views

    one, same, other = pictures(0), pictures(0), pictures(1)
    assert not torch.equal(one[0], one[1])
    assert torch.equal(one[0], same[0])
    assert not torch.equal(one[0], other[0])


def test_there_are_none_where_they_do_not_fit_or_are_not_wanted(teacher: Backbone, task: Task) -> None:
    small = Run(augmentation=DataConfig(memory_gib=1e-6))
    for config, run in ((StudentConfig(), small), (StudentConfig(views=0), Run())):
        targets = TeacherTargets(teacher, task.train, config, run)
        assert not targets.has_views
        assert targets.known(torch.tensor([0])) is None


def test_where_activations_are_matched_all_of_them_are_known(teacher: Backbone, task: Task) -> None:
    targets = TeacherTargets(teacher, task.train, StudentConfig(views=2, matching_weight=1.0), Run())
    x, _, rows = next(targets.batches(8, torch.Generator().manual_seed(0)))
    known = targets.known(rows)
    assert known is not None
    for ours, theirs in zip(known, teacher.activations(x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_a_teacher_answers_once_where_pictures_are_not_varied(backbone: Backbone, task: Task) -> None:
    still = DataConfig(shift=0, scale=0, rotate=0)
    teacher = finetune(backbone, task, TEACHER, Run(augmentation=still))
    matched, tensors = replace(STUDENT, matching_weight=0.3), []
    for memory in (2.0, 1e-9):
        run = Run(augmentation=replace(still, memory_gib=memory))
        answers = TeacherTargets(teacher, task.train, matched, run)
        assert (answers.known(torch.tensor([3, 1])) is None) == (memory < 1)
        student = tailor(backbone, task, matched, run)
        train(student, teacher, task, matched, run)
        tensors.append(student.task_tensors())
    assert all(torch.allclose(tensors[0][name], tensors[1][name], atol=1e-3) for name in tensors[0])
    known = TeacherTargets(teacher, task.train, matched, Run(augmentation=still)).known(torch.tensor([3, 1]))
    assert known is not None
    x = normalise(task.train.batch(torch.tensor([3, 1])), backbone.spec, torch.device("cpu"))
    for ours, theirs in zip(known, teacher.activations(x), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4)


def test_a_run_asks_its_teacher_once_for_all_its_stages(
    backbone: Backbone, teacher: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    answer = Backbone.activations

    def activations(self: Backbone, x: torch.Tensor) -> list[torch.Tensor]:
        asked.append(len(x))
        return answer(self, x)

    run, config = Run(), replace(STUDENT, views=2)
    student = tailor(backbone, task, config, run, teacher)
    monkeypatch.setattr(Backbone, "activations", activations)
    train(student, teacher, task, config, run)
    prune(student, teacher, task, PruneConfig(epochs=1, drop=100, patience=0, importance="gate"), config, run)
    training = [count for count in asked if count == len(task.train)]
    assert len(training) == 2, "each of two views once"
    assert run.targets is not None
    assert run.targets is TeacherTargets.of(teacher, task.train, config, run)
    matched = replace(config, matching_weight=1.0)
    assert run.targets is not TeacherTargets.of(teacher, task.train, matched, run)


def test_a_recovery_on_a_hard_task_shows_new_views_in_every_pass(
    backbone: Backbone, teacher: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = tailor(backbone, task, STUDENT, Run(), teacher)

    def has_fixed_views(taught: float, views: int | None = None, lr: float = 4e-3) -> bool:
        monkeypatch.setattr("nettailor.training.stages.accuracy", lambda net, split: taught)
        run = Run()
        recover(student, teacher, task, RecoverConfig(epochs=1, lr=lr), replace(STUDENT, views=views), run)
        assert run.targets is not None
        return run.targets.has_views

    assert has_fixed_views(HARD)
    assert not has_fixed_views(HARD - 0.01)
    assert has_fixed_views(HARD - 0.01, views=2), "they are asked for"
    assert has_fixed_views(HARD - 0.01, lr=2e-4)


def test_a_run_has_as_many_views_as_the_training_at_hand_wants(teacher: Backbone, task: Task) -> None:
    run = Run()
    usual = TeacherTargets.of(teacher, task.train, StudentConfig(), run)
    assert len(usual._views) == USUAL_VIEWS
    assert TeacherTargets.of(teacher, task.train, StudentConfig(views=USUAL_VIEWS), run) is usual
    assert not TeacherTargets.of(teacher, task.train, StudentConfig(views=0), run).has_views
    assert len(TeacherTargets.of(teacher, task.train, StudentConfig(), run)._views) == USUAL_VIEWS


def test_a_teacher_whose_answers_nothing_reads_is_not_asked(
    backbone: Backbone, teacher: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pictures are those of a student that learns from it."""
    asked = TeacherTargets(teacher, task.train, StudentConfig(views=2), Run())

    def activations(self: Backbone, x: torch.Tensor) -> list[torch.Tensor]:
        raise AssertionError("it is asked")

    monkeypatch.setattr(Backbone, "activations", activations)
    labels = replace(STUDENT, views=2, distill_weight=0.0)
    run = Run()
    targets = TeacherTargets.of(teacher, task.train, labels, run)
    assert targets.has_views
    assert targets.known(torch.tensor([0])) is None
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(targets._views, asked._views, strict=True))
    student = tailor(backbone, task, replace(labels, start="backbone", warm_start=0), run)
    monkeypatch.setattr("nettailor.training.passes.HARD", 0.0)
    monkeypatch.setattr("nettailor.training.stages.accuracy", lambda net, split: 0.5)
    train(student, teacher, task, labels, run)
    assert run.targets is targets
    monkeypatch.undo()
    assert TeacherTargets.of(teacher, task.train, StudentConfig(views=2), run) is not targets, "now they are read"


def test_a_network_without_all_activations_teaches_by_its_answers(backbone: Backbone, task: Task) -> None:
    teacher = compact(ShallowNet(backbone, 3, len(task.classes)), backbone)
    assert not teacher.gives_activations
    for views in (2, 0):
        run, config = Run(), replace(STUDENT, views=views, epochs=1)
        student = tailor(backbone, task, config, run, teacher)
        train(student, teacher, task, config, run)
        assert run.targets is not None
        assert run.targets.has_views == (views > 0)
