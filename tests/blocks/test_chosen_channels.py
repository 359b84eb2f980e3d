"""Some channels of a frozen convolution: what is computed is a narrower convolution, and its weights stay the backbone's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from blocks.adapters import LowRank
from blocks.chosen_channels import ChosenChannels
from blocks.counting import params_of, tensors_of

OUTPUTS, INPUTS = torch.tensor([0, 3, 7, 10]), torch.tensor([1, 2, 5])


def whole(bias: bool = False) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(6, 12, 3, stride=2, padding=1, bias=bias).requires_grad_(False)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("inputs", [None, INPUTS])
@torch.no_grad()
def test_it_is_the_whole_convolution_on_the_channels_that_are_chosen(inputs: torch.Tensor | None, bias: bool) -> None:
    convolution = whole(bias)
    some = ChosenChannels(convolution, 4, 6 if inputs is None else 3, rank=0)
    some.choose(OUTPUTS, inputs, convolution)
    x = torch.randn(2, 6, 9, 9)
    given = x if inputs is None else x[:, inputs]
    if inputs is not None:
        x[:, [0, 3, 4]] = 0
    torch.testing.assert_close(some(given), convolution(x)[:, OUTPUTS])
    merged = some.merged()
    assert type(merged) is nn.Conv2d
    assert (merged.out_channels, merged.in_channels) == (some.out_channels, some.in_channels) == (4, given.shape[1])
    torch.testing.assert_close(merged(given), some(given))


def test_the_first_channels_are_taken_until_others_are_chosen() -> None:
    convolution, x = whole(), torch.randn(1, 6, 5, 5)
    torch.testing.assert_close(ChosenChannels(convolution, 4, 6, rank=0)(x), convolution(x)[:, :4])


@torch.no_grad()
def test_what_a_task_added_to_the_whole_kernel_is_added_to_the_channels_that_are_chosen() -> None:
    adapted = LowRank(whole(), rank=1)
    adapted.up.normal_()
    some = ChosenChannels(adapted.convolution, 4, 3, rank=1)
    some.choose(OUTPUTS, INPUTS, adapted)
    torch.testing.assert_close(some.weight(), adapted.weight()[OUTPUTS][:, INPUTS])
    assert not torch.allclose(some.weight(), adapted.convolution.weight[OUTPUTS][:, INPUTS])


@pytest.mark.parametrize(("rank", "factors"), [(0, False), (1, True), (4, False)])  # 4 * (4 + 27) is more than 4 * 27
def test_something_is_added_where_that_is_smaller_than_the_kernel(rank: int, factors: bool) -> None:
    some = ChosenChannels(whole(), 4, 3, rank)
    learning = [name for name, tensor in some.named_parameters() if tensor.requires_grad]
    assert learning == (["up", "down"] if factors else [])
    assert set(tensors_of(some)) == {*learning, "outputs", "inputs", "convolution.weight"}


def test_of_its_kernel_as_much_is_counted_as_it_reads() -> None:
    some = ChosenChannels(whole(bias=True), 4, 3, rank=0)
    assert params_of([some]) == 4 * 3 * 9 + 4 + len(OUTPUTS) + len(INPUTS)
    for both in ([some, some.convolution], [some.convolution, some]):
        assert params_of(both) == 12 * 6 * 9 + 12 + len(OUTPUTS) + len(INPUTS)


def test_numbers_survive_an_average_of_weights() -> None:
    some = ChosenChannels(whole(), 4, 6, rank=0)
    wanted = some.weight()
    some.outputs.mul_(0.1).mul_(9.9999).add_(1e-4)  # rounded off as an average of equal values is
    assert not torch.equal(some.outputs, some.outputs.round())
    assert torch.equal(some.weight(), wanted)


@pytest.mark.parametrize("numbers", [[0.0, 1.0, 2.0, 12.0], [-1.0, 1.0, 2.0, 3.0], [0.5, 1.0, 2.0, 3.0]])
def test_numbers_of_no_channels_are_told(numbers: list[float]) -> None:
    some = ChosenChannels(whole(), 4, 3, rank=0)
    assert some.numbers_are_right()
    some.outputs.copy_(torch.tensor(numbers))
    assert not some.numbers_are_right()
    some.outputs.copy_(torch.arange(4))
    assert some.inputs is not None
    some.inputs.copy_(torch.tensor([0.0, 1.0, 6.0]))
    assert not some.numbers_are_right()
