"""Pictures without matplotlib: colours for numbers, and lines and letters by Pillow."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

INK: Colour = (36, 41, 47)
FAINT: Colour = (110, 118, 129)
RULE: Colour = (208, 215, 222)
GONE: Colour = (214, 218, 223)
WHITE: Colour = (255, 255, 255)
BLUE: Colour = (47, 111, 187)
ORANGE: Colour = (201, 106, 20)

BLUES: tuple[Colour, ...] = ((247, 251, 255), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107))
ORANGES: tuple[Colour, ...] = ((255, 249, 240), (253, 214, 165), (250, 160, 82), (217, 93, 14), (127, 39, 4))


def coloured(values: NDArray[np.float64], scale: tuple[Colour, ...]) -> NDArray[np.uint8]:
    """Numbers 0..1 (H, W) as colours (H, W, 3) along a scale; `GONE` where one is not a number."""
    places = np.linspace(0, 1, len(scale))
    known = np.nan_to_num(np.clip(values, 0, 1))
    channels = [np.interp(known, places, [colour[channel] for colour in scale]) for channel in range(3)]
    result = np.stack(channels, -1)
    result[np.isnan(values)] = GONE
    return result.round().astype(np.uint8)


class Canvas:
    """A white picture to draw on."""

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width, height), WHITE)
        self._draw = ImageDraw.Draw(self.image)

    def paste(self, pixels: NDArray[np.uint8], left: int, top: int) -> None:
        """Pixels (H, W, 3) at a place."""
        self.image.paste(Image.fromarray(pixels), (left, top))

    def text(
        self, x: float, y: float, words: str, size: int = 12, colour: Colour = INK, anchor: str = "lm", up: bool = False
    ) -> None:
        """Words at a place.

        Args:
            anchor: which point of the words is there, as Pillow names it; where they are written upwards, "l" is their
                lower end and "r" their upper one.
            up: write from below to above.
        """
        words, font = _printable(words), _font(size)
        if not up:
            self._draw.text((x, y), words, fill=colour, font=font, anchor=anchor)
            return
        width = max(1, round(font.getlength(words)))
        strip = Image.new("L", (width, size + 6), 0)
        ImageDraw.Draw(strip).text((0, (size + 6) / 2), words, fill=255, font=font, anchor="lm")
        strip = strip.rotate(90, expand=True)
        top = {"l": y - width, "m": y - width / 2, "r": y}[anchor[0]]
        self.image.paste(Image.new("RGB", strip.size, colour), (round(x - strip.width / 2), round(top)), strip)

    def line(self, points: list[tuple[float, float]], colour: Colour = RULE, width: int = 1) -> None:
        """A line through points."""
        self._draw.line(points, fill=colour, width=width)

    def dashed(self, y: float, left: float, right: float, colour: Colour = FAINT) -> None:
        """A dashed level."""
        for x in np.arange(left, right, 8):
            self._draw.line([(x, y), (min(x + 4, right), y)], fill=colour)

    def rectangle(
        self, box: tuple[float, float, float, float], fill: Colour | None, outline: Colour | None = None
    ) -> None:
        """A rectangle (left, top, right, bottom)."""
        self._draw.rectangle(box, fill=fill, outline=outline)

    def dot(self, x: float, y: float, colour: Colour, radius: float = 5, filled: bool = True) -> None:
        """A dot, or a ring."""
        box = (x - radius, y - radius, x + radius, y + radius)
        self._draw.ellipse(box, fill=colour if filled else WHITE, outline=colour, width=2)

    def star(self, x: float, y: float, colour: Colour, radius: float = 10) -> None:
        """A five-pointed star."""
        angles = -np.pi / 2 + np.arange(10) * np.pi / 5
        lengths = np.where(np.arange(10) % 2 == 0, radius, radius * 0.42)
        points = zip(x + lengths * np.cos(angles), y + lengths * np.sin(angles), strict=True)
        self._draw.polygon([(float(a), float(b)) for a, b in points], fill=colour, outline=WHITE)


@functools.lru_cache(4096)
def text_width(words: str, size: int = 12) -> float:
    """Pixels that words take."""
    return float(_font(size).getlength(_printable(words)))


def shortened(words: str, size: int, most: float) -> str:
    """Words cut to some pixels."""
    if text_width(words, size) <= most:
        return words
    while words and text_width(words + "..", size) > most:
        words = words[:-1]
    return words + ".."


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _printable(words: str) -> str:
    """Pillow's own font has Latin letters alone."""
    return words.encode("latin-1", "replace").decode("latin-1")


