"""A suite in memory: the same bits as each delta alone, one copy of the backbone, and no task but those it has."""

from __future__ import annotations

import gc
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import nettailor as nt
from blocks import Backbone, CompactNet
from blocks.counting import tensors_of
from nettailor.artifacts import delta
from nettailor.data.batches import normalise
from nettailor.errors import BackboneError, DataError, FileError, NettailorError, UsageError
from nettailor.suite import suite as module
from nettailor.suite.changes import remove
from nettailor.suite.folder import SuiteFolder
from nettailor.suite.suite import Suite
from tests.fabricated import CLASSES, TINY


@pytest.fixture
def pictures() -> Tensor:
    return torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)


def alone(folder: Path, backbone: Backbone, pictures: Tensor) -> Tensor:
    """What a delta says by itself."""
    with torch.no_grad():
        return delta.load(folder, backbone).net(normalise(pictures, backbone.spec, torch.device("cpu")))


def test_every_task_answers_with_the_bits_of_its_delta(
    loaded: Suite, birds: Path, signs: Path, shared: Backbone, pictures: Tensor
) -> None:
    assert isinstance(loaded, nt.Suite)
    assert loaded.tasks == list(loaded) == ["birds", "signs"]
    assert loaded.classes("birds") == loaded["birds"].classes == CLASSES
    assert loaded.spec == shared.spec
    wanted = {"birds": alone(birds, shared, pictures), "signs": alone(signs, shared, pictures)}
    assert not torch.equal(wanted["birds"], wanted["signs"])
    found = loaded(pictures)
    assert list(found) == ["birds", "signs"]
    for name, logits in wanted.items():
        assert torch.equal(loaded[name](pictures), logits)
        assert torch.equal(found[name], logits)
    assert list(loaded(pictures, tasks=["signs"])) == ["signs"]


def test_pictures_may_be_normalised_already(loaded: Suite, pictures: Tensor) -> None:
    floats = normalise(pictures, loaded.spec, torch.device("cpu"))
    assert torch.equal(loaded["birds"](floats), loaded["birds"](pictures))
    with pytest.raises(DataError, match=r"images: are \[3, 3, 8, 8\]; they have to be \[B, 3, 16, 16\]"):
        loaded(pictures[..., :8, :8])
    with pytest.raises(DataError, match="are torch.int64; they have to be uint8, or floats"):
        loaded(pictures.long())


def test_networks_share_the_one_backbone(loaded: Suite) -> None:
    nets = list(loaded.nets.values())
    assert all(isinstance(net, CompactNet) and net.backbone is loaded.backbone for net in nets)
    kernels = {tensor.data_ptr() for name, tensor in loaded.backbone.tensors().items() if "conv" in name}
    for net in nets:
        ours = {tensor.data_ptr() for tensor in tensors_of(net).values()}
        own = {tensor.data_ptr() for tensor in net.task_tensors().values()}
        assert len(ours & kernels) > 10
        assert not own & kernels


def held() -> dict[int, int]:
    """Bytes of all tensors of this process by their address."""
    gc.collect()
    kinds = (Tensor, nn.Parameter)  # an exporter's fake tensors, where tests before this one left some, hold no memory
    tensors = (found for found in gc.get_objects() if type(found) in kinds and not found.is_meta)
    return {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}


def twenty(folder: SuiteFolder, deltas: list[Path]) -> list[Path]:
    """Make a suite one of twenty tasks, the same deltas over and over; gives the folders of all."""
    sources = [deltas[number % len(deltas)] for number in range(20)]
    tasks = {f"task {number}": folder.copy_delta(source, f"task {number}") for number, source in enumerate(sources)}
    folder.write(replace(folder.read(), tasks=tasks))
    return sources


@pytest.mark.parametrize("which", ["frozen norms", pytest.param("own norms", marks=pytest.mark.slow)])
def test_twenty_tasks_take_one_backbone_and_twenty_deltas(suite: Path, birds: Path, signs: Path, which: str) -> None:
    folders = twenty(SuiteFolder(suite), [birds] if which == "frozen norms" else [signs])
    before = held()
    loaded = Suite.load(suite, backbone=TINY)
    ours = sum(size for place, size in held().items() if place not in before)
    backbone = (suite / "backbone.safetensors").stat().st_size
    deltas = sum((folder / "task.safetensors").stat().st_size for folder in folders)
    assert len(loaded) == 20
    assert ours <= 1.05 * (backbone + deltas)
    assert ours == loaded.memory().total
    assert loaded.memory().backbone <= backbone


