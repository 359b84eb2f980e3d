"""The table that ends an export: what was written, and how it was proven."""

from __future__ import annotations

from rich.table import Table

from nettailor.artifacts.export_record import ExportedFile, Int8Figures, Parity


def export_table(file: ExportedFile) -> Table:
    """One row per figure: its value, and what it is to be seen beside."""
    table = Table(title=f"{file.task} as {file.to}, {file.precision}, {file.runtime}", title_justify="left")
    for heading in ("", "file", "beside"):
        table.add_column(heading, justify="left" if not heading else "right")
    latency, parity = file.latency, file.parity
    weights = f"{file.bytes / (4 * file.params):.2f} of {file.params:,} float32 parameters"
    rows = [
        ("bytes", f"{file.bytes:,}", weights),
        ("M MACs", f"{file.macs / 1e6:.2f}", f"{file.macs / file.backbone_macs:.2f} of the backbone's"),
        (
            "ms per picture",
            f"{latency.ms:.2f}",
            f"{latency.ratio:.2f} [{latency.low:.2f}, {latency.high:.2f}] of the backbone's {latency.backbone_ms:.2f}",
        ),
        *_parity_rows(parity, "logits", "the compact net's"),
    ]
    if file.uncut is not None:
        rows += _parity_rows(file.uncut, "logits, resized in the graph", "resized by nettailor")
    if file.int8 is not None:
        rows += _int8_rows(file.int8)
    for row in rows:
        table.add_row(*row)
    return table


def _parity_rows(parity: Parity, what: str, beside: str) -> list[tuple[str, str, str]]:
    largest = "not finite" if parity.largest_difference is None else f"{parity.largest_difference:.1e} off"
    pictures = f"{parity.pictures} {parity.of} pictures"
    return [(what, largest, beside), ("same class", f"{parity.same_top1:.2%}", pictures)]


def _int8_rows(figures: Int8Figures) -> list[tuple[str, str, str]]:
    drop = f"{-figures.drop + 0.0:+.2f} points, {figures.drop_allowed:g} allowed; calibrated on {figures.calibrated_on}"
    test = 100 * (figures.test_accuracy - figures.test_accuracy_float32)
    return [
        (f"accuracy, {figures.val} val", f"{figures.val_accuracy:.2%}", drop),
        (f"accuracy, {figures.test} test", f"{figures.test_accuracy:.2%}", f"{test:+.2f} points"),
    ]
