"""Figures of a server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client.parser import text_string_to_metric_families

from nettailor.suite.server.metrics import Metrics


def values(metrics: Metrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_two_applications_of_one_process_do_not_share_their_figures() -> None:
    one, other = Metrics(), Metrics()
    one.observe_batch(4, 0.5)
    assert values(one)["nettailor_batch_pictures_sum"] == 4
    assert values(one)["nettailor_batch_seconds_sum"] == 0.5
    assert values(other)["nettailor_batch_pictures_sum"] == 0


def test_what_changes_elsewhere_is_read_off_when_it_is_asked_for() -> None:
    batcher: Any = SimpleNamespace(waiting=2)
    current: Any = SimpleNamespace(now=SimpleNamespace(tasks=["day", "lamp"]), taken_up=1, refused=0)
    metrics = Metrics()
    metrics.follow(current, batcher)
    assert values(metrics)["nettailor_queue_pictures"] == 2
    batcher.waiting, current.refused, current.now.tasks = 5, 3, ["day"]
    found = values(metrics)
    assert (found["nettailor_queue_pictures"], found["nettailor_suite_refused"], found["nettailor_suite_tasks"]) == (
        5,
        3,
        1,
    )
