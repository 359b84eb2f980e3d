"""A backbone on its way to another process: the same to the last bit, or refused."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch

from nettailor.backbones.config import BackboneConfig
from nettailor.backbones.load import load_backbone
from nettailor.backbones.transport import pack_backbone, unpack_backbone
from nettailor.errors import BackboneError
from tests import tiny

CONFIG = BackboneConfig(name="tests.tiny:tiny_resnet", input_size=16)


def test_a_backbone_arrives_the_same_to_the_last_bit_and_shares_nothing() -> None:
    backbone = load_backbone(CONFIG.name, input_size=16, mean=(0.1, 0.2, 0.3), interpolation="box")
    tiny.live_in(backbone, 16)
    packed = pickle.loads(pickle.dumps(pack_backbone(backbone)))
    again = unpack_backbone(packed, CONFIG)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = again(x)
        assert torch.equal(expected, backbone(x))
        assert again.spec == backbone.spec, "how pictures are read travels too"
        next(iter(packed.tensors.values())).add_(1)
        assert torch.equal(again(x), expected)
    assert not any(parameter.requires_grad for parameter in again.parameters())


@pytest.mark.parametrize("name", ["tests.tiny:tiny_resnet,num_classes=3", "tests.cifar_resnet:resnet20"])
def test_a_name_that_gives_another_network_is_refused(name: str) -> None:
    packed = pack_backbone(load_backbone(CONFIG.name, input_size=16))
    with pytest.raises(BackboneError, match="is another network here than where the jobs were started"):
        unpack_backbone(packed, replace(CONFIG, name=name))


def test_a_setting_that_is_in_no_tensor_is_seen() -> None:
    backbone = load_backbone(CONFIG.name, input_size=16)
    sent = pack_backbone(backbone)
    norm = next(module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d))
    norm.eps *= 2
    assert pack_backbone(backbone).sketch != sent.sketch
    with pytest.raises(BackboneError, match="is another network here"):
        unpack_backbone(pack_backbone(backbone), CONFIG)
