"""Milliseconds: the one timer, and the latency of networks and of their parts.

    warm up; then in every round each call runs once, in order or in random order
      -> median and interquartile range of each; the ratio of two medians with its bootstrap 95 % interval

A call that is repeated in a loop finds its own weights in the processor's cache; in a network each part has just been
pushed out by the others, so parts that are measured in a loop add up to less than the network takes. Measured in turn they
do not (tests/nettailor/artifacts/test_cost_table.py holds a ResNet-18 to that), and what else the machine does slows all of
them alike. Every network and part is folded before it is timed (`blocks.fold`), so like is compared with like.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, fx, nn

from blocks.fold import fold_part
from blocks.prepack import can_pack, pack
from blocks.student import TailoredNet
from blocks.wiring import Network

ROUNDS = 50
WARM_UP = 5
LATENCY_ROUNDS = 21
RESAMPLES = 2000
LEAST = 10  # rounds: an interval from fewer says little, and one from a single round has no width
Watch = Callable[[Iterator[int]], Iterator[int]]
"""Wraps the iterator over rounds, those of the warm-up included; for a progress bar."""


def unwatched(turns: Iterator[int]) -> Iterator[int]:
    """Show nothing."""
    return turns


@dataclass(frozen=True)
class Timing:
    """Median and interquartile range of one call, in milliseconds."""

    ms: float
    iqr_ms: float


@dataclass(frozen=True)
class Ratio:
    """A ratio of two medians, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """Of the interval from end to end, as a part of the ratio."""
        return (self.high - self.low) / self.value

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Turns:
    """All measured rounds.

    Attributes:
        ms: milliseconds of each call, round by round.
    """

    ms: dict[str, list[float]]

    def timing(self, name: str) -> Timing:
        """Median and interquartile range of a call."""
        taken = self.ms[name]
        low, high = np.percentile(taken, (25, 75))
        return Timing(statistics.median(taken), float(high - low))

    def ratio(self, name: str, to: str) -> Ratio:
        """Median of one call over another's; the interval is the percentile bootstrap's over rounds, which stay pairs.

        The resampling is seeded, so the same rounds give the same interval (Efron and Tibshirani, 1993, chapter 13).
        """
        pairs = np.array([self.ms[name], self.ms[to]])
        rows = np.random.default_rng(0).integers(pairs.shape[1], size=(RESAMPLES, pairs.shape[1]))
        above, below = np.median(pairs[:, rows], axis=2)
        low, high = np.percentile(above / below, (2.5, 97.5))
        return Ratio(statistics.median(self.ms[name]) / statistics.median(self.ms[to]), float(low), float(high))

    def ratios(self, to: str) -> dict[str, Ratio]:
        """Every other call's median over that of `to`."""
        return {name: self.ratio(name, to) for name in self.ms if name != to}


@dataclass(frozen=True)
class Until:
    """Go on until every ratio to call `to` is known well enough.

    Attributes:
        to: name of the call that the others are divided by.
        width: largest relative width of an interval, from end to end.
        most: rounds, after which measuring ends whether or not they are.
    """

    to: str
    width: float = 0.05
    most: int = 200

    def reached(self, turns: Turns) -> bool:
        """Whether all intervals are narrow enough; never before `LEAST` rounds."""
        return len(turns.ms[self.to]) >= LEAST and all(
            ratio.width <= self.width for ratio in turns.ratios(self.to).values()
        )


def time_in_turn(
    calls: Mapping[str, Callable[[], object]],
    threads: int | None = None,
    rounds: int = ROUNDS,
    warm_up: int = WARM_UP,
    shuffle: int | None = None,
    until: Until | None = None,
    watch: Watch = unwatched,
) -> Turns:
    """Run every call once in each round and take its time.

    Args:
        calls: in the order in which they take turns.
        threads: CPU threads of torch while measuring; as it is set if left out.
        rounds: how often each is measured, at least.
        warm_up: rounds before these that are not counted.
        shuffle: seed of an order that is drawn anew in every round; the order of `calls` if left out.
        until: goes on after `rounds` until the ratios are known as well as it says.
        watch: wraps the iterator over rounds.

    Raises:
        ValueError: no round.
    """
    from torch.utils import benchmark  # it loads the compiler's tools, which nothing else here needs

    if rounds < 1:
        raise ValueError(f"at least 1 round is measured, not {rounds}")
    turns = Turns({name: [] for name in calls})
    draw = None if shuffle is None else random.Random(shuffle)
    order = list(calls)
    with benchmark.set_torch_threads(threads or torch.get_num_threads()):
        for turn in watch(_numbers(warm_up, rounds, until, turns)):
            if draw is not None:
                draw.shuffle(order)
            for name in order:
                call = calls[name]
                start = benchmark.timer()  # waits for the GPU, where there is one
                call()
                taken = benchmark.timer() - start
                if turn >= 0:
                    turns.ms[name].append(taken * 1000)
    return turns


