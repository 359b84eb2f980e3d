"""Fits of one layer for any set of its paths: what `refit` does to the first layer that loses any, and nothing stays."""

from __future__ import annotations

from copy import deepcopy
from itertools import combinations

import pytest
import torch

from blocks import TailoredNet
from blocks.option_fits import OptionFits
from blocks.refit import refit
from tests.blocks.test_refit import pictures, trained


def output(student: TailoredNet, layer: int, x: torch.Tensor) -> torch.Tensor:
    found = student.run(x).activations[layer]
    assert found is not None
    return found


KINDS = [
    ("conv1x1", "softmax"),
    ("conv1x1", "independent"),
    ("bottleneck", "softmax"),
    ("identity", "softmax"),
    ("thinned", "independent"),
]
QUICKLY = [
    ("conv1x1", "softmax", ()),
    ("conv1x1", "independent", (2,)),
    ("conv1x1", "softmax", (1, 4)),
    ("bottleneck", "softmax", ()),
    ("identity", "softmax", (2,)),
    ("thinned", "independent", ()),
    ("thinned", "independent", (1, 4)),
]
"""Each kind and each set of layers that are gone is among them; all pairs of the two are tried with the slow tests."""


@pytest.mark.parametrize(
    ("proxies", "gates", "gone"),
    [
        pytest.param(*case, marks=() if case in QUICKLY else pytest.mark.slow)
        for case in ((*kind, gone) for kind in KINDS for gone in ((), (2,), (1, 4)))
    ],
)
@torch.no_grad()
def test_every_set_of_a_layer_is_fitted_as_a_cut_of_it_alone_is(
    proxies: str, gates: str, gone: tuple[int, ...]
) -> None:
    """Also of a student that has lost layers already."""
    student, x = trained(proxies=proxies, gates=gates), pictures()
    whole = [path for path in student.live_paths() if path.source not in gone and path.target not in gone]
    student.keep(whole)
    before = {name: tensor.clone() for name, tensor in student.task_tensors().items()}
    fits, changed = OptionFits(student, x.split(16)), 0
    for layer in range(1, student.depth + 1):
        paths = [path for path in whole if path.target == layer]
        for kept in [set(some) for count in range(1, len(paths) + 1) for some in combinations(paths, count)]:
            left = [path for path in whole if path.target != layer or path in kept]
            student.keep(left)
            unfitted = output(student, layer, x)
            other = deepcopy(student)
            other.keep(whole)
            refit(other, left, x.split(16))
            with fits.fitted(layer, kept):
                found = output(student, layer, x)
            torch.testing.assert_close(found, output(other, layer, x), atol=1e-4, rtol=1e-4)
            changed += not torch.allclose(found, unfitted, atol=1e-3)
            student.keep(whole)
            for name, tensor in student.task_tensors().items():
                assert torch.equal(tensor, before[name]), name
    assert changed > (1 if 1 in gone else 5)


@torch.no_grad()
def test_a_fit_is_taken_back_where_what_needed_it_fails() -> None:
    student = trained()
    before = {name: tensor.clone() for name, tensor in student.task_tensors().items()}
    fits, whole = OptionFits(student, [pictures()]), student.live_paths()
    kept = [path for path in whole if path.target == 3 and not path.is_universal]

    def fail() -> None:
        student.keep([path for path in whole if path.target != 3 or path in kept])
        with fits.fitted(3, kept):
            assert any(not torch.equal(tensor, before[name]) for name, tensor in student.task_tensors().items())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    student.keep(whole)
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.task_tensors().items())
