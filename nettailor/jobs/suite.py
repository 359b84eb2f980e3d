"""Classes of pictures, from several tasks of a suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from nettailor.data.gather import Picture
from nettailor.jobs.predict import Answer, decoded
from nettailor.suite.suite import ALL, Suite

AHEAD = 32  # pictures that are decoded while networks run


def tasks_named(words: str) -> list[str] | None:
    """`a`, `a,b` or `all` as names of tasks; None for all. Each is named once, and looked up by the suite."""
    return None if words == ALL else list(dict.fromkeys(word.strip() for word in words.split(",")))


def predict(
    suite: Suite, tasks: Sequence[str], pictures: Sequence[Picture], top: int
) -> Iterator[dict[str, Answer] | str]:
    """For each picture the `top` most probable classes by task, or why it can't be read; some are decoded ahead.

    Raises:
        UsageError: there is no such task.
    """
    for pixels in decoded(pictures, suite.spec, AHEAD):
        if isinstance(pixels, str):
            yield pixels
        else:
            found = suite(pixels[None], tasks)
            yield {name: best(logits[0], suite.classes(name), top) for name, logits in found.items()}


def best(logits: Tensor, classes: Sequence[str], top: int) -> Answer:
    """The `top` most probable classes of one picture with their probabilities, from its logits (classes,)."""
    found = logits.softmax(0).topk(min(top, len(classes)))
    return [(classes[row], float(chance)) for chance, row in zip(found.values, found.indices.tolist(), strict=True)]
