"""A shallower cut: its size is at least what is asked for, whichever run it is compared with."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from blocks import Backbone
from nettailor.data.task import Task
from nettailor.jobs.recipe import Recipe
from nettailor.methods._protocol import Context
from nettailor.methods.shallow import METHOD, Settings
from nettailor.training.config import TeacherConfig
from nettailor.training.run import Fitted, Run


def report(macs: int, of: int) -> object:
    return SimpleNamespace(compact=SimpleNamespace(macs=macs), backbone=SimpleNamespace(macs=of))


def test_it_takes_over_another_runs_part_of_the_macs_and_never_more_than_all() -> None:
    assert METHOD.sized_like == "nettailor"
    assert METHOD.sized(Settings(), report(3, 12)) == Settings(macs=0.25)  # type: ignore[arg-type]
    assert METHOD.sized(Settings(macs=0.1), report(13, 12)) == Settings(macs=1.0)  # type: ignore[arg-type]
    assert METHOD.stages(Recipe(teacher=TeacherConfig(epochs=8))) == {"shallow": 8}


def test_the_size_of_its_own_first_blocks_asks_for_no_block_more(
    backbone: Backbone, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[object, ...]] = []
    fitted = Fitted({}, 0.0, epochs=3)
    monkeypatch.setattr("nettailor.methods.shallow.fit_to_labels", lambda *words: (given.append(words), fitted)[1])
    for depth in (1, 4):
        macs = backbone.stem_cost.macs + sum(block.macs for block in backbone.block_costs[:depth])
        own = METHOD.sized(Settings(), report(macs, backbone.cost.macs))  # type: ignore[arg-type]
        recipe = Recipe(method=own, teacher=TeacherConfig(label_smoothing=0.1, layer_decay=0.5))
        trained = METHOD.train(Context(recipe, backbone, task, Run(), None, ""))  # type: ignore[arg-type]
        assert [path.target for path in trained.net.paths] == list(range(1, depth + 1))
        assert trained.epochs == {"shallow": 3}
        groups, smoothing = given[-1][3], given[-1][7]
        assert smoothing == 0.1, "it is trained with all of the section `teacher`"
        assert min(group["lr"] for group in groups) == pytest.approx(2e-3 * 0.5 ** (depth + 1))  # type: ignore[attr-defined]
