"""What counts as the same answer, and which pictures are asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from nettailor.artifacts.export_record import Parity
from nettailor.data.task import load_task
from nettailor.export._parity import compare, compare_uncut, hold_to_parity, logits_of_file, logits_of_net, rows_of
from nettailor.export._protocol import ExportError
from tests import fabricated, tiny

BASE = torch.tensor([[3.0, 1.0, 0.0], [0.0, 0.0005, -1.0], [1.0, 2.0, 5.0], [0.0, 4.0, 1.0]])


def off_by(place: tuple[int, int], by: float) -> Tensor:
    changed = BASE.clone()
    changed[place] += by
    return changed


def test_the_same_logits_are_the_same() -> None:
    found = compare(BASE, BASE.clone(), "test")
    assert found == Parity("test", 4, 0.0, 1.0, 0)
    hold_to_parity(found, "it")


def test_a_logit_that_is_further_off_than_rounding_is_refused_with_the_figure() -> None:
    hold_to_parity(compare(BASE, off_by((0, 2), 0.0009), "test"), "it")
    found = compare(BASE, off_by((0, 2), 0.0021), "test")
    with pytest.raises(ExportError, match=r"it answers otherwise .* 0\.0021 .*another class for 0 of 4 test pictures"):
        hold_to_parity(found, "it")


def test_another_class_counts_where_the_two_best_are_apart() -> None:
    tie = compare(BASE, off_by((1, 0), 0.0008), "test")
    assert (tie.disagreements, tie.same_top1) == (0, 0.75)
    hold_to_parity(tie, "it")
    clear = compare(BASE, off_by((0, 1), 2.5), "test")
    assert (clear.disagreements, clear.same_top1) == (1, 0.75)
    with pytest.raises(ExportError, match="another class for 1 of 4"):
        hold_to_parity(clear, "it")


@pytest.mark.parametrize("found", [off_by((0, 0), float("nan")), BASE[:, :2], BASE[:3]])
def test_logits_that_are_none_are_refused(found: Tensor) -> None:
    with pytest.raises(ExportError, match="another shape, or that are not finite; no file was written"):
        hold_to_parity(compare(BASE, found, "test"), "it")


def test_of_a_large_split_pictures_are_spread_evenly(digit_folder: Path) -> None:
    split = load_task(str(digit_folder), 16).test
    assert rows_of(split, 100).tolist() == list(range(24))
    few = rows_of(split, 5)
    assert few.tolist() == [0, 6, 12, 17, 23]
    assert set(split.labels[few].tolist()) == {0, 1, 2, 3}


class Itself:
    """A file that is the net itself, behind the graph's own preprocessing."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self.notes: dict[str, object] = {}
        self.batches: list[int] = []

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        self.batches.append(len(pictures))
        return self._module(pictures)


def test_files_are_asked_in_batches_or_one_by_one_and_for_pictures_as_they_lie(digit_folder: Path) -> None:
    from nettailor.export._protocol import Exportable

    net = fabricated.pruned(tiny.tiny_backbone(16))
    split = load_task(str(digit_folder), net.spec).test
    session = Itself(Exportable(net.for_inference(), net.spec).module(any_size=True))
    rows = rows_of(split, 24)
    expected = logits_of_net(net, split, rows, net.spec)
    torch.testing.assert_close(logits_of_file(session, split, rows, net.spec, raw=False), expected, rtol=0, atol=1e-4)
    assert session.batches == [24]
    logits_of_file(session, split, rows, net.spec, raw=False, any_batch=False)
    assert session.batches == [24] + [1] * 24
    uncut = compare_uncut(session, net, split, rows, net.spec)
    assert uncut is not None, "digits are 8 px, the input is 16 px"
    assert (uncut.of, uncut.pictures, uncut.disagreements) == ("uncut", 24, 0)
    small = fabricated.pruned(tiny.tiny_backbone(8))
    assert compare_uncut(session, small, split, rows, small.spec) is None, "8 px pictures count as cut"
