"""The page in headless Chromium: nothing is fetched, nothing overflows, everything can be read and reached by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nettailor.views.html.data import PageData
from nettailor.views.html.page import render
from tests import pages
from tests.extras import CHROMIUM, needs_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = needs_browser()
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
WIDTHS = {"desk": 1280, "phone": 390}

# Every text of the page: its contrast with what lies below its middle, colours of HTML and SVG laid over each other.
TEXTS = """() => {
  const numbers = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const rgba = (text) => { const [r, g, b, a] = numbers(text); return { rgb: [r, g, b], a: a === undefined ? 1 : a }; };
  const over = (top, alpha, below) => top.map((value, i) => alpha * value + (1 - alpha) * below[i]);
  const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => 0.2126 * linear(rgb[0]) + 0.7152 * linear(rgb[1]) + 0.0722 * linear(rgb[2]);
  const found = [];
  const walker = document.createTreeWalker(document.getElementById("page"), NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.textContent.trim()) continue;
    const owner = node.parentElement;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (box.width === 0 || getComputedStyle(owner).visibility === "hidden") continue;
    let below = rgba(getComputedStyle(document.body).backgroundColor).rgb;
    for (const layer of document.elementsFromPoint(box.left + box.width / 2, box.top + box.height / 2).reverse()) {
      const style = getComputedStyle(layer);
      const shape = layer instanceof SVGElement && layer.tagName !== "svg";
      if (layer.tagName === "text" || layer.tagName === "line" || (shape && style.fill === "none")) continue;
      const { rgb, a } = rgba(shape ? style.fill : style.backgroundColor);
      below = over(rgb, a * (shape ? Number(style.fillOpacity) : 1), below);
    }
    const style = getComputedStyle(owner);
    const ink = rgba(owner instanceof SVGElement ? style.fill : style.color).rgb;
    const [high, low] = [light(ink), light(below)].sort((x, y) => y - x);
    found.push({ text: node.textContent, ratio: (high + 0.05) / (low + 0.05), size: parseFloat(style.fontSize) });
  }
  return found;
}"""

UNNAMED = """() => {
  const named = (node) => node.closest("[aria-hidden=true]") || node.getAttribute("aria-label");
  const bare = [...document.querySelectorAll("svg, [role=img], [role=region], [tabindex]")].filter((node) => !named(node));
  const pictures = [...document.images].filter((image) => !image.alt);
  const inputs = [...document.querySelectorAll("input")].filter((input) => !input.labels.length);
  const lost = [...document.querySelectorAll("[aria-hidden=true] [tabindex]")];
  return [...bare, ...pictures, ...inputs, ...lost].map((node) => node.outerHTML.slice(0, 120));
}"""

CUT_OFF = """[...document.querySelectorAll('.label .block')]
  .filter((name) => name.scrollWidth > name.clientWidth + 1).length"""

INSIDE = """[...document.querySelectorAll('.column')].map((column) => {
  const wide = column.getBoundingClientRect();
  return [...column.querySelectorAll('.proxy, rect:not(.hit)')].every((mark) => {
    const box = mark.getBoundingClientRect();
    return box.left >= wide.left - 1 && box.right <= wide.right + 1;
  });
})"""

INTRUDE = """() => {
  const bad = document.createElement('script');
  bad.textContent = "document.title = 'stolen'";
  const far = document.createElement('img');
  far.src = 'https://example.invalid/x.png';
  document.body.append(bad, far);
}"""


@dataclass
class Opened:
    """A page in the browser, with what it asked for and complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(QUIET))
        yield browser
        browser.close()


def opened(browser: Browser, folder: Path, data: PageData, **context: Any) -> Opened:
    file = folder / "page.html"
    file.write_text(render(data), encoding="utf-8")
    wanted = {"viewport": {"width": 1280, "height": 900}, **context}
    found = Opened(browser.new_context(**wanted).new_page())
    found.page.on("request", lambda request: found.requests.append(request.url))
    found.page.on("console", lambda said: found.complaints.append(said.text))
    found.page.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.page.goto(file.as_uri())
    found.page.wait_for_selector(".column svg")
    assert found.requests == [file.as_uri()], "the page asks for nothing but itself"
    assert found.complaints == []
    return found


