from __future__ import annotations

import pytest
import torch
from torch import nn

from blocks import Backbone, CompactNet, NetPlan, Path, Plan, TailoredNet, compact
from blocks.counting import tensors_of
from blocks.fold import fold_part
from blocks.paths import UNIVERSAL
from blocks.untouched import Step, untouched
from nettailor.pruning.graph import BlockGraph
from nettailor.suite.prefix import Branch, SharedNets, shared_macs, trie
from tests.tiny import tiny_backbone

STEM = Step(0, None)


def steps(count: int) -> tuple[Step, ...]:
    """Stem and so many universal blocks."""
    return (STEM, *(Step(layer, Path(layer, 0, UNIVERSAL)) for layer in range(1, count + 1)))


@torch.no_grad()
def trained(
    backbone: Backbone, shared: int, seed: int, gone: tuple[str, ...] = (), gates: str = "softmax"
) -> CompactNet:
    """A compact net with task tensors of its own everywhere but in the shared prefix, without some paths."""
    torch.manual_seed(seed)
    plan = Plan(skips=3, gates=gates, batch_norm="affine", rank=2, shared_prefix=shared)
    student = TailoredNet(backbone, 3 + seed, plan).eval()
    for name, tensor in student.task_tensors().items():
        if name.startswith("gates.fade"):
            continue
        tensor.add_(0.1 * torch.rand_like(tensor))
    graph = BlockGraph.of(student)
    student.keep(graph.without(path for path in graph.paths if path.key in gone).paths)
    return compact(student)


def parts_of(backbone: Backbone, count: int) -> list[nn.Module]:
    """Stem and so many blocks, folded."""
    return [fold_part(part) for part in (backbone.stem, *backbone.blocks[:count])]  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return tiny_backbone()


@pytest.fixture(scope="module")
def nets(backbone: Backbone) -> dict[str, CompactNet]:
    """Prefixes of six lengths: none, stem and blocks 1 to 2, 3, 3, 5, and all blocks."""
    return {
        "alone": trained(backbone, 0, 1),
        "two": trained(backbone, 2, 2, ("G3", "A0-4", "G5")),
        "three": trained(backbone, 3, 3, ("G4", "G5"), "independent"),
        "three too": trained(backbone, 3, 4),
        "five": trained(backbone, 5, 5, ("A4-6", "A3-6")),
        "all": trained(backbone, 6, 6),
    }


def test_a_trie_has_the_longest_common_prefixes_and_no_branch_of_a_single_task() -> None:
    assert trie({}) == ()
    assert trie({"a": steps(2), "b": ()}) == ()
    found = trie({"a": steps(2), "none": (), "b": steps(5), "c": steps(4), "stem": steps(0)})
    deep = Branch(2, steps(4)[3:], ("b", "c"))
    middle = Branch(0, steps(2)[1:], ("a", "b", "c"), (deep,))
    assert found == (Branch(None, (STEM,), ("a", "b", "c", "stem"), (middle,)),)
    assert [branch.last for branch in found[0].walk()] == [0, 2, 4]


def test_tasks_that_skip_a_layer_in_another_way_part_there() -> None:
    around = (*steps(1), Step(3, Path(3, 2, "identity")), Step(4, Path(4, 0, UNIVERSAL)))
    found = trie({"a": steps(4), "b": around, "c": around})
    assert [(branch.first, branch.last, branch.tasks) for branch in found[0].walk()] == [
        (None, 1, ("a", "b", "c")),
        (1, 4, ("b", "c")),
    ]


def test_what_a_task_changes_is_not_shared(backbone: Backbone) -> None:
    universal = tuple(Path(layer, 0, UNIVERSAL) for layer in range(1, 7))

    def length(**plan: object) -> int:
        return len(untouched(CompactNet(backbone, NetPlan(universal, 3, **plan))))  # type: ignore[arg-type]

    assert length(gated=False) == 7
    assert length() == 7  # gates are constants of 1 until somebody sets them
    assert length(batch_norm="stats") == length(batch_norm="affine") == length(rank=1) == length(adapters=True) == 0
    assert length(copied=True) == 0
    assert length(batch_norm="affine", rank=2, shared_prefix=4) == 5
    halved = CompactNet(backbone, NetPlan(universal, 3))
    with torch.no_grad():
        halved.gates["3"].fill_(0.5)
    assert len(untouched(halved)) == 3
    beside = CompactNet(backbone, NetPlan((*universal, Path(2, 2, "conv1x1")), 3))
    assert len(untouched(beside)) == 2


