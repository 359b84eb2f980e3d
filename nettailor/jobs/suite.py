"""Classes of pictures, from several tasks of a suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from nettailor.data.images import FileSource, read_square
from nettailor.errors import DataError
from nettailor.jobs.predict import Answer
from nettailor.suite.suite import ALL, Suite


def tasks_named(words: str) -> list[str] | None:
    """`a`, `a,b` or `all` as names of tasks; None for all. Each is named once, and looked up by the suite."""
    return None if words == ALL else list(dict.fromkeys(word.strip() for word in words.split(",")))


def predict(suite: Suite, tasks: Sequence[str], images: Sequence[str], top: int) -> Iterator[dict[str, Answer] | str]:
    """For each picture the `top` most probable classes by task, or what is wrong with the picture.

    Raises:
        UsageError: there is no such task.
    """
    spec = suite.spec
    for image in images:
        try:
            pixels = read_square(FileSource(Path(image)), image, spec.size, spec.interpolation, spec.crop)
        except DataError as error:
            yield str(error)
            continue
        yield {name: best(logits[0], suite.classes(name), top) for name, logits in suite(pixels[None], tasks).items()}


def best(logits: Tensor, classes: Sequence[str], top: int) -> Answer:
    """The `top` most probable classes of one picture with their probabilities, from its logits (classes,)."""
    found = logits.softmax(0).topk(min(top, len(classes)))
    return [(classes[row], float(chance)) for chance, row in zip(found.values, found.indices.tolist(), strict=True)]
