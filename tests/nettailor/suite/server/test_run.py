"""The process: its socket, and its end by a signal."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")
pytest.importorskip("uvicorn")

from nettailor.cli.suite import ServeOptions
from nettailor.errors import NettailorError
from nettailor.suite.server.run import listening
from nettailor.suite.server.settings import ServeSettings
from tests.conftest import CommandLine
from tests.nettailor.suite.server import brightness
from tests.nettailor.suite.server.served import png
from tests.tiny import heed_ctrl_c

SLOW_SUITE = """
import sys, time
from pathlib import Path
from nettailor.suite.server import run
from nettailor.suite.server.settings import ServeSettings
from tests.nettailor.suite.server import brightness

def load(folder):
    suite = brightness.load(folder)
    class Slow(brightness.Brightness):
        def __call__(self, images, tasks):
            time.sleep(1.0)
            return super().__call__(images, tasks)
    suite.__class__ = Slow
    return suite

make = run.make_app
run.make_app = lambda path, settings: make(path, settings, load)
sys.exit(run.serve(Path(sys.argv[1]), ServeSettings(port=0)))
"""


def test_a_port_in_use_is_one_plain_line(nettailor: CommandLine, suite_folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = nettailor.fails("suite", "serve", suite_folder, "--port", str(port))
    assert said == f"nettailor: suite serve: port {port} of 127.0.0.1: Address already in use; choose another --port\n"


def test_an_address_of_another_machine_is_a_plain_error() -> None:
    for host in ("192.0.2.1", "no such host"):
        with pytest.raises(NettailorError, match=host), listening(host, 0):
            pytest.fail("it listens")


def test_wrong_use_and_a_folder_without_a_suite_are_plain_errors(nettailor: CommandLine, tmp_path: Path) -> None:
    assert "--port: " in nettailor.fails("suite", "serve", tmp_path, "--port", "-1", status=2)
    assert "--device: " in nettailor.fails("suite", "serve", tmp_path, "--device", "tpu", status=2)
    assert "--mode: " in nettailor.fails("suite", "serve", tmp_path, "--mode", "slow", status=2)
    assert "holds no suite" in nettailor.fails("suite", "serve", tmp_path / "none", "--port", "0")


def test_the_options_have_the_defaults_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from nettailor.cli.suite import serve

    given: list[ServeSettings] = []
    monkeypatch.setattr("nettailor.suite.server.run.serve", lambda path, settings: given.append(settings) or 0)
    serve(ServeOptions(Path("suite")))
    monkeypatch.setenv("NETTAILOR_TOKEN", "from the environment")
    serve(ServeOptions(Path("suite")))
    serve(ServeOptions(Path("suite"), token="given"))
    assert given[0] == ServeSettings()
    assert [settings.token for settings in given] == [None, "from the environment", "given"]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    brightness.write(tmp_path / "suite", {"day": ["night", "noon"]})
    command = [sys.executable, "-c", SLOW_SUITE, str(tmp_path / "suite")]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    )
    yield started
    started.kill()
    started.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_when_what_was_taken_in_is_answered(
    process: subprocess.Popen[str], number: signal.Signals
) -> None:
    assert process.stdout is not None
    address = process.stdout.readline().split()[-1]
    begun = threading.Barrier(5)

    def ask() -> httpx.Response:
        begun.wait()
        return httpx.post(
            f"{address}predict?task=day", content=png(), headers={"Content-Type": "image/png"}, timeout=60
        )

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        begun.wait()
        while "in_progress 4.0" not in httpx.get(f"{address}metrics", timeout=60).text:
            assert not all(future.done() for future in asking)
        process.send_signal(number)
        assert [future.result().status_code for future in asking] == [200] * 4
    assert process.wait(60) == 0
    assert process.communicate() == ("", "")
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)
