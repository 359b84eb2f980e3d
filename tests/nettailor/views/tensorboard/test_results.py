"""Results of a finished run: as much as is known, written over what was written before."""

from __future__ import annotations

from pathlib import Path

import pytest

from blocks import Backbone
from nettailor.artifacts.confusion import Confusion
from nettailor.errors import FileError
from nettailor.views.tensorboard.block_graph import Blocks
from nettailor.views.tensorboard.hparams import METRICS, hparams_of
from nettailor.views.tensorboard.results import Results, write_results
from tests import fabricated
from tests.nettailor.views.tensorboard.conftest import graph_in, read


def test_everything_is_written_once_however_often(tmp_path: Path, backbone: Backbone) -> None:
    net = fabricated.pruned(backbone)
    confusion = Confusion("birds", fabricated.CLASSES, [[2, 1, 0], [0, 1, 0], [1, 0, 0]])
    results = Results(
        {"after-pruning": Blocks.of_compact(net)},
        fabricated.report(),
        confusion,
        fabricated.front(),
        hparams_of({}),
        step=70,
    )
    for _ in range(2):
        write_results(tmp_path, results)
    events = read(tmp_path)
    tags = events.Tags()
    assert set(tags["scalars"]) == set(METRICS)
    assert set(tags["images"]) == {"front", "confusion"}
    assert [event.step for event in events.Scalars("result/test accuracy")] == [70]
    assert len(graph_in(tmp_path / "graphs" / "3-after-pruning").node) > 6


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="file/events"):
        write_results(tmp_path / "file", Results({}, fabricated.report()))
