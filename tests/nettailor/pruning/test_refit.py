"""Removed paths that are cut at once, with proxies fitted anew: when, on what, and that a round goes on behind a stop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path as FilePath
from typing import Any

import pytest
import torch

from blocks import Backbone, InputSpec, Path, TailoredNet
from blocks.refit import linear_end
from blocks.teachers import Teacher
from nettailor.data.batches import augmented_batches, normalise, sample_batches
from nettailor.data.config import DataConfig
from nettailor.data.task import Split, Task
from nettailor.pruning import folds as folds_module
from nettailor.pruning import job as jobs
from nettailor.pruning import prune as pruning
from nettailor.pruning import refit as refit_module
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.fade import Fade
from nettailor.pruning.folds import FoldJudge
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.importance import Importance, option_losses
from nettailor.pruning.prune import prune
from nettailor.pruning.refit import (
    count_to_fit_on,
    count_to_measure_behind,
    cut_and_refit,
    cut_blocks_and_refit,
    pictures_to_measure_behind,
)
from nettailor.pruning.solver import Option
from nettailor.pruning.states import snapshot
from nettailor.training import passes, stages
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import StudentConfig
from nettailor.training.finetuning import finetune
from nettailor.training.loop import accuracy
from nettailor.training.run import Run
from nettailor.training.stages import new_student, tailor, train
from tests.nettailor.conftest import STUDENT, TEACHER


@pytest.mark.parametrize(
    ("config", "keeps_features", "answer"),
    [
        (PruneConfig(), True, True),
        (PruneConfig(), False, False),
        (PruneConfig(fade_epochs=0), True, False),
        (PruneConfig(cut="refit"), False, True),
        (PruneConfig(cut="fade"), True, False),
        (PruneConfig(how="budget", budget=0.5), True, True),
        (PruneConfig(how="paper"), True, False),
        (PruneConfig(how="paper", cut="refit"), True, False),
    ],
)
def test_refit_is_for_low_rates_unless_told_otherwise(config: PruneConfig, keeps_features: bool, answer: bool) -> None:
    assert config.refits(keeps_features) is answer


@pytest.mark.parametrize(("rate", "refitted"), [(1e-3, True), (4e-3, False)])
def test_a_round_removes_as_its_rate_says(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, rate: float, refitted: bool
) -> None:
    cut: list[list[Path]] = []

    def counted(student: TailoredNet, kept: Iterable[Path], task: Task, run: Run) -> None:
        cut.append(list(kept))
        cut_and_refit(student, cut[-1], task, run)

    looked_at: set[int] = set()

    def looking(student: TailoredNet, task: Task, kind: Importance, pictures: int, *rest: Any) -> list[Option]:
        looked_at.add(pictures)
        return option_losses(student, task, kind, pictures, *rest)

    monkeypatch.setattr(jobs, "cut_and_refit", counted)
    monkeypatch.setattr(pruning, "option_losses", looking)
    student, teacher = tailor(backbone, task, STUDENT, Run()), backbone.teacher(len(task.classes)).eval()
    config = PruneConfig(lr=rate, epochs=1, patience=0, shrink=0.5, largest_loss=0, drop=0.0)
    result = prune(student, teacher, task, config, STUDENT, Run())
    assert [[path.key for path in kept] for kept in cut] == [trial.paths for trial in result.trials if refitted]
    assert looked_at == {100 if refitted else 200}


@pytest.mark.parametrize(
    ("settings", "untrained", "trains"),
    [
        ({"lr": 1e-3}, 1.0, False),
        ({"lr": 1e-3}, -1.0, True),
        ({"lr": 1e-3, "epochs": 1}, 1.0, True),  # as many as are asked for
        ({"lr": 4e-3}, 1.0, True),  # paths fade while it trains
        ({"lr": 4e-3, "cut": "refit"}, 1.0, False),
    ],
)
def test_a_round_is_not_trained_where_proxies_that_are_fitted_anew_are_enough(
    backbone: Backbone,
    task: Task,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, object],
    untrained: float,
    trains: bool,
) -> None:
    """The margin is all accuracy or none here, so that every round is on one side of it."""
    monkeypatch.setattr(jobs, "UNTRAINED", untrained)
    for rounds in ("ROUND", "SLOW_ROUND"):
        monkeypatch.setattr(passes, rounds, passes.UsualPasses(1, 1))
    student, teacher = taught(backbone, task)
    config = PruneConfig(how="budget", budget=0.6, shrink=0.9, largest_loss=0, **settings)  # type: ignore[arg-type]
    result = prune(student, teacher, task, config, STUDENT, Run())
    assert len(result.trials) > 1
    assert {trial.epochs for trial in result.trials} == {1 if trains else 0}
    assert result.epochs == (len(result.trials) if trains else 0)
    for trial in result.trials:
        assert trains or trial.val_accuracy == trial.after_cut
    assert result.val_accuracy == accuracy(student, task.val)


def test_a_round_is_of_several_steps_where_what_it_leaves_is_accurate_fitted_anew(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The margin below the drop is all accuracy or none here; a look ahead leaves nothing behind."""
    monkeypatch.setattr(passes, "SLOW_ROUND", passes.UsualPasses(1, 1))

    def first_price(margin: float, largest_loss: float) -> float:
        monkeypatch.setattr(jobs, "UNTRAINED", margin)
        seen: list[dict[str, torch.Tensor]] = []
        pictures = 0

        def looking(student: TailoredNet, *rest: Any) -> list[Option]:
            nonlocal pictures
            seen.append(snapshot(student))
            options = option_losses(student, *rest)
            pictures += len(options) * len(task.val) + len(task.train)  # both fewer than are wanted
            return options

        monkeypatch.setattr(pruning, "option_losses", looking)
        student, teacher = taught(backbone, task)
        config = PruneConfig(how="budget", budget=0.5, shrink=0.8, largest_loss=largest_loss, lr=1e-3)
        result = prune(student, teacher, task, config, STUDENT, Run())
        for looked, left in zip(seen[1:], result.steps, strict=False):
            assert all(torch.equal(tensor, left[name]) for name, tensor in looked.items())
        assert result.importance_passes * len(task.train) >= pictures
        assert largest_loss or result.importance_passes * len(task.train) == pytest.approx(pictures)
        return result.trials[0].price

    single = first_price(1.0, 0.0)
    assert first_price(-1.0, 2.5) == single
    assert first_price(1.0, 2.5) < single


