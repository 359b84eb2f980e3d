"""The paper's student by our pruning: one half of each, and nothing else."""

from __future__ import annotations

from nettailor.jobs.recipe import Recipe
from nettailor.methods.paper_pruned_as_nettailor import METHOD


def test_the_student_is_the_papers_and_pruning_and_recovery_are_ours() -> None:
    paper, crossed, ours = (Recipe().with_method(name) for name in ("paper", METHOD.name, "nettailor"))
    assert crossed.student == paper.student != ours.student
    assert crossed.method.training == paper.method.training  # type: ignore[attr-defined]
    assert (crossed.prune, crossed.recover) == (ours.prune, ours.recover)
