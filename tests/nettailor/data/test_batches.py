"""Batches: their order, their augmentation, and that none is too small for a batch norm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blocks import Backbone, InputSpec, compact
from blocks.counting import tensors_of
from nettailor.data.batches import epoch_generator, evaluation_batches, steps_per_epoch, training_batches
from nettailor.data.config import DataConfig
from nettailor.data.images import MemorySource
from nettailor.data.task import Split, Task, load_task
from nettailor.errors import DataError
from nettailor.training.checkpoint import Checkpoints
from nettailor.training.config import StudentConfig, TeacherConfig
from nettailor.training.finetuning import finetune
from nettailor.training.run import Run
from nettailor.training.stages import recalibrate, tailor
from tests.nettailor.training.conftest import Stopping


@pytest.fixture
def task(digit_folder: Path) -> Task:
    return load_task(str(digit_folder), 16)


def test_order_and_variation_depend_on_the_generator_alone(task: Task, backbone: Backbone) -> None:
    def epoch(number: int) -> list[torch.Tensor]:
        batches = training_batches(
            task.train, DataConfig(), backbone.spec, 16, epoch_generator(0, "student", number), torch.device("cpu")
        )
        return [x for x, _, _ in batches]

    one, same, other = epoch(3), epoch(3), epoch(4)
    assert len(one) == 3
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_evaluation_reads_every_picture_once_in_order(task: Task, backbone: Backbone) -> None:
    labels = torch.cat([y for _, y in evaluation_batches(task.test, backbone.spec, torch.device("cpu"))])
    assert torch.equal(labels, task.test.labels)


def pictures(count: int) -> Split:
    """Random pictures of 16 px in two classes."""
    pixels = torch.randint(
        0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(count)
    )
    names = [str(n) for n in range(count)]
    source = MemorySource("random", names, lambda n: Image.fromarray(np.asarray(pixels[n].permute(1, 2, 0))))
    return Split(source, names, torch.arange(count) % 2, 16, pixels)


@pytest.mark.parametrize("count", [1, 2, 250, 251, 500, 501, 502])
def test_no_evaluation_batch_is_of_one_picture(backbone: Backbone, count: int) -> None:
    sizes = [len(x) for x, _ in evaluation_batches(pictures(count), backbone.spec, torch.device("cpu"))]
    assert sum(sizes) == count
    assert min(sizes) > 1 or count == 1
    assert max(sizes) <= 251


@pytest.mark.parametrize(("size", "sizes"), [(8, [250, 50]), (80, [250, 50]), (224, [32] * 9 + [12])])
def test_fewer_large_pictures_are_evaluated_together(size: int, sizes: list[int]) -> None:
    one = torch.zeros(1, 3, size, size, dtype=torch.uint8)
    split = replace(pictures(300), size=size, images=one.expand(300, -1, -1, -1))
    spec = InputSpec(size, (0.5,) * 3, (0.5,) * 3)
    found = [(len(x), answers) for x, answers in evaluation_batches(split, spec, torch.device("cpu"))]
    assert [count for count, _ in found] == sizes
    assert torch.equal(torch.cat([answers for _, answers in found]), split.labels)


def test_251_training_pictures_at_1x1_resolution_are_recalibrated_on(backbone: Backbone) -> None:
    """At 16 px the last layer of the tiny backbone is 1x1: a batch of one picture has no variance there."""
    train = pictures(251)
    task = Task("random", ["a", "b"], train, pictures(4), pictures(4), 16)
    student = tailor(backbone, task, StudentConfig(batch=16, warm_start=0), Run())
    assert backbone.shapes[-2][-2:] == (1, 1)
    recalibrate(student, task, Run())
    for x, _ in evaluation_batches(train, backbone.spec, torch.device("cpu")):
        assert torch.isfinite(compact(student)(x)).all()


def test_the_last_training_batch_is_left_for_another_epoch() -> None:
    assert [steps_per_epoch(pictures(n), 16) for n in (3, 16, 17, 33)] == [1, 1, 1, 2]


def test_a_training_split_of_one_picture_is_refused(tmp_path: Path) -> None:
    for split, label in (("train", "a"), ("val", "a"), ("test", "a")):
        (tmp_path / split / label).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / split / label / "1.png")
    with pytest.raises(DataError, match="only one class"):
        load_task(str(tmp_path), 16)


KINDS = {
    "gray.png": Image.new("L", (50, 40), 100),
    "sixteen.png": Image.fromarray(np.full((40, 50), 100 * 257, dtype=np.uint16)),
    "alpha.png": Image.new("RGBA", (50, 40), (100, 100, 100, 255)),
    "large.jpg": Image.new("RGB", (500, 400), (100, 100, 100)),
    "bit.png": Image.new("1", (9, 70), 1),
}


@pytest.mark.parametrize("memory", [2.0, 1e-9])
def test_photographs_of_every_kind_are_trained_on(tmp_path: Path, backbone: Backbone, memory: float) -> None:
    for split in ("train", "val", "test"):
        for label in ("a", "b"):
            (tmp_path / split / label).mkdir(parents=True)
            for name, picture in KINDS.items():
                picture.save(tmp_path / split / label / name)
    config = DataConfig(source=str(tmp_path), augment="photo", colour_jitter=0, memory_gib=memory)
    train = load_task(config, backbone.spec).train
    assert (train.photos is None) == (memory < 1)
    generator = epoch_generator(0, "teacher", 0)
    ((x, labels, rows),) = training_batches(train, config, backbone.spec, 10, generator, torch.device("cpu"))
    assert x.shape == (10, 3, 16, 16)
    assert torch.equal(labels, train.labels[rows])
    shown = (x * 0.25 + 0.5) * 255
    for picture, row in zip(shown, rows.tolist(), strict=True):
        white = train.names[row].endswith("bit.png")
        assert float((picture - (255 if white else 100)).abs().max()) < 2, train.names[row]


@pytest.mark.parametrize("memory", [2.0, 1e-9])
def test_unvaried_pictures_are_those_of_evaluation(digit_folder: Path, backbone: Backbone, memory: float) -> None:
    config = DataConfig(source=str(digit_folder), augment="none", memory_gib=memory)
    train, device = load_task(config, backbone.spec).train, torch.device("cpu")
    seen = torch.cat([x for x, _ in evaluation_batches(train, backbone.spec, device)])
    for x, labels, rows in training_batches(train, config, backbone.spec, 16, epoch_generator(0, "s", 0), device):
        assert torch.equal(x, seen[rows])
        assert torch.equal(labels, train.labels[rows])


@pytest.mark.slow
def test_a_stage_on_photographs_goes_on_as_if_it_had_not_been_stopped(
    digit_folder: Path, backbone: Backbone, tmp_path: Path
) -> None:
    def teacher(workers: int, folder: Path, stop: bool = False) -> dict[str, torch.Tensor]:
        config = DataConfig(source=str(digit_folder), augment="photo", workers=workers)
        run = Run(augmentation=config, checkpoints=Checkpoints(folder))
        if stop:
            run.recorder = Stopping(1, KeyboardInterrupt)
        task = load_task(config, backbone.spec)
        return tensors_of(finetune(backbone, task, TeacherConfig(epochs=3, batch=16), run))

    for folder in ("whole", "stopped"):
        (tmp_path / folder).mkdir()
    whole = teacher(0, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        teacher(2, tmp_path / "stopped", stop=True)
    assert (tmp_path / "stopped" / "teacher.safetensors").is_file()
    gone_on = teacher(1, tmp_path / "stopped")
    assert all(torch.equal(tensor, gone_on[name]) for name, tensor in whole.items())
