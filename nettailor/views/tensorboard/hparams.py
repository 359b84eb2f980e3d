"""What the HParams tab compares runs by: the choices of a recipe, and the figures of a report.

recipe -> hparams_of -> session_start        report -> metrics_of -> scalars, session_end
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from nettailor.artifacts.report import Report

Hparam = str | float

CHOICES = {
    "task": "task",
    "method": "method.name",
    "backbone": "backbone.name",
    "seed": "seed",
    "cost": "cost",
    **{
        field: field
        for field in (
            "student.skips",
            "student.proxies",
            "student.gates",
            "student.batch_norm",
            "student.rank",
            "student.complexity_weight",
            "student.matching_weight",
            "student.distill_weight",
            "prune.how",
            "prune.drop",
        )
    },
}
"""Columns by the fields of a recipe that they show: the same for every run, so that one table holds many tasks."""

FIRST = ("task", "method", "backbone", "seed")
"""Columns that the tab shows first."""

METRICS = {
    "result/test accuracy": "test accuracy",
    "result/points lost": "points below the teacher",
    "result/MACs left": "MACs, part of the backbone's",
    "result/task parameters": "task parameters, part of the backbone's",
    "result/milliseconds": "ms a picture",
}
"""Tags of the charts that hold a run's results, and what the table calls them."""


def hparams_of(recipe: Mapping[str, Any]) -> dict[str, Hparam]:
    """The choices of a recipe as a tree of plain values; "none" where one is missing, "auto" where a rule chooses."""
    found: dict[str, Hparam] = {}
    for name, field in CHOICES.items():
        value: Any = recipe
        for key in field.split("."):
            value = value.get(key, "none") if isinstance(value, Mapping) else "none"
        found[name] = value if isinstance(value, (str, int, float)) else "auto"
    return found


def metrics_of(report: Report) -> dict[str, float]:
    """A run's results by the tags of their charts; a run without a teacher has lost no points against one."""
    net, backbone, teacher = report.compact, report.backbone, report.teacher
    found = {
        "result/test accuracy": net.test_accuracy,
        "result/MACs left": net.macs / backbone.macs,
        "result/task parameters": net.task_params / backbone.params,
        "result/milliseconds": net.latency_ms,
    }
    if teacher is not None:
        found["result/points lost"] = 100 * (teacher.test_accuracy - net.test_accuracy)
    return found


def session_start(hparams: Mapping[str, Hparam]) -> list[Summary]:
    """What the tab has to know of all runs, and the choices of this one."""
    started = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
    infos = []
    for name, value in hparams.items():
        is_number = isinstance(value, (int, float))
        if is_number:
            started.hparams[name].number_value = value
        else:
            started.hparams[name].string_value = value
        kind = api_pb2.DATA_TYPE_FLOAT64 if is_number else api_pb2.DATA_TYPE_STRING
        infos.append(api_pb2.HParamInfo(name=name, type=kind, differs=name in FIRST))
    metrics = [
        api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=shown) for tag, shown in METRICS.items()
    ]
    experiment = api_pb2.Experiment(hparam_infos=infos, metric_infos=metrics)
    return [
        _summary(metadata.EXPERIMENT_TAG, plugin_data_pb2.HParamsPluginData(experiment=experiment)),
        _summary(metadata.SESSION_START_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=started)),
    ]


def session_end() -> Summary:
    """That the run is finished."""
    ended = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
    return _summary(metadata.SESSION_END_INFO_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=ended))


def _summary(tag: str, content: plugin_data_pb2.HParamsPluginData) -> Summary:
    about = metadata.create_summary_metadata(content)
    return Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)])
