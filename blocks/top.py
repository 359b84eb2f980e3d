"""What may stand in the place of a backbone's head: a top, which reads one activation or more and gives the logits.

    x_L (and x_(L-1), ...) -> Top.build(backbone, classes) -> logits (B, classes)

A plan names its top (`blocks.assembly.NetPlan.top`), and a delta writes its fields down, so a top is a frozen dataclass of
plain values. Layers of the backbone's head keep their names in it; what is new is called `new_...`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import fx, nn

if TYPE_CHECKING:
    from blocks.backbone import Backbone

NEW = "new_"
"""How the names of modules begin that a top adds."""


class TopError(ValueError):
    """A top that this backbone can't have."""


class Top(Protocol):
    """How logits come from activations.

    Attributes:
        kind: its name in a delta.
        keeps_source_classifier: whether it computes with the backbone's own classification layer.
    """

    kind: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def keeps_source_classifier(self) -> bool: ...

    def reads(self, backbone: Backbone) -> tuple[int, ...]:
        """Numbers of the activations that it is given, in this order."""
        ...

    def build(self, backbone: Backbone, classes: int) -> fx.GraphModule:
        """The activations that it reads, (B, C, H, W) each, to logits (B, classes).

        Modules of the backbone's head are used as they are, not copied.

        Raises:
            TopError: this backbone can't have it.
        """
        ...


def new_layers(head: nn.Module, backbone: Backbone, top: Top | None) -> dict[str, nn.Module]:
    """The modules of a head that the backbone has not trained, by their names: classifiers, and all that a top adds."""
    if top is None:
        return {path: head.get_submodule(path) for path in backbone.classifier_paths}
    return {name: module for name, module in head.named_children() if name.startswith(NEW)}


def describe(top: Top, backbone: Backbone) -> str:
    """What a top is, in one line: in its own words where it has any, else its kind and its fields."""
    said = getattr(top, "describe", None)
    if said is not None:
        return str(said(backbone))
    own = ", ".join(f"{name} {value}" for name, value in asdict(top).items())
    return f"{top.kind}: {own}" if own else top.kind


TOPS: dict[str, type[Top]] = {}
"""Every kind of top; each is entered where it is written (`register`), and all are imported by `blocks`."""


def register(top: type[Any]) -> type[Any]:
    """Enter a kind of top under its name."""
    TOPS[top.kind] = top
    return top
