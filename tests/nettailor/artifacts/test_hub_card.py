"""The card of a delta on the hub: what the hub reads of it, and how people use the delta."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from nettailor.artifacts.delta import read_description
from nettailor.artifacts.description import Description
from nettailor.artifacts.hub import HubName
from nettailor.artifacts.hub_card import Shared, hub_card
from tests import fabricated
from tests.extras import needs

pytestmark = needs("huggingface_hub")
NAME = HubName.parse("hf://user/birds")


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Description:
    folder = tmp_path_factory.mktemp("delta") / "task"
    fabricated.saved_delta(folder)
    return read_description(folder)


def over(description: Description, backbone: str) -> Description:
    return replace(description, backbone=replace(description.backbone, name=backbone))


def test_the_hub_reads_licence_figures_and_tags(description: Description) -> None:
    card = hub_card(fabricated.report(), description, Shared(NAME, "mit", "my birds/2024", False))
    _, head, body = card.split("---\n", 2)
    said = yaml.safe_load(head)
    assert (said["license"], said["library_name"], said["pipeline_tag"]) == ("mit", "nettailor", "image-classification")
    assert said["datasets"] == ["my-birds-2024"], "as the hub names data sets"
    (model,) = said["model-index"]
    figures = {found["type"]: found["value"] for found in model["results"][0]["metrics"]}
    assert figures["accuracy"] == 0.945
    assert "my birds/2024" in body


@pytest.mark.parametrize(
    ("backbone", "own_weights", "says", "command"),
    [
        ("resnet34_tiny", False, "comes with nettailor.", "picture.png\n"),
        ("resnet34_tiny", True, "in a file that is not here", '--backbone "resnet34_tiny" --weights FILE'),
        ("timm/resnet18", False, "is not fetched unless you name it", '--backbone "timm/resnet18"\n'),
        ("mine:net", False, "is code, which no file from elsewhere may name", '--backbone "mine:net"\n'),
    ],
)
def test_it_says_which_backbone_the_user_has_to_name(
    description: Description, backbone: str, own_weights: bool, says: str, command: str
) -> None:
    card = hub_card(fabricated.report(), over(description, backbone), Shared(NAME, "mit", "birds", own_weights))
    assert says in card
    (line,) = [line + "\n" for line in card.splitlines() if line.startswith("nettailor predict")]
    assert line.startswith("nettailor predict hf://user/birds picture.png")
    assert command in line


def test_the_python_of_the_card_runs(description: Description, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the delta in the place of the hub's."""
    card = hub_card(fabricated.report(), over(description, fabricated.TINY), Shared(NAME, "mit", "birds", False))
    code = card.split("```python\n")[1].split("```")[0]
    asked = []
    monkeypatch.setattr("nettailor.load", lambda *words: asked.append(words) or fabricated, raising=False)
    monkeypatch.setattr(fabricated, "net", None, raising=False)
    monkeypatch.setattr(fabricated, "classes", [], raising=False)
    exec(compile(code, "card", "exec"), {})
    ((name, backbone),) = asked
    assert name == "hf://user/birds"
    spec = description.input
    assert backbone.spec.size == spec.size
    assert (backbone.spec.mean, backbone.spec.std, backbone.spec.crop) == (spec.mean, spec.std, spec.crop)


def test_a_path_of_this_machine_is_not_in_it(description: Description) -> None:
    card = hub_card(fabricated.report(), description, Shared(NAME, "mit", "birds", True))
    assert str(Path.home()) not in card
