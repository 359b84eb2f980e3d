"""Colours for numbers, and charts whose points are where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from nettailor.views.tensorboard.drawing import (
    BLUE,
    BLUES,
    GONE,
    HIGH,
    LEFT,
    ORANGE,
    TOP,
    WIDE,
    Canvas,
    Chart,
    Mark,
    coloured,
    draw_chart,
    shortened,
    text_width,
)


def test_colours_go_from_end_to_end_and_grey_is_for_what_is_not_there() -> None:
    found = coloured(np.array([[0.0, 0.5, 1.0, 2.0, -1.0, np.nan]]), BLUES)
    assert found.dtype == np.uint8
    assert [tuple(pixel) for pixel in found[0].tolist()] == [BLUES[0], BLUES[2], BLUES[4], BLUES[4], BLUES[0], GONE]


@pytest.mark.parametrize("kind", ["dot", "star", "ring"])
def test_a_mark_is_where_its_numbers_say(kind: str) -> None:
    image = draw_chart(Chart("a chart", [Mark(0.0, 0.0), Mark(0.515, 0.5, kind), Mark(1.0, 1.0)], joined=False))
    x, y = LEFT + WIDE / 2, TOP + HIGH / 2
    pixels = {image.getpixel((round(x + a), round(y + b))) for a in range(-5, 6) for b in range(-5, 6)}
    assert (BLUE if kind == "dot" else ORANGE) in pixels


def test_words_are_cut_to_their_room_and_letters_that_the_font_lacks_do_no_harm() -> None:
    assert shortened("a", 12, 100) == "a"
    cut = shortened("a name that is far too long", 12, 60)
    assert cut.endswith("..")
    assert text_width(cut) <= 60
    canvas = Canvas(80, 80)
    canvas.text(5, 40, "鳥 ü", up=True)
    canvas.text(20, 40, "鳥 ü")
    assert len(canvas.image.getcolors() or []) > 1


def test_a_chart_of_one_point_can_be_drawn() -> None:
    image = draw_chart(Chart("one", [Mark(0.2, 1.0, label="alone")], {"teacher": 1.0}, {"dot": "it"}))
    assert image.size > (LEFT + WIDE, TOP + HIGH)
