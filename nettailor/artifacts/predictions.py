"""What the networks of a run say of every picture they were measured on, so that runs can be compared picture by picture.

predictions(net, split) -> Predictions -> predictions.json -> paired tests, confusion matrix
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass
from torch import Tensor

from nettailor.data.task import Split
from nettailor.schema import RECORD, Record

FORMAT: Literal[1] = 1


@dataclass(config=RECORD)
class SplitPredictions:
    """The pictures of a split as `split.json` lists them, class by class, and the number of the class of each.

    Attributes:
        labels: what they are.
        compact, teacher: what these networks say; `teacher` is None where a method has none.
    """

    names: list[str]
    labels: list[int]
    compact: list[int]
    teacher: list[int] | None = None

    @classmethod
    def of(cls, split: Split, compact: Tensor, teacher: Tensor | None) -> SplitPredictions:
        """From predictions (N,) in the split's own order."""
        order = split.labels.argsort(stable=True)
        return cls(
            [split.names[row] for row in order.tolist()],
            split.labels[order].tolist(),
            compact[order].tolist(),
            None if teacher is None else teacher[order].tolist(),
        )

    def right(self, net: Literal["compact", "teacher"] = "compact") -> list[bool]:
        """Whether a network is right, picture by picture.

        Raises:
            ValueError: there is no teacher.
        """
        said = self.compact if net == "compact" else self.teacher
        if said is None:
            raise ValueError("this run has no teacher")
        return [label == given for label, given in zip(self.labels, said, strict=True)]


@dataclass(config=RECORD)
class Predictions(Record):
    """What `predictions.json` holds; classes by number, in the order of the logits."""

    remedy: ClassVar[str] = "are these predictions of another version?"

    task: str
    classes: list[str]
    val: SplitPredictions
    test: SplitPredictions
    format: Literal[1] = FORMAT
