"""Settings: which address is this machine's own, and what a wrong value is told."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")
pytest.importorskip("uvicorn")

from nettailor.errors import UsageError
from nettailor.suite.server.settings import ServeSettings, settings_of


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("example.org", False)],
)  # fmt: skip
def test_loopback(host: str, own: bool) -> None:
    assert ServeSettings(host=host).is_loopback is own


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [("port", 65536, "--port"), ("max_batch", 0, "--max-batch"), ("token", "", "--token"), ("timeout", 0, "--timeout"),
     ("max_body_mb", float("nan"), "--max-body-mb"), ("mode", "slow", "--mode")],
)  # fmt: skip
def test_a_value_out_of_bounds_is_named(option: str, value: object, named: str) -> None:
    with pytest.raises(UsageError, match=f"^suite serve: {named}: "):
        settings_of(**{option: value})