def test_rounds_without_training_go_on_behind_a_stop(
    backbone: Backbone, task: Task, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "UNTRAINED", 1.0)
    config = PruneConfig(how="budget", budget=0.6, shrink=0.9, largest_loss=0, lr=1e-3)
    turns: list[object] = []

    def stopped(*given: Any) -> list[Option]:
        turns.append(given)
        if len(turns) == 2:
            raise KeyboardInterrupt
        return option_losses(*given)

    def ended(folder: FilePath | None) -> tuple[list[dict[str, object]], dict[str, torch.Tensor]]:
        student, teacher = taught(backbone, task)
        result = prune(student, teacher, task, config, STUDENT, Run(checkpoints=Checkpoints(folder)))
        return [vars(trial) for trial in result.trials], snapshot(student)

    trials, tensors = ended(None)
    assert len(trials) > 1
    monkeypatch.setattr(pruning, "option_losses", stopped)
    with pytest.raises(KeyboardInterrupt):
        ended(tmp_path)
    begun = len(turns)
    again, their = ended(tmp_path)
    assert again == trials
    assert len(turns) - begun == len(trials) - 1, "the round before the stop is not run again"
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in their.items())


def taught(backbone: Backbone, task: Task) -> tuple[TailoredNet, Teacher]:
    """A student that began as its teacher, and that one."""
    teacher = finetune(backbone, task, TEACHER, Run())
    student = tailor(backbone, task, STUDENT, Run(), teacher)
    train(student, teacher, task, STUDENT, Run())
    return student, teacher


def trained(backbone: Backbone, task: Task) -> tuple[TailoredNet, BlockGraph]:
    """A student, and what is left of its paths without two blocks."""
    student, _ = taught(backbone, task)
    gone = [path for path in student.paths if path.key in ("G3", "G5")]
    return student, BlockGraph.of(student).without(gone)