def _numbers(warm_up: int, rounds: int, until: Until | None, turns: Turns) -> Iterator[int]:
    """Negative numbers for the warm-up; the next one is only asked for when a round is over."""
    yield from range(-warm_up, rounds)
    for turn in range(rounds, until.most if until is not None else 0):
        if until is None or until.reached(turns):
            return
        yield turn


@torch.inference_mode()
def time_modules(
    modules: Mapping[str, tuple[nn.Module, Tensor]],
    threads: int | None = None,
    rounds: int = ROUNDS,
    warm_up: int = WARM_UP,
    shuffle: int | None = None,
    until: Until | None = None,
    watch: Watch = unwatched,
) -> Turns:
    """Time `module(input)` for each of several, in eval mode without gradients; see `time_in_turn`."""
    calls = {name: _Forward(module.eval(), x) for name, (module, x) in modules.items()}
    return time_in_turn(calls, threads, rounds, warm_up, shuffle, until, watch)


@dataclass(frozen=True)
class _Forward:
    module: nn.Module
    x: Tensor

    def __call__(self) -> object:
        return self.module(self.x)


@dataclass(frozen=True)
class Latency:
    """Median milliseconds of a network for one picture.

    Attributes:
        ms: folded.
        packed_ms: folded and packed (`blocks.prepack`); None where that changes nothing: on a GPU, or
            in a torch without oneDNN.
    """

    ms: float
    packed_ms: float | None


def latencies(nets: Sequence[Network], size: int, device: torch.device, rounds: int = LATENCY_ROUNDS) -> list[Latency]:
    """Latency of networks on pictures of `size` x `size`, all taking turns, each folded by the same code.

    Args:
        nets: they answer `for_inference()`; they are left as they are, and are on `device`.
    """
    x = picture(1, size, device)
    calls: dict[str, tuple[nn.Module, Tensor]] = {
        f"folded {index}": (net.for_inference(), x) for index, net in enumerate(nets)
    }
    packs = device.type == "cpu" and can_pack()
    if packs:
        calls |= {f"packed {index}": (pack(net.for_inference()), x) for index, net in enumerate(nets)}
    turns = time_modules(calls, rounds=rounds)
    return [
        Latency(turns.timing(f"folded {index}").ms, turns.timing(f"packed {index}").ms if packs else None)
        for index in range(len(nets))
    ]


def part_timings(
    student: TailoredNet, batch: int, threads: int, rounds: int = ROUNDS, watch: Watch = unwatched
) -> dict[str, Timing]:
    """Milliseconds of what a compact net runs: the modules of `parts_to_time`, by its keys."""
    turns = time_modules(parts_to_time(student, batch), threads, rounds, watch=watch)
    return {name: turns.timing(name) for name in turns.ms}


def parts_to_time(student: TailoredNet, batch: int) -> dict[str, tuple[fx.GraphModule, Tensor]]:
    """Every part as a compact net runs it, folded and its low-rank weights merged, with an input (B, C, H, W) on its device.

    Returns:
        "stem", each block by the key of its path, "head" with the source classifier, "whole" (the backbone), and each proxy
        by its key. A block is followed by its activation, a proxy resamples first. Blocks stand in the network's own order.
    """
    backbone = student.backbone
    example = picture(batch, backbone.spec.size, student.gates.fade.device)
    with torch.no_grad():
        xs = [x.contiguous(memory_format=torch.channels_last) for x in backbone.activations(example)[:-1]]
    universal = [path for path in student.paths if path.is_universal]
    found = {"stem": (fold_part(student.stem), example)}
    for path in universal:
        found[path.key] = fold_part(student.blocks[str(path.target)], student.acts[path.target - 1]), xs[path.source]  # type: ignore[arg-type]
    found |= {"head": (fold_part(backbone.head), xs[-1]), "whole": (backbone.for_inference(), example)}
    for path in student.paths:
        if not path.is_universal:
            proxy = fold_part(student.module_of(path))  # type: ignore[arg-type]
            found[path.key] = proxy.to(memory_format=torch.channels_last), xs[path.source]  # type: ignore[call-overload]
    return found


def picture(batch: int, size: int, device: torch.device) -> Tensor:
    """A batch of empty pictures, in the layout that networks are run in."""
    return torch.zeros(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