def check(browser: Browser, folder: Path, blocks: int, tasks: int, width: int, scheme: str) -> None:
    """Nothing overflows, all texts can be read, all graphics are named, and each block has its row."""
    high = {"width": width, "height": 9000}  # all of it in view, so that what lies below a text can be looked up
    page = opened(browser, folder, pages.page(blocks, tasks), viewport=high, color_scheme=scheme).page
    assert page.evaluate("document.documentElement.scrollWidth") == width
    texts = page.evaluate(TEXTS)
    assert len(texts) > 60 + blocks
    assert [text for text in texts if text["ratio"] < 4.5] == []
    assert [text for text in texts if text["size"] < 12] == []
    assert page.evaluate(UNNAMED) == []
    rows = page.evaluate("[...document.querySelectorAll('.label')].map((row) => row.getBoundingClientRect().height)")
    assert len(rows) == blocks + 2
    assert min(rows) >= 22
    assert page.evaluate(CUT_OFF) == 0, "names of blocks are whole"
    assert page.evaluate(INSIDE) == [True] * tasks, "a drawing stays in its column"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor").startswith("rgb(19,")
    assert dark == (scheme == "dark")
    page.context.close()


@pytest.mark.parametrize("device", WIDTHS)
def test_new_units_are_drawn_and_shared_blocks_are_told_from_copies(
    browser: Browser, tmp_path: Path, device: str
) -> None:
    data = pages.page(16, 2)
    grown = replace(
        data.tasks[1].graph, copied_from=15, top="grown by 64 units beside the top layer", top_reads=[15, 16]
    )
    alone = replace(data, tasks=[replace(data.tasks[1], graph=grown)], shared=None)
    page = opened(browser, tmp_path, alone, viewport={"width": WIDTHS[device], "height": 900}).page
    said = page.inner_text("#graph .lead")
    assert "1 of them a copy of its own. Its head: grown by 64 units beside the top layer." in said
    labels = page.evaluate("[...document.querySelectorAll('.stop')].map((stop) => stop.getAttribute('aria-label'))")
    assert any(label.startswith("new units in the head: they read layer3.4") for label in labels)
    assert any("layer4.0, universal block 16" in label and "this task's own copy" in label for label in labels)
    assert any("layer3.3, universal block 14" in label and "the backbone's, frozen" in label for label in labels)
    assert any(label.startswith("head") and "the last activation, and layer3.4" in label for label in labels)
    assert page.evaluate(INSIDE) == [True]
    two = replace(data, tasks=[data.tasks[0], replace(data.tasks[1], graph=grown)])
    page = opened(browser, tmp_path, two, viewport={"width": WIDTHS[device], "height": 900}).page
    said = page.inner_text("#graph .lead")
    assert "\u201ctask 1\u201d has copies of its own from layer3.4 on. The head of \u201ctask 1\u201d: grown" in said
    assert page.evaluate(INSIDE) == [True, True]


@pytest.mark.parametrize(("blocks", "tasks", "device", "scheme"), [(16, 1, "desk", "light"), (60, 3, "phone", "dark")])
def test_it_can_be_read(browser: Browser, tmp_path: Path, blocks: int, tasks: int, device: str, scheme: str) -> None:
    check(browser, tmp_path, blocks, tasks, WIDTHS[device], scheme)


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [5, 16, 60])
@pytest.mark.parametrize("tasks", [1, 3, 8])
@pytest.mark.parametrize("device", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_at_every_size(
    browser: Browser, tmp_path: Path, blocks: int, tasks: int, device: str, scheme: str
) -> None:
    check(browser, tmp_path, blocks, tasks, WIDTHS[device], scheme)


def test_details_are_reached_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, pages.page()).page
    tooltip = page.locator("#tooltip")
    stops = page.locator(".column .stop")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.column .stop')"):
            break
    assert tooltip.is_visible(), "the graph is one stop of the Tab key"
    assert "stem" in tooltip.inner_text()
    page.keyboard.press("ArrowDown")
    assert "layer1.0, universal block 1" in tooltip.inner_text()
    assert "the backbone's, frozen" in tooltip.inner_text()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(
        "layer1.0, universal block 1, "
    )
    marked = page.locator(".label.on")
    assert marked.inner_text().startswith("layer1.0")
    page.keyboard.press("End")
    assert "head" in tooltip.inner_text()
    page.keyboard.press("Escape")
    assert tooltip.is_hidden()
    reached = []
    page.keyboard.press("Home")
    for _ in range(stops.count()):
        reached.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
        page.keyboard.press("ArrowDown")
    assert len(set(reached)) == stops.count(), "every path has its place"
    page.keyboard.press("Tab")
    assert not page.evaluate("document.activeElement.matches('.column .stop')"), "and Tab leads out again"
    page.context.close()


