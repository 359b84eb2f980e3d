"""NetTailor's own checks of a recipe, and how long it says that its stages take."""

from __future__ import annotations

from pathlib import Path

import pytest

from blocks import Backbone
from blocks.counting import tensors_of
from nettailor.data.task import Task
from nettailor.errors import FileError, UsageError
from nettailor.jobs.recipe import Recipe
from nettailor.methods import nettailor as module
from nettailor.methods._protocol import Context
from nettailor.methods.nettailor import METHOD
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.graph import GraphError
from nettailor.training.checkpoint import restore
from nettailor.training.config import RecoverConfig, StudentConfig, TeacherConfig
from nettailor.training.finetuning import frozen_with_probe
from nettailor.training.run import Run
from tests.nettailor.training.conftest import Terms


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        (Recipe(prune=PruneConfig(how="budget")), "prune.budget: is missing"),
        (Recipe(prune=PruneConfig(folds=1)), "prune.folds: one fold leaves nothing to train on"),
        (Recipe(prune=PruneConfig(how="paper", cut="refit")), "prune.cut: how=paper retrains"),
        (Recipe(prune=PruneConfig(cut="refit", fade_epochs=1)), "prune.fade_epochs: nothing fades with cut=refit"),
        (Recipe(cost_table="costs.json"), "cost_table: is read where cost is latency"),
        (Recipe(student=StudentConfig(proxies="conv1x2")), "student.proxies: there is no 'conv1x2'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_before_anything_is_loaded(recipe: Recipe, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        METHOD.check(recipe)


def test_a_cost_table_that_is_not_there_is_refused_and_a_whole_recipe_is_not(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="nowhere.json"):
        METHOD.check(Recipe(cost="latency", cost_table=str(tmp_path / "nowhere.json")))
    METHOD.check(Recipe())
    METHOD.check(Recipe(prune=PruneConfig(how="budget", budget=0.5)))


@pytest.mark.parametrize(
    ("prune", "rounds"),
    [
        (PruneConfig(epochs=3, how="paper", remove=(1, 2, 5, 7)), 4),
        (PruneConfig(epochs=3, how="budget", budget=0.25, shrink=0.5), 2),
        (PruneConfig(epochs=3, how="budget", budget=0.24, shrink=0.5), 3),
        (PruneConfig(epochs=3, how="budget", budget=0.99, shrink=0.5), 1),
        (PruneConfig(epochs=3, shrink=0.5), 3),  # a fifth of the cost is what usually stays
    ],
)
def test_rounds_are_as_many_as_it_takes_to_shrink_to_the_goal(prune: PruneConfig, rounds: int) -> None:
    recipe = Recipe(
        teacher=TeacherConfig(epochs=11),
        student=StudentConfig(epochs=12),
        prune=prune,
        recover=RecoverConfig(epochs=13),
    )
    assert METHOD.stages(recipe) == {"teacher": 11, "student": 12, "prune": 3 * rounds, "recover": 13}
    assert list(METHOD.stages(recipe)) == ["teacher", "student", "prune", "recover"], "in their order"


@pytest.mark.parametrize(("cost", "unit"), [("macs", "MACs"), ("params", "parameters")])
def test_a_budget_that_no_network_meets_is_refused_before_any_training(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, cost: str, unit: str
) -> None:
    trained: list[str] = []
    monkeypatch.setattr("nettailor.training.loop._Stepper.epoch", lambda *_: trained.append("epoch"))
    monkeypatch.setattr("nettailor.training.finetuning.fit_probe", lambda *_: trained.append("probe"))
    recipe = Recipe(cost=cost, prune=PruneConfig(how="budget", budget=0.001))  # type: ignore[arg-type]
    context = Context(recipe, backbone, task, Run(), None, "")  # type: ignore[arg-type]
    with pytest.raises(
        GraphError, match=rf"at most 0.001 of the backbone's {unit}; the cheapest .* of the backbone's {unit}$"
    ):
        METHOD.train(context)
    assert trained == []


@pytest.mark.parametrize(
    ("rate", "right", "configured", "matched"),
    [
        (5e-4, 1.1, None, True),
        (2e-3, 1.1, None, False),  # features are replaced, and so are activations
        (5e-4, 0.0, None, False),  # its answers say enough
        (5e-4, 1.1, 0.0, False),
        (2e-3, 0.0, 10.0, True),
    ],
)
def test_activations_are_matched_where_features_are_kept_and_the_teacher_is_often_wrong(
    backbone: Backbone,
    task: Task,
    monkeypatch: pytest.MonkeyPatch,
    rate: float,
    right: float,
    configured: float | None,
    matched: bool,
) -> None:
    """In the student's training, in rounds and in recovery, and the report says so."""
    monkeypatch.setattr("nettailor.training.stages.RIGHT", right)
    recipe = Recipe(
        teacher=TeacherConfig(epochs=1, batch=16, start="fresh", lr=rate),
        student=StudentConfig(epochs=1, batch=16, warm_start=0, matching_weight=configured),
        prune=PruneConfig(how="paper", remove=(1,), epochs=1),
        recover=RecoverConfig(epochs=1),
    )
    terms = Terms()
    trained = METHOD.train(Context(recipe, backbone, task, Run(recorder=terms), None, ""))  # type: ignore[arg-type]
    assert trained.teacher is not None
    assert ("activations" in trained.teacher.gives) == matched
    ours = {stage.partition("-")[0]: "matching" in found for stage, found in terms.of.items() if stage != "teacher"}
    assert ours == dict.fromkeys(("student", "prune", "recover"), matched)


def test_folds_have_probes_where_fine_tuning_did_only_harm(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[bool] = []
    monkeypatch.setattr(module, "_judge", lambda context, after, teach=None: taught.append(teach is frozen_with_probe))
    quick = Recipe(
        teacher=TeacherConfig(epochs=1, batch=16, start="probe", lr=1e-9),
        student=StudentConfig(epochs=1, batch=16, warm_start=0),
        prune=PruneConfig(how="paper", remove=(1,), epochs=1),
        recover=RecoverConfig(epochs=0),
    )
    for harm in (True, False):

        def settle(teacher: Backbone, start: Backbone, *_: object, harm: bool = harm) -> None:
            if harm:
                restore(tensors_of(teacher), tensors_of(start), "teacher")

        monkeypatch.setattr("nettailor.training.finetuning._take_probe_if_better", settle)
        METHOD.train(Context(quick, backbone, task, Run(), None, ""))  # type: ignore[arg-type]
    assert taught == [True, False]
