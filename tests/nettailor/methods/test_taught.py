"""Networks of the other methods as teachers: all activations, answers, the start, and students that learn from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from blocks import Backbone, CompactNet
from blocks.teachers import gives_activations
from nettailor.data.source import SourceConfig, SourcePictures
from nettailor.data.task import Task
from nettailor.jobs.board_rows import in_order
from nettailor.jobs.compare import cells
from nettailor.jobs.recipe import Recipe
from nettailor.methods._protocol import Context, pictures_of
from nettailor.methods._teachers import check_teacher, check_teacher_with, taken_by, teach
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import StudentConfig, TeacherConfig
from nettailor.training.loop import accuracy
from nettailor.training.run import Run
from nettailor.training.stages import begin, new_student, train

TEACHER = TeacherConfig(epochs=1, batch=16, start="fresh", lr=2e-3)
MATCHED = StudentConfig(epochs=1, batch=16, warm_start=32, views=1, matching_weight=10.0, matching="local", skips=1)
GROWN = ("grow_depth", "grow_width", "grow_both", "grow_twice")
ANSWERS_ALONE = ("shallow",)
TEACHERS: dict[str, dict[str, Any]] = {
    "finetune": {"tune_from": 3},
    "soft": {},
    "lwf": {},
    "keep_classifier": {"classifier": "random"},  # nobody trained the one of this backbone
    **{name: {} for name in GROWN},
    "linear": {},
    "batch_norm": {},
    "adapters": {},
    "scratch": {},
    "shallow": {"macs": 0.4},
}
QUICK_HERE = {"finetune", "grow_width", "shallow"}
"""One whose head is plain, one whose head is not, one that teaches by its answers alone; the others run behind the marker."""
PLAIN_HEAD = ("finetune", "soft", "lwf", "linear", "batch_norm", "adapters", "scratch")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK_HERE else pytest.mark.slow) for name in TEACHERS]
)
def test_a_student_learns_from_it(
    name: str, backbone: Backbone, target: Task, source: SourcePictures, tmp_path: Path
) -> None:
    student_config = MATCHED if name not in ANSWERS_ALONE else replace(MATCHED, matching_weight=0.0)
    teacher = replace(TEACHER, method=name, settings=TEACHERS[name])
    pictures = SourceConfig(data="digits", classes="digit [23]") if name == "soft" else SourceConfig()
    recipe = Recipe(teacher=teacher, student=student_config, source=pictures)
    check_teacher(recipe)
    check_teacher_with(recipe, backbone, target)
    run = Run(checkpoints=Checkpoints(tmp_path))
    context = Context(recipe, backbone, target, run, None, "", source if name == "soft" else None)  # type: ignore[arg-type]
    taught = teach(context, taken_by(student_config))
    net = taught.net
    assert isinstance(net, CompactNet)
    assert gives_activations(net) == (name not in ANSWERS_ALONE)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        logits = net(x)
        assert logits.shape == (2, 2)
        torch.testing.assert_close(net.frozen_copy()(x), logits, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(net.for_inference()(x), logits, rtol=1e-3, atol=1e-3)
        if gives_activations(net):
            found = net.activations(x)
            assert [tuple(part.shape[1:]) for part in found[:-1]] == backbone.shapes
            assert torch.equal(found[-1], logits)
    assert run.fitted["teacher"].metrics["val_accuracy"] == accuracy(net, target.val)
    assert list(run.seconds.totals) == ["teacher"], "all its stages count as one"
    assert [path.name for path in tmp_path.iterdir()] == ["teacher.safetensors"]
    kept = teach(replace(context, run=Run(checkpoints=Checkpoints(tmp_path)))).net
    with torch.no_grad():
        assert torch.equal(kept(x), logits), "a run that goes on has the same teacher"
    student = new_student(backbone, target, student_config, run)
    classifier = student.head.get_submodule(backbone.classifier_paths[0])
    fresh = classifier.weight.detach().clone()
    begin(student, target, student_config, run, net)
    assert not torch.equal(classifier.weight, fresh), "the teacher's, or nearest to its answers"
    if name in PLAIN_HEAD:
        assert torch.equal(classifier.weight, net.head.get_submodule(backbone.classifier_paths[0]).weight)
    train(student, net, target, student_config, run)
    assert run.targets is not None
    known = run.targets.known(torch.tensor([0, 1]))
    assert known is not None
    assert len(known) == (backbone.depth + 2 if student_config.matching_weight else 1)


def test_source_pictures_are_read_where_the_teachers_method_reads_them() -> None:
    recipe = Recipe(teacher=TeacherConfig(method="soft"), source=SourceConfig(data="digits"))
    assert pictures_of(recipe) == ("source", "probe")
    assert recipe.without_unread() == recipe
    recipe.find_method().check(recipe)
    plain = replace(recipe, teacher=TeacherConfig())
    assert pictures_of(plain) == ()
    assert plain.without_unread().source.data is None


def test_a_board_has_our_net_under_other_teachers(tmp_path: Path) -> None:
    rows = in_order(["nettailor", "nettailor+by_soft", "nettailor+by_grow_width", "nettailor+local+by_grow_width"])
    assert [row.needs_source for row in rows] == [False, False, True, False, False]
    recipe = Recipe(source=SourceConfig(data="digits"))
    jobs = {job.out.name: job for job in cells(recipe, rows, tmp_path / "seed-0")}
    soft, local = jobs["nettailor+by_soft"], jobs["nettailor+local+by_grow_width"]
    assert soft.recipe.source.data == "digits"
    assert jobs["nettailor"].recipe.source.data is None
    assert (soft.begin_with, local.begin_with) == (None, None)
    assert jobs["nettailor"].begin_with is not None
    student = local.recipe.student
    assert (local.recipe.teacher.method, student.matching, student.matching_weight) == ("grow_width", "local", 10.0)
