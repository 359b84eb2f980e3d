"""Classes of pictures, from a delta."""

from __future__ import annotations

from pathlib import Path

import torch

from nettailor.artifacts.delta import Delta
from nettailor.data.batches import normalise
from nettailor.data.images import FileSource, read_square
from nettailor.errors import NettailorError

Answer = list[tuple[str, float]]


@torch.inference_mode()
def predict(delta: Delta, images: list[str], top: int, device: torch.device) -> list[Answer | str]:
    """The `top` most probable classes of each picture, or what is wrong with the picture."""
    net, spec = delta.net.to(device).eval(), delta.net.spec
    answers: list[Answer | str] = []
    for image in images:
        try:
            pixels = read_square(FileSource(Path(image)), image, spec.size, spec.interpolation, spec.crop)
        except NettailorError as error:
            answers.append(str(error))
            continue
        chances = net(normalise(pixels[None], spec, device)).softmax(1)[0]
        best = chances.topk(min(top, len(delta.classes)))
        answers.append([(delta.classes[i], float(p)) for p, i in zip(best.values, best.indices.tolist(), strict=True)])
    return answers
