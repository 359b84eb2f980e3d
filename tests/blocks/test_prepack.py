"""Packing: the same answers, on every machine."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from blocks import CompactNet, compact, fold
from blocks.fuse import ADDITIONS, called
from blocks.prepack import PackedConvolution, can_pack
from blocks.prepack import pack as packed
from tests import tiny
from tests.blocks.test_fold import cut_of, same_answers, student_of


@pytest.mark.skipif(not can_pack(), reason="this build of torch has no oneDNN")
@pytest.mark.parametrize(("name", "size"), [("resnet18", 64), ("mobilenetv2_100", 64)])
def test_a_packed_net_gives_the_folded_nets_answers(name: str, size: int) -> None:
    net: CompactNet = compact(student_of(cut_of(name, size)))
    fast = packed(fold(net))
    called = {str(node.target) for node in fast.graph.nodes if node.op == "call_module"}
    plain = [name for name in called if isinstance(fast.get_submodule(name), nn.Conv2d)]
    assert not plain, "every convolution is packed"
    activated = [
        name for name in called if isinstance(getattr(fast.get_submodule(name), "act", None), (nn.ReLU, nn.ReLU6))
    ]
    assert len(activated) > 5, "activations are part of their convolutions"
    assert any(isinstance(module, PackedConvolution) for module in fast.modules())
    for batch in (1, 3):
        x = torch.randn(batch, 3, size, size)
        same_answers(net, fast, x)
        same_answers(net, fast, x.contiguous(memory_format=torch.channels_last))
    with torch.no_grad():
        double = fast.double()(torch.randn(1, 3, size, size, dtype=torch.double))
    assert double.dtype == torch.double


@pytest.mark.skipif(not can_pack(), reason="this build of torch has no oneDNN")
def test_a_packed_backbone_adds_and_activates_within_its_convolutions() -> None:
    backbone = cut_of("resnet18", 64)
    fast = packed(backbone.for_inference())
    same_answers(backbone, fast, torch.randn(2, 3, 64, 64))
    assert not any(type(called(fast, node)) is nn.ReLU or node.target in ADDITIONS for node in fast.graph.nodes)


def packed_convolution() -> PackedConvolution:
    return PackedConvolution(nn.Conv2d(3, 8, 3, padding=1).requires_grad_(False), nn.ReLU())


@pytest.mark.skipif(not can_pack(), reason="this build of torch has no oneDNN")
def test_an_addition_at_a_map_of_one_pixel_is_left_to_the_plain_modules() -> None:
    """torch 2.11 can't: it says "could not create a memory"."""
    layer, x = (
        PackedConvolution(nn.Conv2d(8, 8, 3, padding=1).requires_grad_(False), nn.ReLU()),
        torch.randn(2, 8, 1, 1),
    )
    assert torch.equal(layer(x, x), layer.act(layer.convolution(x) + x))
    assert layer._packed is None


@pytest.mark.skipif(not can_pack(), reason="this build of torch has no oneDNN")
def test_one_packed_kernel_is_kept_however_many_shapes_come() -> None:
    layer = packed_convolution()
    for size in (8, 9, 10, 8):
        x = torch.randn(2, 3, size, size)
        assert torch.allclose(layer(x), layer.act(layer.convolution(x)), atol=1e-5)
    kept = [leaf for leaf in tree_leaves(vars(layer)) if isinstance(leaf, torch.Tensor)]
    assert len(kept) == 1


@pytest.mark.skipif(not can_pack(), reason="this build of torch has no oneDNN")
def test_a_packed_net_that_has_answered_can_be_copied_and_pickled() -> None:
    fast = packed(fold(compact(student_of(tiny.tiny_backbone()))))
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        wanted = fast(x)
        assert torch.equal(copy.deepcopy(fast)(x), wanted)
        layer = next(module for module in fast.modules() if isinstance(module, PackedConvolution))
        seen = torch.randn(1, layer.convolution.in_channels, 8, 8)
        assert torch.equal(pickle.loads(pickle.dumps(layer))(seen), layer(seen))
        assert torch.equal(fast(x), wanted)


def test_where_it_cant_be_packed_a_net_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blocks.prepack.can_pack", lambda: False)
    folded = fold(compact(student_of(tiny.tiny_backbone())))
    assert packed(folded) is folded
    assert not any(isinstance(module, PackedConvolution) for module in folded.modules())
