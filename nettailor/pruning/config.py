"""Settings of what is removed, and of the training that follows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from nettailor.pruning.importance import Importance
from nettailor.pruning.ways import WAYS
from nettailor.schema import STRICT, Count, Fraction, NotNegative, Positive, one_of

MEASURED, MEASURED_IN_EVERY_ROUND = 200, 100
"""Validation pictures that losses are measured on; fewer where all paths are measured in every round."""


@dataclass(config=STRICT, frozen=True)
class PruneConfig:
    """What is removed."""

    how: Annotated[
        str,
        one_of(lambda: WAYS),
        Field(
            description="tolerance: in rounds, down to the drop; budget: down to a cost; paper: several amounts at once"
        ),
    ] = "tolerance"
    drop: Annotated[
        NotNegative, Field(description="points of validation accuracy that may be lost against the teacher")
    ] = 0.5
    proxies_below: Annotated[Fraction, Field(description="paper: proxies with a smaller gate are removed")] = 0.05
    remove: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...],
        Field(min_length=1, description="paper: numbers of universal blocks to try without"),
    ] = (2, 4, 6, 8, 10)
    budget: Annotated[
        Positive | None, Field(description="budget: part of the backbone's MACs or parameters, or milliseconds")
    ] = None
    importance: Annotated[
        Importance,
        Field(description="what paths are chosen by: measured loss, gate, taylor (first-order loss), or auto"),
    ] = "auto"
    measured_on: Annotated[
        Count | None,
        Field(
            description="validation pictures on which losses are measured; left out, 200, or 100 at a rate that "
            "keeps features"
        ),
    ] = None
    shrink: Annotated[
        float,
        Field(gt=0, le=0.95, description="part of the paths' cost that a round leaves, about"),
    ] = 0.82
    largest_loss: Annotated[
        NotNegative | None,
        Field(
            description="a round takes up to four steps of shrink at once, where that adds no more loss untrained; left out, "
            "2.5, or ln(classes), what guessing loses, if that is more (where cuts are refitted: where accuracy stays near "
            "the drop, and never with 0); one where folds judge"
        ),
    ] = None
    front: Annotated[
        bool, Field(description="go on below the choice, for the whole curve of accuracy against cost")
    ] = False
    patience: Annotated[
        int,
        Field(ge=0, description="tolerance: rounds to go on after one that fell below what recovery can bring back"),
    ] = 1
    folds: Annotated[
        int | None,
        Field(
            ge=0,
            description="tolerance: judge what is taken over so many folds, the validation split and parts of the training "
            "pictures; 0: on validation alone; left out, 2 to 4 where a validation picture is more than the drop",
        ),
    ] = None
    epochs: Annotated[
        Count | None,
        Field(
            description="passes of each round, or for each number of removed blocks; left out, 2, or more where few "
            "pictures make few steps, and none where fitting anew is enough"
        ),
    ] = None
    cut: Annotated[
        Literal["auto", "refit", "fade"],
        Field(
            description="tolerance, budget: how paths go: refit (at once; proxies that stay are fitted anew by least "
            "squares), fade (while the rest trains), or auto (refit at a rate that keeps pretrained features)"
        ),
    ] = "auto"
    fade_epochs: Annotated[
        NotNegative | None,
        Field(
            description="fade: of these, how many a removed path takes to fade out, at most half; 0 is at once, left out half"
        ),
    ] = None
    lr: Annotated[Positive | None, Field(description="left out, as the teacher's search finds")] = None

    def pictures_to_measure_on(self, keeps_features: bool) -> int:
        """How many validation pictures losses are measured on: fewer where it is done for all paths in every round.

        Args:
            keeps_features: whether the student is trained at a rate that keeps pretrained features while it is pruned.
        """
        if self.measured_on is not None:
            return self.measured_on
        return MEASURED_IN_EVERY_ROUND if keeps_features else MEASURED

    def refits(self, keeps_features: bool) -> bool:
        """Whether proxies are fitted anew after a cut, and nothing fades.

        Args:
            keeps_features: whether the student is trained at a rate that keeps pretrained features while it is pruned: that
                brings back little of what a removal took.
        """
        if self.how == "paper":
            return False
        if self.cut == "auto":
            return self.fade_epochs is None and keeps_features
        return self.cut == "refit"
