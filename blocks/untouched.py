"""What a compact net leaves of its backbone as it is, from the picture on: the layers that tasks can compute once.

    CompactNet -> untouched -> (Step of x_0, Step of x_1, ...)       two nets with the same step compute the same activation

A step is one activation and how it comes about from those before it. It is untouched where no tensor of the task's is in it
and its weights are those of a single path, 1. Most often it is a universal block alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from blocks.compact import CompactNet
from blocks.counting import tensors_of
from blocks.paths import Path


@dataclass(frozen=True)
class Step:
    """Activation x_`layer`, and the single path that leads into it; None for the stem, which x_0 comes from."""

    layer: int
    path: Path | None


def untouched(net: CompactNet) -> tuple[Step, ...]:
    """The steps from the picture on that are the backbone's alone, up to the first that is not; none if the stem is not."""
    shared = {id(tensor) for tensor in net.backbone.tensors().values()}

    def is_shared(*modules: nn.Module) -> bool:
        return all(id(tensor) in shared for module in modules for tensor in tensors_of(module).values())

    if not is_shared(net.stem):
        return ()
    steps = [Step(0, None)]
    for layer in sorted({path.target for path in net.paths}):
        into = [path for path in net.paths if path.target == layer]
        alone = len(into) == 1 and net.gate_of(into[0]) == 1.0
        if not alone or not is_shared(net.module_of(into[0]), net.acts[str(layer)]):
            break
        steps.append(Step(layer, into[0]))
    return tuple(steps)
