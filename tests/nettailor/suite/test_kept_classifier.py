"""A suite whose tasks compute with the source classifier stores it, once, and only then."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch

from blocks import Backbone, KeptClassifier, NetPlan
from blocks import Path as NetPath
from blocks.compact import CompactNet
from blocks.counting import count_params, tensors_of
from blocks.paths import UNIVERSAL
from nettailor.artifacts import delta
from nettailor.errors import FileError
from nettailor.files import read_tensor_infos
from nettailor.suite.changes import add, lacks_classifier, pack
from nettailor.suite.folder import SuiteFolder
from nettailor.suite.suite import Suite
from tests.fabricated import CLASSES, TINY

PICTURES = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def kept_delta(backbone: Backbone, folder: Path, tuned_from: int | None = None, task: str = "kept") -> CompactNet:
    paths = tuple(NetPath(layer, 0, UNIVERSAL) for layer in range(1, backbone.depth + 1))
    first = backbone.depth + 2 if tuned_from is None else tuned_from
    torch.manual_seed(5)
    top = KeptClassifier(2)
    net = CompactNet(backbone, NetPlan(paths, len(CLASSES), copied=True, gated=False, tuned_from=first, top=top))
    delta.save(net, folder, task, CLASSES, "keep_classifier")
    return net


@pytest.fixture
def kept(shared: Backbone, tmp_path: Path) -> Path:
    kept_delta(shared, tmp_path / "kept")
    return tmp_path / "kept"


def test_a_delta_is_held_to_the_source_classifier_that_it_computes_with(shared: Backbone, kept: Path) -> None:
    net = kept_delta(shared, kept)
    assert "head.fc.weight" not in net.task_tensors()
    assert torch.equal(delta.load(kept, shared).net(PICTURES.float()), net(PICTURES.float()))
    other = another(shared)
    with pytest.raises(FileError, match=r"classifier_sha256: belongs to a .* another source classifier"):
        delta.load(kept, other)
    tuned = kept_delta(other, kept.parent / "tuned", other.depth + 1)
    again = delta.load(kept.parent / "tuned", shared).net
    assert torch.equal(again.task_tensors()["head.fc.bias"], tuned.task_tensors()["head.fc.bias"]), "it is the task's"


@pytest.mark.parametrize("mode", ["resident", "fast"])
def test_a_suite_answers_with_it_as_the_delta_does(
    shared: Backbone, kept: Path, birds: Path, tmp_path: Path, mode: str
) -> None:
    add(tmp_path / "suite", [birds, kept], shared)
    folder = SuiteFolder(tmp_path / "suite")
    assert set(read_tensor_infos(folder.classifier)) == {"fc.weight", "fc.bias"}
    assert not set(read_tensor_infos(folder.backbone)) & {"fc.weight", "fc.bias"}
    assert folder.bytes(folder.read()) > folder.backbone.stat().st_size + folder.classifier.stat().st_size
    alone = Suite.load(tmp_path / "suite", backbone=TINY, mode=mode, tasks=["birds"])  # type: ignore[arg-type]
    loaded = Suite.load(tmp_path / "suite", backbone=TINY, mode=mode)  # type: ignore[arg-type]
    x = (PICTURES / 255 - 0.5) / 0.25
    with torch.no_grad():
        for name, place in (("birds", birds), ("kept", kept)):
            wanted = delta.load(place, shared).net(x)
            assert torch.allclose(loaded(x)[name], wanted, atol=1e-4)
            if mode == "resident":
                assert torch.equal(loaded(x)[name], wanted)
    if mode == "resident":
        classifier = shared.head.get_submodule("fc")
        more = loaded.memory().backbone - alone.memory().backbone
        assert more == 4 * count_params(tensors_of(classifier).values()), "freed where no task that is loaded reads it"


def test_it_is_added_to_a_suite_that_did_without_and_packed_where_it_is_read(
    shared: Backbone, suite: Path, kept: Path, tmp_path: Path
) -> None:
    folder = SuiteFolder(suite)
    assert "classifier_file_sha256" not in json.loads(folder.index.read_text())["backbone"], "as older versions read it"
    assert not folder.classifier.exists()
    assert lacks_classifier(suite, [kept])
    before = folder.index.read_text()
    with pytest.raises(FileError, match="is code to import; name it yourself with --backbone"):
        add(suite, [kept])
    kept_delta(another(shared), tmp_path / "other", task="other")
    with pytest.raises(FileError, match="the task computes with the source classifier, which the suite does not have"):
        add(suite, [tmp_path / "other"], TINY)
    assert folder.index.read_text() == before
    add(suite, [kept], TINY)
    assert not lacks_classifier(suite, [kept])
    assert folder.read().backbone.classifier_file_sha256 is not None
    pack(suite, tmp_path / "packed", TINY)
    for place in (suite, tmp_path / "packed"):
        answers = Suite.load(place, backbone=TINY)
        x = (PICTURES / 255 - 0.5) / 0.25
        assert torch.equal(answers["kept"](x), delta.load(kept, shared).net(x))
    folder.classifier.write_bytes(folder.classifier.read_bytes()[:-4])
    with pytest.raises(FileError, match=r"classifier.safetensors: is not the file that suite.json describes"):
        Suite.load(suite, backbone=TINY)


def test_a_file_that_no_index_names_is_removed_by_the_next_change(suite: Path, birds: Path) -> None:
    left = SuiteFolder(suite).classifier
    left.write_bytes(b"left over from a change that was killed")
    add(suite, [birds], TINY, names=["more"])
    assert not left.exists()


def another(backbone: Backbone) -> Backbone:
    """The same with another source classifier."""
    twin = copy.deepcopy(backbone)
    with torch.no_grad():
        twin.head.get_submodule("fc").bias.add_(1)  # type: ignore[operator, union-attr]
    return twin
