"""Workers: the same pictures whatever their number, kept from epoch to epoch, and quiet when they or we are stopped."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

from blocks import InputSpec
from nettailor.data import loader
from nettailor.data.batches import epoch_generator, training_batches
from nettailor.data.config import DataConfig
from nettailor.data.images import FolderSource, MemorySource, Source
from nettailor.data.loader import Loader, worker_count
from nettailor.data.photos import shortest_side
from nettailor.data.task import Split, load_task
from nettailor.errors import DataError
from tests.tiny import heed_ctrl_c

FULL, STREAMED = 2.0, 1e-9
CONFIGS = {
    "photo": {"augment": "photo"},
    "all": {"augment": "photo", "rand_augment": 9, "random_erasing": 0.5},
    "list": {"augment": ("flip", "colour_jitter", "affine")},
    "sign": {"augment": "sign"},
    "none": {"augment": "none"},
}


def spec(split: Split) -> InputSpec:
    return InputSpec(split.size, (0.5,) * 3, (0.25,) * 3)


def epoch(split: Split, config: DataConfig, number: int = 0, batch: int = 10) -> list[Tensor]:
    generator = epoch_generator(0, "teacher", number)
    return [x for x, _, _ in training_batches(split, config, spec(split), batch, generator, torch.device("cpu"))]


def equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("memory", [FULL, STREAMED])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in ("photo", "sign") else pytest.mark.slow) for name in CONFIGS]
)
def test_pictures_do_not_depend_on_the_number_of_workers(digit_folder: Path, name: str, memory: float) -> None:
    found = []
    for workers in (0, 1, 2):
        config = DataConfig(source=str(digit_folder), memory_gib=memory, workers=workers, **CONFIGS[name])  # type: ignore[arg-type]
        train = load_task(config, 16).train
        torch.manual_seed(0)
        found.append([*epoch(train, config), *epoch(train, config, 1)])
        assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0))), "draws of others"
    assert len(found[0]) == 8
    assert equal(found[0], found[1])
    assert equal(found[0], found[2])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_does_not_depend_on_those_before(digit_folder: Path, workers: int) -> None:
    config = DataConfig(source=str(digit_folder), augment="photo", workers=workers)
    train = load_task(config, 16).train
    epochs = [epoch(train, config, number, batch) for number, batch in ((0, 10), (1, 7), (2, 10))]
    assert not equal(epochs[0], epochs[2])
    assert equal(epochs[2], epoch(load_task(config, 16).train, config, 2))


def test_workers_stay_from_epoch_to_epoch_and_go_with_the_split(digit_folder: Path) -> None:
    config = DataConfig(source=str(digit_folder), augment="photo", workers=2)
    train = load_task(config, 16).train
    before = set(multiprocessing.active_children())
    epoch(train, config)
    started = set(multiprocessing.active_children()) - before
    assert len(started) == 2
    epoch(train, config, 1)
    assert set(multiprocessing.active_children()) - before == started
    copy = pickle.loads(pickle.dumps(train))
    assert copy.loader is None
    assert torch.equal(copy.images, train.images)
    del train
    deadline = time.monotonic() + 20
    while set(multiprocessing.active_children()) - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not set(multiprocessing.active_children()) - before


def test_an_epoch_that_was_given_up_leaves_nothing_to_the_next(digit_folder: Path) -> None:
    config = DataConfig(source=str(digit_folder), augment="photo", workers=2)
    train = load_task(config, 16).train
    device, plain = torch.device("cpu"), epoch(load_task(config, 16).train, config, 1)
    given_up = training_batches(train, config, spec(train), 10, epoch_generator(0, "teacher", 0), device)
    next(given_up)
    assert equal(epoch(train, config, 1), plain)
    with pytest.raises(RuntimeError, match="a later epoch"):
        next(given_up)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_read_a_zip_each_on_its_own(digit_folder: Path, tmp_path: Path, workers: int) -> None:
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in FolderSource(digit_folder).names:
            archive.write(digit_folder / name, name)
    config = DataConfig(source=str(tmp_path / "d.zip"), augment="photo", memory_gib=STREAMED, workers=workers)
    folder = DataConfig(source=str(digit_folder), augment="photo", memory_gib=STREAMED)
    packed, whole = load_task(config, 16).train, load_task(folder, 16).train
    for number in range(3):
        assert equal(epoch(packed, config, number, 4), epoch(whole, folder, number, 4))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("augment", ["photo", "sign"])
def test_a_damaged_picture_is_named_in_one_line(digit_folder: Path, augment: str, workers: int) -> None:
    config = DataConfig(source=str(digit_folder), augment=augment, memory_gib=STREAMED, workers=workers)
    train = load_task(config, 16).train
    train.source = _Damaged(train.source, train.names[7])
    with pytest.raises(DataError) as caught:
        epoch(train, config)
    assert str(caught.value).startswith(f"{digit_folder}: {train.names[7]}: can't be read (cut short); mend it")
    assert "\n" not in str(caught.value)


class _Damaged:
    """A source in which one picture can't be decoded."""

    def __init__(self, source: Source, name: str) -> None:
        self.where, self.names, self.folders = source.where, source.names, source.folders
        self._source, self._name = source, name

    def open(self, name: str, shortest: int | None = None):  # type: ignore[no-untyped-def]
        if name == self._name:
            raise OSError("cut short")
        return self._source.open(name, shortest)

    def content(self, name: str) -> bytes:
        return self._source.content(name)


