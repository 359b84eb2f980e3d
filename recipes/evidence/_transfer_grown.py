"""Groups of Wang, Ramanan and Hebert (CVPR 2017): scaling, kind, grown against wide, via a middle task, forgetting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from recipes.evidence import wide as wide_net
from recipes.evidence._transfer_cells import ADAMW, DATA, METHOD_OPTIMIZER, SGD, Cell, Made, Pictures
from recipes.evidence._transfer_claims import Claim, Group
from recipes.evidence._transfer_figures import SOURCE, TEST
from recipes.evidence._transfer_rates import NEW_LR

DEPTHS: dict[str, str | int] = {"new": "new", "top": 16, "top2": 15, "all": "all"}
"""First trained layer, by the name of the depth: new units and classifier alone, the top layer and up, the top two, all."""
UNSCALED = {"method.scale": "off"}
COPIED = {"method.scale": "off", "method.init": "copy"}
NORMAL = {"method.init": "normal"}
WHOLE_NETS = "omniglot242"
"""Where rows of the whole net run too."""
KINDS = {"depth": "grow_depth", "width": "grow_width", "both": "grow_both", "twice": "grow_twice"}
SUN = "Figures are accuracies on SUN-397 of AlexNet pretrained on ImageNet."


def tuned(
    name: str,
    method: str,
    depth: str = "all",
    rate: str = SGD,
    data: str = "gtsrb",
    settings: Mapping[str, Any] | None = None,
) -> Cell:
    """A method that trains from a layer up, at the rate of its optimiser."""
    own = {
        "method.optimizer": METHOD_OPTIMIZER[rate],
        "method.new_lr": NEW_LR,
        "method.tune_from": DEPTHS[depth],
    }
    return Cell(f"{name}-{depth}-{rate}", method, {**own, **(settings or {})}, data, rate)


def plain(depth: str = "all", rate: str = SGD, data: str = "gtsrb") -> Cell:
    """Fine-tuning from a layer up."""
    return tuned("plain", "finetune", depth, rate, data)


def grown(kind: str, depth: str = "all", rate: str = SGD, data: str = "gtsrb") -> Cell:
    """A grown network, scaled, its new units begun as Kaiming's."""
    return tuned(kind, KINDS[kind], depth, rate, data)


def variant(kind: str, word: str, depth: str = "all", rate: str = SGD, data: str = "gtsrb") -> Cell:
    """A grown network that is not scaled, or begins otherwise."""
    settings = {"unscaled": UNSCALED, "copied": COPIED, "normal": NORMAL, "unscaled-normal": {**UNSCALED, **NORMAL}}
    return tuned(f"{kind}-{word}", KINDS[kind], depth, rate, data, settings[word])


def scaling() -> Group:
    """Whether new units need their scale."""
    cells: list[Cell] = []
    places = [("all", SGD, "gtsrb"), ("new", SGD, "gtsrb"), ("top", SGD, "gtsrb"), ("top2", SGD, "gtsrb")]
    places += [("all", SGD, WHOLE_NETS), ("all", ADAMW, "gtsrb")]
    claims: list[Claim] = []
    for place in places:
        own = [plain(*place), grown("width", *place), variant("width", "unscaled", *place)]
        own += [variant("width", "copied", *place), grown("depth", *place), variant("depth", "unscaled", *place)]
        cells += own
        of_plain, width, unscaled, copied, depth, unscaled_depth = own
        is_published = place[:2] == ("all", SGD)
        claims += [
            _scaling("scaled width above unscaled", width, unscaled, "58.95 - 51.34", is_published),
            _scaling("scaled width above plain", width, of_plain, "58.95 - 55.93", is_published),
            _scaling("unscaled width below plain", unscaled, of_plain, "51.34 - 55.93", is_published, below=True),
            _scaling("copying above random where unscaled", copied, unscaled, "55.31 - 51.34", is_published),
            _scaling("scaled random above unscaled copied", width, copied, "58.95 - 55.31", is_published),
            _scaling("scaled depth above unscaled", depth, unscaled_depth, "58.07 - 57.21", is_published),
        ]
    for word in ("normal", "unscaled-normal"):
        cells += [variant("width", word), variant("depth", word)]
    claims += [
        _scaling(
            "the same, begun as N(0, 0.005²)", variant(kind, "normal"), variant(kind, "unscaled-normal"), published
        )
        for kind, published in (("width", "58.95 - 51.34"), ("depth", "58.07 - 57.21"))
    ]
    return Group(
        "Scaling",
        "New units learn at another pace than old ones; each branch is L2-normalised and scaled so that they learn together. "
        "Whole net: plain 55.93; width unscaled 51.34, copied 55.31, scaled 58.95; depth 57.21, scaled 58.07. " + SUN,
        "All four depths with SGD as published, the whole net also with AdamW, which may even out the paces, and on "
        "characters; both random starts for the whole net.",
        cells,
        claims,
        {
            plain().key: "55.93",
            grown("width").key: "58.95",
            variant("width", "unscaled").key: "51.34",
            variant("width", "copied").key: "55.31",
            grown("depth").key: "58.07",
            variant("depth", "unscaled").key: "57.21",
        },
    )


