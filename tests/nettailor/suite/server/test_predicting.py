"""Which requests are refused before anything of them is read (`test_app` follows whole requests)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")

from fastapi import HTTPException

from nettailor.suite.server.predicting import BadPictures, _known
from nettailor.suite.server.schema import BadUpload

LOADED: Any = SimpleNamespace(tasks=["day", "lamp"], classes={"day": ["night"], "lamp": ["off"]})


def test_tasks_are_asked_each_once_in_the_order_of_the_question() -> None:
    assert _known(["lamp", "day", "lamp"], LOADED) == ("lamp", "day")


@pytest.mark.parametrize(
    ("tasks", "status", "says"),
    [
        ([], 422, "name at least one task: /predict?task=NAME; there are day, lamp"),
        (["lanp"], 404, "there is no task 'lanp'; did you mean 'lamp'"),
        (["day", "x" * 500], 404, f"there is no task {'x' * 80!r}; there are day, lamp"),
    ],
)
def test_a_task_that_is_not_there_is_named_with_those_that_are(tasks: list[str], status: int, says: str) -> None:
    with pytest.raises(HTTPException) as refused:
        _known(tasks, LOADED)
    assert refused.value.status_code == status
    assert says in refused.value.detail
    assert len(refused.value.detail) < 200, "a long name is cut"


def test_bad_pictures_are_named_by_their_place() -> None:
    bad = [
        BadUpload(picture=2, name="b.png", problem="is no picture"),
        BadUpload(picture=3, name="c", problem="is empty"),
    ]
    error = BadPictures(422, bad)
    assert str(error) == "picture 2 (b.png): is no picture; picture 3 (c): is empty"
    assert (error.status, error.pictures) == (422, bad)
