"""From scratch: the backbone's architecture, all of it trained from random weights. A baseline: what did pretraining bring?

Its settings are those of nets that are trained as a whole; left alone, it takes as many passes as fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic.dataclasses import dataclass

from blocks import Backbone, NetPlan, Path
from blocks.paths import UNIVERSAL
from blocks.whole import WholeNet, reinitialise
from nettailor.errors import UsageError
from nettailor.methods._protocol import Context, MethodSettings
from nettailor.methods._whole_net import WholeNetMethod, WholeSettings
from nettailor.schema import STRICT


@dataclass(config=STRICT, frozen=True)
class Settings(WholeSettings):
    """How long, and on what."""

    name: Literal["scratch"] = "scratch"


class Scratch(WholeNetMethod):
    """The backbone's architecture, trained from random weights."""

    name = "scratch"
    summary = "the backbone's architecture from random weights"
    settings: type[MethodSettings] = Settings
    sized_like: str | None = (
        None  # as large as the backbone, and as long as fine-tuning unless the recipe says otherwise
    )
    variants: Mapping[str, Mapping[str, Any]] = {"90": {"passes": 90}, **WholeNetMethod.variants}

    def gives_activations(self, own: MethodSettings) -> bool:
        """Every block is there."""
        return True

    def build(self, context: Context) -> WholeNet:
        """A net of every block."""
        return random_net(context.backbone, len(context.task.classes))


def random_net(backbone: Backbone, classes: int) -> WholeNet:
    """Every block of a backbone, none of its weights; random numbers come from torch's generator.

    Raises:
        UsageError: a layer of it does not know how it begins.
    """
    paths = tuple(Path(layer, 0, UNIVERSAL) for layer in range(1, backbone.depth + 1))
    net = WholeNet(backbone, NetPlan(paths, classes, copied=True, gated=False))
    try:
        reinitialise(net)
    except ValueError as error:
        raise UsageError(f"scratch: {error}; this backbone can't be trained from random weights") from error
    return net


METHOD = Scratch()