@pytest.mark.parametrize("wanted", [None, ["two"], ["alone", "five"], ["three too", "two", "all"]])
def test_resident_nets_answer_together_what_they_answer_alone_bit_for_bit(
    nets: dict[str, CompactNet], wanted: list[str] | None
) -> None:
    x = torch.randn(3, 3, 16, 16)
    answers = SharedNets(nets)(x, wanted)
    assert list(answers) == (wanted or list(nets))
    for task, logits in answers.items():
        assert torch.equal(logits, nets[task](x)), task


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("wanted", [None, ["two"], ["alone", "five"], ["three too", "two", "all"]])
def test_folded_nets_answer_together_what_they_answer_alone(
    nets: dict[str, CompactNet], wanted: list[str] | None, packed: bool
) -> None:
    x = torch.randn(3, 3, 16, 16)
    shared = SharedNets(nets, fast=True, packed=packed)
    for task, logits in shared(x, wanted).items():
        assert (logits - nets[task](x)).abs().max() < 1e-5 * max(1.0, float(logits.abs().max())), task
        assert torch.equal(shared.alone(task)(x), logits), task
    assert SharedNets(nets).alone("two") is nets["two"]


def test_shared_blocks_run_once_for_a_picture(nets: dict[str, CompactNet], backbone: Backbone) -> None:
    calls: list[str] = []
    first = backbone.blocks[0].get_submodule("layer1.0.conv1")
    handle = first.register_forward_hook(lambda *_: calls.append("G1"))
    try:
        sharing = [task for task in nets if task != "alone"]
        SharedNets(nets)(torch.zeros(1, 3, 16, 16), sharing)
        assert len(calls) == 1
        SharedNets(nets)(torch.zeros(1, 3, 16, 16))
        assert len(calls) == 3  # and once more for the task that shares nothing
    finally:
        handle.remove()


def test_shared_macs_are_counted_once(nets: dict[str, CompactNet], backbone: Backbone) -> None:
    alone = {task: net.cost().macs for task, net in nets.items()}
    blocks = [cost.macs for cost in backbone.block_costs]
    stem = backbone.stem_cost.macs

    def together(*tasks: str) -> int:
        return shared_macs({task: nets[task] for task in tasks})

    assert together("alone") == alone["alone"]
    assert together("alone", "two") == alone["alone"] + alone["two"]
    assert together("two", "five") == alone["two"] + alone["five"] - stem - sum(blocks[:2])
    assert together("three", "five", "all") == sum(
        (alone["three"], alone["five"], alone["all"], -2 * (stem + sum(blocks[:3])), -sum(blocks[3:5]))
    )


def test_the_shared_part_is_folded_once(nets: dict[str, CompactNet], backbone: Backbone) -> None:
    assert SharedNets(nets).shared_copies() == []
    shared = SharedNets(nets, fast=True)
    ways = [shared.alone(task) for task in nets]
    held = sum({id(tensor): tensor.numel() for way in ways for tensor in tensors_of(way).values()}.values())
    once = sum(tensor.numel() for part in shared.shared_copies() for tensor in tensors_of(part).values())
    assert once == sum(tensor.numel() for part in parts_of(backbone, 5) for tensor in tensors_of(part).values())
    apart = sum(tensor.numel() for net in nets.values() for tensor in tensors_of(net.for_inference()).values())
    per_branch = [
        sum(t.numel() for part in parts_of(backbone, n) for t in tensors_of(part).values()) for n in (2, 3, 5)
    ]
    assert held == apart - sum(per_branch) - per_branch[1]  # five nets share up to 2, four up to 3, two up to 5
    assert shared.shared_up_to == {"alone": None, "two": 2, "three": 3, "three too": 3, "five": 5, "all": 5}


def test_nets_over_different_backbones_are_refused(backbone: Backbone) -> None:
    with pytest.raises(ValueError, match="different backbones"):
        SharedNets({"a": trained(backbone, 2, 1), "b": trained(tiny_backbone(), 2, 1)})
