"""What a report says of a network that has grown: its new units, how its branches fared, middle task and forgetting."""

from __future__ import annotations

from dataclasses import field

from pydantic.dataclasses import dataclass

from nettailor.schema import RECORD


@dataclass(config=RECORD)
class BranchPass:
    """After a pass: validation accuracy of all branches together, and of each with the others' share of C's input zero.

    Attributes:
        alone: `old` for h; `new` for grown units, numbered where they are of several steps. Empty where C reads one branch.
    """

    number: int
    val_accuracy: float
    alone: dict[str, float] = field(default_factory=dict)


@dataclass(config=RECORD)
class ViaFigures:
    """The middle task that a network grew for before it grew for its own."""

    data: str
    classes: int
    train: int
    val_accuracy: float
    passes: list[BranchPass] = field(default_factory=list)


@dataclass(config=RECORD)
class ForgettingFigures:
    """What the network can still do for the source, when a source classifier and the new units learn it and nothing else.

    Attributes:
        train: pictures that these learned from, their activations computed once.
        held_out: pictures that accuracy is measured on; `held_out_as` is the data's own split that these are.
        accuracy_before: of the backbone with its own classifier, where its classes are the pictures'.
    """

    data: str
    classes: int
    train: int
    held_out: int
    held_out_as: str
    crop: float
    epochs: int
    accuracy: float
    accuracy_before: float | None = None


@dataclass(config=RECORD)
class GrownFigures:
    """New units.

    Attributes:
        what: in words.
        features: d, the length of h.
        units: S, in each step.
        below: of these beside the layer below the top.
        scale: what normalised branches began as; None without normalisation.
        init: kaiming, normal or copy.
        new_params, new_macs: of units and scales, the classifier left out.
    """

    what: str
    features: int
    units: int
    below: int
    scale: float | None
    init: str
    new_params: int
    new_macs: int
    passes: list[BranchPass] = field(default_factory=list)
    via: ViaFigures | None = None
    forgetting: ForgettingFigures | None = None
