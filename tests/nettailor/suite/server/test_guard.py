"""What every request passes: the host that it names, and the headers of each answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from nettailor.suite.server.guard import HEADERS, Guard
from nettailor.suite.server.metrics import Metrics
from nettailor.suite.server.settings import ServeSettings


async def _answers(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def _fails(scope: Any, receive: Any, send: Any) -> None:
    raise ZeroDivisionError


def ask(named: str | None, app: Any = _answers, method: str = "GET", **settings: Any) -> tuple[list[Any], Metrics]:
    sent: list[Any] = []
    metrics = Metrics()

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [] if named is None else [(b"host", named.encode())]
    scope = {"type": "http", "method": method, "path": "/secret", "headers": headers}
    guard = Guard(app, replace(ServeSettings(), **settings), metrics)
    asyncio.run(guard(scope, None, send))  # type: ignore[arg-type]
    return sent, metrics


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("LOCALHOST:8000", 200), ("127.0.0.1:80", 200), ("[::1]:8000", 200), ("[::1]", 200),
     ("evil.example", 421), ("localhost.evil.example", 421), ("evil.example:8000", 421), ("", 421), (None, 421)],
)  # fmt: skip
def test_on_loopback_only_this_machine_is_answered(host: str | None, status: int) -> None:
    sent, _ = ask(host)
    assert sent[0]["status"] == status
    assert set(HEADERS) <= set(sent[0]["headers"]) or status == 421


@pytest.mark.parametrize("settings", [{"host": "0.0.0.0"}, {"token": "s3cret"}])
def test_elsewhere_and_with_a_token_any_host_may_be_named(settings: dict[str, Any]) -> None:
    assert ask("evil.example", **settings)[0][0]["status"] == 200


def test_requests_are_counted_without_what_a_client_chose() -> None:
    _, metrics = ask("localhost", method="BREW")
    said = metrics.text().decode()
    assert 'nettailor_requests_total{method="other",path="other",status="200"} 1.0' in said
    assert "secret" not in said
    assert "BREW" not in said


def test_a_fault_counts_as_one() -> None:
    metrics = Metrics()
    guard = Guard(_fails, ServeSettings(), metrics)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost")]}
    with pytest.raises(ZeroDivisionError):
        asyncio.run(guard(scope, None, None))  # type: ignore[arg-type]
    assert 'status="500"} 1.0' in metrics.text().decode()


def test_what_is_no_request_passes() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(Guard(app, ServeSettings(), Metrics())({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]
