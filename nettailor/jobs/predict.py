"""Classes of pictures, from a delta: any number of them, in little memory.

pictures -> threads decode some ahead -> uint8 (B, 3, S, S) -> network -> a Prediction for each, in their order
                 a picture that can't be read -> a Prediction that says why
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from blocks import InputSpec
from nettailor.artifacts.delta import Delta
from nettailor.data.batches import evaluation_size, normalise
from nettailor.data.gather import Picture
from nettailor.data.images import FileSource
from nettailor.environment import usable_cores
from nettailor.errors import NettailorError

Answer = list[tuple[str, float]]
MOST_THREADS = 8
AHEAD = 2
"""Batches of pictures that are decoded, or being decoded, while the network runs: what bounds the memory."""


@dataclass(frozen=True)
class Prediction:
    """What one picture is.

    Attributes:
        image: what the user calls the picture.
        answer: its most probable classes, each with its probability, the first the largest; none where it can't be read.
        error: why it can't be read, as the end of a sentence that begins with it.
    """

    image: str
    answer: Answer
    error: str = ""

    def row(self, top: int) -> dict[str, str | float | None]:
        """As a flat record with the same columns for every picture: image, class, probability, class_2, ..., error.

        Args:
            top: classes that there are columns for.
        """
        row: dict[str, str | float | None] = {"image": self.image}
        for place in range(top):
            end = f"_{place + 1}" if place else ""
            label, chance = self.answer[place] if place < len(self.answer) else (None, None)
            row |= {f"class{end}": label, f"probability{end}": None if chance is None else round(chance, 6)}
        return row | {"error": self.error or None}


def predict(delta: Delta, images: Sequence[str], top: int, device: torch.device) -> list[Answer | str]:
    """The `top` most probable classes of each picture, or what is wrong with the picture.

    Args:
        images: files; for folders and zips see `nettailor.data.gather` and `predictions`.
    """
    pictures = [Picture(FileSource(Path(image)), image, image) for image in images]
    found = predictions(delta, pictures, top, device)
    return [f"{one.image}: {one.error}" if one.error else one.answer for one in found]


def predictions(
    delta: Delta, pictures: Sequence[Picture], top: int, device: torch.device, batch: int | None = None
) -> Iterator[Prediction]:
    """The `top` most probable classes of each picture, one after another.

    Args:
        batch: pictures that go through the network together; as many as are evaluated together if left out. The
            probabilities are the same for any number of them, up to rounding.
    """
    spec = delta.net.to(device).eval().spec
    size = batch or evaluation_size(spec)
    squares = decoded(pictures, spec, AHEAD * size)
    for start in range(0, len(pictures), size):
        named = pictures[start : start + size]
        pixels = list(islice(squares, len(named)))
        answers = iter(_answers(delta, [one for one in pixels if isinstance(one, Tensor)], top, device))
        for picture, one in zip(named, pixels, strict=True):
            if isinstance(one, Tensor):
                yield Prediction(picture.shown, next(answers))
            else:
                yield Prediction(picture.shown, [], one)


@torch.inference_mode()
def _answers(delta: Delta, pixels: list[Tensor], top: int, device: torch.device) -> list[Answer]:
    """Of squares in uint8 (3, S, S)."""
    if not pixels:
        return []
    images = torch.stack([square.permute(1, 2, 0) for square in pixels]).permute(
        0, 3, 1, 2
    )  # as Pillow has them in memory
    chances = delta.net(normalise(images, delta.net.spec, device)).softmax(1)
    best = chances.topk(min(top, len(delta.classes)))
    rows = zip(best.values.tolist(), best.indices.tolist(), strict=True)
    return [[(delta.classes[i], p) for p, i in zip(*row, strict=True)] for row in rows]


def decoded(pictures: Sequence[Picture], spec: InputSpec, ahead: int) -> Iterator[Tensor | str]:
    """Each picture as uint8 (3, S, S), or why it can't be read, in order; at most `ahead` are waiting to be taken."""
    waiting: deque[Future[Tensor | str]] = deque()
    pool = ThreadPoolExecutor(min(MOST_THREADS, usable_cores()))
    try:
        for picture in pictures:
            waiting.append(pool.submit(_read, picture, spec))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)  # where no more are wanted, too


def _read(picture: Picture, spec: InputSpec) -> Tensor | str:
    try:
        return picture.read(spec)
    except NettailorError as error:
        return str(error)