def test_a_size_is_read_off_by_slider_by_pointer_and_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, pages.page(), viewport={"width": 1280, "height": 3000}).page
    said, slider = page.locator("output.readout"), page.locator("input[type=range]")
    assert "This is the network in the delta." in said.inner_text()
    slider.focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    assert page.locator(".limit").inner_text() == "55 % of the backbone\u2019s"
    assert "92.00 %" in said.inner_text(), "after its recovery"
    assert "nettailor prune runs/some --macs 0.5" in said.inner_text()
    slider.press("Home")
    assert "60.00 %" in said.inner_text()
    plot = page.locator(".plot svg").bounding_box()
    assert plot is not None
    page.mouse.click(plot["x"] + plot["width"] - 16, plot["y"] + 100)
    assert "92.00 %" in said.inner_text(), "the whole backbone is no better than half of it"
    page.locator(".plot .stop").first.focus()
    assert "60.00 %" in said.inner_text()
    assert (
        "the network" in page.locator("#tooltip").inner_text() or "a network" in page.locator("#tooltip").inner_text()
    )
    page.context.close()


def test_a_finger_shows_and_hides_details(browser: Browser, tmp_path: Path) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    page = opened(browser, tmp_path, pages.page(60, 3), **phone).page
    page.locator(".column .stop .universal").nth(5).tap()
    tooltip = page.locator("#tooltip")
    assert tooltip.is_visible()
    box = tooltip.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.locator("h2").first.tap()
    assert tooltip.is_hidden()
    page.context.close()


def test_names_from_elsewhere_are_shown_as_they_are(browser: Browser, tmp_path: Path) -> None:
    nasty = "</script><img src=x onerror=document.title='stolen'>"
    data = pages.page(4, 2, classes=[nasty, "<b>bold</b>"], name=nasty)
    found = opened(browser, tmp_path, data)
    page = found.page
    page.locator(".matrix .wrong").first.hover()
    assert nasty in page.locator("#tooltip").inner_text()
    assert page.title() == f"{nasty} 0, {nasty} 1 over tiny"
    assert page.evaluate("[...document.images].every((image) => image.src.startsWith('data:'))")
    assert page.locator("b").count() == 0
    assert f"{nasty} 0" in page.locator(".column-head").first.inner_text()
    assert found.complaints == []
    assert len(found.requests) == 1
    page.context.close()


def test_the_policy_stops_code_that_got_in_nevertheless(browser: Browser, tmp_path: Path) -> None:
    found = opened(browser, tmp_path, pages.page(4))
    refused: list[str | None] = []
    found.page.on("requestfailed", lambda request: refused.append(request.failure))
    found.page.evaluate(INTRUDE)
    found.page.wait_for_timeout(100)
    assert found.page.title() != "stolen"
    assert refused == ["csp"], "it is not sent"
    assert sum("Content Security Policy" in said for said in found.complaints) == 2
    found.page.context.close()
