"""The page in a browser: a picture is dropped, tasks are ticked, answers are seen; by mouse, by keyboard, on a phone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")
pytest.importorskip("uvicorn")
import uvicorn

from tests.nettailor.suite.server.served import Served, png

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
DROP = """(drop, data) => {
    const files = new DataTransfer();
    for (const [name, bytes] of data) files.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
    drop.dispatchEvent(new DragEvent("drop", {dataTransfer: files, bubbles: true, cancelable: true}));
}"""
CONTRASTS = """() => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (node) => {
        const layers = [];
        for (let at = node; at; at = at.parentElement) {
            const style = getComputedStyle(at);
            layers.unshift([style.backgroundColor, 1]);
        }
        const bar = node.parentElement.querySelector(":scope > .bar");
        if (bar) layers.push([getComputedStyle(bar).backgroundColor, Number(getComputedStyle(bar).opacity)]);
        canvas.globalAlpha = 1;
        for (const [colour, alpha] of layers) {
            canvas.globalAlpha = alpha;
            canvas.fillStyle = colour;
            canvas.fillRect(0, 0, 1, 1);
        }
        return canvas.getImageData(0, 0, 1, 1).data;
    };
    const found = [];
    for (const node of document.querySelectorAll("body *")) {
        const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
        if (!own || !node.getClientRects().length) continue;
        const ground = light(behind(node));
        canvas.globalAlpha = 1;
        canvas.fillStyle = getComputedStyle(node).color;
        canvas.fillRect(0, 0, 1, 1);
        const ink = light(canvas.getImageData(0, 0, 1, 1).data);
        found.push([node.textContent.trim().slice(0, 30), (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05)]);
    }
    return found;
}"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="there is no /usr/bin/chromium"),
]