def test_it_cuts_once_before_the_first_step_and_measures_both_sides(backbone: Backbone, task: Task) -> None:
    student, left = trained(backbone, task)
    before, start = accuracy(student, task.val), snapshot(student)
    cut = Fade(student, left, 0, task.val, partial(cut_and_refit, task=task, run=Run()))
    cut(0.0)
    assert cut.is_over
    assert student.live_paths() == left.paths
    assert cut.memory == {"before_cut": before, "after_cut": accuracy(student, task.val)}
    once = snapshot(student)
    changed = {name for name, tensor in once.items() if not torch.equal(tensor, start[name])}
    assert {"gates.fade"} < changed, "proxies are fitted too"
    cut(1.0)
    assert all(torch.equal(tensor, once[name]) for name, tensor in snapshot(student).items())


@pytest.mark.parametrize("epochs", [2, None])
def test_a_round_that_is_stopped_goes_on_to_the_same_end(
    backbone: Backbone, task: Task, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, epochs: int | None
) -> None:
    config = PruneConfig(drop=0.0, epochs=epochs, patience=0, shrink=0.6, lr=1e-3, largest_loss=0)
    monkeypatch.setattr(passes, "SLOW_ROUND", passes.UsualPasses(2, 1))
    monkeypatch.setattr(jobs, "UNTRAINED", -1.0)  # every round is trained
    whole, seen = stages.accuracy, []

    def stopped(net: TailoredNet, split: Split) -> float:
        seen.append(net)
        if len(seen) == 2:  # behind the first pass of the first round, which is kept
            raise KeyboardInterrupt
        return whole(net, split)

    def ended(folder: FilePath | None) -> tuple[list[dict[str, object]], dict[str, torch.Tensor]]:
        teacher = finetune(backbone, task, TEACHER, Run())
        student = tailor(backbone, task, STUDENT, Run(), teacher)
        result = prune(student, teacher, task, config, STUDENT, Run(checkpoints=Checkpoints(folder)))
        return [vars(trial) for trial in result.trials], snapshot(student)

    trials, tensors = ended(None)
    monkeypatch.setattr(stages, "accuracy", stopped)
    with pytest.raises(KeyboardInterrupt):
        ended(tmp_path)
    assert {path.stem for path in tmp_path.glob("*.safetensors")} == {"prune-1"}
    monkeypatch.setattr(stages, "accuracy", whole)
    again, their = ended(tmp_path)
    assert again == trials
    assert all(trial["before_cut"] is not None and trial["after_cut"] is not None for trial in trials)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in their.items())


@pytest.mark.parametrize(
    ("rate", "settings", "refitted"),
    [(2e-4, {}, True), (2e-3, {}, False), (2e-4, {"cut": "fade"}, False), (2e-4, {"fade_epochs": 1.0}, False)],
)
def test_networks_of_folds_lose_their_paths_as_the_runs_do(
    backbone: Backbone,
    task: Task,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: FilePath,
    rate: float,
    settings: dict[str, object],
    refitted: bool,
) -> None:
    cut: list[list[str]] = []

    def counted(student: TailoredNet, kept: Iterable[Path], one: Task, run: Run) -> None:
        paths = list(kept)
        cut.append([path.key for path in paths])
        cut_and_refit(student, paths, one, run)

    monkeypatch.setattr(folds_module, "cut_and_refit", counted)
    short = StudentConfig(epochs=1, batch=16, warm_start=16, views=1)
    config = PruneConfig(folds=3, **settings)  # type: ignore[arg-type]
    for again in (False, True):
        run = Run(checkpoints=Checkpoints(tmp_path))
        run.rate = rate
        judge = FoldJudge.of(backbone, task, config, replace(TEACHER, epochs=1), short, run)
        graph = BlockGraph.of(new_student(backbone, task, short, run))
        left = graph.without([path for path in graph.paths if path.key == "G3"])
        assert judge is not None
        right = torch.ones(len(task.val), dtype=torch.bool)
        judge.drop((right, right), left.paths, "recover-1", 1, 0.5)
        assert cut == [[path.key for path in left.paths]] * (2 if refitted else 0), f"nothing twice, {again}"


