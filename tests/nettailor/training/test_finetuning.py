"""Fine-tuning towards an objective: what else is trained beside the net, the rate's multiples, a stop and going on."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from blocks import Backbone
from blocks.counting import tensors_of
from nettailor.data.batches import normalise
from nettailor.data.task import Task
from nettailor.training import finetuning
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import TeacherConfig, TrainingConfig
from nettailor.training.finetuning import Objective, Tuning, finetune, frozen_with_probe, labels_alone, tuned_groups
from nettailor.training.loop import accuracy
from nettailor.training.rates import RATES, SGD_RATES, rates_of
from nettailor.training.run import Run
from tests.nettailor.conftest import TEACHER
from tests.nettailor.training.conftest import Stopping


def with_something_beside(net: Backbone, task: Task, config: TeacherConfig, run: Run) -> Objective:
    """Labels, and a number that is trained towards 1 beside the net."""
    torch.manual_seed(5)
    plain, beside = labels_alone(net, task, config, run), nn.ModuleDict({"number": nn.Linear(1, 1, bias=False)})

    def step(x: Tensor, labels: Tensor, rows: Tensor) -> dict[str, Tensor]:
        terms = plain.step(x, labels, rows)
        loss = (beside["number"].weight - 1).square().sum()  # type: ignore[operator]
        loss.backward()
        return {**terms, "beside": loss.detach()}

    return Objective(step, lambda epoch: {"beside": float(beside["number"].weight.detach())}, beside)  # type: ignore[arg-type]


def test_what_stands_beside_the_net_is_trained_measured_and_no_part_of_it(backbone: Backbone, task: Task) -> None:
    run, plain = Run(), Run()
    net = finetune(backbone, task, TEACHER, run, objective=with_something_beside)
    assert set(tensors_of(net)) == set(tensors_of(finetune(backbone, task, TEACHER, plain)))
    fitted = run.fitted["teacher"].metrics
    assert set(fitted) == {"val_accuracy", "beside"}
    torch.manual_seed(5)
    start = float(nn.Linear(1, 1, bias=False).weight.detach())
    assert abs(fitted["beside"] - 1) < abs(start - 1)


def test_a_stop_changes_nothing_of_the_net_nor_of_what_stands_beside_it(
    backbone: Backbone, task: Task, tmp_path: Path
) -> None:
    config = replace(TEACHER, start="fresh")
    whole, again = Run(checkpoints=Checkpoints(tmp_path / "a")), Run(checkpoints=Checkpoints(tmp_path / "b"))
    net = finetune(backbone, task, config, whole, objective=with_something_beside)
    stopped = replace(again, recorder=Stopping(1, KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        finetune(backbone, task, config, stopped, objective=with_something_beside)
    resumed = finetune(backbone, task, config, again, objective=with_something_beside)
    for name, tensor in tensors_of(net).items():
        assert torch.equal(tensor, tensors_of(resumed)[name]), name
    assert again.fitted["teacher"].metrics == whole.fitted["teacher"].metrics


@pytest.mark.parametrize("tuned_from", [3, 8])
def test_what_is_below_the_first_tuned_layer_ends_as_the_backbones(
    backbone: Backbone, task: Task, tuned_from: int
) -> None:
    config = replace(TEACHER, start="fresh")
    net = finetune(backbone, task, config, Run(), Tuning(tuned_from))
    for layer, (ours, theirs) in enumerate(zip(net.blocks, backbone.blocks, strict=True), 1):
        same = all(
            torch.equal(tensor, other)
            for tensor, other in zip(tensors_of(ours).values(), tensors_of(theirs).values(), strict=True)
        )
        assert same == (layer < tuned_from)


def test_new_layers_learn_at_a_multiple_of_the_rate_and_frozen_ones_not_at_all(backbone: Backbone) -> None:
    net = backbone.teacher(4, tuned_from=6)
    groups = tuned_groups(net, 0.1, TeacherConfig(weight_decay=0.5), new_lr=10.0)
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    new = {id(parameter) for parameter in net.new_parameters()}
    assert {rates[key] for key in new} == {1.0}
    assert {rate for key, rate in rates.items() if key not in new} == {0.1}
    assert len(rates) == sum(parameter.requires_grad for parameter in net.parameters())
    decays = {parameter.ndim > 1: group["weight_decay"] for group in groups for parameter in group["params"]}
    assert decays == {True: 0.5, False: 0.0}


@pytest.mark.parametrize(("optimizer", "rates"), [("adamw", RATES), ("sgd", SGD_RATES)])
def test_the_rates_that_are_tried_are_the_optimisers(
    backbone: Backbone, task: Task, optimizer: str, rates: tuple[float, ...]
) -> None:
    run = Run(training=TrainingConfig(optimizer=optimizer))  # type: ignore[arg-type]
    finetune(backbone, task, replace(TEACHER, epochs=1, lr=None, start="fresh"), run)
    assert run.rate in rates


def test_a_probe_can_be_had_without_the_training_that_would_only_harm_it(backbone: Backbone, task: Task) -> None:
    run, harmed = Run(), Run()
    net = frozen_with_probe(backbone, task, TEACHER, run)
    taken = finetune(backbone, task, replace(TEACHER, lr=1e-9, epochs=1, start="probe"), harmed)
    weights, theirs = tensors_of(net), tensors_of(taken)
    (path,) = backbone.classifier_paths
    assert torch.allclose(weights[f"head.{path}.weight"], theirs[f"head.{path}.weight"], atol=1e-6)
    for ours, own in zip([net.stem, *net.blocks], [backbone.stem, *backbone.blocks], strict=True):
        assert all(torch.equal(*pair) for pair in zip(tensors_of(ours).values(), tensors_of(own).values(), strict=True))
    assert run.passes("teacher") == 1
    assert run.fitted["teacher"].metrics["val_accuracy"] == accuracy(net, task.val)
    assert not net.training


@pytest.mark.parametrize("training", [TrainingConfig(), TrainingConfig(optimizer="sgd")])
def test_at_a_low_rate_it_begins_with_what_the_probe_reads_also_while_it_trains(
    backbone: Backbone, task: Task, training: TrainingConfig
) -> None:
    begun: list[tuple[Tensor, Tensor]] = []
    x = normalise(task.train.batch(torch.arange(32)), backbone.spec, torch.device("cpu"))

    def look(net: Backbone, task: Task, config: TeacherConfig, run: Run) -> Objective:
        with torch.no_grad():
            begun.append((net.eval()(x), copy.deepcopy(net).train()(x)))
        return labels_alone(net, task, config, run)

    config = replace(TEACHER, epochs=1, lr=rates_of(training)[-1], start="auto")
    finetune(backbone, task, config, Run(training=training), objective=look)
    probe = frozen_with_probe(backbone, task, TEACHER, Run())
    ((answers, while_training),) = begun
    with torch.no_grad():
        wanted, off = probe(x), copy.deepcopy(probe).train()(x)
    assert torch.allclose(answers, wanted, rtol=1e-3, atol=1e-3)
    assert float((while_training - wanted).norm()) < 0.5 * float((off - wanted).norm())


@pytest.mark.parametrize("start", ["auto", "probe", "fresh"])
def test_rates_are_told_apart_from_one_start(backbone: Backbone, task: Task, start: str) -> None:
    """A high rate with a fresh classifier would be behind by what the probe knows, and be turned down for that."""
    begun: list[tuple[Tensor, int]] = []
    x = normalise(task.train.batch(torch.arange(32)), backbone.spec, torch.device("cpu"))

    def look(net: Backbone, task: Task, config: TeacherConfig, run: Run) -> Objective:
        with torch.no_grad():
            begun.append((net.eval()(x), config.epochs))
        return labels_alone(net, task, config, run)

    run = Run()
    finetune(backbone, task, replace(TEACHER, epochs=7, lr=None, start=start), run, objective=look)  # type: ignore[arg-type]
    first, *trials = [answers for answers, epochs in begun if epochs != 7]
    assert len(trials) == len(RATES) - 1
    assert all(torch.equal(first, other) for other in trials)
    (chosen,) = [answers for answers, epochs in begun if epochs == 7]
    assert torch.equal(first, chosen) == (start != "auto" or run.rate != RATES[0])


@pytest.mark.parametrize(("steps", "many"), [(3, True), (30, False)])  # of a trial, at least; a pass has 3 or more
def test_what_trials_cant_tell_is_settled_by_the_steps_of_a_pass(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch, steps: int, many: bool
) -> None:
    asked: list[bool] = []

    def settle(best: float, losses: dict[float, Tensor], training: TrainingConfig, many_steps: bool) -> float:
        assert set(losses) == set(RATES)
        assert all(loss.shape == (len(task.val),) for loss in losses.values())
        asked.append(many_steps)
        return RATES[2]

    monkeypatch.setattr(finetuning, "settle_by_steps", settle)
    monkeypatch.setattr("nettailor.training.rates.TRIAL_STEPS", steps)
    run = Run()
    finetune(backbone, task, replace(TEACHER, epochs=1, lr=None, start="auto"), run)
    assert (asked, run.rate) == ([many], RATES[2]), "what was settled is what it is trained at"
    finetune(backbone, task, replace(TEACHER, epochs=1, lr=None, start="fresh"), Run())
    assert len(asked) == 1, "fresh classifiers have no start in common with a probe"
