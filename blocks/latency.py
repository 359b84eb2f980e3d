"""Milliseconds of modules, measured side by side with `torch.utils.benchmark`.

    warm up; then in every round each call runs once, in order          -> median and interquartile range of each

A call that is repeated in a loop finds its own weights in the processor's cache; in a network each part has just been
pushed out by the others, so parts that are measured in a loop add up to less than the network takes. Measured in turn they
do not (tests/nettailor/artifacts/test_cost_table.py holds a ResNet-18 to that), and disturbances meet all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

ROUNDS = 50
WARM_UP = 5


@dataclass(frozen=True)
class Timing:
    """Median and interquartile range of one call, in milliseconds."""

    ms: float
    iqr_ms: float


@torch.inference_mode()
def time_in_turn(
    calls: dict[str, tuple[nn.Module, Tensor]],
    threads: int,
    rounds: int = ROUNDS,
    watch: Callable[[Iterator[int]], Iterator[int]] = lambda turns: turns,
) -> dict[str, Timing]:
    """Time `module(input)` for each of several, in eval mode without gradients.

    Args:
        calls: in the order in which they take turns.
        threads: CPU threads of torch while measuring.
        rounds: how often each is measured.
        watch: wraps the iterator over rounds; for a progress bar.
    """
    from torch.utils import benchmark  # it loads the compiler's tools, which nothing else here needs

    for module, _ in calls.values():
        module.eval()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    with benchmark.set_torch_threads(threads):
        for turn in watch(iter(range(-WARM_UP, rounds))):
            for name, (module, x) in calls.items():
                start = benchmark.timer()  # waits for the GPU, where there is one
                module(x)
                if turn >= 0:
                    taken[name].append(benchmark.timer() - start)
    found = {}
    for name, seconds in taken.items():
        measured = benchmark.Measurement(1, seconds, benchmark.TaskSpec("module(x)", "", num_threads=threads))
        found[name] = Timing(measured.median * 1000, measured.iqr * 1000)
    return found
