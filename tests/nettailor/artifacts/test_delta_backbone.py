"""What a delta says of its backbone, and that its word fetches nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nettailor.artifacts import delta
from nettailor.backbones.hashes import classifier_sha256, geometry_sha256, tensors_sha256
from nettailor.errors import BackboneError
from nettailor.files import read_json, write_json
from tests import fabricated


def test_it_holds_a_hash_of_each_of_the_three_parts(tmp_path: Path) -> None:
    backbone = fabricated.saved_delta(tmp_path).backbone
    said = delta.read_description(tmp_path).backbone
    found = said.sha256, said.geometry_sha256, said.classifier_sha256
    assert found == (tensors_sha256(backbone), geometry_sha256(backbone), classifier_sha256(backbone))
    assert len(set(found)) == 3


@pytest.mark.parametrize("name", ["timm/resnet18", "torchvision/resnet18"])
def test_weights_that_only_a_delta_names_are_not_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fabricated.saved_delta(tmp_path)
    tree = read_json(tmp_path / "task.json")
    write_json(tmp_path / "task.json", {**tree, "backbone": {**tree["backbone"], "name": name}})
    asked: list[tuple[Any, ...]] = []

    def loaded(*words: Any, fetch: bool = True, **_: Any) -> None:
        asked.append((words[0], fetch))
        raise BackboneError("stopped here")

    monkeypatch.setattr(delta, "load_backbone", loaded)
    with pytest.raises(BackboneError, match="stopped here"):
        delta.load(tmp_path)
    assert asked == [(name, False)]
