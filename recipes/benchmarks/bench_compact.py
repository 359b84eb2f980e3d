"""Time compact nets against their backbone: are they as fast as they are small?

    python -m recipes.benchmarks.bench_compact

ResNet-18 of torchvision at 224 px and timm's MobileNetV2 at 96 px, random weights, batch 1 and 8, two CPU threads. A fresh
student is pruned to 0.75, 0.5 and 0.25 of the backbone's MACs by its gates (drawn from the seed), folded and packed. It and
the model as its library gives it take turns in an order drawn anew in every round; the ratio of their medians, printed with
its bootstrap 95 % interval, is set against the MACs ratio. The whole backbone with a new classifier, folded and packed by
the same code, is timed as well, so that it shows what is gained by that alone.

Expected on two cores: time ratio over MACs ratio at most 1.10 (the figures measured here are in docs/bench/compact.json).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import timm
import torch
import torchvision
from torch import nn

from blocks import Backbone, CompactNet, InputSpec, Plan, TailoredNet, compact
from blocks.latency import time_modules
from blocks.prepack import pack
from nettailor.environment import versions
from nettailor.files import write_json
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.solver import options_from_paths, within_budget

CLASSES = 100
MODELS = {"torchvision/resnet18": 224, "timm/mobilenetv2_100": 96}
PARTS = (0.75, 0.5, 0.25)
BATCHES = (1, 8)
WHOLE, FOLDED = "backbone", "folded backbone"
NOISE = 0.3  # on the logits of fresh gates (+2 and -2): which blocks go is drawn, and they go before what stands in for them


def model_of(name: str) -> nn.Module:
    """The model as its library gives it, in eval mode."""
    library, _, kind = name.partition("/")
    made: nn.Module = timm.create_model(kind) if library == "timm" else getattr(torchvision.models, kind)()
    return made.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]


def compact_of(backbone: Backbone, part: float, seed: int) -> CompactNet:
    """A compact net of at most `part` of the backbone's MACs; which paths it keeps is drawn from the seed."""
    torch.manual_seed(seed)
    student = TailoredNet(backbone, CLASSES, Plan(3, "auto", "softmax", "affine"))
    with torch.no_grad():
        student.gates.logits.add_(NOISE * torch.randn_like(student.gates.logits))
    graph = BlockGraph.of(student)
    options = options_from_paths(graph, {path: data["gate"] for path, data in graph.edges()})
    student.keep(within_budget(graph, options, student.cost_model.limit(part)).paths)
    return compact(student)


def bench(name: str, size: int, batch: int, runs: int, threads: int, seed: int) -> list[dict[str, object]]:
    """One row for every part of the MACs."""
    spec = InputSpec(size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    backbone = Backbone(model_of(name), spec, name)
    smaller = {str(part): compact_of(backbone, part, seed) for part in PARTS}
    nets = {WHOLE: model_of(name), FOLDED: pack(backbone.teacher(CLASSES).for_inference())}
    nets |= {part: pack(net.for_inference()) for part, net in smaller.items()}
    x = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    turns = time_modules({key: (net, x) for key, net in nets.items()}, threads, runs, shuffle=seed)
    rows: list[dict[str, object]] = []
    for part, net in smaller.items():
        macs = net.cost().macs / backbone.cost.macs
        took, of_folded = turns.ratio(part, WHOLE), turns.ratio(part, FOLDED)
        row = {"model": name, "size": size, "batch": batch, "wanted": float(part), "macs": macs}
        row |= {"time": took.value, "time_interval": [took.low, took.high], "time_over_macs": took.value / macs}
        row |= {"paths": [path.key for path in net.paths], "time_to_folded_backbone": of_folded.value}
        row |= {"time_to_folded_backbone_interval": [of_folded.low, of_folded.high]}
        row |= {"ms": turns.ms[part], "backbone_ms": turns.ms[WHOLE], "folded_backbone_ms": turns.ms[FOLDED]}
        rows.append(row)
        print(
            f"{name} {size} px, batch {batch}: {macs:.3f} of the MACs, {took} of the time, ratio {took.value / macs:.3f}"
            f"   ({of_folded} of the folded backbone's time)"
        )
    return rows


def main(arguments: list[str] | None = None) -> list[dict[str, object]]:
    """Measure, print, and return the rows."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.benchmarks.bench_compact", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--size", type=int, help="side of the input for all models")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)
    rows = []
    for name in options.models:
        for batch in options.batches:
            size = options.size or MODELS[name]
            rows += bench(name, size, batch, options.runs, options.threads, options.seed)
    if options.out is not None:
        settings = {key: str(value) for key, value in vars(options).items()}
        write_json(options.out, {"options": settings, "versions": versions(), "rows": rows})
    return rows


if __name__ == "__main__":
    main()
