"""What a pruning tries."""

from __future__ import annotations

from pathlib import Path

import pytest

from nettailor.data.task import load_task
from nettailor.pruning.config import PruneConfig
from nettailor.pruning.prune import prune
from nettailor.training.config import StudentConfig
from nettailor.training.loop import Run
from nettailor.training.stages import tailor
from tests import tiny


@pytest.mark.parametrize(
    ("remove", "blocks"),
    [((1, 0, 2), [1, 0, 2]), ((0,), [0]), ((1, 2), [1, 2]), ((6,), [0]), ((6, 0), [0]), ((0, 6), [0])],
)
def test_a_users_own_0_is_tried_like_any_number_and_the_way_out_only_where_nothing_else_is(
    digit_folder: Path, remove: tuple[int, ...], blocks: list[int]
) -> None:
    """Six blocks without proxies hold together for no number but 0."""
    backbone = tiny.tiny_backbone()
    task = load_task(str(digit_folder), 16)
    skips = 0 if 6 in remove else 2
    student = tailor(backbone, task, StudentConfig(skips=skips, warm_start=0), Run())
    config = PruneConfig(how="paper", remove=remove, proxies_below=0.0, epochs=1, drop=100)
    pruned = prune(student, backbone.teacher(4), task, config, StudentConfig(skips=skips, batch=48), Run())
    universal = [[key for key in trial.removed if key[0] == "G"] for trial in pruned.trials]
    assert [len(keys) for keys in universal] == blocks
