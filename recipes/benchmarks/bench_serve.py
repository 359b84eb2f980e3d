"""Load `nettailor suite serve` on loopback: throughput, waiting times, failures, memory.

    python -m recipes.benchmarks.bench_serve [--suite SUITE] [--out docs/bench/serve.json]

Starts the server as a process of its own and asks it as 1 client and as 16 clients, each with a connection that it keeps
and one request at a time. A request is one picture (a JPEG of 256 x 192 by default) and one task, drawn from those of the
suite; every answer is compared with the first one for the same picture and task. Without --suite it makes one of eight
untrained tasks over the embedded backbone, each with a half of its blocks. Ends after --requests answers, or --seconds.

Clients and server share the machine, so its figures are of both. Expected: no failed request, and memory that does not
grow once the server is warm. The figures measured here are in docs/bench/serve.json.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from blocks import Plan, TailoredNet, compact
from nettailor.artifacts import delta
from nettailor.backbones.load import load_backbone
from nettailor.environment import usable_cores, versions
from nettailor.files import write_json
from nettailor.pruning.graph import BlockGraph

TASKS, CLASSES = 8, 10
PATIENCE = 300.0  # seconds that a server may take to start
CLOSE = 1e-4  # how far probabilities may differ between batches of different sizes


@dataclass
class Load:
    """What some clients saw of a server: seconds of every request, and what went wrong how often."""

    clients: int
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    def summary(self) -> dict[str, Any]:
        """Requests, requests a second, and milliseconds at the middle and near the end of the distribution."""
        ms = [1000 * value for value in self.latencies]
        cuts = statistics.quantiles(ms, n=100, method="inclusive")
        return {
            "clients": self.clients,
            "requests": len(ms),
            "failed": sum(self.failures.values()),
            "failures": dict(self.failures),
            "seconds": self.seconds,
            "per_second": len(ms) / self.seconds,
            "p50_ms": cuts[49],
            "p99_ms": cuts[98],
            "slowest_ms": max(ms),
        }


def make_suite(folder: Path, tasks: int = TASKS) -> Path:
    """A suite of untrained tasks over the embedded backbone, each with every second block and the proxies beside them."""
    from nettailor.suite.changes import add

    backbone = load_backbone()
    for number in range(tasks):
        torch.manual_seed(number)
        student = TailoredNet(backbone, CLASSES, Plan(skips=1)).eval()
        whole = BlockGraph.of(student)
        dropped = {f"G{block}" for block in range(1, backbone.depth + 1) if (block + number) % 2 == 0}
        student.keep(whole.without([path for path in whole.paths if path.key in dropped]).paths)
        delta.save(compact(student), folder / f"task-{number}", f"task-{number}", [f"c{n}" for n in range(CLASSES)])
    add(folder / "suite", [folder / f"task-{number}" for number in range(tasks)])
    return folder / "suite"


@contextlib.contextmanager
def server(suite: Path, words: list[str]) -> Iterator[tuple[str, int, subprocess.Popen[str]]]:
    """A server on a free port: its host, port and process. Told to end, it has to end well."""
    command = [sys.executable, "-m", "nettailor.cli", "suite", "serve", str(suite), "--port", "0", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        late = threading.Timer(PATIENCE, process.kill)
        late.start()
        line = process.stdout.readline() if process.stdout is not None else ""
        late.cancel()
        found = re.search(r"http://([^:/]+):(\d+)/", line)
        if found is None:
            raise SystemExit("the server did not start")
        yield found[1], int(found[2]), process
        process.send_signal(signal.SIGTERM)
        if (status := process.wait(60)) != 0:
            raise SystemExit(f"the server ended with status {status}")
    finally:
        process.kill()
        process.wait()


def pictures(count: int, width: int, height: int, seed: int = 0) -> list[bytes]:
    """JPEGs of smooth random colours."""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        coarse = Image.fromarray(draw.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        found.append(file.getvalue())
    return found


class Client:
    """Asks one request after the other over a connection that it keeps."""

    def __init__(self, address: tuple[str, int], files: list[bytes], tasks: list[str], known: dict[Any, Any]) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=60)
        self._files = files
        self._tasks = tasks
        self._known = known

    def ask(self, number: int) -> str | None:
        """Request `number`; what is wrong with the answer."""
        picture, task = number % len(self._files), self._tasks[(number // len(self._files)) % len(self._tasks)]
        try:
            self._connection.request(
                "POST", f"/predict?task={task}&top=2", self._files[picture], {"Content-Type": "image/jpeg"}
            )
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return type(error).__name__
        if response.status != 200:
            return f"status {response.status}"
        best = json.loads(body)["pictures"][0]["tasks"][task]
        first = self._known.setdefault((picture, task), best)
        same = all(abs(a["probability"] - b["probability"]) < CLOSE for a, b in zip(best, first, strict=True))
        return None if same else "another answer"


def load(clients: list[Client], requests: int, seconds: float) -> Load:
    """Let clients ask `requests` times together, or until `seconds` have passed."""
    found, numbers, lock = Load(len(clients)), iter(range(requests)), threading.Lock()
    end = time.monotonic() + seconds

    def work(client: Client) -> None:
        while time.monotonic() < end:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            started = time.perf_counter()
            wrong = client.ask(number)
            with lock:
                found.latencies.append(time.perf_counter() - started)
                if wrong is not None:
                    found.failures[wrong] += 1

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.seconds = time.perf_counter() - started
    return found


def fetch(address: tuple[str, int], path: str) -> str:
    """The text of a page."""
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.request("GET", path)
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def metric(address: tuple[str, int], name: str) -> float:
    """One figure of the server's own."""
    found = re.search(rf"^{name} (\S+)$", fetch(address, "/metrics"), re.MULTILINE)
    return float(found[1]) if found else float("nan")


