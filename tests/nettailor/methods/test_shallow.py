"""A shallower cut: its size is at least what is asked for, whichever run it is compared with."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from blocks import Backbone
from nettailor.data.task import Task
from nettailor.jobs.recipe import Recipe
from nettailor.methods._protocol import Context, FinishedRun
from nettailor.methods.shallow import METHOD, Settings
from nettailor.training.config import TeacherConfig
from nettailor.training.run import Fitted, Run


def finished(macs: int, of: int) -> FinishedRun:
    figures = SimpleNamespace(macs=macs), SimpleNamespace(macs=of)
    return FinishedRun(
        SimpleNamespace(compact=figures[0], backbone=figures[1], epochs={"teacher": 8, "prune": 1.5}), ()
    )


def test_it_takes_over_another_runs_part_of_the_macs_and_never_more_than_all() -> None:
    assert METHOD.sized_like == "nettailor"
    assert METHOD.sized(Settings(), finished(3, 12)) == Settings(macs=0.25, passes=9.5)
    assert METHOD.sized(Settings(macs=0.1), finished(13, 12)) == Settings(macs=1.0, passes=9.5)
    assert METHOD.stages(Recipe(method=Settings(), teacher=TeacherConfig(epochs=8))) == {"shallow": 8}


def test_the_size_of_its_own_first_blocks_asks_for_no_block_more(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    nets = []
    monkeypatch.setattr(METHOD, "_fitted", lambda context, *_: (nets.append(METHOD.build(context)), nets[-1])[1])
    for depth in (1, 4):
        macs = backbone.stem_cost.macs + sum(block.macs for block in backbone.block_costs[:depth])
        own = replace(METHOD.sized(Settings(), finished(macs, backbone.cost.macs)), passes=None)
        run = Run(fitted={"shallow": Fitted({}, 0.0, epochs=3)})
        recipe = Recipe(method=own, teacher=TeacherConfig(lr=2e-3))
        trained = METHOD.train(Context(recipe, backbone, task, run, None, ""))  # type: ignore[arg-type]
        assert [path.target for path in trained.net.paths] == list(range(1, depth + 1))
        assert trained.epochs == {"shallow": 3}
