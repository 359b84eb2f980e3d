"""The two terms of soft fine-tuning and of learning without forgetting, step by step."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from blocks import Backbone
from blocks.counting import tensors_of
from nettailor.data.batches import normalise
from nettailor.data.source import SourceBatches, SourcePictures
from nettailor.data.task import Task
from nettailor.training.config import TeacherConfig, TrainingConfig
from nettailor.training.finetuning import labels_alone
from nettailor.training.losses import softened_divergence
from nettailor.training.run import Run
from nettailor.training.soft import READ, Clock, last_activation, remembering, softly
from nettailor.training.source_head import kept_head
from nettailor.training.source_weight import SourceWeight

CONFIG = TeacherConfig(epochs=4, batch=16)


@pytest.fixture
def source(task: Task) -> SourcePictures:
    return SourcePictures("digits", task.classes, task.test, task.val, "val", 1.0)


@pytest.fixture
def batch(task: Task, backbone: Backbone) -> tuple[Tensor, Tensor, Tensor]:
    rows = torch.arange(0, 48, 3)
    assert task.train.images is not None
    return normalise(task.train.images[rows], backbone.spec, torch.device("cpu")), task.train.labels[rows], rows


def gradients(net: Backbone) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def test_the_clock_counts_steps_of_several_batches(task: Task) -> None:
    run = Run(training=TrainingConfig(accumulate=2))
    clock = Clock.of(SourceWeight(), task, CONFIG, run)
    assert clock.steps == 2, "of 48 pictures in batches of 16, two of which make a step"
    seen = []
    for number in range(8):
        clock(number / clock.steps)
        seen.append((clock.now, [clock.next_batch() for _ in range(2)]))
    assert [round(weight, 6) for weight, _ in seen] == [1, 0.75, 0.5, 0.25, 0, 0, 0, 0]
    assert [place for _, places in seen for place in places] == list(range(16)), "whatever ran before"


def test_a_step_goes_along_both_gradients(
    backbone: Backbone, task: Task, source: SourcePictures, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    net, head = backbone.teacher(4).eval(), kept_head(backbone, torch.tensor([6, 0, 2, 1]))
    objective = softly(source, head, SourceWeight(2.0))(net, task, CONFIG, Run())
    assert objective.before_step is not None
    objective.before_step(0.5)
    terms = objective.step(*batch)
    found, of_head = gradients(net), [parameter.grad.clone() for parameter in head.parameters()]  # type: ignore[union-attr]
    net.zero_grad()
    images, labels = SourceBatches(source.train, 16, 0)(round(0.5 * 3))
    xs, rows = normalise(images, net.spec, torch.device("cpu")), torch.tensor([6, 0, 2, 1])[labels]
    weight = 2.0 * (1 - 2 / 12 / 0.5)  # three steps a pass: 0.5 passes round to step 2 of 12
    source_loss = cross_entropy(head.on(net)(last_activation(net, xs)), rows)
    ce = cross_entropy(net(batch[0]), batch[1])
    assert float(terms["source"]) == pytest.approx(float(source_loss))
    assert float(terms["ce"]) == pytest.approx(float(ce))
    for parameter in head.parameters():
        parameter.grad = None
    (ce + weight * source_loss).backward()
    for name, gradient in gradients(net).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)
    for mine, parameter in zip(of_head, head.parameters(), strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(mine, parameter.grad, rtol=1e-4, atol=1e-6)


def test_running_statistics_follow_the_target_alone(
    backbone: Backbone, task: Task, source: SourcePictures, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    soft, plain = backbone.teacher(4).train(), backbone.teacher(4).train()
    plain.load_state_dict(soft.state_dict())
    objective = softly(source, kept_head(backbone), SourceWeight())(soft, task, CONFIG, Run())
    assert objective.before_step is not None
    objective.before_step(0.0)
    assert "source" in objective.step(*batch)
    labels_alone(plain, task, CONFIG, Run()).step(*batch)
    mine, theirs = dict(soft.named_buffers()), dict(plain.named_buffers())
    assert any("running_mean" in name for name in mine)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())
    moved = dict(backbone.named_buffers())
    assert not all(torch.equal(tensor, moved[name]) for name, tensor in mine.items())


def test_once_it_weighs_nothing_no_source_picture_is_read_and_the_step_is_plain(
    backbone: Backbone, task: Task, source: SourcePictures, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    net, twin = (backbone.teacher(4).train() for _ in range(2))
    twin.load_state_dict(net.state_dict())
    head = kept_head(backbone)
    objective = softly(source, head, SourceWeight(until=0.5))(net, task, CONFIG, Run())
    clock = objective.before_step
    assert isinstance(clock, Clock)
    clock(2.0)
    terms = objective.step(*batch)
    assert set(terms) == {"ce"}
    assert READ not in clock.memory
    assert all(parameter.grad is None for parameter in head.parameters())
    labels_alone(twin, task, CONFIG, Run()).step(*batch)
    other = gradients(twin)
    assert all(torch.equal(gradient, other[name]) for name, gradient in gradients(net).items())
    clock(5 / 3)
    assert set(objective.step(*batch)) == {"ce", "source"}
    assert clock.memory[READ] == 16


def test_the_source_classifier_trains_beside_the_network_and_is_no_part_of_it(
    backbone: Backbone, task: Task, source: SourcePictures
) -> None:
    net, head = backbone.teacher(4), kept_head(backbone)
    objective = softly(source, head, SourceWeight())(net, task, CONFIG, Run())
    beside = {id(parameter) for parameter in objective.beside.parameters()}
    assert beside == {id(parameter) for parameter in head.parameters()}
    assert not beside & {id(tensor) for tensor in tensors_of(net).values()}


def test_old_answers_are_kept_by_the_divergence_at_temperature_two(
    backbone: Backbone, task: Task, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    net, head = backbone.teacher(4).eval(), kept_head(backbone)
    objective = remembering(backbone, head, SourceWeight(0.5, "constant"))(net, task, CONFIG, Run())
    assert objective.before_step is not None
    objective.before_step(3.0)
    assert float(objective.step(*batch)["source"]) == pytest.approx(0, abs=1e-5), "it answers as it did"
    with torch.no_grad():
        for part in net.blocks[3].parameters():
            part.mul_(1.5)
    net.zero_grad()
    terms = objective.step(*batch)
    found = gradients(net)
    answers, own = backbone(batch[0]), head.on(net)(last_activation(net, batch[0]))
    divergence = softened_divergence(own, answers, 2.0)
    assert float(terms["source"]) == pytest.approx(float(divergence), rel=1e-3)
    assert float(divergence) > 1e-3
    net.zero_grad()
    (cross_entropy(net(batch[0]), batch[1]) + 0.5 * divergence).backward()
    for name, gradient in gradients(net).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5)


def test_the_old_network_stays_as_it_was(backbone: Backbone, task: Task, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    before = copy.deepcopy(backbone.state_dict())
    net = backbone.teacher(4).train()
    objective = remembering(backbone, kept_head(backbone), SourceWeight())(net, task, CONFIG, Run())
    assert objective.before_step is not None
    objective.before_step(0.0)
    objective.step(*batch)
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
