"""Linear layers in a head, and heads at which nothing can grow."""

from __future__ import annotations

import pytest
import torchvision

from blocks import Backbone, InputSpec
from blocks.head_layers import check_top_layer, linear_layers
from blocks.representation import representation
from blocks.top import TopError

SPEC = InputSpec(64, (0.5,) * 3, (0.5,) * 3)


def test_a_pooled_head_has_none_and_grows_at_its_last_block(backbone: Backbone) -> None:
    assert linear_layers(backbone) == ()
    check_top_layer(backbone, representation(backbone))


def test_alexnet_has_two_before_its_classifier() -> None:
    net = Backbone(torchvision.models.alexnet(num_classes=5).eval(), SPEC, "alexnet")
    assert linear_layers(net) == ("classifier.1", "classifier.4")
    check_top_layer(net, representation(net))
    assert all(not module.training for module in net.modules()), "modes are put back"


def test_a_head_that_flattens_positions_is_refused(backbone: Backbone) -> None:
    from torch import nn

    model = nn.Sequential(
        *(
            nn.Sequential(nn.Conv2d(3 if n == 0 else 4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
            for n in range(4)
        ),
        nn.Flatten(),
        nn.Linear(4 * 64, 5),
    )
    net = Backbone(model.eval(), InputSpec(8, (0.5,) * 3, (0.5,) * 3), "flat")
    with pytest.raises(TopError, match="the head of flat neither pools positions nor has linear layers"):
        check_top_layer(net, representation(net))