def _scaling(
    text: str, ours: Cell, other: Cell, published: str, is_published: bool = True, below: bool = False
) -> Claim:
    return Claim(text, ours, other, published if is_published else "", below=below)


def kind() -> Group:
    """Which kind of growth, from which layer up."""
    figures = {
        "plain": ("53.63", "54.75", "54.29", "55.93"),
        "depth": ("54.24", "56.48", "57.42", "58.54"),
        "width": ("56.81", "56.99", "57.84", "58.95"),
        "both": ("56.07", "56.41", "56.97", "57.75"),
        "twice": ("56.65", "57.10", "58.16", "59.05"),
    }
    table = {
        (name, depth): plain(depth) if name == "plain" else grown(name, depth) for depth in DEPTHS for name in figures
    }
    published = {
        (name, depth): value for name, row in figures.items() for depth, value in zip(DEPTHS, row, strict=True)
    }
    claims = []
    for depth in DEPTHS:
        for name in KINDS:
            text = f"{published[name, depth]} - {published['plain', depth]}"
            claims.append(Claim(f"{name} above plain", table[name, depth], table["plain", depth], text))
    for name in figures:
        text = f"{published[name, 'all']} - {published[name, 'new']}"
        claims.append(
            Claim(f"{name}: the whole net above new units alone", table[name, "all"], table[name, "new"], text)
        )
    claims.append(Claim("twice above width", table["twice", "all"], table["width", "all"], "59.05 - 58.95"))
    claims.append(Claim("width above depth", table["width", "all"], table["depth", "all"], "58.95 - 58.54"))
    claims.append(Claim("depth above both", table["depth", "all"], table["both", "all"], "58.54 - 57.75"))
    others = {name: plain(data=WHOLE_NETS) if name == "plain" else grown(name, data=WHOLE_NETS) for name in figures}
    for name in KINDS:
        text = f"{published[name, 'all']} - {published['plain', 'all']}"
        claims.append(Claim(f"{name} above plain", others[name], others["plain"], text))
    return Group(
        "Kind",
        "New, top, top two, all: plain 53.63 54.75 54.29 55.93; depth 54.24 56.48 57.42 58.54; width 56.81 56.99 57.84 "
        f"58.95; both 56.07 56.41 56.97 57.75; twice 56.65 57.10 58.16 59.05. {SUN} (Their whole net grown in depth has "
        "58.54 here, and 58.07 in the table of scaling.)",
        "All of it with SGD as published; the top layer is the last residual block (16), the top two begin at block 15. The "
        "whole net also on characters.",
        [*table.values(), *others.values()],
        claims,
        {table[place].key: value for place, value in published.items()},
    )


WIDE = {
    "backbone.name": f"{wide_net.__name__}:{wide_net.NAME}",
    "backbone.weights": Made(f"{wide_net.NAME}.safetensors"),
    "backbone.input_size": 32,
    "backbone.crop": 1.0,
}


def wide(data: str = "gtsrb") -> Cell:
    """Pretrained as wide as the grown network, then fine-tuned."""
    return tuned("wide", "finetune", data=data, settings=WIDE)