@contextmanager
def listening(served: Served) -> Iterator[str]:
    """The address of an application that is served on a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(served.app, http="h11", ws="none", lifespan="on", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield chromium
        chromium.close()


@contextmanager
def opened(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    """A page that has asked for nothing but its own server, and that no policy has stopped from anything."""
    context = browser.new_context(**{"viewport": WIDE, **options})
    page = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda line: complaints.append(line.text) if "Failed to load" not in line.text else None)
    page.goto(address)
    yield page
    assert [url for url in asked if not url.startswith((address, "blob:" + address, "data:,"))] == []
    assert complaints == []
    context.close()


def picture(name: str, shade: int) -> dict[str, Any]:
    return {"name": name, "mimeType": "image/png", "buffer": png(shade)}


def answers(page: Any) -> list[list[str]]:
    """For every picture its name, then each task with its best class."""
    found = []
    for card in page.locator("article").all():
        tasks, lists = card.locator("h3").all_inner_texts(), card.locator("ol").all()
        best = [entry.locator("li").first.inner_text().split() for entry in lists]
        found.append([card.locator("h2").inner_text(), *(f"{t}: {b[0]}" for t, b in zip(tasks, best, strict=True))])
    return found


def test_pictures_are_dropped_tasks_ticked_and_answers_seen(browser: Any, suite_folder: Path) -> None:
    with listening(Served(suite_folder)) as address, opened(browser, address) as page:
        page.get_by_label("day").check()
        data = [["white.png", list(png(255))], ["black.png", list(png(0))]]
        page.locator("#drop").evaluate(DROP, data)
        assert page.get_by_role("img", name="white.png").is_visible()
        assert page.evaluate("document.querySelector('#files').files.length") == 2, "the field counts what was dropped"
        page.get_by_role("button", name="Ask").click()
        page.locator("article").nth(1).wait_for()
        assert answers(page) == [["white.png", "day: noon"], ["black.png", "day: night"]]
        page.get_by_role("button", name="All").click()
        page.get_by_role("button", name="Ask").click()
        page.get_by_text("lamp", exact=True).nth(1).wait_for()
        assert answers(page) == [["white.png", "day: noon", "lamp: on"], ["black.png", "day: night", "lamp: off"]]
        first = page.locator("article li").first
        assert first.inner_text().split() == ["noon", "100.0", "%"]
        assert first.locator(".bar").bounding_box()["width"] == pytest.approx(first.bounding_box()["width"], abs=1)


def test_all_of_it_works_by_keyboard_alone(browser: Any, suite_folder: Path) -> None:
    with listening(Served(suite_folder)) as address, opened(browser, address) as page:
        page.get_by_label("lamp").wait_for()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "files"
        assert page.locator("#drop").evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
        page.locator("#files").set_input_files(
            [picture("white.png", 255)]
        )  # the browser's own dialog is not of the page
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Space")
        for _ in range(3):
            page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "send"
        page.keyboard.press("Enter")
        page.locator("article").wait_for()
        assert answers(page) == [["white.png", "lamp: on"]]
        assert page.evaluate("document.activeElement.id") == "send", "the focus stays where it was"
        assert page.get_by_role("status").inner_text() == "Answered: 1 picture."


def test_what_is_wrong_is_said_in_a_plain_line(browser: Any, suite_folder: Path) -> None:
    with listening(Served(suite_folder)) as address, opened(browser, address) as page:
        page.get_by_label("day").wait_for()
        status = page.get_by_role("status")
        page.get_by_role("button", name="Ask").click()
        sync_api.expect(status).to_have_text("Choose a picture first.")
        page.locator("#files").set_input_files([picture("a.png", 0), {**picture("b.png", 0), "buffer": b"no"}])
        page.get_by_role("button", name="Ask").click()
        sync_api.expect(status).to_have_text("Tick at least one task.")
        page.get_by_label("day").check()
        page.get_by_role("button", name="Ask").click()
        sync_api.expect(status).to_contain_text("picture 2 (b.png): is no picture")
        assert page.locator("article").count() == 0


def test_a_server_with_a_token_asks_for_it(browser: Any, suite_folder: Path) -> None:
    with listening(Served(suite_folder, token="s3cret")) as address, opened(browser, address) as page:
        page.get_by_label("Token").fill("s3cret")
        page.keyboard.press("Enter")
        page.get_by_label("day").check()
        page.locator("#files").set_input_files([picture("white.png", 255)])
        page.get_by_role("button", name="Ask").click()
        page.locator("article").wait_for()
        assert answers(page) == [["white.png", "day: noon"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_it_fits_and_can_be_read(
    browser: Any, suite_folder: Path, scheme: str, viewport: dict[str, int], tmp_path: Path
) -> None:
    from tests.nettailor.suite.server import brightness

    names = {"a-task-with-quite-a-long-name-for-a-phone": [f"class number {n} " + "x" * 60 for n in range(7)]}
    brightness.write(suite_folder, {**names, **{f"task {n}": ["off", "on"] for n in range(20)}})
    with listening(Served(suite_folder)) as address:
        with opened(browser, address, viewport=viewport, color_scheme=scheme) as page:
            page.get_by_label("task 19").wait_for()
            page.get_by_role("button", name="All").click()
            page.locator("#files").set_input_files([picture("w" * 80 + ".png", 255), picture("b.png", 60)])
            page.get_by_role("button", name="Ask").click()
            page.locator("article").nth(1).wait_for()
            page.screenshot(path=tmp_path / "page.png", full_page=True)
            check_readable(page, viewport)
        with opened(browser, f"{address}docs", viewport=viewport, color_scheme=scheme) as page:
            assert "/predict" in page.locator("main").inner_text()
            check_readable(page, viewport)


def check_readable(page: Any, viewport: dict[str, int]) -> None:
    """Nothing lies beyond the right edge, and every text stands out from what is behind it."""
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 10
    assert [pair for pair in contrasts if pair[1] < 4.5] == []
    unnamed = page.evaluate("[...document.querySelectorAll('input')].filter((x) => !x.labels.length).length")
    assert unnamed == 0
