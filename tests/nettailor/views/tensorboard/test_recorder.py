"""What a run writes while it trains: few charts on one time axis, and the same ones after a kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from blocks import Backbone, Plan, TailoredNet
from nettailor.data.task import Task, load_task
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.run import Run
from nettailor.views.tensorboard import recorder
from nettailor.views.tensorboard.events import event_writer
from nettailor.views.tensorboard.hparams import hparams_of
from nettailor.views.tensorboard.recorder import OVER_TIME, SEARCH, TensorBoard
from tests.nettailor.training.conftest import Stopped, everything, fit_small
from tests.nettailor.views.tensorboard.conftest import read
from tests.tiny import tiny_backbone

STEPS = 3  # of a pass: 48 pictures in batches of 16


class Killed(TensorBoard):
    """One that ends the run just before or just after the figures of a pass are written; its checkpoint is not yet."""

    def __init__(self, *given: Any, at: tuple[str, int], written: bool) -> None:
        super().__init__(*given)
        self._at, self._written = at, written

    def passed(self, stage: str, epoch: int, *rest: Any) -> None:
        if (stage, epoch) == self._at:
            if self._written:
                super().passed(stage, epoch, *rest)
            raise Stopped
        super().passed(stage, epoch, *rest)


def run_in(folder: Path, backbone: Backbone, task: Task, kind: type[TensorBoard] = TensorBoard, **how: Any) -> Any:
    """Train all stages and record them."""
    with event_writer(folder) as writer:
        checkpoints = folder / "checkpoint"
        made = kind(writer, folder, checkpoints, "birds", hparams_of({}), **how)
        ended = everything(backbone, task, Run(checkpoints=Checkpoints(checkpoints), recorder=made))
        made.graph("after-pruning", TailoredNet(backbone, 4, Plan(skips=3)))
        return ended


@pytest.fixture(scope="module")
def whole(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[EventAccumulator, Any]:
    """A run that nothing stopped: its events, and what it ended with."""
    folder = tmp_path_factory.mktemp("whole")
    ended = run_in(folder, tiny_backbone(), load_task(str(digit_folder), 16))
    return read(folder), ended


def scalars_of(events: EventAccumulator) -> dict[str, list[tuple[int, float]]]:
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_all_stages_are_on_one_time_axis_in_a_few_charts(whole: tuple[EventAccumulator, Any]) -> None:
    events, _ = whole
    tags = events.Tags()
    assert set(tags["scalars"]) == {
        *("loss/total", "loss/cross entropy", "loss/distillation", "loss/complexity"),
        *("accuracy/validation", "complexity/expected", recorder.PATHS_MACS),
    }
    assert tags["histograms"] == ["gates/universal blocks", "gates/proxies"]
    assert set(tags["images"]) == {OVER_TIME, SEARCH}
    scalars = scalars_of(events)
    steps = [step for step, _ in scalars["accuracy/validation"]]
    assert steps == list(range(STEPS, STEPS * len(steps) + 1, STEPS)), "without a gap from the teacher to recovery"
    teacher, student = 3, 3
    assert [step for step, _ in scalars["loss/complexity"]] == steps[teacher : teacher + student]
    left = [value for _, value in scalars[recorder.PATHS_MACS]]
    assert left[0] > 1, "blocks and proxies"
    assert left == sorted(left, reverse=True)
    assert events.Images(OVER_TIME)[0].step == steps[teacher], "the first map is there as soon as there are gates"
    table = next(event for event in events.Tensors("stages/text_summary")[-1:]).tensor_proto.string_val[0].decode()
    assert f"| student | {teacher * STEPS} | {(teacher + student) * STEPS} |" in table
    assert "| recover |" in table
    assert "custom_scalars__config__" in tags["tensors"]


KILLS: list[Any] = [("prune-1", 2, True), pytest.param("prune-1", 2, False, marks=pytest.mark.slow)]
KILLS.append(pytest.param("student", 2, True, marks=pytest.mark.slow))


@pytest.mark.parametrize(("stage", "epoch", "written"), KILLS)
def test_a_run_that_was_killed_draws_on(
    stage: str,
    epoch: int,
    written: bool,
    backbone: Backbone,
    task: Task,
    tmp_path: Path,
    whole: tuple[EventAccumulator, Any],
) -> None:
    unbroken, (tensors, paths, value) = whole
    with pytest.raises(Stopped):
        run_in(tmp_path / "killed", backbone, task, Killed, at=(stage, epoch), written=written)
    again, same_paths, same_value = run_in(tmp_path / "killed", backbone, task)
    assert (same_paths, same_value) == (paths, value)
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
    killed = read(tmp_path / "killed")
    assert scalars_of(killed) == scalars_of(unbroken), "each step once, with its value"
    maps = [events.Images(OVER_TIME)[-1] for events in (unbroken, killed)]
    assert maps[0].step == maps[1].step == killed.Scalars("loss/total")[-1].step, "of the whole run"
    assert maps[0].encoded_image_string == maps[1].encoded_image_string, "with the passes before the kill"
    assert len(killed.Histograms("gates/proxies")) == len(unbroken.Histograms("gates/proxies"))


def test_a_method_without_gates_has_its_charts_and_no_map(task: Task, tmp_path: Path) -> None:
    with event_writer(tmp_path) as writer:
        fit_small(task, Run(recorder=TensorBoard(writer, tmp_path, tmp_path / "checkpoint", "birds", hparams_of({}))))
    tags = read(tmp_path).Tags()
    assert tags["scalars"] == ["loss/cross entropy", "accuracy/validation"]
    assert tags["images"] == tags["histograms"] == []


def test_a_long_stage_draws_in_between(
    backbone: Backbone, task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = TailoredNet(backbone, 4, Plan(skips=1)).eval()
    monkeypatch.setattr(recorder, "PICTURE_EVERY", 0.0)
    monkeypatch.setattr(recorder, "DRAWING_PART", 0.0)
    with event_writer(tmp_path) as writer:
        made = TensorBoard(writer, tmp_path, tmp_path / "checkpoint", "birds", hparams_of({}))
        made.begin("student", 0, 4)
        before = torch.get_rng_state()
        for epoch in (1, 2):
            made.gates("student", epoch, student)
            made.passed("student", epoch, {"ce": 1.0}, {"val_accuracy": 0.5, "expected_complexity": 1.0}, False)
        made.graph("after-pruning", student)
    assert torch.equal(torch.get_rng_state(), before), "a training would go on otherwise"
    assert [event.step for event in read(tmp_path).Images(OVER_TIME)] == [4, 8]
    assert made.step == 8
    assert (tmp_path / "graphs" / "3-after-pruning").is_dir()


def test_source_and_new_classes_stand_beside_validation(tmp_path: Path) -> None:
    with event_writer(tmp_path) as writer:
        made = TensorBoard(writer, tmp_path, tmp_path / "checkpoint", "birds", hparams_of({}))
        made.begin("teacher", 0, 4)
        metrics = {"val_accuracy": 0.5, "source_accuracy": 0.3, "probe_accuracy": 0.4}
        made.passed("teacher", 1, {"ce": 1.0, "source": 2.0}, metrics, True)
    assert read(tmp_path).Tags()["scalars"] == [
        "loss/cross entropy",
        "loss/source",
        "accuracy/validation",
        "accuracy/source",
        "accuracy/new classes",
    ]
