"""The process of a server: its socket, its log, and an orderly end.

SIGTERM or Ctrl-C: nothing new is taken in, what was taken in is answered, status 0. A second Ctrl-C ends it at once.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn

from nettailor.errors import NettailorError
from nettailor.suite.server.app import make_app
from nettailor.suite.server.settings import ServeSettings

MOST_CONNECTIONS = 512
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Server(uvicorn.Server):
    """Ends with status 0 when it is told to end: uvicorn's own would raise the signal again after its last answer."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._end) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit and number == signal.SIGINT
        self.should_exit = True


def serve(suite_path: Path, settings: ServeSettings) -> int:
    """Serve a suite until a signal ends it; returns the exit status.

    Raises:
        NettailorError: the port is taken or not ours to take, or the suite can't be loaded.
    """
    warnings.filterwarnings("ignore", module="PIL")  # of damaged and large pictures: their senders are told
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    with listening(settings.host, settings.port) as listener:
        app = make_app(suite_path, settings)
        tasks = len(app.state.current.now.tasks)
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(f"{suite_path}: {tasks} task{'s' if tasks > 1 else ''} on http://{shown}:{listener.getsockname()[1]}/")
        if not settings.is_loopback and settings.token is None:
            print(
                "nettailor: whoever reaches this address may ask; --token TOKEN lets in only who has it",
                file=sys.stderr,
            )
        sys.stdout.flush()
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=int(settings.timeout) + 5,
        )
        _Server(config).run(sockets=[listener])
    return 0


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that is bound, so that a taken port is known before a suite is loaded.

    Raises:
        NettailorError: it can't be bound.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise NettailorError(f"suite serve: --host {host}: {error.strerror}") from error
    with listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
        except OSError as error:
            raise NettailorError(
                f"suite serve: port {port} of {host}: {error.strerror}; choose another --port"
            ) from error
        yield listener
