"""Wiring: a network says what it is put together from, in its own objects."""

from __future__ import annotations

import torch
from torch import Tensor

from blocks import Backbone, Plan, TailoredNet
from blocks.wiring import Wiring


def computed(wiring: Wiring, x: Tensor) -> Tensor:
    """What a wiring gives by its definition: x_l = act(sum of weight * module(x_source))."""
    xs = {0: wiring.stem(x)}
    for number, layer in wiring.layers.items():
        xs[number] = layer.act(sum(term.weight * term.module(xs[term.source]) for term in layer.terms))
    return wiring.head(xs[max(xs)])


def test_a_chain_reads_the_layer_before_with_full_weight_and_holds_the_backbones_own_objects(
    backbone: Backbone,
) -> None:
    wiring = backbone.wiring()
    assert list(wiring.layers) == list(range(1, backbone.depth + 1))
    for number, layer in wiring.layers.items():
        (term,) = layer.terms
        assert (term.source, term.weight) == (number - 1, 1.0)
        assert term.module is backbone.blocks[number - 1]
        assert layer.act is backbone.acts[number - 1]
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(computed(wiring, x), backbone(x))


def test_a_students_wiring_computes_what_the_student_does(backbone: Backbone) -> None:
    student = TailoredNet(backbone, 5, Plan(skips=2)).eval()
    with torch.no_grad():
        student.gates.logits.normal_()
        student.keep([path for path in student.paths if path.key not in ("G3", "A0-1", "A3-5")])
        x = torch.randn(2, 3, 16, 16)
        assert torch.allclose(computed(student.wiring(), x), student(x), atol=1e-5)
