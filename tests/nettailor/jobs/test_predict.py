"""Classes of pictures: the most probable first, and a picture that can't be read costs the others nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from blocks import Backbone
from nettailor.artifacts.delta import Delta
from nettailor.data.batches import normalise
from nettailor.data.images import FileSource, read_square
from nettailor.jobs.predict import predict
from tests import fabricated

CPU = torch.device("cpu")


@pytest.fixture
def loaded(backbone: Backbone) -> Delta:
    description: Any = SimpleNamespace(classes=fabricated.CLASSES)
    return Delta(fabricated.pruned(backbone), description)


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "some.png"
    Image.effect_noise((24, 20), 90).convert("RGB").save(path)
    return str(path)


def test_answers_are_the_networks_own_chances_the_largest_first(loaded: Delta, picture: str) -> None:
    (answer,) = predict(loaded, [picture], 3, CPU)
    assert not isinstance(answer, str)
    spec = loaded.net.spec
    pixels = read_square(FileSource(Path(picture)), picture, spec.size, spec.interpolation, spec.crop)
    with torch.no_grad():
        chances = loaded.net(normalise(pixels[None], spec, CPU)).softmax(1)[0]
    assert dict(answer) == pytest.approx(dict(zip(fabricated.CLASSES, chances.tolist(), strict=True)))
    assert [chance for _, chance in answer] == sorted(chances.tolist(), reverse=True)


@pytest.mark.parametrize(("top", "count"), [(1, 1), (2, 2), (10, 3)])
def test_there_are_as_many_answers_as_were_asked_for_and_classes(
    loaded: Delta, picture: str, top: int, count: int
) -> None:
    (answer,) = predict(loaded, [picture], top, CPU)
    assert len(answer) == count


def test_a_picture_that_can_not_be_read_is_named_in_its_place(loaded: Delta, picture: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    first, second, third = predict(loaded, [str(bad), picture, "missing.png"], 1, CPU)
    assert isinstance(first, str)
    assert str(bad) in first
    assert not isinstance(second, str)
    assert isinstance(third, str)
    assert "missing.png" in third


def test_an_answer_does_not_depend_on_how_the_network_was_left(loaded: Delta, picture: str) -> None:
    before = predict(replace(loaded, net=loaded.net.train()), [picture], 3, CPU)
    assert predict(loaded, [picture], 3, CPU) == before
    assert not loaded.net.training
