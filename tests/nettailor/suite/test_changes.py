"""Tasks come and go, and a packed suite has what its tasks keep and answers with the same bits."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blocks import Backbone
from blocks.counting import count_params, tensors_of
from nettailor.errors import BackboneError, DataError, FileError, UsageError
from nettailor.files import read_tensor_infos
from nettailor.suite.changes import add, finished_delta, pack, remove
from nettailor.suite.folder import SuiteFolder
from nettailor.suite.shared import AbsentBlock
from nettailor.suite.suite import Suite
from nettailor.suite.summary import summarize
from tests.fabricated import TINY
from tests.nettailor.suite.conftest import Make
from tests.nettailor.suite.test_folder import contents


def names(suite: Path) -> list[str]:
    return list(SuiteFolder(suite).read().tasks)


def test_tasks_are_added_replaced_and_removed(suite: Path, birds: Path, make: Make) -> None:
    assert add(suite, [birds], TINY, names=["more"]) == ["more"]
    assert names(suite) == ["birds", "more", "signs"]
    index = SuiteFolder(suite).read()
    assert index.tasks["more"] == index.tasks["birds"]
    assert add(suite, [make("birds", {"G2"}, seed=5)], TINY, replaces=True) == ["birds"]
    assert SuiteFolder(suite).read().tasks["birds"] != index.tasks["birds"]
    assert len(list((suite / "tasks").iterdir())) == 3
    assert remove(suite, ["more", "signs"]) == ["birds"]
    assert remove(suite, ["birds"]) == []
    assert contents(suite).keys() == {"suite.json", "backbone.safetensors"}
    add(suite, [birds], TINY)
    assert names(suite) == ["birds"]


def test_what_can_not_be_added_changes_nothing(
    suite: Path, birds: Path, signs: Path, tmp_path: Path, shared: Backbone
) -> None:
    unfinished = shutil.copytree(birds, tmp_path / "run" / "task").parent
    (unfinished / "recipe.yaml").touch()
    altered = shutil.copytree(birds, tmp_path / "altered")
    (altered / "task.safetensors").write_bytes((signs / "task.safetensors").read_bytes())
    before = contents(suite)
    for runs, named, says in (
        ([signs, birds], None, "suite: has a task 'birds' already; replace it with --replace, or give another name"),
        ([birds, birds], ["a", "a"], "its task is named 'a', as that of"),
        ([unfinished], ["a"], "run: is not finished: it has no report.json"),
        ([tmp_path], ["a"], r"holds no delta \(task.json\); is the run finished?"),
        ([birds, altered], ["a", "b"], "altered/task.safetensors: is not the file that task.json describes"),
    ):
        with pytest.raises(FileError, match=says):
            add(suite, runs, TINY, names=named)
    for name, error in (("all", UsageError), ("a,b", UsageError), ("a/b", DataError), ("..", DataError)):
        with pytest.raises(error, match="name"):
            add(suite, [birds], TINY, names=[name])
    with pytest.raises(UsageError, match="no task 'bird'; did you mean 'birds'?"):
        remove(suite, ["signs", "bird"])
    assert contents(suite) == before
    with pytest.raises(FileError, match="is code to import; name it yourself with --backbone"):
        add(tmp_path / "new", [birds])
    with pytest.raises(FileError, match="altered/task.safetensors"):
        add(tmp_path / "deep" / "new", [altered], shared)
    assert not (tmp_path / "deep").exists()
    (unfinished / "report.json").touch()
    assert finished_delta(unfinished) == unfinished / "task"


@pytest.mark.filterwarnings("ignore::nettailor.artifacts.delta.UncheckedWarning")
def test_a_delta_over_another_backbone_is_refused(suite: Path, birds: Path, tmp_path: Path) -> None:
    before = contents(suite)
    other = tmp_path / "other"
    assert add(other, ["tests/artifacts/v0.1.0/embedded"]) == ["digits3"]
    with pytest.raises(FileError) as raised:
        add(suite, ["tests/artifacts/v0.1.0/embedded"], TINY)
    assert "backbone.sha256: belongs to resnet34_tiny (" in str(raised.value)
    assert "but the suite is over tests.tiny:tiny_resnet (" in str(raised.value)
    assert contents(suite) == before
    with pytest.raises(FileError, match="the suite is over resnet34_tiny"):
        add(other, [birds])
    assert names(other) == ["digits3"]


@pytest.fixture(scope="session")
def packed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed") / "suite"
    pack(made, folder, TINY)
    return folder


def test_a_packed_suite_has_the_kept_blocks_and_answers_with_the_same_bits(
    made: Path, loaded: Suite, tmp_path: Path
) -> None:
    """Birds keep G1, G2, G5 and G6, signs G1, G2, G4 and G5: G3 is nobody's."""
    done = pack(made, tmp_path / "packed", TINY)
    small = Suite.load(tmp_path / "packed", backbone=TINY)
    assert done.blocks == SuiteFolder(tmp_path / "packed").read().packed == [1, 2, 4, 5, 6]
    pictures = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    for name, logits in loaded(pictures).items():
        assert torch.equal(small[name](pictures), logits)
    stored = read_tensor_infos(tmp_path / "packed" / "backbone.safetensors")
    gone = set(loaded.backbone.tensors()) - set(stored)
    assert gone == set(tensors_of(loaded.backbone.blocks[2]))
    assert gone
    assert isinstance(small.backbone.blocks[2], AbsentBlock)
    with pytest.raises(BackboneError, match=r"G3 \(layer2.0\) is not in this packed suite"):
        small.backbone.blocks[2](torch.zeros(1))
    freed = sum(tensor.nbytes for name, tensor in loaded.backbone.tensors().items() if name in gone)
    assert small.memory().backbone < loaded.memory().backbone - 0.99 * freed
    assert small.memory().tasks == loaded.memory().tasks

    def size(folder: Path) -> int:
        return sum(len(data) for name, data in contents(folder).items() if not name.endswith("README.md"))

    assert (done.packed, done.full) == (size(tmp_path / "packed"), size(made))
    private = sum(count_params(tensors_of(net.for_inference()).values()) for net in loaded.nets.values())
    assert (done.private, done.tasks, done.depth) == (4 * private, 2, 6)


