"""`nettailor eval` hands its options on and says what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nettailor.artifacts.confusion import Confusion
from nettailor.jobs import evaluate as job
from nettailor.jobs.evaluate import Evaluation
from tests import fabricated
from tests.conftest import CommandLine


@pytest.mark.parametrize(("split", "which"), [("val", "val pictures"), (None, "pictures")])
def test_what_was_measured_is_said(
    nettailor: CommandLine, delta_folder: Path, monkeypatch: pytest.MonkeyPatch, split: str | None, which: str
) -> None:
    asked: list[tuple[object, ...]] = []

    def measured(run: Path, delta: object, *rest: object) -> Evaluation:
        asked.append((run, *rest))
        confusion = Confusion("d", ["a", "b"], [[3, 1], [1, 3]] if split else [[4, 0], [0, 4]])
        return Evaluation(accuracy=0.75, pictures=8, split=split, balanced_accuracy=0.7, confusion=confusion)

    monkeypatch.setattr(job, "evaluate", measured)
    words = ["--data", "d", "--skip-bad", "--device", "cpu", *(["--split", split] if split else [])]
    status, said, err = nettailor("eval", delta_folder, "--backbone", fabricated.TINY, *words)
    assert status == 0, err
    pairs = "; most often confused: a as b (1), b as a (1)" if split else ""
    assert said == f"{delta_folder}: 0.7500 of 8 {which} right\nmean over the classes 0.7000{pairs}\n"
    assert asked == [(delta_folder, torch.device("cpu"), "d", split, True)]
