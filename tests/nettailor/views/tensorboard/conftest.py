"""Event files read back, and a backbone of sixty blocks."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef
from timm.models.resnet import BasicBlock, ResNet

from blocks import Backbone, InputSpec, Plan, TailoredNet


def read(folder: Path) -> EventAccumulator:
    """All events of one TensorBoard run."""
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "histograms": 0, "tensors": 0})
    return events.Reload()


def graph_in(folder: Path) -> GraphDef:
    """The graph of one TensorBoard run."""
    return read(folder).Graph()


@functools.cache
def _deep() -> TailoredNet:
    model = ResNet(BasicBlock, (15, 15, 15, 15), num_classes=3, channels=(4, 4, 8, 8), stem_type="deep", stem_width=4)
    return TailoredNet(Backbone(model.eval(), InputSpec(16, (0.5,) * 3, (0.25,) * 3), "deep"), 3, Plan(skips=3))


@pytest.fixture
def deep() -> TailoredNet:
    """A student of 60 blocks with three proxies beside each; tests leave it as it is."""
    return _deep()
