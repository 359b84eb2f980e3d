"""Groups of the papers of which we know the abstracts alone, and of NetTailor's teachers: kept classifier, soft, factors."""

from __future__ import annotations

from typing import Any

from recipes.evidence._transfer_cells import ADAMW, CHARACTERS, OMNIGLOT, Cell, Pictures
from recipes.evidence._transfer_claims import Claim, Group
from recipes.evidence._transfer_figures import (
    MACS,
    MEAN_RECALL,
    PROBE,
    SOURCE,
    STUDENT,
    TEACHER,
    TEST,
    BestOf,
    Metric,
    recall_of,
    until_as_good_as,
)
from recipes.evidence._transfer_grown import DEPTHS, WHOLE_NETS, plain, tuned
from recipes.evidence._transfer_rates import NEW_LR

CLASSIFIERS = ("kept", "dropped", "random")
EVERY_THIRD = ("head", 16, 13, 10, 7, 4, 1)
ABSTRACT = "The abstract alone is known to us; it claims no figures."
SOURCE_PICTURES, PROBE_PICTURES = Pictures("tiny_imagenet_40.zip"), OMNIGLOT
THINNED = "01"
"""The first of the signs that have most training pictures; its recall is measured on 40 test pictures."""


def kept(classifier: str, layers: int, norm: str = "l2", data: str = "gtsrb", **more: Any) -> Cell:
    """New layers beyond the source's classification layer, or where it was."""
    name = "-".join([classifier, str(layers), *([norm] if norm != "l2" else []), *more])
    settings = {"method.classifier": classifier, "method.layers": layers, "method.norm": norm}
    own = {f"method.{key}": value for key, value in more.items()}
    return tuned(name, "keep_classifier", rate=ADAMW, data=data, settings={**settings, **own})


def kept_classifier() -> Group:
    """Whether the source's classification layer is worth keeping."""
    by_place = {(name, layers): kept(name, layers) for layers in (0, 1, 2) for name in CLASSIFIERS}
    norms = [kept(name, 2, norm) for norm in ("batch", "none") for name in CLASSIFIERS]
    slow = [kept("kept", layers, new_lr=1) for layers in (0, 1, 2)]
    slow.append(tuned("plain-new_lr", "finetune", rate=ADAMW, settings={"method.new_lr": 1}))
    curve = [kept("kept", 1, tune_from=layer) for layer in ("new", *EVERY_THIRD)]
    curve = [_named(cell, f"from-{layer}") for cell, layer in zip(curve, ("new", *EVERY_THIRD), strict=True)]
    whole = plain(rate=ADAMW)
    claims = [
        *(Claim("kept above plain", by_place["kept", n], whole, "yes") for n in (0, 1, 2)),
        *(Claim("a layer beyond it gains", by_place["kept", n], by_place["kept", n - 1], "yes") for n in (1, 2)),
        Claim(
            "freezing the most generic layers helps: the best on validation above the whole net",
            BestOf("best of from-*", tuple(curve)),
            by_place["kept", 1],
            "yes",
        ),
        *(
            Claim(f"against {name}", by_place["kept", n], by_place[name, n])
            for n in (0, 1, 2)
            for name in CLASSIFIERS[1:]
        ),
        *(Claim("l2 against another norm", by_place[cell.name.split("-")[0], 2], cell) for cell in norms),
        *(Claim("new_lr 10 against 1", by_place["kept", n], slow[n]) for n in (0, 1, 2)),
        Claim("new_lr 10 against 1", whole, slow[3]),
    ]
    others = [plain(rate=ADAMW, data=WHOLE_NETS), *(kept("kept", n, data=WHOLE_NETS) for n in (0, 1, 2))]
    others += [kept(name, 1, data=WHOLE_NETS) for name in CLASSIFIERS[1:]]
    claims += [Claim("kept above plain", others[1 + n], others[0], "yes") for n in (0, 1, 2)]
    claims += [Claim("a layer beyond it gains", others[2 + n], others[1 + n], "yes") for n in (0, 1)]
    claims += [
        Claim(f"against {name}", others[2], cell) for name, cell in zip(CLASSIFIERS[1:], others[4:], strict=True)
    ]
    return Group(
        "Kept classifier",
        "Keeping the source's classification layer as a layer beats plain fine-tuning, depth beyond it gains more, and "
        f"freezing the most generic layers helps. {ABSTRACT}",
        "Kept, dropped, and random (the same shape, new weights: without this control depth passes for knowledge), with 0, "
        "1 and 2 new layers beyond it; each norm at 2; ten times the learning rate for what is new, and one; and with one "
        "new layer, frozen below every third layer from the top down. AdamW. The learning rate was chosen with ten times as "
        "much for what is new, and one has the same.",
        [whole, *by_place.values(), *norms, *slow, *curve, *others],
        claims,
    )