def measure(suite: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Start a server over a suite, load it, and return all figures."""
    files = pictures(options.pictures, options.width, options.height)
    words = ["--mode", options.mode]
    with server(suite, words) as (host, port, _):
        address = host, port
        tasks = [task["name"] for task in json.loads(fetch(address, "/tasks"))["tasks"]]
        known: dict[Any, Any] = {}
        memory, rows = {"start": metric(address, "process_resident_memory_bytes")}, []
        most = max(options.clients)

        def crowd(
            count: int,
        ) -> list[Client]:  # with new connections: the server closes those that are idle for seconds
            return [Client(address, files, tasks, known) for _ in range(count)]

        load(crowd(most), options.warmup, options.seconds)
        memory["warm"] = metric(address, "process_resident_memory_bytes")
        for clients in options.clients:
            requests = options.requests if clients == most else options.requests_of_few
            done = load(crowd(clients), requests, options.seconds)
            rows.append({**done.summary(), "ms": [round(1000 * value, 3) for value in done.latencies]})
            memory[f"after_{clients}"] = metric(address, "process_resident_memory_bytes")
        pictures_, batches = (metric(address, f"nettailor_batch_pictures_{part}") for part in ("sum", "count"))
    return {"tasks": len(tasks), "rows": rows, "memory": memory, "pictures_per_batch": pictures_ / batches}


def show(found: dict[str, Any]) -> None:
    """Print the figures."""
    print("clients  requests  failed  requests/s   p50 ms   p99 ms  slowest ms")
    for row in found["rows"]:
        print(
            f"{row['clients']:>7}  {row['requests']:>8}  {row['failed']:>6}  {row['per_second']:>10.1f}"
            f"  {row['p50_ms']:>7.2f}  {row['p99_ms']:>7.2f}  {row['slowest_ms']:>10.1f}"
        )
    print("resident memory, MB: " + ", ".join(f"{name} {size / 1e6:.1f}" for name, size in found["memory"].items()))
    print(f"pictures computed together, on average: {found['pictures_per_batch']:.2f}")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print and return the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.benchmarks.bench_serve", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--suite", type=Path, help="a suite on disk; one of untrained tasks if left out")
    parser.add_argument("--mode", choices=["resident", "fast"], default="resident")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--requests", type=int, default=10_000, help="of the largest number of clients")
    parser.add_argument("--requests-of-few", type=int, default=2_000, help="of every smaller number")
    parser.add_argument("--warmup", type=int, default=1_000, help="requests before anything is measured")
    parser.add_argument("--seconds", type=float, default=400.0, help="for each number of clients, at most")
    parser.add_argument("--pictures", type=int, default=64, help="different ones")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--height", type=int, default=192)
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        load_before = os.getloadavg()
        found = measure(options.suite or make_suite(Path(folder)), options)
    found["machine"] = {"cores": usable_cores(), "load_average": [load_before, os.getloadavg()]}
    show(found)
    if options.out is not None:
        settings = {key: str(value) for key, value in vars(options).items()}
        write_json(options.out, {"options": settings, "versions": versions(), **found})
    return found


if __name__ == "__main__":
    main()
