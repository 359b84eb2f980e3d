"""The architecture of a compact net from random weights: its paths as settings, and weights that are nobody's."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from blocks import Backbone, Plan, TailoredNet
from blocks.counting import tensors_of
from nettailor.data.task import Task
from nettailor.errors import UsageError
from nettailor.jobs.recipe import Recipe
from nettailor.methods._protocol import Context
from nettailor.methods.random_weights import METHOD, Settings, read_paths, write_path
from nettailor.training.run import Run
from tests import fabricated


@pytest.mark.parametrize(("skips", "proxies"), list(product((0, 1, 3), ("conv1x1", "bottleneck", "auto"))))
def test_paths_that_are_written_are_read_back(backbone: Backbone, skips: int, proxies: str) -> None:
    paths = TailoredNet(backbone, 4, Plan(skips, proxies)).paths
    assert read_paths(tuple(write_path(path) for path in paths), backbone) == tuple(sorted(paths))


def test_left_out_every_block_is_meant(backbone: Backbone) -> None:
    assert [path.key for path in read_paths(None, backbone)] == [f"G{layer}" for layer in range(1, 7)]


def test_it_is_a_net_of_those_paths_and_no_weight_of_the_backbones(backbone: Backbone, task: Task) -> None:
    wanted = fabricated.pruned(backbone).paths
    own = Settings(paths=tuple(write_path(path) for path in wanted))
    net = METHOD.build(Context(Recipe(method=own), backbone, task, Run(), None, ""))  # type: ignore[arg-type]
    assert net.paths == wanted
    theirs = [tensor for tensor in backbone.tensors().values() if tensor.ndim > 1]
    for tensor in tensors_of(net).values():
        assert not any(tensor.shape == other.shape and torch.equal(tensor, other) for other in theirs)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("G1", "magic"), "method.paths: 'magic' is no path over the 6 blocks of tiny; write G3, or 'A1-3 conv1x1'"),
        (("G7",), "'G7' is no path"),
        (("A3-1 conv1x1",), "'A3-1 conv1x1' is no path"),
        (("G1", "A1-6 auto"), "'A1-6 auto' is no path"),
        (("G1", "G3"), "method.paths: no way is left"),
        (("A0-6 conv1x1", "G3"), "method.paths: G3 leads nowhere"),
        (("A0-6 conv2x2",), "there is no 'conv2x2'"),
    ],
)
def test_paths_that_make_no_network_are_named(backbone: Backbone, names: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_paths(names, backbone)
