"""The architecture of a compact net, all of it trained from random weights: what are the pretrained ones worth? A control.

Blocks and proxies are those of the kept paths, which `compare` takes from our net. Gates are left out: the norms scale.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from blocks import Backbone, NetPlan, Path
from blocks.paths import UNIVERSAL
from blocks.proxies import FORMS
from blocks.whole import WholeNet, reinitialise
from nettailor.errors import UsageError
from nettailor.methods._protocol import Context, FinishedRun, MethodSettings
from nettailor.methods._whole_net import WholeNetMethod, WholeSettings
from nettailor.pruning.graph import BlockGraph, GraphError
from nettailor.schema import STRICT
from nettailor.training.proxy_forms import find_form

BLOCK = re.compile(r"G(\d+)")
PROXY = re.compile(r"A(\d+)-(\d+) (\S+)")


@dataclass(config=STRICT, frozen=True)
class Settings(WholeSettings):
    """What the net is made of."""

    name: Literal["random_weights"] = "random_weights"
    paths: Annotated[
        tuple[str, ...] | None,
        Field(
            description="kept paths: G3 for block 3, 'A1-3 conv1x1' for a proxy from activation 1 to layer 3; compare takes "
            "our net's; left out: every block"
        ),
    ] = None


class RandomWeights(WholeNetMethod):
    """A compact net's architecture, trained from random weights."""

    name = "random_weights"
    summary = "a compact net's architecture from random weights"
    settings: type[MethodSettings] = Settings

    def build(self, context: Context) -> WholeNet:
        """A net over the kept paths."""
        own, backbone = context.recipe.method, context.backbone
        assert isinstance(own, Settings)
        paths = read_paths(own.paths, backbone)
        net = WholeNet(backbone, NetPlan(paths, len(context.task.classes), copied=True, gated=False))
        try:
            reinitialise(net)
        except ValueError as error:
            raise UsageError(f"{self.name}: {error}; this backbone can't be trained from random weights") from error
        return net

    def gives_activations(self, own: MethodSettings) -> bool:
        """Where every block is kept."""
        assert isinstance(own, Settings)
        return own.paths is None

    def sized(self, own: MethodSettings, other: FinishedRun) -> MethodSettings:
        """The paths of another run's compact net, and as many passes as all of it."""
        sized = super().sized(own, other)
        assert isinstance(sized, Settings)
        return replace(sized, paths=tuple(write_path(path) for path in other.paths))


def write_path(path: Path) -> str:
    """A path as `method.paths` names it."""
    return path.key if path.is_universal else f"{path.key} {path.form}"


def read_paths(names: tuple[str, ...] | None, backbone: Backbone) -> tuple[Path, ...]:
    """The paths that `method.paths` names; every block if it is left out.

    Raises:
        UsageError: one is no path of this backbone, or they do not lead from the pictures to the head.
    """
    if names is None:
        return tuple(Path(layer, 0, UNIVERSAL) for layer in range(1, backbone.depth + 1))
    graph = BlockGraph(backbone.depth)
    for name in names:
        path = _read_path(name)
        if path is None or path.source < 0 or path.target > backbone.depth:
            raise UsageError(
                f"method.paths: {name!r} is no path over the {backbone.depth} blocks of {backbone.name}; write G3, or "
                "'A1-3 conv1x1'"
            )
        graph.add(path, 1.0, 0, 0)
    try:
        whole = graph.without(())
    except GraphError as error:
        raise UsageError(f"method.paths: {error}") from error
    if lost := [path.key for path in graph.paths if path not in set(whole.paths)]:
        raise UsageError(
            f"method.paths: {lost[0]} leads nowhere; leave it out, or name what it reads and what reads it"
        )
    return tuple(graph.paths)


def _read_path(name: str) -> Path | None:
    if found := BLOCK.fullmatch(name):
        layer = int(found.group(1))
        return Path(layer, 0, UNIVERSAL) if layer else None
    if found := PROXY.fullmatch(name):
        source, target = int(found.group(1)), int(found.group(2))
        form = find_form(found.group(3))
        return Path(target, target - source, form) if target > source and form in FORMS else None
    return None


METHOD = RandomWeights()
