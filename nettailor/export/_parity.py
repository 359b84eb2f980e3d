"""The proof: what a file answers in its own runtime, beside what the compact net answers, on real pictures.

    pictures, Session -> logits -> compare(with the net's) -> Parity -> hold_to_parity: ExportError, or nothing

Top-1 may differ where the two best logits are within `TOLERANCE`: rounding decides there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from blocks import InputSpec
from blocks.batching import batch_slices
from nettailor.artifacts.export_record import Parity
from nettailor.data.batches import evaluation_size, normalise
from nettailor.data.images import array_of, read_rgb, read_square
from nettailor.data.task import Split
from nettailor.export._protocol import ExportError, Session

TOLERANCE = 1e-3  # between logits
CPU = torch.device("cpu")


def rows_of(split: Split, most: int) -> Tensor:
    """At most so many rows of a split, evenly spread over it, because it is sorted by class."""
    count = len(split)
    return torch.arange(count) if count <= most else torch.linspace(0, count - 1, most).round().long()


def as_read(pictures: Tensor, spec: InputSpec, raw: bool) -> Tensor:
    """uint8 squares (B, 3, S, S) as a file takes them: as they are, or normalised where it has no preprocessing."""
    return normalise(pictures, spec, CPU).contiguous() if raw else pictures


@torch.no_grad()
def logits_of_net(net: nn.Module, split: Split, rows: Tensor, spec: InputSpec) -> Tensor:
    """Logits (N, classes) of a net on the CPU."""
    parts = batch_slices(len(rows), evaluation_size(spec))
    return torch.cat([net(normalise(split.batch(rows[part]), spec, CPU)) for part in parts])


def logits_of_file(
    session: Session, split: Split, rows: Tensor, spec: InputSpec, raw: bool, any_batch: bool = True
) -> Tensor:
    """Logits (N, classes) of a file in its runtime."""
    parts = batch_slices(len(rows), evaluation_size(spec) if any_batch else 1)
    return torch.cat([session(as_read(split.batch(rows[part]), spec, raw)) for part in parts])


def compare(reference: Tensor, found: Tensor, which: str) -> Parity:
    """Largest difference and agreement of two tensors of logits (N, classes).

    Args:
        which: the pictures they are of, in words.
    """
    if reference.shape != found.shape or not torch.isfinite(found).all():
        return Parity(which, len(reference), largest_difference=None, same_top1=0.0, disagreements=len(reference))
    differ = reference.argmax(1) != found.argmax(1)
    apart = torch.zeros(len(reference), dtype=torch.bool)
    if reference.shape[1] > 1:
        best = reference.topk(2).values
        apart = best[:, 0] - best[:, 1] > TOLERANCE
    largest = float((reference - found).abs().max())
    return Parity(which, len(reference), largest, 1 - float(differ.float().mean()), int((differ & apart).sum()))


def hold_to_parity(parity: Parity, what: str) -> None:
    """Refuse a file that answers otherwise.

    Raises:
        ExportError: a logit is more than `TOLERANCE` off, or another top-1 where the two best are further apart than that.
    """
    if parity.largest_difference is None:
        raise ExportError(f"{what} gives logits of another shape, or that are not finite; no file was written")
    if parity.disagreements or parity.largest_difference > TOLERANCE:
        raise ExportError(
            f"{what} answers otherwise than the compact net: largest difference of logits "
            f"{parity.largest_difference:.2g} ({TOLERANCE:g} is allowed), another class for {parity.disagreements} of "
            f"{parity.pictures} {parity.of} pictures; no file was written"
        )


@torch.no_grad()
def compare_uncut(session: Session, net: nn.Module, split: Split, rows: Tensor, spec: InputSpec) -> Parity | None:
    """The same for pictures as they lie on disk, which the file has to cut; None where all are of the input's size.

    Nothing is held to this: the file's resizing may be one grey level off (`_preprocessing`).
    """
    names = [split.names[row] for row in rows.tolist()]
    said: Sequence[tuple[Tensor, Tensor]] = [
        pair for name in names if (pair := _uncut(session, net, split, name, spec))
    ]
    if not said:
        return None
    ours, theirs = (torch.cat(list(side)) for side in zip(*said, strict=True))
    return compare(ours, theirs, "uncut")


def _uncut(session: Session, net: nn.Module, split: Split, name: str, spec: InputSpec) -> tuple[Tensor, Tensor] | None:
    picture = read_rgb(split.source, name)
    if picture.size == (spec.size, spec.size) or min(picture.size) < 2:
        return None
    pixels = torch.from_numpy(array_of(picture)).permute(2, 0, 1)[None]
    square = read_square(split.source, name, spec.size, spec.interpolation, spec.crop)
    return net(normalise(square[None], spec, CPU)), session(pixels)
