"""The groups of docs/evidence.md, in the order in which they are run: what is published, what runs here, what is claimed."""

from __future__ import annotations

from recipes.evidence._transfer_claims import Group
from recipes.evidence._transfer_grown import forgetting, kind, not_wide, scaling, via
from recipes.evidence._transfer_others import bias, factors, kept_classifier, soft, teachers


def groups() -> dict[str, Group]:
    """All groups but the choice of the rates, by the name that `--only` takes."""
    return {
        "scaling": scaling(),
        "kind": kind(),
        "not_wide": not_wide(),
        "via": via(),
        "forgetting": forgetting(),
        "kept": kept_classifier(),
        "soft": soft(),
        "bias": bias(),
        "factors": factors(),
        "teachers": teachers(),
    }
