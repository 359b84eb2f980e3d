"""Blocks that tasks share stay, however a network is pruned."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from blocks import Backbone, Path, Plan, TailoredNet, compact
from nettailor.data.task import Task
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.graph import BlockGraph, GraphError
from nettailor.pruning.importance import kind_for, option_losses
from nettailor.pruning.prune import check_budget, prune, weakest_blocks
from nettailor.pruning.solver import cheapest, layer_options, options_from_paths, smaller, within_budget
from nettailor.training.config import StudentConfig
from nettailor.training.finetuning import finetune
from nettailor.training.run import Run
from nettailor.training.stages import tailor
from tests.nettailor.conftest import STUDENT, TEACHER

SHARED = 3


def student_of(backbone: Backbone, shared: int = SHARED) -> TailoredNet:
    return TailoredNet(backbone, 4, Plan(batch_norm="affine", shared_prefix=shared)).eval()


def kept(graph: BlockGraph) -> list[str]:
    """The universal blocks of the prefix that are left."""
    return [path.key for path in graph.universal() if path.target <= SHARED]


def test_a_shared_layer_has_one_option_and_the_others_have_theirs(backbone: Backbone) -> None:
    options = layer_options(BlockGraph.of(student_of(backbone)))
    for layer in range(1, SHARED + 1):
        assert options[layer] == [frozenset({Path(layer, 0, "universal")})]
    assert all(frozenset() in options[layer] for layer in range(SHARED + 1, 7))


def test_whatever_is_removed_the_shared_blocks_are_left(backbone: Backbone) -> None:
    student = student_of(backbone)
    graph = BlockGraph.of(student)
    worthless = options_from_paths(graph, dict.fromkeys(graph.paths, 0.0))
    left = cheapest(graph)
    assert kept(left) == ["G1", "G2", "G3"]
    assert left.price() == within_budget(graph, worthless, left.price() + 1e-6).price()
    with pytest.raises(GraphError):
        within_budget(graph, worthless, left.price() * 0.99)
    assert left.fixed_price() == pytest.approx(sum(cost.macs for cost in backbone.block_costs[:SHARED]))
    for chosen in ([Path(2, 0, "universal")], [path for path in graph.paths if path.source == SHARED]):
        with pytest.raises(GraphError, match="blocks 1 to 3 are shared with other tasks"):
            graph.without(chosen)  # itself, or all that reads it
    student.keep(left.paths)
    assert BlockGraph.of(compact(student)).shared_prefix == SHARED


def test_a_round_takes_its_part_of_what_may_go(backbone: Backbone) -> None:
    graph = BlockGraph.of(student_of(backbone))
    options = options_from_paths(graph, dict.fromkeys(graph.paths, 1.0))
    fixed = graph.fixed_price()
    spare = graph.price() - fixed
    left = smaller(graph, options, 0.5)
    assert fixed + 0.35 * spare < left.price() <= fixed + 0.5 * spare
    without = BlockGraph.of(student_of(backbone, shared=0))
    assert without.fixed_price() == 0.0


def test_the_kind_of_importance_goes_by_what_may_go(backbone: Backbone) -> None:
    student = student_of(backbone)
    graph = BlockGraph.of(student)
    assert kind_for("auto", student, graph, keeps_features=False) == "taylor"
    assert kind_for("auto", student, graph, keeps_features=True) == "measured", "a low rate brings little back"
    assert kind_for("gate", student, graph, keeps_features=True) == "gate"
    left = smaller(graph, options_from_paths(graph, dict.fromkeys(graph.paths, 1.0)), 0.3)
    assert left.price() > 0.5 * student.cost_model.blocks, "most of it is the prefix"
    assert kind_for("auto", student, left, keeps_features=False) == "measured"


def test_a_budget_below_the_prefix_is_refused_before_any_training_and_says_why(backbone: Backbone) -> None:
    budget = PruneConfig(how="budget", budget=0.5)
    check_budget(student_of(backbone, shared=0), budget)
    with pytest.raises(GraphError, match=r"cheapest .* because blocks 1 to 3 stay \(student\.shared_prefix\)"):
        check_budget(student_of(backbone), budget)
    with pytest.raises(GraphError) as refused:
        check_budget(student_of(backbone, shared=0), replace(budget, budget=0.01))
    assert "shared_prefix" not in str(refused.value)


def test_the_weakest_blocks_are_looked_for_behind_the_prefix(backbone: Backbone) -> None:
    student = student_of(backbone)
    with torch.no_grad():
        student.gates.logits[:3, 0] = -9.0
    graph = BlockGraph.of(student)
    assert {path.key for path in weakest_blocks(graph, 6)} == {"G4", "G5", "G6"}


@pytest.mark.parametrize("importance", ["taylor", "measured", "gate"])
@pytest.mark.parametrize("shared", [SHARED, 6])
def test_losses_are_found_for_what_may_go(backbone: Backbone, task: Task, importance: str, shared: int) -> None:
    student = student_of(backbone, shared)
    before = student.gates.fade.clone()
    options = option_losses(student, task, importance, 8)  # type: ignore[arg-type]
    assert [len([one for one in options if one.layer == layer]) for layer in range(1, shared + 1)] == [1] * shared
    assert torch.equal(student.gates.fade, before)


@pytest.mark.parametrize("how", ["tolerance", "paper"])
def test_a_pruned_student_keeps_the_prefix_and_learns_from_a_whole_teacher(
    backbone: Backbone, task: Task, how: str
) -> None:
    settings: StudentConfig = replace(STUDENT, shared_prefix=SHARED, matching="local", matching_weight=1.0)
    teacher = finetune(backbone, task, replace(TEACHER, epochs=1), Run())
    student = tailor(backbone, task, settings, Run(), teacher)
    choice = PruneConfig(how=how, drop=100, epochs=1, shrink=0.4, remove=(1, 2, 6), patience=0, measured_on=8)
    result = prune(student, teacher, task, choice, settings, Run())
    assert kept(result.graph) == ["G1", "G2", "G3"]
    assert len(result.graph.paths) < len(student.paths)
    assert [path.key for path in student.live_paths() if path.target <= SHARED] == ["G1", "G2", "G3"]
