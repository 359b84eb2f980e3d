"""What several verbs read alike: options as recipe settings, and the backbone that a delta needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nettailor.cli.options import option, position

if TYPE_CHECKING:
    from blocks import Backbone


DEVICES = "cpu, cuda or auto: a GPU where there is one"


@dataclass
class JobOptions:
    """What a verb takes that runs recipes: their settings, and where their jobs run."""

    overrides: list[str] = position(
        "settings over the recipe's, such as student.epochs=20", "section.key=value", optional=True
    )
    recipe: str | None = option("a shipped recipe, or a YAML file of one task", metavar="NAME|FILE")
    data: str | None = option("class folders, a zip of them, digits, or a torchvision data set", metavar="DIR|ZIP|NAME")
    backbone: str | None = option(
        "resnet34_tiny, efficientnet_lite0 (ImageNet), timm/NAME, torchvision/NAME or module:callable", metavar="NAME"
    )
    weights: str | None = option(
        "the backbone's weights in a local file (safetensors, or a checkpoint)", metavar="FILE"
    )
    device: str | None = option(DEVICES, metavar="DEVICE")
    workers: int = option("processes that share the jobs, and this machine's cores and GPUs", default=1, metavar="N")
    on: str | None = option("run the jobs on a Ray cluster; its address, or the one at hand", metavar="ray[=ADDRESS]")


def recipe_tree(options: Any) -> dict[str, Any]:
    """The short options as a tree of recipe settings; what was not given is not in it."""
    tree: dict[str, dict[str, Any]] = {
        "data": {"source": options.data, "skip_bad": getattr(options, "skip_bad", None) or None},
        "backbone": {"name": options.backbone, "weights": options.weights},
        "machine": {"device": options.device},
        "method": {
            "name": getattr(options, "method", None),
            "via": getattr(options, "via", None),
            "forgetting": getattr(options, "forgetting", None) or None,
        },
    }
    given: dict[str, Any] = {s: {k: v for k, v in keys.items() if v is not None} for s, keys in tree.items()}
    given = {section: keys for section, keys in given.items() if keys}
    seed = getattr(options, "seed", None)
    return given if seed is None else {**given, "seed": seed}


def backbone_of(options: Any, run: Path | None = None) -> Backbone | None:
    """The backbone that the options name; None where its name in the delta will do.

    Args:
        options: with `backbone`, `weights` and `proxies`.
        run: the folder whose delta it is for; `options.run` if left out.

    The file of its weights may also come from the recipe of the run whose folder was named, but not from one that lies
    beside a delta. Weights are downloaded only where the user named them, or the backbone.
    """
    from nettailor.artifacts.delta import delta_folder, load_described, read_description
    from nettailor.jobs.recipe import own_recipe
    from nettailor.training.proxy_forms import find_form

    if options.proxies is not None:
        find_form(options.proxies)
    run = run or options.run
    description = read_description(delta_folder(run))
    weights = options.weights
    if weights is None and options.backbone is None and (recipe := own_recipe(run)) is not None:
        weights = recipe.backbone.weights
    if options.backbone is None and (weights is None or ":" in description.backbone.name):
        return None  # `load` finds it by its name, or says why a name of code has to be given by hand
    named = options.backbone is not None or options.weights is not None  # else nothing is downloaded
    return load_described(options.backbone or description.backbone.name, weights, description.input, fetch=named)


def printable(text: str) -> str:
    """Names from a zip can hold anything: what would steer a terminal, or is no text, is escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
