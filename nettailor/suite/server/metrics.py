"""Figures of a server, in Prometheus' text format. No label takes a value that a client chose."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from nettailor.suite.server.batching import Batcher
from nettailor.suite.server.current import CurrentSuite

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PICTURES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """One registry per application: two of them in a process don't share their figures."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.requests = Counter(
            "nettailor_requests", "Requests answered", ["path", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "nettailor_request_seconds",
            "Time of a request, its body included",
            ["path"],
            buckets=SECONDS,
            registry=registry,
        )
        self.pictures = Counter("nettailor_pictures", "Pictures answered", ["task"], registry=registry)
        self.batch = Histogram(
            "nettailor_batch_pictures", "Pictures computed together", buckets=PICTURES, registry=registry
        )
        self.batch_seconds = Histogram("nettailor_batch_seconds", "Time of a batch", buckets=SECONDS, registry=registry)
        self.busy = Gauge("nettailor_requests_in_progress", "Pictures asked about now", registry=registry)

    def observe_batch(self, pictures: int, seconds: float) -> None:
        """A batch was answered."""
        self.batch.observe(pictures)
        self.batch_seconds.observe(seconds)

    def follow(self, current: CurrentSuite, batcher: Batcher) -> None:
        """Figures that are read off when they are asked for."""
        for name, about, value in (
            ("nettailor_queue_pictures", "Pictures that wait for a batch", lambda: batcher.waiting),
            ("nettailor_suite_tasks", "Tasks of the suite", lambda: len(current.now.tasks)),
            ("nettailor_suite_taken_up", "Changes of the suite taken up", lambda: current.taken_up),
            ("nettailor_suite_refused", "Changed suites that could not be loaded", lambda: current.refused),
        ):
            _gauge(name, about, self.registry, value)

    def text(self) -> bytes:
        """All of them."""
        return generate_latest(self.registry)


def _gauge(name: str, about: str, registry: CollectorRegistry, value: Callable[[], float]) -> None:
    Gauge(name, about, registry=registry).set_function(value)
