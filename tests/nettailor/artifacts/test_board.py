"""The board on disk: figures over seeds, rows by their names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nettailor.artifacts.board import Board, Figure
from nettailor.artifacts.weight_of_tasks import weigh
from nettailor.errors import FileError
from tests import fabricated


def test_figures_are_means_and_sample_deviations() -> None:
    assert (Figure.of([1.0, 3.0]).mean, Figure.of([1.0, 3.0]).std) == (2.0, pytest.approx(2**0.5))
    assert Figure.of([1.0]) == Figure(1.0, 0.0)


@pytest.mark.parametrize(
    ("figure", "text"),
    [(Figure(0.5, 0.0), "50.00"), (Figure(0.98765, 0.0123), "98.77 ± 1.23"), (Figure(1.0, 0.0), "100.00")],
)
def test_percent_has_a_deviation_where_there_is_one(figure: Figure, text: str) -> None:
    assert figure.percent() == text


def test_rows_are_found_by_their_names() -> None:
    board = fabricated.board()
    assert board.row("nettailor") is board.rows[1]
    assert board.row("shallow") is None


def test_a_board_survives_its_file_and_one_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    board = fabricated.board()
    board.rows[1].weight = weigh([fabricated.report()])
    board.write(path)
    assert Board.read(path) == board
    tree = json.loads(path.read_text())
    for row in tree["rows"]:
        del row["weight"]
    path.write_text(json.dumps(tree))
    assert Board.read(path) == fabricated.board(), "boards of older versions do not say what tasks weigh"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(FileError, match="format: .*is it a board of another version"):
        Board.read(path)
