"""The timer: what runs when, medians and intervals; that networks and parts are folded before they are timed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from blocks import Plan, TailoredNet, compact
from blocks import latency as timer
from blocks.adapters import Adapted
from blocks.latency import LEAST, Turns, Until, latencies, parts_to_time, time_in_turn, time_modules
from blocks.layer_types import is_norm
from blocks.prepack import PackedConvolution, can_pack
from tests import tiny


class Calls:
    """Calls that write down in which order they ran."""

    def __init__(self, *names: str) -> None:
        self.ran: list[str] = []
        self.calls = {name: lambda name=name: self.ran.append(name) for name in names}


def test_calls_take_turns_and_the_warm_up_is_not_counted() -> None:
    calls = Calls("a", "b", "c")
    turns = time_in_turn(calls.calls, rounds=4, warm_up=2)
    assert calls.ran == ["a", "b", "c"] * 6
    assert {name: len(taken) for name, taken in turns.ms.items()} == {"a": 4, "b": 4, "c": 4}
    with pytest.raises(ValueError, match="at least 1 round is measured, not 0"):
        time_in_turn(calls.calls, rounds=0)


def test_a_seeded_order_is_drawn_anew_in_every_round() -> None:
    def rounds(seed: int) -> list[tuple[str, ...]]:
        calls = Calls("a", "b", "c")
        time_in_turn(calls.calls, rounds=20, warm_up=0, shuffle=seed)
        return [tuple(calls.ran[at : at + 3]) for at in range(0, 60, 3)]

    assert all(sorted(order) == ["a", "b", "c"] for order in rounds(0))
    assert len(set(rounds(0))) == 6
    assert rounds(0) == rounds(0) != rounds(1)


def test_it_is_the_call_that_is_timed_in_milliseconds_with_the_threads_that_are_asked_for() -> None:
    threads: list[int] = []
    before = torch.get_num_threads()

    def slow() -> None:
        threads.append(torch.get_num_threads())
        time.sleep(0.02)

    turns = time_in_turn({"slow": slow, "nothing": lambda: None}, threads=before + 1, rounds=3, warm_up=0)
    assert min(turns.ms["slow"]) >= 20
    assert turns.timing("nothing").ms < 20
    assert threads == [before + 1] * 3
    assert torch.get_num_threads() == before


def test_the_median_of_an_even_number_lies_between_the_middle_two() -> None:
    turns = Turns({"a": [4.0, 1.0, 2.0, 100.0], "b": [1.0, 1.0, 1.0, 1.0]})
    assert turns.timing("a").ms == 3.0
    assert turns.timing("a").iqr_ms == pytest.approx(28.0 - 1.75)
    assert turns.ratio("a", "b").value == 3.0


def test_rounds_stay_pairs_in_the_interval() -> None:
    """A machine that is slow in half of the rounds slows both calls; their ratio is known all the same."""
    rounds = [10.0, 20.0] * 15
    drifting = Turns({"ours": [0.5 * ms for ms in rounds], "theirs": rounds})
    assert (drifting.ratio("ours", "theirs").low, drifting.ratio("ours", "theirs").high) == (0.5, 0.5)
    apart = Turns({"ours": [0.5 * ms for ms in rounds[1:] + rounds[:1]], "theirs": rounds})
    assert apart.ratio("ours", "theirs").width > 0.5


def test_the_interval_holds_the_true_ratio_as_often_as_it_says() -> None:
    draw = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(200):
        ours, theirs = (20 + torch.randn(30, generator=draw, dtype=torch.double) for _ in range(2))
        ratio = Turns({"ours": (1.5 * ours).tolist(), "theirs": theirs.tolist()}).ratio("ours", "theirs")
        assert ratio.low <= ratio.value <= ratio.high
        held += ratio.low <= 1.5 <= ratio.high
    assert 180 <= held <= 199, "95 % of 200 are 190"


def test_the_same_rounds_give_the_same_interval() -> None:
    turns = Turns({"a": [1.0, 3.0, 2.0, 5.0], "b": [2.0, 2.0, 3.0, 1.0]})
    assert turns.ratios("b") == turns.ratios("b")
    assert list(turns.ratios("b")) == ["a"]


@pytest.mark.parametrize(("spread", "rounds"), [(0.0, LEAST), (0.5, 60)])
def test_it_goes_on_until_the_ratio_is_known_or_the_rounds_are_spent(
    monkeypatch: pytest.MonkeyPatch, spread: float, rounds: int
) -> None:
    """The clock is ours here: calls of an even length are known after a few rounds, uneven ones never."""
    draw, now = torch.Generator().manual_seed(0), [0.0]
    monkeypatch.setattr("torch.utils.benchmark.timer", lambda: now[0])

    def call() -> None:
        now[0] += 1 + spread * float(torch.rand((), generator=draw))

    until = Until("b", 0.05, most=60)
    turns = time_in_turn({"a": call, "b": call}, rounds=2, until=until)
    assert len(turns.ms["a"]) == len(turns.ms["b"]) == rounds
    assert until.reached(turns) == (spread == 0)


def test_it_stops_between_the_least_and_the_most_as_soon_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    draw, now = torch.Generator().manual_seed(0), [0.0]
    monkeypatch.setattr("torch.utils.benchmark.timer", lambda: now[0])

    def call() -> None:
        now[0] += 1 + 0.1 * float(torch.rand((), generator=draw))

    until = Until("b", 0.05, most=500)
    turns = time_in_turn({"a": call, "b": call}, rounds=2, until=until)
    taken = len(turns.ms["a"])
    assert LEAST < taken < 500
    assert until.reached(turns)
    assert not until.reached(Turns({name: ms[: taken - 1] for name, ms in turns.ms.items()}))


def test_rounds_can_be_watched() -> None:
    seen: list[int] = []

    def watch(turns: Iterator[int]) -> Iterator[int]:
        for turn in turns:
            seen.append(turn)
            yield turn

    time_in_turn({"a": lambda: None}, rounds=3, warm_up=2, watch=watch)
    assert seen == [-2, -1, 0, 1, 2]


def test_modules_are_timed_in_eval_mode_without_gradients() -> None:
    class Probe(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert not self.training
            assert torch.is_inference_mode_enabled()
            return x

    turns = time_modules({"probe": (Probe().train(), torch.zeros(1))}, rounds=2)
    assert len(turns.ms["probe"]) == 2


def test_networks_are_timed_folded_and_packed_by_the_same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = tiny.tiny_backbone()
    nets = [backbone.teacher(3), compact(TailoredNet(backbone, 3, Plan(1)))]
    timed: dict[str, nn.Module] = {}

    def note(modules: dict[str, tuple[nn.Module, torch.Tensor]], **settings: int) -> Turns:
        timed.update({name: module for name, (module, _) in modules.items()})
        return Turns({name: [float(number)] for number, name in enumerate(modules)})

    monkeypatch.setattr(timer, "time_modules", note)
    found = latencies(nets, 16, torch.device("cpu"))
    assert [one.ms for one in found] == [0.0, 1.0]
    assert not any(is_norm(part) for net in timed.values() for part in net.modules())
    if can_pack():
        assert [one.packed_ms for one in found] == [2.0, 3.0]
        packed = {name: any(isinstance(m, PackedConvolution) for m in net.modules()) for name, net in timed.items()}
        assert packed == {"folded 0": False, "folded 1": False, "packed 0": True, "packed 1": True}
    monkeypatch.setattr(timer, "can_pack", lambda: False)
    assert [one.packed_ms for one in latencies(nets, 16, torch.device("cpu"))] == [None, None]


def test_latencies_are_medians_of_real_forwards_and_leave_the_nets_alone() -> None:
    teacher = tiny.tiny_backbone().teacher(3).train()
    (found,) = latencies([teacher], 16, torch.device("cpu"), rounds=3)
    assert 0 < found.ms < 10_000
    assert teacher.training
    assert all(parameter.requires_grad for parameter in teacher.parameters())


def test_parts_are_timed_as_a_compact_net_runs_them() -> None:
    """Low-rank weights are merged and norms folded: the parts of a student with both are those of one with neither."""
    backbone = tiny.tiny_backbone()
    plain = parts_to_time(TailoredNet(backbone, 2, Plan(2, "conv1x1")), 1)
    rich = parts_to_time(TailoredNet(backbone, 2, Plan(2, "conv1x1", batch_norm="affine", rank=2)), 1)
    assert any(isinstance(m, Adapted) for m in TailoredNet(backbone, 2, Plan(2, rank=2)).modules())
    assert list(plain) == list(rich)
    for name in rich:
        module, x = rich[name]
        assert not any(isinstance(part, Adapted) or is_norm(part) for part in module.modules()), name
        assert kinds(module) == kinds(plain[name][0]), name
        with torch.no_grad():
            assert module(x).shape == plain[name][0](plain[name][1]).shape
    assert kinds(rich["G2"][0]) == {"Conv2d": 2, "ReLU": 2}
    assert kinds(rich["A0-1"][0]) == {"Conv2d": 1}


def kinds(module: nn.Module) -> Counter[str]:
    return Counter(type(part).__name__ for part in module.modules() if not list(part.children()))


def test_the_timed_parts_are_all_that_the_timed_backbone_runs() -> None:
    backbone = tiny.tiny_backbone()
    parts = parts_to_time(TailoredNet(backbone, 2, Plan(1)), 1)
    whole = kinds(parts["whole"][0])
    sums: Counter[str] = Counter()
    for name, (module, _) in parts.items():
        if name in ("stem", "head") or name.startswith("G"):
            sums += kinds(module)
    assert sums == whole
    x = torch.randn(2, 3, 16, 16)
    through = x
    with torch.no_grad():
        for name, (module, _) in parts.items():
            if name == "whole":
                break
            through = module(through)
        wanted = backbone(x)
    assert float((through - wanted).abs().max()) <= 1e-4 * float(wanted.abs().max())
