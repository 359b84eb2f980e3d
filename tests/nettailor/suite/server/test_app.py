"""What a client gets: answers, plain refusals, and nothing that another client's request has spoiled."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")
pytest.importorskip("uvicorn")

from tests.nettailor.suite.server.brightness import TASKS
from tests.nettailor.suite.server.served import Served, png

TOKEN = "s3cret"


def wait_for(what: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.005)


def figure(served: Served, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", served.client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_several_pictures_and_tasks_are_answered_in_one_call(served: Served) -> None:
    answer = served.ask([png(255), png(0), png(128)], "lamp", "day", "lamp", top=2)
    assert answer.status_code == 200
    pictures = answer.json()["pictures"]
    assert [picture["name"] for picture in pictures] == ["0.png", "1.png", "2.png"]
    assert [list(picture["tasks"]) for picture in pictures] == [["lamp", "day"]] * 3, "each task once, as asked"
    assert [picture["tasks"]["day"][0]["label"] for picture in pictures] == ["noon", "night", "dusk"]
    assert [picture["tasks"]["lamp"][0]["label"] for picture in pictures[:2]] == ["on", "off"]
    for picture in pictures:
        first, second = picture["tasks"]["day"]
        assert 1 >= first["probability"] >= second["probability"] >= 0
        assert sum(guess["probability"] for guess in picture["tasks"]["lamp"]) == pytest.approx(1, abs=1e-6)
    assert served.suite.calls[-1] == (3, ["lamp", "day"])


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", None])
def test_one_picture_may_be_the_body_itself(served: Served, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = served.client.post("/predict?task=day", content=png(0), headers=headers)
    assert answer.json()["pictures"] == [
        {"name": "picture", "tasks": {"day": [{"label": "night", "probability": pytest.approx(1, abs=1e-3)}]}}
    ]


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("?task=dya", 404, r"there is no task 'dya'; did you mean 'day'\?"),
        ("?task=day&task=xyz", 404, r"there is no task 'xyz'; there are day, lamp"),
        ("", 422, r"name at least one task.*there are day, lamp"),
        ("?task=day&top=0", 422, r"top: .*greater than or equal to 1"),
        ("?task=day&top=many", 422, r"top: .*integer"),
    ],
)
def test_a_wrong_question_is_refused_in_a_plain_line(served: Served, query: str, status: int, said: str) -> None:
    before = len(served.suite.calls)
    answer = served.client.post(f"/predict{query}", content=png(), headers={"Content-Type": "image/png"})
    assert answer.status_code == status
    assert re.fullmatch(said, answer.json()["detail"])
    assert len(served.suite.calls) == before


def test_tasks_are_listed_with_their_classes(served: Served) -> None:
    found = served.client.get("/tasks").json()
    assert {task["name"]: task["classes"] for task in found["tasks"]} == TASKS
    assert found["input_size"] == 8


def test_bad_pictures_are_named_and_disturb_no_other_request(served: Served) -> None:
    broken = png(size=(64, 64))[:-40]
    with ThreadPoolExecutor(12) as pool:
        good = [pool.submit(served.ask, [png(shade)], "day") for shade in (0, 128, 255) * 3]
        bad = [
            pool.submit(served.ask, [png(), data, png(), b""], "day") for data in (broken, b"no picture", png()[:20])
        ]
        answers = [future.result() for future in good]
        refusals = [future.result() for future in bad]
    labels = [answer.json()["pictures"][0]["tasks"]["day"][0]["label"] for answer in answers]
    assert labels == ["night", "dusk", "noon"] * 3
    assert [refusal.status_code for refusal in refusals] == [422, 415, 422]
    for refusal in refusals:
        assert [(bad["picture"], bad["name"]) for bad in refusal.json()["pictures"]] == [(2, "1.png"), (4, "3.png")]
        assert "picture 2 (1.png): " in refusal.json()["detail"]


def test_requests_of_one_moment_are_one_batch_and_one_thread_runs_all(served: Served) -> None:
    suite = served.suite
    suite.calls.clear()
    suite.busy.clear()
    suite.open.clear()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(served.ask, [png()], "day")
        assert suite.busy.wait(10)
        rest = [pool.submit(served.ask, [png()], "day") for _ in range(5)] + [pool.submit(served.ask, [png()], "lamp")]
        wait_for(lambda: figure(served, "nettailor_queue_pictures") == 6)
        suite.open.set()
        assert {future.result().status_code for future in (first, *rest)} == {200}
    assert sorted(suite.calls) == [(1, ["day"]), (1, ["lamp"]), (5, ["day"])]
    assert suite.threads - {"MainThread"} == {"networks"}
    assert figure(served, 'nettailor_pictures_total{task="day"}') == 6


def test_a_full_queue_sends_clients_away_and_says_when_to_come_again(suite_folder: Path) -> None:
    served = Served(suite_folder, queue=2)
    with served.client, ThreadPoolExecutor(2) as pool:
        served.suite.open.clear()
        waiting = [pool.submit(served.ask, [png()], "day") for _ in range(2)]
        wait_for(lambda: figure(served, "nettailor_requests_in_progress") == 2)
        refused = served.ask([png()], "day")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        served.suite.open.set()
        assert [future.result().status_code for future in waiting] == [200, 200]
        assert served.ask([png()], "day").status_code == 200, "there is room again"


def test_an_answer_that_takes_too_long_is_given_up(suite_folder: Path) -> None:
    served = Served(suite_folder, timeout=0.2)
    with served.client:
        served.suite.busy.clear()
        served.suite.open.clear()
        running = served.ask([png()], "day")
        queued = served.ask([png()], "lamp")
        assert (running.status_code, queued.status_code) == (504, 504)
        served.suite.calls.clear()
        served.suite.open.set()
        assert served.ask([png()], "day").status_code == 200
        assert ["lamp"] not in [tasks for _, tasks in served.suite.calls], "nobody waits for it: it is not computed"


def test_a_fault_of_a_network_ends_its_own_requests_only(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(served.suite)
    usual = kind.__call__

    def faulty(self: Any, images: Any, tasks: list[str]) -> Any:
        if "lamp" in tasks:
            raise RuntimeError("out of memory at /home/user")
        return usual(self, images, tasks)

    monkeypatch.setattr(kind, "__call__", faulty)
    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(served.ask, [png()], task) for task in ("day", "lamp") * 3]
        answers = [future.result() for future in futures]
    assert [answer.status_code for answer in answers] == [200, 500] * 3
    assert answers[1].json() == {"detail": "unexpected RuntimeError; the server's log has more"}
    assert served.client.get("/healthz").json()["status"] == "ok"


@pytest.fixture
def guarded(suite_folder: Path) -> Iterator[Served]:
    served = Served(suite_folder, token=TOKEN)
    with served.client:
        yield served


def test_a_token_lets_in_only_who_has_it(guarded: Served) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
        for method, path in (("GET", "/tasks"), ("GET", "/metrics"), ("POST", "/predict?task=day")):
            answer = guarded.client.request(method, path, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
    right = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.client.get("/tasks", headers=right).status_code == 200
    assert guarded.client.get("/metrics", headers=right).status_code == 200
    assert guarded.ask([png()], "day", headers=right).status_code == 200
    for path in ("/", "/docs", "/healthz"):
        assert guarded.client.get(path).status_code == 200, path


def test_health_says_what_is_wrong_only_to_whom_has_the_token(guarded: Served) -> None:
    guarded.app.state.current.problem = "/home/user/suite.json: broken"
    assert guarded.client.get("/healthz").json() | {"since": ""} == {
        "status": "stale",
        "suite": guarded.app.state.current.now.version,
        "since": "",
        "tasks": 2,
        "problem": None,
    }
    asked = guarded.client.get("/healthz", headers={"Authorization": f"Bearer {TOKEN}"})
    assert asked.json()["problem"] == "/home/user/suite.json: broken"


def test_on_loopback_only_requests_that_name_this_machine_are_answered(served: Served, suite_folder: Path) -> None:
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "[::1]"):
        assert served.client.get("/tasks", headers={"Host": host}).status_code == 200, host
    for host in ("attacker.example", "localhost.attacker.example:8000", ""):
        assert served.client.get("/tasks", headers={"Host": host}).status_code == 421, host
    for changes in ({"token": TOKEN}, {"host": "0.0.0.0"}):
        other = Served(suite_folder, **changes)
        headers = {"Host": "pictures.example", "Authorization": f"Bearer {TOKEN}"}
        assert other.client.get("/tasks", headers=headers).status_code == 200


def test_metrics_are_in_prometheus_format_and_no_client_makes_a_label(served: Served) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    served.ask([png(), png()], "day")
    served.ask([png()], "who")
    served.client.get("/a/path/of/mine")
    served.client.request("BREW", "/tasks")
    text = served.client.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    counted = {tuple(s.labels.values()): s.value for s in families["nettailor_requests"].samples if "total" in s.name}
    assert {value: counted.get(value) for value in counted if "/predict" in value} == {
        ("POST", "/predict", "200"): 1,
        ("POST", "/predict", "404"): 1,
    }
    assert ("GET", "other", "404") in counted
    assert "mine" not in text
    assert "BREW" not in text
    assert "who" not in text
    assert figure(served, "nettailor_batch_pictures_sum") == 2
    assert figure(served, "nettailor_suite_tasks") == 2


def test_two_applications_do_not_share_their_figures(served: Served, suite_folder: Path) -> None:
    served.ask([png()], "day")
    assert figure(Served(suite_folder), 'nettailor_pictures_total{task="day"}') == 0


class References(HTMLParser):
    """Addresses that a page would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = ("src", "srcset", "data") + (("href",) if tag == "link" else ())
        self.found += [value or "" for name, value in attributes if name in names]


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_fetch_nothing_and_allow_only_their_own_texts(served: Served, path: str) -> None:
    answer = served.client.get(path)
    assert References(answer.text).found == ["data:,"]
    assert "url(" not in answer.text
    assert "@import" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert ("script-src 'none'" in policy) == ("<script>" not in answer.text)


def test_the_description_for_programs_and_its_page_name_every_route(served: Served) -> None:
    schema = served.client.get("/openapi.json").json()
    page = served.client.get("/docs").text
    assert set(schema["paths"]) == {"/tasks", "/predict", "/healthz", "/metrics"}
    assert all(path in page for path in schema["paths"])
    asked = schema["paths"]["/predict"]["post"]
    assert set(asked["requestBody"]["content"]) == {"multipart/form-data", "image/*", "application/octet-stream"}
    assert {"200", "401", "404", "413", "415", "422", "429", "504"} <= set(asked["responses"])
    assert {entry["name"] for entry in asked["parameters"]} == {"task", "top"}
