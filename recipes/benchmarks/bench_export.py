"""Time exported files of compact nets against the backbone's own export: as small and as fast as their MACs say?

    python -m recipes.benchmarks.bench_export

torchvision's ResNet-18 and timm's EfficientNet-Lite0 at 224 px, random weights, batch 1, one CPU thread, onnxruntime and
OpenVINO. A fresh student is pruned to 0.5 and 0.25 of the backbone's MACs by its gates (drawn from the seed),
folded and exported without preprocessing, and opened in its runtime. It and the folded backbone's export take turns in an
order drawn anew in every round; the ratio of their medians is set against the MACs ratio.

Expected on two cores: latency ratio over MACs ratio at most 1.3 at 0.5 and 1.5 at 0.25, with 1.15 as the goal; each file at
most 1.1 times 4 bytes per parameter and 100 kB (docs/bench/export.json). With `--threads 2` onnxruntime's times on two
virtual cores fall into two heaps, and its ratios with them (docs/bench/export_two_threads.json); OpenVINO's do not.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import timm
import torch
import torchvision
from torch import nn

from blocks import Backbone, InputSpec, fold
from blocks.counting import count_params, tensors_of
from blocks.latency import Turns, time_in_turn
from nettailor import export
from nettailor.environment import versions
from nettailor.export._protocol import Exportable, Format, Session
from nettailor.files import write_json
from recipes.benchmarks.bench_compact import CLASSES, compact_of

MODELS = ("torchvision/resnet18", "timm/efficientnet_lite0")
FORMATS = ("onnx", "openvino")
BARS = {0.5: 1.3, 0.25: 1.5}  # latency ratio over MACs ratio
WHOLE = "backbone"


def written(net: nn.Module, spec: InputSpec, format: Format, path: Path, threads: int) -> tuple[Session, int]:
    """A folded net in a format without preprocessing, opened again, and the bytes of its files."""
    format.convert(Exportable(net, spec, raw=True)).write(path, {})
    return format.open(path, threads), sum(file.stat().st_size for file in format.files(path))


def bench(name: str, to: str, options: argparse.Namespace) -> list[dict[str, object]]:
    """One row for every part of the MACs."""
    library, _, kind = name.partition("/")
    torch.manual_seed(options.seed)
    model = timm.create_model(kind) if library == "timm" else getattr(torchvision.models, kind)()
    spec = InputSpec(options.size, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    backbone = Backbone(model.eval(), spec, name)
    format = export.find(to)
    format.need()
    smaller = {str(part): compact_of(backbone, part, options.seed) for part in BARS}
    folded = {WHOLE: backbone.teacher(CLASSES).eval().for_inference()}
    folded |= {part: fold(net, join_proxies=False) for part, net in smaller.items()}
    with tempfile.TemporaryDirectory() as folder:
        opened = {
            part: written(net, spec, format, Path(folder) / f"{part.replace('.', '-')}{format.suffix}", options.threads)
            for part, net in folded.items()
        }
        turns = _timed({part: session for part, (session, _) in opened.items()}, options)
    rows: list[dict[str, object]] = []
    for part, net in smaller.items():
        macs, params = net.cost().macs / backbone.cost.macs, count_params(tensors_of(folded[part]).values())
        took, size, most = turns.ratio(part, WHOLE), opened[part][1], 1.1 * 4 * params + 100_000
        over, bar = took.value / macs, BARS[float(part)]
        row = {"model": name, "to": to, "size": options.size, "wanted": float(part), "macs": macs, "params": params}
        row |= {"time": took.value, "time_interval": [took.low, took.high], "time_over_macs": over, "bar": bar}
        row |= {"within_bar": over <= bar, "bytes": size, "most_bytes": most, "small_enough": size <= most}
        row |= {"ms": turns.ms[part], "backbone_ms": turns.ms[WHOLE], "paths": [path.key for path in net.paths]}
        rows.append(row)
        print(
            f"{name} {to}: {macs:.3f} of the MACs, {took} of the time, ratio {over:.3f} (at most {bar}); "
            f"{size:,} bytes (at most {most:,.0f})"
        )
    return rows


def _timed(sessions: dict[str, Session], options: argparse.Namespace) -> Turns:
    x = torch.randn(1, 3, options.size, options.size)
    calls = {part: lambda session=session: session(x) for part, session in sessions.items()}
    return time_in_turn(calls, rounds=options.runs, warm_up=5, shuffle=options.seed)


def main(arguments: list[str] | None = None) -> list[dict[str, object]]:
    """Measure, print, and return the rows."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.benchmarks.bench_export", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--to", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--size", type=int, default=224, help="side of the input")
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    options = parser.parse_args(arguments)
    rows = [row for name in options.models for to in options.to for row in bench(name, to, options)]
    if options.out is not None:
        settings = {key: str(value) for key, value in vars(options).items()}
        write_json(options.out, {"options": settings, "versions": versions(), "rows": rows})
    return rows


if __name__ == "__main__":
    main()
