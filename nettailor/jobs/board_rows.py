"""What stands on a board: a method by its name, or with a variant of its settings behind a plus.

shallow, shallow+distill, blocks_per_stage+two+distill -> BoardRow(label, method, settings)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from nettailor import methods
from nettailor.errors import UsageError, did_you_mean
from nettailor.jobs.recipe import Recipe
from nettailor.methods._protocol import BESIDE, Method

OURS, PAPER, TEACHER = "nettailor", "paper", "finetune"
SHORT = (TEACHER, OURS, "shallow", "linear")
"""What runs where no methods are named."""
ALL = (
    TEACHER,
    "finetune+90",
    OURS,
    "shallow",
    "shallow+distill",
    "blocks_per_stage",
    "blocks_per_stage+distill",
    "paper",
    "paper_text",
    "channel_pruning",
    "random_weights",
    "random_weights+distill",
    "channel_pruning+magnitude",
    "channel_pruning+labels",
    "nettailor_pruned_as_paper",
    "paper_pruned_as_nettailor",
    "blocks_per_stage+two",
    "blocks_per_stage+two+distill",
    "finetune+40",
    "nettailor+labels",
    "nettailor+matching",
    "keep_classifier",
    "keep_classifier+dropped",
    "keep_classifier+random",
    "scratch",
    "finetune+new",
    "linear",
    "batch_norm",
    "adapters",
    "grow_depth",
    "grow_width",
    "grow_both",
    "grow_twice",
    "lwf",
    "soft",
    "soft+joint",
)
"""What `--methods all` stands for, in the order in which it runs: every method, and variants that differ in one choice."""
VARIANT = "+"
TAUGHT_BY = "teacher.method"


@dataclass(frozen=True)
class BoardRow:
    """A method with settings of its own; `label` is the row's name, and its cells' folder."""

    label: str
    method: Method
    variant: dict[str, Any]

    @property
    def needs_source(self) -> bool:
        """Whether it, or the method that trains its teacher, can do nothing without source pictures."""
        teacher = self.variant.get(TAUGHT_BY)
        return self.method.needs_source or (teacher is not None and methods.find(teacher).needs_source)

    def recipe(self, of: Recipe) -> Recipe:
        """A recipe of ours for this row, with those source and probe pictures that it reads."""
        name = self.method.name
        recipe = of if name == of.method.name else of.with_method(name)
        recipe = replace(recipe, **{section: getattr(of, section) for section in BESIDE})
        for key, value in self.variant.items():
            section, _, field = key.rpartition(".")
            section = section or "method"
            recipe = replace(recipe, **{section: replace(getattr(recipe, section), **{field: value})})
        if not (self.method.any_teacher and self.method.wants_teacher(recipe.method)):
            recipe = replace(recipe, teacher=recipe.teacher.plainly())
        return recipe.without_unread()


def find_row(label: str) -> BoardRow:
    """A row by its label; variants are put in the method's own order.

    Raises:
        UsageError: no such method, or it has no such variant.
    """
    name, *wanted = label.split(VARIANT)
    method = methods.find(name, "--methods")
    for variant in wanted:
        if variant not in method.variants:
            known = ", ".join(f"{method.name}{VARIANT}{one}" for one in method.variants) or "none"
            hint = did_you_mean(variant, method.variants, f"; its variants: {known}")
            raise UsageError(f"--methods {label}: {method.name} has no variant {variant!r}{hint}")
    ordered = [one for one in method.variants if one in wanted]
    settings = {key: value for one in ordered for key, value in method.variants[one].items()}
    return BoardRow(VARIANT.join((method.name, *ordered)), method, settings)


def in_order(wanted: Sequence[str]) -> list[BoardRow]:
    """Rows in the order of the board: fine-tuning, ours, whose size and passes others take, then all as named, each once.

    Raises:
        UsageError: no such method, or one that takes size and passes from a method that is not compared.
    """
    rows = {row.label: row for row in map(find_row, wanted)}
    for row in rows.values():
        sized_like = row.method.sized_like
        if sized_like is not None and sized_like not in rows:
            raise UsageError(f"{row.label}: takes its size and passes from {sized_like}'s run; compare that too")
    first = [TEACHER, OURS] if OURS in rows else [TEACHER]
    return [find_row(label) for label in first] + [row for label, row in rows.items() if label not in first]
