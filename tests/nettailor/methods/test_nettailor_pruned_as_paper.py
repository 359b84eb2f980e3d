"""Our student by the paper's pruning: one half of each, and nothing else."""

from __future__ import annotations

from nettailor.jobs.recipe import Recipe
from nettailor.methods.nettailor_pruned_as_paper import METHOD


def test_the_student_is_ours_and_the_pruning_the_papers() -> None:
    paper, crossed, ours = (Recipe().with_method(name) for name in ("paper", METHOD.name, "nettailor"))
    assert (crossed.student, crossed.training) == (ours.student, ours.training)
    assert (crossed.prune, crossed.recover.epochs) == (paper.prune, 0)
    stages = METHOD.stages(crossed)
    assert stages["prune"] == len(crossed.prune.remove) * (crossed.prune.epochs or 0) > 0
    assert stages["recover"] == 0
