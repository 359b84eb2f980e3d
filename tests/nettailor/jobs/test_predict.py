"""Classes of pictures: the most probable first, and a picture that can't be read costs the others nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from blocks import Backbone, InputSpec
from nettailor.artifacts.delta import Delta
from nettailor.data.batches import normalise
from nettailor.data.gather import Picture, gather
from nettailor.data.images import FileSource, read_square
from nettailor.jobs.predict import predict, predictions
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
    assert [chance for _, chance in answer] == sorted(dict(answer).values(), reverse=True)


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


@pytest.fixture
def many(tmp_path: Path) -> list[Picture]:
    for place in range(23):
        Image.effect_noise((16, 16), 5 + 10 * place).convert("RGB").save(tmp_path / f"{place:02d}.png")
    (tmp_path / "05.png").write_text("no picture")
    return gather([tmp_path])


@pytest.mark.parametrize("batch", [1, 4, 22, 250])
def test_answers_do_not_depend_on_the_batch_and_stay_in_order(loaded: Delta, many: list[Picture], batch: int) -> None:
    alone = [next(predictions(loaded, [picture], 3, CPU)) for picture in many]
    found = list(predictions(loaded, many, 3, CPU, batch))
    assert [one.image for one in found] == [picture.shown for picture in many]
    assert [one.image for one in found if one.error] == [many[5].shown]
    for one, other in zip(found, alone, strict=True):
        assert dict(one.answer) == pytest.approx(dict(other.answer), abs=1e-6)
    assert len({one.answer[0] for one in found if not one.error}) > 5, "else any order would do"


def test_pictures_are_decoded_only_a_little_ahead(loaded: Delta, many: list[Picture]) -> None:
    """Memory is bounded: what is decoded waits until it is asked for."""
    seen = []

    class Watched(Picture):
        def read(self, spec: InputSpec) -> torch.Tensor:
            seen.append(self.name)
            return super().read(spec)

    pictures = [Watched(picture.source, picture.name, picture.shown) for picture in many]
    found = predictions(loaded, pictures, 1, CPU, batch=2)
    assert not seen
    next(found)
    assert len(seen) <= 2 * 2 + 2
    found.close()
    assert len(seen) < len(many), "and what is not asked for any more is not decoded"


def test_a_record_has_the_same_columns_for_a_bad_picture(loaded: Delta, many: list[Picture]) -> None:
    rows = [one.row(2) for one in predictions(loaded, many[4:6], 2, CPU)]
    assert list(rows[0]) == list(rows[1]) == ["image", "class", "probability", "class_2", "probability_2", "error"]
    assert rows[0]["error"] is None
    assert rows[1] == {**dict.fromkeys(rows[1]), "image": many[5].shown, "error": rows[1]["error"]}
    assert str(rows[1]["error"]).startswith("can't be read")


@pytest.mark.slow
@pytest.mark.alone
def test_batches_are_no_slower_than_one_by_one(loaded: Delta, many: list[Picture]) -> None:
    pictures = [many[0]] * 500

    def seconds(batch: int | None) -> float:
        start = time.perf_counter()
        assert sum(1 for _ in predictions(loaded, pictures, 1, CPU, batch)) == 500
        return time.perf_counter() - start

    seconds(None)
    assert min(seconds(None) for _ in range(3)) <= min(seconds(1) for _ in range(3))
