"""Which classes are taken for which: the confusion matrix of a network, and its balanced accuracy.

labels, predictions -> Confusion -> confusion.json, confusion_table, confusion.png
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from nettailor.schema import RECORD, Record

FORMAT: Literal[1] = 1


@dataclass(config=RECORD)
class Confusion(Record):
    """What `confusion.json` holds: `counts[i][j]` pictures of class i were given class j by the compact net."""

    remedy: ClassVar[str] = "is it a confusion matrix of another version?"

    task: str
    classes: list[str]
    counts: list[list[int]]
    format: Literal[1] = FORMAT

    @classmethod
    def of(cls, task: str, classes: list[str], labels: Sequence[int], predicted: Sequence[int]) -> Confusion:
        """Count pictures by their class and the one they were given, both by number."""
        from sklearn.metrics import confusion_matrix

        counts = confusion_matrix(labels, predicted, labels=range(len(classes)))
        return cls(task, classes, counts.tolist())

    def most_confused(self, most: int) -> list[tuple[str, str, int]]:
        """Up to `most` pairs (class, class that it was taken for, pictures), the most frequent first."""
        pairs = [
            (true, given, count)
            for true, row in zip(self.classes, self.counts, strict=True)
            for given, count in zip(self.classes, row, strict=True)
            if count and given != true
        ]
        return sorted(pairs, key=lambda pair: -pair[2])[:most]


def balanced_accuracy(labels: Sequence[int], predicted: Sequence[int]) -> float:
    """Mean over classes of the part of their pictures that is right; classes without pictures do not count."""
    from sklearn.metrics import recall_score

    return float(recall_score(labels, predicted, labels=sorted(set(labels)), average="macro", zero_division=0))
