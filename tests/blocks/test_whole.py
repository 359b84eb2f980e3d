"""Nets that are trained as a whole: chains of each stage's first blocks, random weights, and the compact net of each."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from blocks import Backbone, InputSpec, NetPlan, Path, compact
from blocks.paths import UNIVERSAL
from blocks.whole import WholeNet, first_of_each_stage, reinitialise, stages_of


def test_a_stage_is_a_run_of_blocks_of_one_shape(backbone: Backbone) -> None:
    assert stages_of(backbone) == [[1, 2], [3, 4], [5, 6]]
    paths = first_of_each_stage(backbone, 1)
    assert [path.key for path in paths] == ["G1", "A1-2", "G3", "A3-4", "G5", "A5-6"]
    assert {path.form for path in paths if not path.is_universal} == {"identity"}
    with pytest.raises(ValueError, match=r"no stage of tiny has more than 2 block\(s\) of one shape"):
        first_of_each_stage(backbone, 2)


def test_what_is_left_out_of_a_stage_computes_nothing(backbone: Backbone) -> None:
    net = WholeNet(backbone, NetPlan(first_of_each_stage(backbone, 1), 4, copied=True, gated=False)).eval()
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = net.stem(x)
        for layer in (1, 3, 5):
            expected = net.acts[str(layer)](net.blocks[str(layer)](expected))
        assert torch.equal(net(x), net.head(expected))
    kept = sum(backbone.block_costs[layer - 1].macs for layer in (1, 3, 5))
    whole = sum(block.macs for block in backbone.block_costs)
    assert backbone.cost.macs - net.cost().macs == whole - kept - net.head.fc.weight.numel()


def test_an_activation_that_would_act_twice_is_refused(backbone: Backbone) -> None:
    backbone.acts[1] = nn.SiLU()
    with pytest.raises(ValueError, match=r"block layer1.1 of tiny ends with an activation that would act twice"):
        first_of_each_stage(backbone, 1)


def test_it_trains_every_tensor_and_its_compact_net_answers_the_same(backbone: Backbone) -> None:
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    paths = (Path(1, 0, UNIVERSAL), *(Path(n, 0, UNIVERSAL) for n in range(3, 7)), Path(2, 1, "conv1x1"))
    net = WholeNet(backbone, NetPlan(paths, 4, copied=True, gated=False)).train()
    start = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    net(torch.randn(8, 3, 16, 16)).square().sum().backward()
    optimizer.step()
    for name, tensor in net.state_dict().items():
        assert not torch.equal(tensor, start[name]), name
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, before[name]), "the backbone is left as it was"
    answers, x = compact(net), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(answers(x), net.eval()(x))
    assert not any(
        tensor.data_ptr() == net.state_dict()[name].data_ptr() for name, tensor in answers.state_dict().items()
    )
    with pytest.raises(ValueError, match="its plan has to be copied"):
        WholeNet(backbone, NetPlan(paths, 4))


def test_random_weights_are_new_in_every_layer(backbone: Backbone) -> None:
    teacher = backbone.teacher(4)
    start = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    torch.manual_seed(3)
    reinitialise(teacher)
    for name, module in teacher.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.eq(1).all()
            assert module.running_mean.eq(0).all()
        elif isinstance(module, nn.Conv2d | nn.Linear):
            assert not torch.equal(module.weight, start[f"{name}.weight"])
    conv = teacher.get_submodule("blocks.5").get_submodule("layer4.0.conv2")
    assert float(conv.weight.detach().std()) == pytest.approx((2 / (16 * 9)) ** 0.5, rel=0.1)
    odd = nn.Sequential(nn.Conv2d(3, 4, 1))
    odd.scale = nn.Parameter(torch.ones(4))
    with pytest.raises(ValueError, match="^scale belongs to no layer that knows its random start"):
        reinitialise(odd)


def test_norms_of_a_head_that_is_not_tuned_keep_their_statistics() -> None:
    model = timm.create_model("mobilenetv2_035", num_classes=5)
    backbone = Backbone(model, InputSpec(32, (0.5,) * 3, (0.5,) * 3), "mobile")
    paths = tuple(Path(layer, 0, UNIVERSAL) for layer in range(1, backbone.depth + 1))
    for tuned_from, moves in ((backbone.depth + 2, False), (backbone.depth + 1, True)):
        net = WholeNet(backbone, NetPlan(paths, 4, copied=True, gated=False, tuned_from=tuned_from)).train()
        norms = [part for part in net.head.modules() if isinstance(part, nn.BatchNorm2d)]
        before = [norm.running_mean.clone() for norm in norms]  # type: ignore[union-attr]
        net(torch.randn(4, 3, 32, 32))
        assert norms
        assert all(torch.equal(norm.running_mean, old) != moves for norm, old in zip(norms, before, strict=True))  # type: ignore[arg-type]
