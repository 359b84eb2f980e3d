"""What needs float64 is computed on the CPU where a GPU has none, and comes to the same."""

from __future__ import annotations

import pytest
import torch

from blocks import Plan, TailoredNet
from blocks.inherit import inherit
from blocks.precision import exact_device, float64
from blocks.warm_start import warm_start
from tests import tiny
from tests.apple_gpu import AppleGpu


def test_float64_is_computed_where_there_is_such_a_type() -> None:
    assert exact_device(torch.device("mps")) == torch.device("cpu")
    for name in ("cpu", "cuda:1"):
        assert exact_device(torch.device(name)) == torch.device(name)


def test_the_pretended_gpu_has_no_float64_and_shares_no_tensor_with_the_cpu() -> None:
    x = torch.ones(3)
    with AppleGpu():
        assert x.device.type == (2 * x).device.type == "mps"
        assert x.cpu().device.type == float64(x).device.type == "cpu"
        assert float64(x).dtype == torch.float64
        with pytest.raises(TypeError, match="no float64"):
            x.double()
        with pytest.raises(RuntimeError, match="tensors on mps and on the cpu"):
            x + torch.ones(3)
        x.copy_(2 * float64(x))
        assert x.device.type == "mps"
    assert x.tolist() == [2.0] * 3


@pytest.mark.parametrize("what", ["inherit", "warm_start"])
def test_what_a_student_begins_with_is_the_same_on_a_gpu_without_float64(what: str) -> None:
    torch.manual_seed(0)
    backbone = tiny.tiny_backbone()
    teacher = backbone.teacher(5).eval()
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter += 0.01 * torch.randn_like(parameter)
    pictures = torch.rand(24, 3, 16, 16) - 0.5

    def begin(student: TailoredNet) -> None:
        if what == "inherit":
            inherit(student, teacher)
        else:
            warm_start(student, lambda: pictures.split(8))

    plain, ours = (TailoredNet(backbone, 5, Plan(2, "conv1x1", batch_norm="affine", rank=2)) for _ in range(2))
    ours.load_state_dict(plain.state_dict())
    begin(plain)
    with AppleGpu():
        begin(ours)
    for name, tensor in plain.task_tensors().items():
        torch.testing.assert_close(ours.task_tensors()[name], tensor, rtol=0, atol=0, msg=name)