class _Asked:
    """A source that writes down how small a picture may be decoded."""

    def __init__(self, source: Source) -> None:
        self.where, self.names, self.folders = source.where, source.names, source.folders
        self._source, self.asked = source, list[int | None]()

    def open(self, name: str, shortest: int | None = None):  # type: ignore[no-untyped-def]
        self.asked.append(shortest)
        return self._source.open(name, shortest)

    def content(self, name: str) -> bytes:
        return self._source.content(name)


@pytest.mark.parametrize(("augment", "asks"), [("photo", True), ("sign", False)])
def test_photographs_that_do_not_fit_are_decoded_no_larger_than_crops_need(
    digit_folder: Path, augment: str, asks: bool
) -> None:
    config = DataConfig(source=str(digit_folder), augment=augment, memory_gib=STREAMED, workers=0)
    train = load_task(config, 16).train
    train.source = source = _Asked(train.source)
    epoch(train, config)
    assert len(source.asked) == 40, "whole batches of 10"
    assert set(source.asked) == {shortest_side(spec(train)) if asks else None}


def test_a_worker_that_is_killed_ends_in_a_plain_line(digit_folder: Path) -> None:
    config = DataConfig(source=str(digit_folder), augment="photo", workers=1)
    train = load_task(config, 16).train
    batches = training_batches(train, config, spec(train), 2, epoch_generator(0, "s", 0), torch.device("cpu"))
    before = set(multiprocessing.active_children())
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - before
    os.kill(worker.pid, signal.SIGKILL)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"a process that reads pictures has ended .* data.workers=0"):
        list(batches)


def test_the_number_of_workers_leaves_the_training_a_core(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = FolderSource(tmp_path)
    for cores, wanted, count in ((1, None, 0), (2, None, 1), (4, None, 3), (64, None, 4), (2, 6, 6), (64, 0, 0)):
        monkeypatch.setattr(loader, "usable_cores", lambda cores=cores: cores)
        assert worker_count(wanted, source) == count
    monkeypatch.setattr(loader, "START", None)
    assert worker_count(2, source) == 2
    assert worker_count(2, MemorySource("m", [], lambda index: None)) == 0  # type: ignore[arg-type, return-value]


def test_a_daemon_reads_its_pictures_itself(digit_folder: Path) -> None:
    """Jobs of `--workers N` are daemons, which may start no processes."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=_first_batch, args=(theirs, str(digit_folder)), daemon=True)
    process.start()
    assert ours.poll(60)
    found = ours.recv()
    process.join()
    config = DataConfig(source=str(digit_folder), augment="photo", workers=0)
    assert torch.equal(torch.from_numpy(found), epoch(load_task(config, 16).train, config)[0])


def _first_batch(pipe, folder: str) -> None:  # type: ignore[no-untyped-def]
    torch.set_num_threads(1)
    config = DataConfig(source=folder, augment="photo", workers=2)
    pipe.send(epoch(load_task(config, 16).train, config)[0].numpy())


STOPPED = """
import sys, time, torch
from nettailor.data.batches import epoch_generator, training_batches
from nettailor.data.config import DataConfig
from nettailor.data.task import load_task
from blocks import InputSpec
config = DataConfig(source=sys.argv[1], augment="photo", workers=2)
train = load_task(config, 16).train
try:
    for number in range(10**6):
        batches = training_batches(train, config, InputSpec(16, (.5,) * 3, (.5,) * 3), 4,
                                   epoch_generator(0, "s", number), torch.device("cpu"))
        for _ in batches:
            print("batch", flush=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.slow
def test_ctrl_c_ends_without_a_word_from_the_workers(digit_folder: Path) -> None:
    command = [sys.executable, "-c", STOPPED, str(digit_folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, start_new_session=True, preexec_fn=heed_ctrl_c, **pipes)  # type: ignore[call-overload]
    assert process.stdout.readline() == "batch\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all processes of the group
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")


def test_only_what_is_needed_goes_to_a_worker(digit_folder: Path) -> None:
    config = DataConfig(source=str(digit_folder), augment="photo", workers=0, memory_gib=STREAMED)
    train = load_task(config, 16).train
    epoch(train, config)
    assert train.loader is not None
    assert isinstance(train.loader[1], Loader)
    assert len(pickle.dumps(train.loader[1].pictures)) < 10_000
