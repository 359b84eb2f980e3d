"""`nettailor predict`: classes of pictures from a delta."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from nettailor.cli.inputs import DEVICES, backbone_of
from nettailor.cli.options import option, position


@dataclass
class PredictOptions:
    """Classes of pictures, from the delta, each with its probability."""

    run: Path = position("a run's folder, or its delta's", "RUN")
    images: list[str] = position("pictures", "IMAGE")
    top: int = option("how many classes for each picture", default=1, metavar="K")
    backbone: str | None = option("the backbone, where its name in the delta is not enough", metavar="NAME")
    weights: str | None = option("the backbone's weights in a local file", metavar="FILE")
    proxies: str | None = option("import this form of proxy, where the delta uses one", metavar="MODULE:FUNCTION")
    device: str = option(DEVICES, default="auto", metavar="DEVICE")


def predict(options: PredictOptions) -> int:
    """`nettailor predict`."""
    from nettailor.artifacts.delta import load
    from nettailor.environment import pick_device
    from nettailor.jobs.predict import predict as answers

    delta = load(options.run, backbone_of(options))
    device = pick_device(options.device)
    bad = 0
    width = max(len(image) for image in options.images)
    for image, answer in zip(options.images, answers(delta, options.images, max(1, options.top), device), strict=True):
        if isinstance(answer, str):
            print(f"nettailor: {answer}", file=sys.stderr)
            bad += 1
        else:
            print(f"{image:<{width}}  " + "  ".join(f"{label} {chance:.3f}" for label, chance in answer))
    return 1 if bad else 0
