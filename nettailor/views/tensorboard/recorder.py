"""What a run writes for TensorBoard while it trains: at most eight charts on one time axis, gates as pictures and histograms.

Recorder calls of training -> Timeline (kept with the checkpoints) -> scalars, histograms after every pass
                                                                   -> pictures at the end of every stage
                                                                   -> graphs/WHEN, a TensorBoard run of its own
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import FileWriter
from torch.utils.tensorboard.summary import custom_scalars, histogram, scalar, text

from blocks import TailoredNet
from nettailor.views.tensorboard import pictures
from nettailor.views.tensorboard.block_graph import Blocks, block_graph
from nettailor.views.tensorboard.drawing import Mark
from nettailor.views.tensorboard.events import picture, write_events
from nettailor.views.tensorboard.hparams import Hparam, session_start
from nettailor.views.tensorboard.timeline import Timeline

GRAPHS = {
    "before-training": "1-before-training",
    "after-training": "2-after-training",
    "after-pruning": "3-after-pruning",
}
"""Folders of the graphs of a run by what is drawn, so named that TensorBoard lists them in their order."""
LAST = "after-pruning"

TERMS = {
    "total": "loss/total",
    "ce": "loss/cross entropy",
    "distill": "loss/distillation",
    "complexity": "loss/complexity",
    "matching": "loss/matching",
}
METRICS = {
    "val_accuracy": "accuracy/validation",
    "source_accuracy": "accuracy/source",
    "probe_accuracy": "accuracy/new classes",
    "expected_complexity": "complexity/expected",
}
PATHS_MACS = "complexity/MACs of the paths left"
OF_BLOCKS, OF_PROXIES, OVER_TIME, SEARCH = "gates/universal blocks", "gates/proxies", "gates/over time", "search"

LAYOUT = {
    "losses": {"all terms": ["Multiline", ["loss/.*"]], "without the total": ["Multiline", ["loss/(?!total).*"]]},
    "accuracy": {"on validation": ["Multiline", ["accuracy/.*"]]},
    "complexity, as a part of all universal blocks' cost": {"expected, and left": ["Multiline", ["complexity/.*"]]},
}
"""Of the Custom Scalars tab."""

BINS = np.linspace(0, 1, 31)  # of gates
DRAWING_PART = 300  # pictures wait for this many times what the last ones took: they cost a run next to nothing
PICTURE_EVERY = 60.0  # seconds between two maps of gates inside a long stage


class TensorBoard:
    """A `nettailor.training.recorder.Recorder` that writes into a run's folder.

    Args:
        writer: of the folder's events.
        folder: the run's; graphs are written below it.
        checkpoints: where the timeline lies until the run is finished.
        task: in titles.
        hparams: what the HParams tab compares runs by.
    """

    def __init__(
        self, writer: FileWriter, folder: Path, checkpoints: Path, task: str, hparams: Mapping[str, Hparam]
    ) -> None:
        self._writer, self._folder, self._task = writer, folder, task
        self._timeline = Timeline.read(checkpoints)
        self._student: TailoredNet | None = None
        self._gates: dict[str, list[float]] = {}
        self._drawn, self._drawing, self._behind = -math.inf, 0.0, False
        if not self._timeline.stages:
            for summary in (custom_scalars(LAYOUT), *session_start(hparams)):
                self._add(summary, 0)
            writer.flush()

    @property
    def step(self) -> int:
        """Optimiser steps of all stages so far."""
        return self._timeline.now

    def begin(self, stage: str, done: int, steps: int, /) -> None:
        """Take down where a stage stands."""
        self._timeline.begin(stage, done, steps)

    def gates(self, stage: str, epoch: int, student: TailoredNet, /) -> None:
        """Keep the gates of a pass; their histograms are written with its figures."""
        timeline, self._student = self._timeline, student
        if epoch <= timeline.stages[stage].recorded:
            return
        live, gates = student.live_paths(), student.gates().detach().cpu()
        kept = torch.full_like(gates, float("nan"))
        for path in live:
            kept[path.place] = gates[path.place]
        timeline.gates[stage, epoch] = kept
        paths_macs = sum(student.costs[path].macs for path in live)
        timeline.stages[stage].paths_macs = paths_macs / sum(block.macs for block in student.backbone.block_costs)
        self._gates = {
            tag: [float(gates[path.place]) for path in live if path.is_universal == universal]
            for tag, universal in ((OF_BLOCKS, True), (OF_PROXIES, False))
        }

    def passed(
        self, stage: str, epoch: int, losses: dict[str, float], metrics: dict[str, float], over: bool, /
    ) -> None:
        """Write the figures of a pass; at the end of a stage, and every minute, the pictures, but never too often."""
        timeline = self._timeline
        entry = timeline.stages[stage]
        entry.done = epoch
        step = timeline.step(stage, epoch)
        if epoch > entry.recorded:
            values = {TERMS.get(name, f"loss/{name}"): value for name, value in losses.items()}
            values |= {METRICS.get(name, name): value for name, value in metrics.items()}
            if "expected_complexity" in metrics and entry.paths_macs is not None:
                values[PATHS_MACS] = entry.paths_macs
            for tag, value in values.items():
                self._add(scalar(tag, value), step)
            for tag, gates in self._gates.items():
                if gates:
                    self._add(histogram(tag, np.array(gates), BINS), step)
            entry.recorded, entry.val_accuracy = epoch, metrics.get("val_accuracy")
            if over:
                self._add(text("stages", self._table()), step)
            self._behind = True
            since = time.perf_counter() - self._drawn
            if since > (DRAWING_PART * self._drawing if over else max(PICTURE_EVERY, DRAWING_PART * self._drawing)):
                self._draw(step)
        self._gates = {}
        self._writer.flush()
        timeline.write()

    def graph(self, when: str, student: TailoredNet, /) -> None:
        """Write the block graph as a TensorBoard run of its own, which replaces one that is there."""
        self._student = student
        if when == LAST and self._behind:
            self._draw(self.step)
            self._writer.flush()
        write_events(
            self._folder / "graphs" / GRAPHS.get(when, when), "graph", [block_graph(Blocks.of_student(student))]
        )

    def text(self, tag: str, words: str, /) -> None:
        """Write something to read."""
        self._add(text(tag, words), self.step)

    def _table(self) -> str:
        """Which part of the time axis is which stage, as Markdown."""
        rows, first = ["| stage | from step | to step | passes | accuracy on validation |", "|---|--:|--:|--:|--:|"], 0
        for name, stage in self._timeline.stages.items():
            last = first + stage.done * stage.steps
            value = "" if stage.val_accuracy is None else f"{stage.val_accuracy:.2%}"
            rows.append(f"| {name} | {first} | {last} | {stage.done} | {value} |")
            first = last
        return "\n".join(rows)

    def _draw(self, step: int) -> None:
        """The map of gates, and the search as far as it is."""
        student, timeline = self._student, self._timeline
        if student is None or not timeline.gates:
            return
        began = time.perf_counter()
        self._add(
            picture(OVER_TIME, pictures.gates_over_time(timeline, student.paths, student.backbone.block_names)), step
        )
        teacher = timeline.stages.get("teacher")
        levels = {} if teacher is None or teacher.val_accuracy is None else {"teacher": teacher.val_accuracy}
        if tried := self._tried(student):
            self._add(picture(SEARCH, pictures.search(self._task, tried, levels)), step)
        self._drawn, self._behind = time.perf_counter(), False
        self._drawing = self._drawn - began

    def _tried(self, student: TailoredNet) -> list[Mark]:
        """The student and what rounds and recoveries have come to."""
        backbone, found = student.backbone, []
        blocks, fixed = sum(block.macs for block in backbone.block_costs), self._fixed
        for name, stage in self._timeline.stages.items():
            if stage.paths_macs is not None and stage.val_accuracy is not None:
                kind, label = "ring" if name.startswith("recover") else "dot", "student" if name == "student" else ""
                found.append(
                    Mark((stage.paths_macs * blocks + fixed) / backbone.cost.macs, stage.val_accuracy, kind, label)
                )
        return found

    @cached_property
    def _fixed(self) -> int:
        """MACs of stem and head, counted once."""
        assert self._student is not None
        with torch.random.fork_rng(devices=[]):  # counting makes a head, whose first weights are random
            return self._student.fixed_cost().macs

    def _add(self, summary: Summary, step: int) -> None:
        self._writer.add_summary(summary, step)
