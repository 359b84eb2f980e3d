"""What every request passes: the host it names, its time and status counted, and headers that bind a browser.

A server on loopback without a token answers only requests that name this machine: a page elsewhere whose host name is
made to lead here would otherwise read its answers through the user's browser (DNS rebinding).
"""

from __future__ import annotations

import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nettailor.suite.server.metrics import Metrics
from nettailor.suite.server.settings import ServeSettings

LOCAL = ("localhost", "127.0.0.1", "[::1]")
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, settings: ServeSettings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        try:
            if self._names_us(scope):
                await self._app(scope, receive, sending)
            else:
                detail = "this server answers this machine only, as localhost; start it with --host or --token"
                await JSONResponse({"detail": detail}, 421)(scope, receive, sending)
        finally:
            path = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in ("GET", "POST") else "other"
            self._metrics.requests.labels(path, method, str(status)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - started)

    def _names_us(self, scope: Scope) -> bool:
        if not self._settings.is_loopback or self._settings.token is not None:
            return True
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        return name.lower() in (*LOCAL, self._settings.host)
