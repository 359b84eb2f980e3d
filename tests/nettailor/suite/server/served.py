"""A served suite of two tasks, in this process, and pictures for it."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from starlette.testclient import TestClient

from nettailor.suite.server.app import make_app
from nettailor.suite.server.settings import ServeSettings
from tests.nettailor.suite.server import brightness


class Served:
    """An application, its suite, and a client of it."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder = folder
        self.settings = replace(ServeSettings(poll=0.02), **changes)
        self.app = make_app(folder, self.settings, brightness.load)
        self.client = TestClient(self.app, base_url="http://localhost", raise_server_exceptions=False)

    @property
    def suite(self) -> brightness.Brightness:
        return self.app.state.current.now.suite

    def ask(self, pictures: list[bytes], *tasks: str, top: int = 1, **more: Any) -> Any:
        files = [("picture", (f"{n}.png", data)) for n, data in enumerate(pictures)]
        return self.client.post("/predict", params={"task": list(tasks), "top": top}, files=files, **more)


def png(shade: int = 255, size: tuple[int, int] = (8, 8), kind: str = "PNG", mode: str = "RGB") -> bytes:
    """A picture of one shade."""
    file = io.BytesIO()
    Image.new(mode, size, (shade,) * 3 if mode == "RGB" else shade).save(file, kind)
    return file.getvalue()
