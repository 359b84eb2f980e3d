"""The HParams tab: the choices of every recipe under the same names, and results under the tags of their charts."""

from __future__ import annotations

from pathlib import Path

from tensorboard.plugins.hparams import api_pb2, metadata

from nettailor.jobs.recipe import Recipe
from nettailor.views.tensorboard.events import At, write_events
from nettailor.views.tensorboard.hparams import CHOICES, METRICS, hparams_of, metrics_of, session_end, session_start
from tests.fabricated import report, without_teacher
from tests.nettailor.views.tensorboard.conftest import read


def test_every_method_has_the_same_columns() -> None:
    ours, paper = (hparams_of(Recipe(task="birds").with_method(name).as_dict()) for name in ("nettailor", "paper"))
    assert list(ours) == list(paper) == list(CHOICES)
    assert "none" not in ours.values()
    assert (ours["task"], ours["method"], paper["method"]) == ("birds", "nettailor", "paper")
    assert ours["student.skips"] == 3
    assert (ours["student.matching_weight"], paper["student.matching_weight"]) == ("auto", 10.0)
    assert hparams_of({"task": "birds"})["student.skips"] == "none"


def test_results_are_fractions_of_the_backbone_and_points_against_the_teacher() -> None:
    found = metrics_of(report())
    assert set(found) == set(METRICS)
    assert round(found["result/points lost"], 6) == 0.5
    assert found["result/MACs left"] == 0.6
    assert found["result/task parameters"] == 0.25
    assert "result/points lost" not in metrics_of(without_teacher())


def test_tensorboard_reads_the_session(tmp_path: Path) -> None:
    hparams = hparams_of(Recipe(task="birds", seed=4).as_dict())
    write_events(tmp_path, "x", [At(summary) for summary in (*session_start(hparams), session_end())])
    content = read(tmp_path).PluginTagToContent(metadata.PLUGIN_NAME)
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    assert {info.name.tag for info in experiment.metric_infos} == set(METRICS)
    assert [info.name for info in experiment.hparam_infos if info.differs] == ["task", "method", "backbone", "seed"]
    started = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    assert started.hparams["task"].string_value == "birds"
    assert started.hparams["seed"].number_value == 4
    ended = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
    assert ended.status == api_pb2.STATUS_SUCCESS
