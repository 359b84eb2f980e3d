"""A real suite over the embedded backbone: the server's answers are those of `nettailor predict`."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")
pytest.importorskip("uvicorn")
import torch
from PIL import Image
from starlette.testclient import TestClient

from nettailor.artifacts import delta
from nettailor.artifacts.delta import load
from nettailor.backbones.load import load_backbone
from nettailor.jobs.predict import predict
from nettailor.suite.changes import add, remove
from nettailor.suite.server.app import make_app
from nettailor.suite.server.settings import ServeSettings
from tests import fabricated
from tests.nettailor.suite.server.served import png
from tests.nettailor.suite.server.test_app import wait_for


@pytest.fixture(scope="module")
def deltas(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Deltas of two untrained tasks over the embedded backbone."""
    folder, backbone = tmp_path_factory.mktemp("deltas"), load_backbone()
    for seed, task in enumerate(("birds", "cats")):
        torch.manual_seed(seed)
        delta.save(fabricated.pruned(backbone), folder / task, task, fabricated.CLASSES)
    return [folder / "birds", folder / "cats"]


@pytest.mark.parametrize("mode", ["resident", pytest.param("fast", marks=pytest.mark.slow)])
def test_the_answers_are_those_of_predict(deltas: list[Path], digit_folder: Path, tmp_path: Path, mode: str) -> None:
    add(tmp_path / "suite", deltas)
    pictures = sorted(digit_folder.rglob("*.png"))[::25]
    wide = tmp_path / "wide.jpg"
    Image.effect_noise((90, 50), 60).convert("RGB").save(wide)
    pictures.append(wide)
    settings = ServeSettings(mode=mode, max_batch=3)
    with TestClient(make_app(tmp_path / "suite", settings), base_url="http://localhost") as client:
        files = [("picture", (path.name, path.read_bytes())) for path in pictures]
        answer = client.post("/predict?task=birds&task=cats&top=3", files=files).json()
    for task, place in zip(("birds", "cats"), deltas, strict=True):
        wanted = predict(load(place), [str(path) for path in pictures], 3, torch.device("cpu"))
        for found, best in zip(answer["pictures"], wanted, strict=True):
            assert [guess["label"] for guess in found["tasks"][task]] == [label for label, _ in best]
            chances = [guess["probability"] for guess in found["tasks"][task]]
            assert chances == pytest.approx([chance for _, chance in best], abs=1e-5)


@pytest.mark.slow
def test_tasks_that_are_added_and_removed_are_taken_up(deltas: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "suite"
    add(folder, deltas[:1])
    app = make_app(folder, ServeSettings(poll=0.05, timeout=60))
    with TestClient(app, base_url="http://localhost") as client:

        def asked(task: str) -> int:
            return client.post(
                f"/predict?task={task}", content=png(), headers={"Content-Type": "image/png"}
            ).status_code

        assert (asked("birds"), asked("cats")) == (200, 404)
        add(folder, deltas[1:])
        wait_for(lambda: asked("cats") == 200, 60)
        remove(folder, ["birds"])
        wait_for(lambda: asked("birds") == 404, 60)
        assert asked("cats") == 200
        (folder / "suite.json").write_text('{"format": 2}')
        wait_for(lambda: client.get("/healthz").json()["status"] == "stale", 60)
        assert "reads 1; update nettailor" in client.get("/healthz").json()["problem"]
        assert asked("cats") == 200
