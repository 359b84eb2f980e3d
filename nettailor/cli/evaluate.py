"""`nettailor eval`: accuracy from a delta."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nettailor.cli.inputs import DEVICES, backbone_of
from nettailor.cli.options import option, position

MOST_PAIRS = 5


@dataclass
class EvalOptions:
    """Accuracy of a compact net, from its delta, on the test pictures of its task or on others."""

    run: Path = position("a run's folder, or its delta's, or hf://user/name", "RUN")
    data: str | None = option("other pictures, in the same classes; needed for a delta alone", metavar="DIR|ZIP|NAME")
    split: str | None = option(
        "which split; if left out test, or all pictures where --data has no splits", choices=("train", "val", "test")
    )
    backbone: str | None = option("the backbone, where its name in the delta is not enough", metavar="NAME")
    weights: str | None = option("the backbone's weights in a local file", metavar="FILE")
    proxies: str | None = option("import this form of proxy, where the delta uses one", metavar="MODULE:FUNCTION")
    device: str = option(DEVICES, default="auto", metavar="DEVICE")
    skip_bad: bool = option("go on without pictures that can't be read", default=False)


def evaluate(options: EvalOptions) -> int:
    """`nettailor eval`."""
    from nettailor.artifacts.delta import load
    from nettailor.artifacts.hub import shown
    from nettailor.environment import pick_device
    from nettailor.jobs.evaluate import evaluate as measured

    delta = load(options.run, backbone_of(options))
    device = pick_device(options.device)
    found = measured(options.run, delta, device, options.data, options.split, options.skip_bad)
    which = "pictures" if found.split is None else f"{found.split} pictures"
    print(f"{shown(options.run)}: {found.accuracy:.4f} of {found.pictures} {which} right")
    pairs = [f"{true} as {given} ({count})" for true, given, count in found.confusion.most_confused(MOST_PAIRS)]
    confused = f"; most often confused: {', '.join(pairs)}" if pairs else ""
    print(f"mean over the classes {found.balanced_accuracy:.4f}{confused}")
    return 0
