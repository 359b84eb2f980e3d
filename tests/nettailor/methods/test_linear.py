"""Linear probe: a classifier, and nothing else."""

from __future__ import annotations

from blocks import Backbone, TailoredNet
from nettailor.methods.linear import METHOD


def test_the_classifier_alone_is_the_tasks(backbone: Backbone) -> None:
    net = TailoredNet(backbone, 5, METHOD.plan)
    trained = net.trained_parameters()
    assert [tuple(parameter.shape) for parameter in trained] == [(5, backbone.features), (5,)]
    owned = [tensor for name, tensor in net.task_tensors().items() if not name.startswith("gates.")]
    assert {id(tensor) for tensor in owned} == {id(parameter) for parameter in trained}