def _named(cell: Cell, name: str) -> Cell:
    return Cell(f"kept-1-{name}-adamw", cell.method, cell.settings, cell.data, cell.rate)


def soft() -> Group:
    """Whether the source's loss, removed softly, helps."""
    cells, claims = _soft_cells("gtsrb")
    others, more = _soft_cells(CHARACTERS)
    passes, pictures, seconds = until_as_good_as(cells[0], others[0])
    for of_plain, of_soft in (cells[:2], others[:2]):
        more += [
            Claim("faster: passes to plain's validation accuracy", of_soft, of_plain, "yes", passes, below=True),
            Claim("source and target pictures to it", of_soft, of_plain, "", pictures),
            Claim("seconds to it", of_soft, of_plain, "", seconds),
        ]
    return Group(
        "Soft",
        "Removing the source's loss softly is more accurate than plain fine-tuning, faster, robust to bias, and keeps "
        f"general discrimination. {ABSTRACT}",
        "Source pictures are tiny_imagenet_40's. Joint training keeps the source's loss to the end; `lwf` keeps the "
        "network's own old answers instead and reads no source pictures in training. General discrimination is the "
        "5-nearest-neighbour accuracy on characters (omniglot242) that nothing was trained on; four alphabets of it where "
        "the other four are the target. Passes, pictures (source's and target's) and seconds are counted until validation "
        "is as good as plain fine-tuning's at its end; the cells of a pair did not run side by side, and other work ran "
        "beside them, so seconds are rough. AdamW.",
        [*cells, *others],
        [*claims, *more],
        columns=(TEST, SOURCE, PROBE, passes, pictures, seconds),
    )


def _soft_cells(data: str) -> tuple[list[Cell], list[Claim]]:
    beside = {"source.data": SOURCE_PICTURES, "probe.data": PROBE_PICTURES}
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "watched": ("finetune", {}),
        "soft": ("soft", {}),
        "joint": ("soft", {"method.schedule": "constant"}),
        "lwf": ("lwf", {}),
        "lwf-falling": ("lwf", {"method.schedule": "linear"}),
    }
    cells = [
        tuned(name, method, rate=ADAMW, data=data, settings={**beside, **own}) for name, (method, own) in kinds.items()
    ]
    of_plain, of_soft, joint, lwf, _ = cells
    claims = [
        Claim("more accurate than plain", of_soft, of_plain, "yes"),
        Claim("general discrimination kept", of_soft, of_plain, "yes", PROBE),
        Claim("source kept", of_soft, of_plain, "", SOURCE),
        Claim("against joint training", of_soft, joint),
        Claim("against lwf", of_soft, lwf),
        Claim("lwf against plain", lwf, of_plain),
    ]
    return cells, claims


