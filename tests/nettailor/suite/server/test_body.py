"""Bodies: no more of one is read than its limit, however it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")
pytest.importorskip("uvicorn")

from tests.nettailor.suite.server.served import Served, png

KIB = 1024
SMALL = 64 * KIB / 2**20  # the limit that these tests set, in MiB


@pytest.fixture
def small(suite_folder: Path) -> Served:
    return Served(suite_folder, max_body_mb=SMALL, max_pictures=3)


GONE = b"the client has gone"


async def sent(served: Served, parts: AsyncIterator[bytes], headers: dict[str, str]) -> tuple[int, bytes]:
    """Send a body part by part, as a socket would; status and body of the answer."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "raw_path": b"/predict",
        "query_string": b"task=day",
        "headers": [
            (name.lower().encode(), value.encode()) for name, value in {"Host": "localhost", **headers}.items()
        ],
    }
    said: list[Any] = []

    async def receive() -> dict[str, Any]:
        async for part in parts:
            if part is GONE:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part, "more_body": True}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    async with served.app.router.lifespan_context(served.app):
        await served.app(scope, receive, send)
    return said[0]["status"], b"".join(message.get("body", b"") for message in said)


class Endless:
    """A body without end, in parts of 4 KiB."""

    def __init__(self, first: bytes = b"", pause: float = 0.0) -> None:
        self.first = first
        self.pause = pause
        self.parts = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.first
        while True:
            self.parts += 1
            await asyncio.sleep(self.pause)
            yield bytes(4 * KIB)


FORM = {"Content-Type": "multipart/form-data; boundary=x"}
FIRST = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n'


@pytest.mark.parametrize(("headers", "first"), [({"Content-Type": "image/png"}, b""), (FORM, FIRST)])
def test_an_endless_body_is_refused_while_it_is_read(small: Served, headers: dict[str, str], first: bytes) -> None:
    body = Endless(first)
    status, said = asyncio.run(sent(small, aiter(body), headers))
    assert status == 413
    assert b"the body has more than 0.0625 MiB" in said
    assert 16 <= body.parts <= 40, "read to its limit, and as much again so that the client may read the answer"


def test_a_body_that_says_it_is_too_large_is_refused_unread(small: Served) -> None:
    body = Endless()
    headers = {"Content-Type": "image/png", "Content-Length": str(65 * KIB), "Expect": "100-continue"}
    status, _ = asyncio.run(sent(small, aiter(body), headers))
    assert (status, body.parts) == (413, 0)


def test_a_body_that_does_not_end_in_time_is_given_up(suite_folder: Path) -> None:
    served = Served(suite_folder, timeout=0.2)
    status, said = asyncio.run(sent(served, aiter(Endless(pause=0.05)), {"Content-Type": "image/png"}))
    assert status == 408
    assert b"too long" in said


@pytest.mark.parametrize(("headers", "first"), [({"Content-Type": "image/png"}, b"abc"), (FORM, FIRST)])
def test_a_client_that_goes_away_is_no_fault_of_the_server(
    small: Served, headers: dict[str, str], first: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield first
        while True:
            yield GONE

    assert asyncio.run(sent(small, body(), headers))[0] == 400
    assert caplog.text == ""


def test_forms_and_types_that_can_not_be_read(small: Served) -> None:
    with small.client as client:
        many = small.ask([png()] * 4, "day")
        assert (many.status_code, "Maximum number of files is 3" in many.text) == (413, True)
        assert small.ask([png()] * 3, "day").status_code == 200
        for content, kind, status in (
            (b"{}", "application/json", 415),
            (b"a=b", "application/x-www-form-urlencoded", 415),
            (b"", "image/png", 422),
            (b"nonsense", "multipart/form-data; boundary=x", 400),
            (b"nonsense", "multipart/form-data", 400),
            (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n', FORM["Content-Type"], 422),
        ):
            answer = client.post("/predict?task=day", content=content, headers={"Content-Type": kind})
            assert answer.status_code == status, (kind, answer.text)
            assert isinstance(answer.json()["detail"], str)