def _fitted_on(student: TailoredNet, task: Task, run: Run, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The batches that a cut is fitted on; what may be held is not for this module to say."""
    seen: list[list[torch.Tensor]] = []

    def seeing(student: TailoredNet, kept: Iterable[Path], pictures: Iterable[torch.Tensor], held: int) -> None:
        seen.append(list(pictures))
        assert held == refit_module.HELD

    monkeypatch.setattr(refit_module, "refit", seeing)
    cut_and_refit(student, student.paths, task, run)
    return seen[-1]


@pytest.mark.parametrize(("augment", "varied"), [("sign", True), ("none", False)])
def test_where_pictures_are_few_varied_ones_come_behind_them(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, augment: str, varied: bool
) -> None:
    student, run = tailor(backbone, task, STUDENT, Run()), Run(augmentation=DataConfig(augment=augment))  # type: ignore[arg-type]
    count, drawn = len(task.train), []

    def augmented(split: Split, config: DataConfig, spec: InputSpec, plan: list[torch.Tensor], *rest: Any) -> Any:
        drawn.extend(torch.cat(plan).tolist())
        return augmented_batches(split, config, spec, plan, *rest)

    monkeypatch.setattr(refit_module, "augmented_batches", augmented)
    monkeypatch.setattr(refit_module, "_widest", lambda student: 0)
    monkeypatch.setattr(refit_module, "AT_ONCE", 8)
    monkeypatch.setattr(refit_module, "PICTURES", 10)
    batches = _fitted_on(student, task, run, monkeypatch)
    assert sum(map(len, batches)) == count_to_fit_on(student, task, run) == 10
    assert not drawn
    monkeypatch.setattr(refit_module, "PICTURES", 2 * count + 5)
    batches = _fitted_on(student, task, run, monkeypatch)
    wanted = 2 * count + 5 if varied else count
    assert sum(map(len, batches)) == count_to_fit_on(student, task, run) == wanted
    assert max(map(len, batches)) == 8
    unvaried = torch.cat(list(sample_batches(task.train, count, 0, student.spec, torch.device("cpu"), 8)))
    seen = torch.cat(batches)
    assert torch.equal(seen[:count], unvaried)
    if varied:
        assert sorted(drawn[:count]) == list(range(count)), "each picture once, before any comes again"
        plain = normalise(task.train.batch(torch.tensor(drawn)), student.spec, torch.device("cpu"))
        distance = (seen[count:] - plain).abs().mean()
        assert 0 < distance < 0.9 * (seen[count:] - plain.roll(1, 0)).abs().mean(), "the same pictures, varied"
        again = torch.cat(_fitted_on(student, task, run, monkeypatch))
        assert torch.equal(again, seen)


def test_layers_are_held_to_their_blocks_where_networks_are_cut_out_of_these(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(refit_module, "refit", lambda *given: seen.append(given))
    student, run = tailor(backbone, task, STUDENT, Run()), Run()
    kept = student.paths[1:]
    cut_blocks_and_refit(student, kept, task, run)
    ((given, left, pictures, whole, held),) = seen
    assert (given, left, held) == (student, kept, refit_module.HELD)
    assert whole == [path for path in student.paths if path.is_universal]
    assert sum(map(len, pictures)) == count_to_fit_on(student, task, run)


def test_a_wide_fit_takes_more_pictures(backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as a layer's proxies read channels side by side, within bounds."""
    student, run = tailor(backbone, task, STUDENT, Run()), Run()
    layers = {path.target for path in student.paths}
    ends = {path: linear_end(student.module_of(path)) for path in student.paths}
    sums = [sum(end.convolution.in_channels for p, end in ends.items() if p.target == n and end) for n in layers]
    assert max(sums) > max(end.convolution.in_channels for end in ends.values() if end), "two proxies side by side"
    for least, most, count in ((4, 1000, max(sums)), (1000, 2000, 1000), (4, 9, 9)):
        monkeypatch.setattr(refit_module, "PICTURES", least)
        monkeypatch.setattr(refit_module, "MOST_PICTURES", most)
        assert count_to_fit_on(student, task, run) == count


def test_a_measurement_fits_on_as_many_as_may_be_held(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = tailor(backbone, task, STUDENT, Run())
    held = sum(4 * c * h * w for c, h, w in student.backbone.shapes)
    monkeypatch.setattr(refit_module, "AT_ONCE", 4)
    for most, pictures in ((512, len(task.train)), (10, 10)):
        monkeypatch.setattr(refit_module, "MEASURED_BEHIND", most)
        assert sum(map(len, pictures_to_measure_behind(student, task, Run()))) == pictures
        assert count_to_measure_behind(student, task) == pictures
    monkeypatch.setattr(refit_module, "HELD", 2 * 7 * held)
    assert [len(x) for x in pictures_to_measure_behind(student, task, Run())] == [4, 3]
    assert count_to_measure_behind(student, task) == 7
