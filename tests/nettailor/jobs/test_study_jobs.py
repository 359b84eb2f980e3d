"""What a study runs: a cell measures its layers behind its report, and a distance its two sides on frozen features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision

from blocks import Backbone, InputSpec
from nettailor.artifacts.run_folder import RunFolder
from nettailor.artifacts.study import Distance, LayerChanges
from nettailor.backbones.load import load_backbone
from nettailor.data.config import DataConfig
from nettailor.data.sample import sampled
from nettailor.data.task import load_task
from nettailor.files import write_json
from nettailor.jobs import study_jobs as module
from nettailor.jobs.job import Job, run_job
from nettailor.jobs.recipe import Recipe
from nettailor.jobs.study_file import DistanceFile, PretrainedOn
from nettailor.jobs.study_jobs import CellJob, DistanceJob, features, is_finished, layer_changes
from nettailor.progress import Display
from nettailor.training.probe import features as probe_features
from nettailor.training.run import Run

QUIET = Display(quiet=True)


def test_a_cell_s_layers_are_measured_once_behind_its_report(
    digit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def report(self: Job, display: Display, backbone: object) -> None:
        ran.append("run")
        write_json(RunFolder(self.out).report, {})

    def measured(run: Path, backbone: Backbone, count: int) -> LayerChanges:
        ran.append(f"layers on {count}")
        return LayerChanges(count, [])

    monkeypatch.setattr(Job, "run", report)
    monkeypatch.setattr(module, "layer_changes", measured)
    cell = CellJob("a", Recipe(), tmp_path / "a", pictures=7)
    assert not is_finished(cell.out)
    assert run_job(cell, QUIET, lambda config: load_backbone()).error == ""
    assert is_finished(cell.out)
    run_job(cell, QUIET, lambda config: load_backbone())
    assert ran == ["run", "layers on 7", "run"]


def test_layers_of_a_run_are_compared_on_its_validation_pictures(linear_run: Path) -> None:
    found = layer_changes(linear_run, load_backbone(), 10)
    assert found.pictures == 10
    assert [change.layer for change in found.layers] == list(range(17))
    assert all(change.weights == 0 and change.cka == pytest.approx(1) for change in found.layers)
    assert layer_changes(linear_run, load_backbone(), 1000).pictures == 24


def distance(source: PretrainedOn, data: DataConfig, out: Path, **more: int) -> Distance:
    settings = DistanceFile(**{"pictures": 40, **more})
    job = DistanceJob("d", Recipe(data=data), out, source=source, settings=settings)
    assert job.stages() == {"distance": 1}
    result = run_job(job, QUIET, lambda config: load_backbone())
    assert result.error == "", result.trace
    return Distance.read(out / "distance.json")


def test_a_set_is_near_itself_and_far_from_others_and_is_measured_once(digit_folder: Path, tmp_path: Path) -> None:
    folder, digits = PretrainedOn(str(digit_folder)), DataConfig(source="digits")
    itself = distance(replace(folder, crop=1.0), DataConfig(source=str(digit_folder)), tmp_path / "a")
    framed = distance(folder, DataConfig(source=str(digit_folder)), tmp_path / "c")
    assert framed.mmd2 > itself.mmd2, "the embedded backbone saw four fifths of a picture's side"
    assert itself.proxy_a == 0
    assert itself.mmd2 < 0.01
    assert itself.pictures == (40, 40)
    other = distance(PretrainedOn(str(digit_folder), crop=0.4), digits, tmp_path / "b")
    assert other.proxy_a > 1
    assert other.mmd2 > itself.mmd2
    assert (other.source, other.target, other.backbone) == (str(digit_folder), "digits", "resnet34_tiny")
    (tmp_path / "b" / "distance.json").write_text((tmp_path / "a" / "distance.json").read_text())
    assert distance(folder, digits, tmp_path / "b") == itself, "what is measured stays"


def test_too_few_pictures_for_a_distance_are_named(digit_folder: Path, tmp_path: Path) -> None:
    data = DataConfig(source=str(digit_folder), train_limit=4)
    job = DistanceJob("d", Recipe(data=data), tmp_path, source=PretrainedOn("digits"))
    error = run_job(job, QUIET, lambda config: load_backbone()).error
    assert error == f"{digit_folder}: 4 pictures are too few for a distance; at least 10 are needed"


def test_features_are_what_the_classifier_reads(backbone: Backbone, digit_folder: Path) -> None:
    task = load_task(str(digit_folder), backbone.spec)
    expected = probe_features(backbone, task.test, Run())
    assert expected is not None
    assert torch.allclose(features(backbone, task.test), expected, atol=1e-5)
    split = sampled(DataConfig(source=str(digit_folder)), replace(backbone.spec, crop=0.5), 12, 0)
    found = features(backbone, split)
    assert found.shape == (12, backbone.features)
    whole = features(backbone, replace(split, crop=1.0))
    assert not torch.allclose(found, whole), "the split's own framing is read"


def test_where_no_single_vector_is_read_positions_are_averaged(digit_folder: Path) -> None:
    model = torchvision.models.squeezenet1_1(num_classes=5).eval()
    spec = InputSpec(64, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    split = sampled(DataConfig(source=str(digit_folder)), spec, 12, 0)
    assert features(Backbone(model, spec, "squeeze"), split).shape == (12, 512)
