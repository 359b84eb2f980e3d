"""Networks to export, and what tests do with every format: convert, write, open, compare."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from blocks import CompactNet
from blocks.counting import count_params, tensors_of
from nettailor import export
from nettailor.data.batches import normalise
from nettailor.export._protocol import Exportable, Session

NOTES = {"classes": ["cat", "dög", "emu"], "parity": None}
CPU = torch.device("cpu")


def pictures(count: int, height: int, width: int | None = None) -> Tensor:
    """uint8 noise (count, 3, height, width)."""
    return torch.randint(0, 256, (count, 3, height, width or height), dtype=torch.uint8)


def written(net: CompactNet, to: str, folder: Path, raw: bool = False) -> Session:
    """A net in a format, opened again; its size is held to what a file may have."""
    format = export.find(to)
    format.need()
    folded = net.for_inference()
    path = folder / f"net{format.suffix}"
    format.convert(Exportable(folded, net.spec, raw)).write(path, NOTES)
    size = sum(file.stat().st_size for file in format.files(path))
    assert size <= 1.1 * 4 * count_params(tensors_of(folded).values()) + 100_000
    session = format.open(path)
    assert session.notes == NOTES
    return session


@torch.no_grad()
def assert_same(net: CompactNet, session: Session, count: int, raw: bool = False) -> None:
    """A file answers as its net does, and not with the same for all pictures."""
    squares = pictures(count, net.spec.size)
    ready = normalise(squares, net.spec, CPU)
    found, expected = session(ready.contiguous() if raw else squares), net(ready)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < 1e-3 * max(1.0, float(expected.abs().max()))
    assert count == 1 or float((expected[0] - expected[1]).abs().max()) > 0
