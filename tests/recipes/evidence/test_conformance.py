"""One test body per property, over the convolutional families of timm and torchvision (recipes/conformance.py).

By default a handful; with `-m slow` the smallest model of every module of both libraries. docs/backbones.json has more: all
of torchvision's models, up to 645 million parameters, which only the recipe tries. What is recorded there as failing must
still fail for the reason that is given: a family that has come right belongs in the table.
"""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torchvision

from blocks import CutError
from nettailor.files import read_json
from recipes.evidence.conformance import DOCS, PROPERTIES, Family, Subject, document, families, recorded, rows_of

HANDFUL = {
    *("timm/resnet10t", "timm/mobilenetv3_small_050", "timm/convnext_zepto_rms", "timm/ghostnet_050"),
    *("timm/swiftformer_xs", "torchvision/squeezenet1_1"),
}
TABLE = read_json(DOCS / "backbones.json")
FAILED = {row["model"]: row["failed"] for row in TABLE["families"]}


def _tried() -> list[Family]:
    """The smallest recorded model of each module, and the handful; a failing model stays, whatever its size."""
    smallest: dict[str, dict[str, Any]] = {}
    for row in TABLE["families"]:
        place = f"{row['model'].split('/')[0]}/{row['module']}"
        if place not in smallest or row["params"] < smallest[place]["params"]:
            smallest[place] = row
    names = HANDFUL | {row["model"] for row in smallest.values()} | {name for name, failed in FAILED.items() if failed}
    return [family for family in recorded() if family.model in names]


def _cases() -> list[object]:
    return [
        pytest.param(family, id=family.model, marks=[] if family.model in HANDFUL else pytest.mark.slow)
        for family in _tried()
    ]


@pytest.fixture(scope="module", params=_cases())
def subject(request: pytest.FixtureRequest) -> Subject:
    family: Family = request.param
    return Subject(family)


@pytest.mark.parametrize("name", PROPERTIES)
def test_property(subject: Subject, name: str) -> None:
    failed = FAILED[subject.family.model]
    if "cut" in failed:
        with pytest.raises(CutError) as problem:
            _ = subject.backbone
        assert str(problem.value).startswith(failed["cut"])
    elif name in failed:
        with pytest.raises(Exception) as found:  # noqa: PT011 - what is raised is told by what is recorded
            PROPERTIES[name](subject)
        assert str(found.value).startswith(failed[name].split("\n")[0][:40])
    else:
        PROPERTIES[name](subject)


def test_at_least_95_of_100_families_have_every_property_and_the_page_says_so() -> None:
    rows = rows_of(TABLE)
    good = [row for row in rows if not row.failed]
    assert len(good) >= 0.95 * len(rows)
    assert all(reason for row in rows for reason in row.failed.values())
    assert {row.model for row in good} >= HANDFUL
    page = (DOCS / "backbones.md").read_text(encoding="utf-8")
    assert page == document(rows, TABLE["versions"]), "run python -m recipes.evidence.conformance again"


@pytest.mark.slow
@pytest.mark.skipif(
    TABLE["versions"]["timm"] != timm.__version__ or TABLE["versions"]["torchvision"] != torchvision.__version__,
    reason="the table was made with other versions of the libraries",
)
def test_the_table_holds_every_family_of_the_registries() -> None:
    assert recorded() == list(families())
