"""What a classifier reads."""

from __future__ import annotations

import pytest
import timm
import torch

from blocks import Backbone, InputSpec
from blocks.representation import representation
from blocks.top import TopError


def test_the_classifier_of_it_gives_the_logits(backbone: Backbone) -> None:
    x = torch.randn(3, *backbone.shapes[-1])
    with torch.no_grad():
        h = representation(backbone)(x)
        assert torch.equal(backbone.head.get_submodule("fc")(h), backbone.head(x))
    assert h.shape == (3, backbone.features)


def test_a_convolution_that_classifies_reads_one_vector_too() -> None:
    model = timm.create_model("mobilenetv3_small_050", num_classes=5).eval()
    net = Backbone(model, InputSpec(32, (0.5,) * 3, (0.5,) * 3), "mobile")  # type: ignore[arg-type]
    with torch.no_grad():
        assert representation(net)(torch.randn(2, *net.shapes[-1])).shape == (2, net.features)


def test_a_head_that_does_not_pool_first_is_refused() -> None:
    import torchvision

    model = torchvision.models.squeezenet1_1(num_classes=5).eval()
    net = Backbone(model, InputSpec(64, (0.5,) * 3, (0.5,) * 3), "squeeze")  # type: ignore[arg-type]
    with pytest.raises(TopError, match=r"classifier of squeeze reads no single vector of 512 numbers but \(4608,\)"):
        representation(net)