def bias() -> Group:
    """Whether that helps where one class has few pictures."""
    thin = {"data.thin": {THINNED: 0.1}}
    cells = [
        tuned("thin-plain", "finetune", rate=ADAMW, settings=thin),
        tuned("thin-soft", "soft", rate=ADAMW, settings={**thin, "source.data": SOURCE_PICTURES}),
    ]
    recall = recall_of(THINNED)
    return Group(
        "Soft, one class thinned",
        f"Robust to bias. {ABSTRACT}",
        f"Class {THINNED} of gtsrb thinned to a tenth of its training pictures; the others as they are. AdamW.",
        cells,
        [
            Claim("the thinned class is found", cells[1], cells[0], "yes", recall),
            Claim("all classes", cells[1], cells[0], "yes", MEAN_RECALL),
        ],
        columns=(recall, MEAN_RECALL),
    )


RATES = (2e-3, 5e-4, 1.25e-4)


def factors() -> Group:
    """The learning rate, from which layer up."""
    table = {}
    for rate in RATES:
        for depth, layer in DEPTHS.items():
            settings = {
                "method.optimizer": "training",
                "method.new_lr": NEW_LR,
                "method.tune_from": layer,
                "teacher.lr": rate,
            }
            table[rate, depth] = Cell(f"plain-{depth}-lr{rate:g}", "finetune", settings, rate=None)
    claims = [
        Claim(f"the whole net above the top two at rate {rate:g}", table[rate, "all"], table[rate, "top2"])
        for rate in RATES
    ]
    claims += [
        Claim(f"rate {RATES[0]:g} above {RATES[-1]:g}, {depth}", table[RATES[0], depth], table[RATES[-1], depth])
        for depth in DEPTHS
    ]
    return Group(
        "Factors",
        f"Initial learning rate, depth, number of source categories and distance are named as factors. {ABSTRACT}",
        "The learning rate by the depth of tuning, AdamW; and two studies, with how much each layer changes: how far a "
        "target is from the source, and the number of source categories at a fixed total of pictures. A study's accuracy is "
        "the mean over its seeds, and its rank correlation is over targets or numbers of categories; "
        "in its report training from scratch has the rate of fine-tuning, which was not chosen for it.",
        list(table.values()),
        claims,
        studies=True,
    )


def teachers() -> Group:
    """What NetTailor's student learns from which teacher."""
    by_name: dict[str, Cell] = {}
    by_method = {"plain": "finetune", "soft": "soft", "grown": "grow_width"}
    for name, method in by_method.items():
        settings: dict[str, Any] = {"teacher.method": method, "teacher.settings": {"new_lr": NEW_LR}}
        if method == "soft":
            settings["source.data"] = SOURCE_PICTURES
        by_name[name] = Cell(f"taught-by-{name}", "nettailor", settings, rate=ADAMW)
        local = {"student.matching": "local", "student.matching_weight": 10.0}
        by_name[f"{name}, local"] = Cell(f"taught-by-{name}-local", "nettailor", {**settings, **local}, rate=ADAMW)
    alone = {"student.distill_weight": 0.0, "student.start": "backbone"}
    by_name["none"] = Cell("taught-by-none", "nettailor", alone, rate=ADAMW)

    def both(text: str, ours: str, other: str) -> list[Claim]:
        metrics: tuple[Metric, ...] = (STUDENT, TEST, MACS)
        return [Claim(text, by_name[ours], by_name[other], metric=metric) for metric in metrics]

    claims = [
        *both("a soft teacher against a plain one", "soft", "plain"),
        *both("a grown teacher against a plain one", "grown", "plain"),
        *both("a plain teacher against none", "plain", "none"),
    ]
    for name in by_method:
        claims += both("local matching against none", f"{name}, local", name)
    return Group(
        "Teachers",
        "No paper: whether a better network to learn from makes a better student.",
        "NetTailor's student before pruning, and the compact net, on gtsrb. `none` learns from the labels alone, so it is "
        "trained for less long: there are none of a teacher's passes. The teacher that stands in its row is what its drop "
        "is counted against, and no more.",
        list(by_name.values()),
        claims,
        columns=(TEACHER, STUDENT, TEST, MACS),
    )