def test_switching_tasks_copies_nothing(loaded: Suite, pictures: Tensor) -> None:
    first = loaded["birds"](pictures)
    places = module.storages(loaded.nets.values())
    start = time.perf_counter()
    for _ in range(1000):
        loaded["birds"], loaded["signs"]
    switch = (time.perf_counter() - start) / 2000
    assert switch < 1e-3
    assert module.storages(loaded.nets.values()) == places
    loaded["signs"](pictures)
    assert torch.equal(loaded["birds"](pictures), first)
    assert module.storages(loaded.nets.values()) == places


def test_fast_mode_folds_every_network_and_says_what_it_takes(made: Path, loaded: Suite, pictures: Tensor) -> None:
    fast = Suite.load(made, backbone=TINY, mode="fast")
    for name, logits in loaded(pictures).items():
        torch.testing.assert_close(fast[name](pictures), logits, rtol=0, atol=1e-5 * float(logits.abs().max()))
        assert sum(tensor.nbytes for tensor in fast.nets[name].state_dict().values()) == fast.memory().tasks[name]
    assert fast.memory().backbone == 0
    assert fast.memory().total == sum(fast.memory().tasks.values())
    with pytest.raises(BackboneError, match="fast mode keeps no backbone"):
        _ = fast.backbone
    assert f"(fast, {fast.memory().total / 1e6:.1f} MB): birds, signs" in repr(fast)


@pytest.mark.parametrize(
    ("task", "says"),
    [("sings", "has no task 'sings'; did you mean 'signs'?"), ("qq", "has no task 'qq'; there are birds, signs")],
)
def test_a_misspelt_task_is_an_error_with_the_nearest_name(
    made: Path, loaded: Suite, pictures: Tensor, task: str, says: str
) -> None:
    for use in (
        lambda: loaded[task],
        lambda: loaded.classes(task),
        lambda: loaded(pictures, tasks=["birds", task]),
        lambda: Suite.load(made, backbone=TINY, tasks=[task]),
    ):
        with pytest.raises(UsageError) as raised:
            use()
        assert says in str(raised.value)
    assert task not in loaded
    assert "birds" in loaded


def test_some_tasks_are_loaded_alone(made: Path, loaded: Suite, pictures: Tensor) -> None:
    some = Suite.load(made, backbone=TINY, tasks=["signs"])
    assert some.tasks == ["signs"]
    assert torch.equal(some["signs"](pictures), loaded["signs"](pictures))


def test_what_can_not_be_loaded_is_said_plainly(suite: Path) -> None:
    for use, says in (
        (lambda: Suite.load(suite / "none"), "none: holds no suite"),
        (lambda: Suite.load(suite), "'tests.tiny:tiny_resnet' is code to import; name it yourself with --backbone"),
        (lambda: Suite.load(suite, mode="fats"), "mode: 'fats' is none; did you mean 'fast'?"),  # type: ignore[arg-type]
        (lambda: Suite.load(suite, backbone=TINY, device="mps"), "this machine has none"),
    ):
        with pytest.raises(NettailorError, match=says):
            use()


def test_an_empty_suite_has_no_tasks(suite: Path, pictures: Tensor) -> None:
    remove(suite, ["birds", "signs"])
    empty = Suite.load(suite, backbone=TINY)
    assert empty.tasks == []
    assert empty(pictures) == {}
    with pytest.raises(UsageError, match="has no task 'birds'; it has none"):
        empty["birds"]


def test_a_suite_that_changes_while_it_is_read_is_read_again(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load, seen = module.load_parts, []

    def changed(*arguments: object) -> object:
        if not seen:
            seen.append(SuiteFolder(suite).version())
            remove(suite, ["birds"])
        return load(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "load_parts", changed)
    loaded = Suite.load(suite, backbone=TINY)
    assert loaded.tasks == ["signs"]
    assert loaded.version == SuiteFolder(suite).version() != seen[0]


def test_an_altered_delta_is_refused(suite: Path) -> None:
    folder = next((suite / "tasks").glob("birds-*"))
    text = (folder / "task.json").read_text()
    (folder / "task.json").write_text(text.replace('"cat"', '"owl"'))
    with pytest.raises(FileError, match=r"task.json: is not the file that suite.json names"):
        Suite.load(suite, backbone=TINY)