@dataclass(frozen=True)
class Mark:
    """A point of a chart: x and y as fractions; `kind` is "dot", "ring" or "star"."""

    x: float
    y: float
    kind: str = "dot"
    label: str = ""


@dataclass(frozen=True)
class Chart:
    """Accuracy against the part of the backbone's MACs.

    Attributes:
        marks: points; those of `joined` are joined by a line in their order.
        levels: dashed lines by their labels.
        legend: what the kinds of marks are.
        y_label: what the accuracies are of.
    """

    title: str
    marks: list[Mark]
    levels: dict[str, float] = field(default_factory=dict)
    legend: dict[str, str] = field(default_factory=dict)
    y_label: str = "accuracy"
    x_label: str = "MACs, as a part of the backbone's"
    joined: bool = True


LEFT, TOP, WIDE, HIGH = 72, 44, 640, 340
COLOURS = {"dot": BLUE, "ring": ORANGE, "star": ORANGE}


def draw_chart(chart: Chart) -> Image.Image:
    """A chart with its axes, levels and legend below."""
    canvas = Canvas(LEFT + WIDE + 24, TOP + HIGH + 76)
    canvas.text(LEFT, 20, chart.title, 15)
    ys = [mark.y for mark in chart.marks] + list(chart.levels.values())
    low, high = _range(min(ys), max(ys))
    most = max(1.0, *(mark.x for mark in chart.marks)) * 1.03

    def at(x: float, y: float) -> tuple[float, float]:
        return LEFT + WIDE * x / most, TOP + HIGH * (high - y) / (high - low)

    for tick in _ticks(0.0, most):
        x, _ = at(tick, low)
        canvas.line([(x, TOP), (x, TOP + HIGH)])
        canvas.text(x, TOP + HIGH + 12, f"{tick:.0%}", 12, FAINT, "mm")
    for tick in _ticks(low, high):
        _, y = at(0, tick)
        canvas.line([(LEFT, y), (LEFT + WIDE, y)])
        decimals = 0 if high - low > 0.05 else 1
        canvas.text(LEFT - 8, y, f"{tick:.{decimals}%}", 12, FAINT, "rm")
    for place, (label, level) in enumerate(chart.levels.items()):
        _, y = at(0, level)
        canvas.dashed(y, LEFT, LEFT + WIDE, INK)
        canvas.text(LEFT + WIDE - 4, y + (9 if place else -9), label, 12, INK, "rm")
    line = [at(mark.x, mark.y) for mark in chart.marks if mark.kind == "dot"]
    if chart.joined and len(line) > 1:
        canvas.line(line, BLUE, 2)
    for mark in chart.marks:
        _put(canvas, *at(mark.x, mark.y), mark.kind)
        if mark.label:
            x, y = at(mark.x, mark.y)
            beside = x + 10 + text_width(mark.label, 11) < LEFT + WIDE
            canvas.text(x + 10 if beside else x - 10, y, mark.label, 11, FAINT, "lm" if beside else "rm")
    canvas.text(LEFT + WIDE / 2, TOP + HIGH + 32, chart.x_label, 12, INK, "mm")
    canvas.text(14, TOP + HIGH / 2, chart.y_label, 12, INK, "mm", up=True)
    x = float(LEFT)
    for kind, words in chart.legend.items():
        _put(canvas, x + 8, TOP + HIGH + 58, kind)
        canvas.text(x + 22, TOP + HIGH + 58, words, 12)
        x += 48 + text_width(words)
    return canvas.image


def _put(canvas: Canvas, x: float, y: float, kind: str) -> None:
    if kind == "star":
        canvas.star(x, y, COLOURS[kind])
    else:
        canvas.dot(x, y, COLOURS[kind], filled=kind == "dot")


def _range(low: float, high: float) -> tuple[float, float]:
    """A little more than what is shown, and at least two points of accuracy."""
    spare = max(0.02, high - low) * 0.08
    middle, half = (low + high) / 2, max(0.01, (high - low) / 2) + spare
    return max(0.0, middle - half), min(middle + half, 1.004)


def _ticks(low: float, high: float) -> list[float]:
    """About six round numbers between two."""
    steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
    step = next((step for step in steps if (high - low) / step <= 7), steps[-1])
    first = int(np.ceil(low / step - 1e-9))
    return [number * step for number in range(first, int(np.floor(high / step + 1e-9)) + 1)]
