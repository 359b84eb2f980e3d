"""What trainings of a run share."""

from __future__ import annotations

import time

import torch

from nettailor.training.run import Fitted, Run


def test_the_default_keeps_and_shows_nothing_and_shares_nothing() -> None:
    one, other = Run(), Run()
    assert one.checkpoints.folder is None
    one.fitted["teacher"] = Fitted({}, 1.0)
    with one.timed("teacher"):
        time.sleep(0.01)
    assert (other.fitted, other.seconds.totals) == ({}, {})
    assert one.seconds.totals["teacher"] >= 0.01


def test_the_search_for_a_stages_rate_counts_as_passes_of_it() -> None:
    run = Run()
    run.fitted |= {"teacher": Fitted({}, 1.0, 5), "teacher-rate": Fitted({}, 1.0, 3), "student": Fitted({}, 1.0, 7)}
    assert (run.passes("teacher"), run.passes("student")) == (8, 7)


def test_it_autocasts_where_that_is_wanted() -> None:
    x = torch.ones(2, 2)
    for precision, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with Run(precision=precision).autocast():
            assert (x @ x).dtype == kind