def not_wide() -> Group:
    """Whether it is the growing or the width."""
    cells: list[Cell] = []
    claims: list[Claim] = []
    for data in ("gtsrb", WHOLE_NETS):
        own = [plain(data=data), wide(data), grown("width", data=data)]
        cells += own
        claims += [
            Claim("grown above pretrained wide", own[2], own[1], "69.0 - 63.2"),
            Claim("pretrained wide against plain", own[1], own[0], "63.2 - 62.9"),
        ]
    plain_cell, wide_cell, grown_cell = cells[:3]
    return Group(
        "Grown, not wide",
        "On CUB-200: plain 62.9; a net pretrained as wide as the grown one, then fine-tuned, 63.2; grown 69.0.",
        "One net with the same 64 units beside its last block, pretrained on the same pictures for as many passes as the "
        "backbone (`python -m recipes.evidence.wide`), then fine-tuned.",
        cells,
        claims,
        {plain_cell.key: "62.9", wide_cell.key: "63.2", grown_cell.key: "69.0"},
        record=f"{wide_net.NAME}.json",
    )


MIDDLE = {"gtsrb": "cifar10_jpeg", "omniglot242-last-five": "omniglot242-first-three"}
"""The middle task, by the target."""
VIA = {"data.source": "method.via", "data.classes": "method.via_classes"}
FORGETTING = {"method.forgetting": True, "method.forgetting_passes": 2}
"""Over 60,000 source pictures, whose activations are computed once: what new units and source classifier learn from."""


def via() -> Group:
    """Growing for a middle task first, and the middle task without growing."""
    cells: list[Cell] = []
    claims: list[Claim] = []
    for target, middle in MIDDLE.items():
        through = {VIA[name]: value for name, value in DATA[middle].items()}
        of_plain, direct = plain(data=target), grown("width", data=target)
        first, then = plain(data=middle), plain(data=target)
        then = replace(then, name=f"plain-via-{middle}-all-sgd", begins=first)
        longer = tuned(f"width-via-{middle}", "grow_width", data=target, settings=through)
        twice = replace(direct, name="width-twice-as-long-all-sgd", longer=2)
        cells += [of_plain, direct, first, then, longer, twice]
        claims += [
            Claim("grown twice, through the middle task, above grown once", longer, direct, "79.3 - 66.3"),
            Claim("through the middle task, against grown once for as many passes", longer, twice),
            Claim("the middle task alone, without growing", then, of_plain),
            Claim("through the middle task: grown against not grown", longer, then),
        ]
    return Group(
        "Via a middle task",
        "ImageNet to MIT67 66.3; through SUN-397, grown there and grown again, 79.3. It has no control without growth.",
        "cifar10_jpeg, then gtsrb; and three alphabets (Balinese, Early Aramaic, Greek), then the other five. Each also "
        "without growth: fine-tuned for the middle task, then for the target. SGD as published. What goes through a middle "
        "task has passes over that, too; one more cell is grown once and trained for twice as many passes, which plain "
        "fine-tuning is not.",
        cells,
        claims,
        {cells[1].key: "66.3", cells[4].key: "79.3"},
    )


def forgetting() -> Group:
    """What is left of the source afterwards."""
    source = {"source.data": Pictures("tiny_imagenet_40.zip")}
    own = {
        "plain": tuned("watched", "finetune", settings=source),
        "lwf": tuned("lwf", "lwf", settings=source),
        **{
            kind: tuned(f"{kind}-forgetting", KINDS[kind], settings={**source, **FORGETTING})
            for kind in ("depth", "width")
        },
    }
    return Group(
        "Forgetting",
        "Source accuracy afterwards, with a source classifier trained anew for the grown nets: ImageNet's own net 56.9; "
        "grown in depth 55.3, in width 51.5; learning without forgetting 55.9.",
        "Source accuracy on tiny_imagenet_40's held-out pictures after adapting to gtsrb; `watched` is plain fine-tuning "
        "with the source's old classifier, which no longer fits, where that of the grown nets is trained anew. Before any "
        "training the backbone has 38 %. SGD as published.",
        list(own.values()),
        [
            Claim("learning without forgetting above depth", own["lwf"], own["depth"], "55.9 - 55.3", SOURCE),
            Claim("depth above width", own["depth"], own["width"], "55.3 - 51.5", SOURCE),
            Claim("depth against plain", own["depth"], own["plain"], metric=SOURCE),
            Claim("width against plain", own["width"], own["plain"], metric=SOURCE),
        ],
        {own["depth"].key: "55.3", own["width"].key: "51.5", own["lwf"].key: "55.9"},
        columns=(SOURCE, TEST),
    )
