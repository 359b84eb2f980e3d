"""What is measured beside the target; the network is left as it is."""

from __future__ import annotations

import pytest
import torch

from blocks import Backbone
from blocks.counting import tensors_of
from nettailor.data.probe_pictures import ProbePictures
from nettailor.data.source import SourcePictures
from nettailor.data.task import Task
from nettailor.training.discrimination import OWN_NORMS, PROBE, SOURCE, Discrimination, representations
from nettailor.training.neighbours import neighbour_accuracy
from nettailor.training.run import Run
from nettailor.training.source_head import SourceHead, kept_head, source_accuracy


@pytest.fixture
def measure(backbone: Backbone, task: Task) -> Discrimination:
    source = SourcePictures("digits", task.classes, task.train, task.test, "test", 1.0)
    head = kept_head(backbone, torch.arange(4))
    return Discrimination(Run(), source, head, ProbePictures("p", task.classes, task.train, task.val), measured_on=8)


def test_nothing_named_is_nothing_measured(backbone: Backbone) -> None:
    assert Discrimination(Run())(backbone) == {}


def test_it_measures_the_network_as_it_is_in_eval_mode_and_leaves_it(
    backbone: Backbone, task: Task, measure: Discrimination
) -> None:
    net = backbone.teacher(4).train()
    before = {name: tensor.clone() for name, tensor in tensors_of(net).items()}
    state = torch.get_rng_state()
    found = measure(net, whole=True)
    assert net.training
    assert torch.equal(torch.get_rng_state(), state), "nothing of a training's draws is used up"
    assert all(torch.equal(before[name], tensor) for name, tensor in tensors_of(net).items())
    net.eval()
    head = measure.head
    assert isinstance(head, SourceHead)
    assert found[SOURCE] == pytest.approx(source_accuracy(net, head.on(net), head.rows, task.test, Run()), abs=0.05)
    gallery, queries = (representations(net, split, Run()) for split in (task.train, task.val))
    assert found[PROBE] == pytest.approx(
        neighbour_accuracy(gallery, task.train.labels, queries, task.val.labels), abs=0.05
    )


def test_after_a_pass_a_sample_of_the_source_will_do(backbone: Backbone, measure: Discrimination) -> None:
    assert measure(backbone)[SOURCE] * 8 == pytest.approx(round(measure(backbone)[SOURCE] * 8))
    whole = measure(backbone, whole=True)
    assert set(whole) == {SOURCE, OWN_NORMS, PROBE}
    assert measure.after_no_pass(backbone, whole) == measure(backbone)


def test_with_norms_of_its_own_the_source_does_not_suffer_from_where_statistics_are(
    backbone: Backbone, task: Task, measure: Discrimination
) -> None:
    net = backbone.teacher(4)
    with torch.no_grad():
        for name, buffer in net.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(3.0)
    found, own = measure(net, whole=True), measure(backbone, whole=True)
    assert found[OWN_NORMS] == own[OWN_NORMS], "the weights are the backbone's"
    assert not torch.equal(representations(net.eval(), task.val, Run()), representations(backbone, task.val, Run()))


def test_without_one_vector_it_is_the_mean_over_all_places(backbone: Backbone, task: Task) -> None:
    backbone.classifier_paths = ["fc", "other"]
    found = representations(backbone, task.val, Run())
    assert found.shape == (len(task.val), backbone.shapes[-1][0])
