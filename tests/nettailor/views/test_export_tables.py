"""The table that ends an export says every figure of its record."""

from __future__ import annotations

import io

from rich.console import Console

from nettailor.artifacts.export_record import ExportedFile, Int8Figures, Parity
from nettailor.views.export_tables import export_table
from tests.nettailor.artifacts.test_export_record import exported


def text_of(file: ExportedFile) -> str:
    shown = io.StringIO()
    Console(file=shown, width=160).print(export_table(file))
    return shown.getvalue()


def test_it_holds_size_time_and_parity() -> None:
    said = text_of(exported())
    for figure in (
        "birds as onnx, float32, onnxruntime 1.20",
        "40,000",
        "1.11 of 9,000 float32",
        "0.60 of the backbone's",
    ):
        assert figure in said
    assert "0.50 [0.45, 0.56] of the backbone's 3.00" in said
    assert "1.5e-05 off" in said
    assert "95.00%" in said
    assert "20 test pictures" in said
    assert "resized" not in said
    assert "accuracy" not in said


def test_it_says_what_int8_costs_and_what_was_not_finite() -> None:
    int8 = Int8Figures(512, 1.0, 0.25, 24, 0.9, 0.9025, 20, 0.88, 0.89)
    said = text_of(exported(parity=Parity("all", 3, None, 0.0), uncut=Parity("uncut", 3, 0.1, 1.0), int8=int8))
    for figure in ("not finite", "logits, resized in the graph", "accuracy, 24 val", "-0.25 points, 1 allowed"):
        assert figure in said
    assert "calibrated on 512" in said
    assert "-1.00 points" in said, "on the test pictures"


def test_a_drop_of_nothing_has_no_minus() -> None:
    said = text_of(exported(int8=Int8Figures(512, 0.0, 0.0, 24, 0.9, 0.9, 20, 0.88, 0.88)))
    assert "+0.00 points, 0 allowed" in said