def test_a_packed_suite_has_the_blocks_that_thinned_ones_read_channels_of(
    make: Make, shared: Backbone, tmp_path: Path
) -> None:
    """Neither G2 nor G3 is kept as it is; G2 is thinned, and in the place of G3 stands a convolution."""
    delta = make("thin", {"G2", "G3"}, proxies="thinned")
    forms = {edge["key"]: edge["form"] for edge in json.loads((delta / "task.json").read_text())["graph"]["edges"]}
    assert (forms["A1-2"], forms["A2-3"], "G2" in forms, "G3" in forms) == ("thinned", "conv1x1", False, False)
    add(tmp_path / "suite", [delta], shared)
    assert pack(tmp_path / "suite", tmp_path / "packed", TINY).blocks == [1, 2, 4, 5, 6]
    pictures = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    whole, small = (Suite.load(tmp_path / name, backbone=TINY)["thin"](pictures) for name in ("suite", "packed"))
    assert torch.equal(whole, small)


def test_a_packed_suite_takes_the_tasks_whose_blocks_it_has(
    packed: Path, birds: Path, make: Make, tmp_path: Path
) -> None:
    suite = shutil.copytree(packed, tmp_path / "packed")
    add(suite, [birds], TINY, names=["more"])
    before = contents(suite)
    with pytest.raises(FileError, match="packed: has no G3, which 'wide' keeps; add the task to the suite that was"):
        add(suite, [make("wide", {"G2"})], TINY)
    assert contents(suite) == before
    assert Suite.load(suite, backbone=TINY).tasks == ["birds", "more", "signs"]


def test_an_index_that_forgets_a_block_is_refused(packed: Path, tmp_path: Path) -> None:
    """Or a network would answer with the random values of a block whose tensors are not there."""
    folder = SuiteFolder(shutil.copytree(packed, tmp_path / "packed"))
    folder.write(replace(folder.read(), packed=[1, 2, 4, 5]))
    with pytest.raises(FileError, match="does not fit this network"):
        Suite.load(folder.root, backbone=TINY)


def test_a_network_trained_as_a_whole_needs_no_block_of_a_packed_suite(
    shared: Backbone, birds: Path, tmp_path: Path
) -> None:
    from blocks import compact
    from nettailor.artifacts import delta

    net = compact(shared.teacher(3), shared)
    delta.save(net, tmp_path / "whole", "whole", ["a", "b", "c"], method="finetune")
    add(tmp_path / "suite", [tmp_path / "whole"], shared)
    done = pack(tmp_path / "suite", tmp_path / "packed", TINY)
    assert done.blocks == []
    small = Suite.load(tmp_path / "packed", backbone=TINY)
    pictures = torch.rand(2, 3, 16, 16)
    assert torch.equal(small["whole"](pictures), net(pictures.contiguous(memory_format=torch.channels_last)))


def test_where_no_suite_can_be_packed(suite: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is the suite's own folder"):
        pack(suite, suite, TINY)
    with pytest.raises(FileError, match="there: holds a suite already; choose another --out"):
        pack(suite, shutil.copytree(suite, tmp_path / "there"), TINY)
    remove(suite, ["birds", "signs"])
    with pytest.raises(FileError, match="has no tasks; nothing of it would be left"):
        pack(suite, tmp_path / "out", TINY)
    assert not (tmp_path / "out").exists()


def test_a_suite_is_looked_into_without_its_networks(packed: Path, made: Path) -> None:
    found = summarize(packed)
    assert (found.backbone, found.input_size, found.packed) == (TINY, 16, [1, 2, 4, 5, 6])
    assert [(task.name, task.classes, task.method, task.blocks, task.proxies) for task in found.tasks] == [
        ("birds", 3, "nettailor", 4, 6),
        ("signs", 3, "nettailor", 4, 6),
    ]
    assert found.bytes < summarize(made).bytes
    assert summarize(made).packed is None
