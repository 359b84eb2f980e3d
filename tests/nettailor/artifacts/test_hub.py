"""A delta by its name on the hub: three files of bounded size, checked like any other, or a plain line that says why not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

import nettailor as nt
from blocks import Backbone
from nettailor.artifacts import delta
from nettailor.artifacts import hub as hub_module
from nettailor.artifacts.hub import HubError, HubName, HubWarning, fetch, is_hub_name, shown
from nettailor.errors import FileError, UsageError
from tests import fabricated
from tests.tiny import tiny_backbone

if TYPE_CHECKING:
    from tests.fake_hub import FakeHub

errors = pytest.importorskip("huggingface_hub").errors
pytestmark = pytest.mark.extra
from tests.fake_hub import http_error  # noqa: E402 - it imports the extra

BIRDS = HubName("user/birds")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "birds"
    delta.save(fabricated.pruned(tiny_backbone()), folder, "birds", fabricated.CLASSES)
    for name in ("model.py", "weights.bin"):
        (folder / name).write_text("import os")
    return folder


@pytest.fixture
def birds(hub: FakeHub, saved: Path) -> Path:
    """The delta of three classes, on the hub beside other files; returns its folder there."""
    return hub.put("user/birds", saved)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hf://user/birds", BIRDS),
        (Path("hf://user/birds"), BIRDS),
        ("user/birds", BIRDS),
        ("hf://a.b-c/d_e@refs/pr/1", HubName("a.b-c/d_e", "refs/pr/1")),
    ],
)
def test_a_name_is_read_as_typed_and_as_a_path(text: str | Path, name: HubName) -> None:
    assert HubName.parse(text) == name
    assert HubName.parse(str(name)) == name
    assert is_hub_name(text) == (text != "user/birds")


@pytest.mark.parametrize(
    "text",
    ["hf://birds", "hf://user/a/b", "hf://user/", "hf://../up", "hf://u/a..b@x", "hf://u/n@", "hf://u/n@a b", ""],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no name on the hub; write hf://user/name"):
        HubName.parse(text)


def test_a_folder_is_shown_as_it_was_typed() -> None:
    assert shown(Path("hf://user/birds@v1")) == "hf://user/birds@v1"
    assert shown(Path("runs/birds")) == "runs/birds"
    assert not is_hub_name("hf/user/birds")


def test_a_delta_is_loaded_by_its_name_and_answers_the_same(birds: Path, backbone: Backbone, hub: FakeHub) -> None:
    x = torch.randn(2, 3, 16, 16)
    (birds.parent / "old").mkdir()
    with torch.no_grad():
        here, there = (nt.load(name, backbone).net(x) for name in (birds, "hf://user/birds"))
    assert torch.equal(here, there)
    assert sorted(path.name for path in fetch(BIRDS).iterdir()) == ["README.md", "task.json", "task.safetensors"]
    with pytest.raises(HubError, match="hf://user/birds@old: holds no delta of nettailor \\(task.json is missing\\)"):
        nt.load("hf://user/birds@old", backbone)


def test_what_comes_from_the_hub_is_not_believed(birds: Path, backbone: Backbone) -> None:
    data = bytearray((birds / "task.safetensors").read_bytes())
    data[-1] ^= 1
    (birds / "task.safetensors").write_bytes(data)
    with pytest.raises(FileError, match="cut short or altered"):
        nt.load("hf://user/birds", backbone)


def test_code_is_named_by_the_user_and_never_by_the_hub(hub: FakeHub, tmp_path: Path) -> None:
    fabricated.saved_delta(tmp_path / "coded")
    hub.put("user/birds", tmp_path / "coded")
    with pytest.raises(FileError, match="is code to import; name it yourself with --backbone"):
        nt.load("hf://user/birds")


@pytest.mark.parametrize("file", ["task.json", "task.safetensors", "README.md"])
def test_a_file_too_large_is_not_downloaded(
    birds: Path, hub: FakeHub, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(hub_module.MOST, file, 10)
    with pytest.raises(HubError, match=rf"hf://user/birds: {file}: has \d+ bytes, 10 are the most it may have"):
        fetch(BIRDS)
    hub.snapshot_download.assert_not_called()


def test_nothing_is_downloaded_whose_size_is_not_said(birds: Path, hub: FakeHub) -> None:
    info = hub.api.model_info("user/birds")
    hub.api.model_info = lambda *_, **__: info
    with pytest.raises(HubError, match="has an unknown number of bytes"):
        fetch(BIRDS)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (lambda: http_error(errors.GatedRepoError, 403), "access has to be granted by its owner"),
        (lambda: http_error(errors.RepositoryNotFoundError, 404), "there is no such model, or it is private"),
        (lambda: http_error(errors.RevisionNotFoundError, 404), "has no such revision"),
        (lambda: http_error(errors.HfHubHTTPError, 401), "you are not logged in .* `hf auth login`"),
        (lambda: http_error(errors.HfHubHTTPError, 403, "read token"), r"may not do this there \(read token\)"),
        (lambda: http_error(errors.HfHubHTTPError, 429, "slow down"), r"the hub refuses it \(slow down\)"),
        (lambda: http_error(errors.HfHubHTTPError, 503, "busy"), r"can't be reached \(busy\)"),
        (lambda: ConnectionError("no route\nto host"), r"can't be reached \(no route\); is there a network\?"),
        (lambda: errors.OfflineModeIsEnabled("off"), "HF_HUB_OFFLINE forbids"),
        (lambda: OSError(28, "No space left", "/cache/x"), "/cache/x: No space left; free some space"),
        (lambda: errors.HFValidationError("bad name"), r"the hub refuses it \(bad name\)"),
    ],
)
def test_what_goes_wrong_is_one_plain_line(hub: FakeHub, error: Any, said: str) -> None:
    hub.fails = error()
    with pytest.raises(HubError, match=f"^hf://user/birds: .*{said}") as caught:
        fetch(BIRDS)
    assert "\n" not in str(caught.value)


def test_without_a_network_the_copy_from_before_is_used_and_said_so(
    birds: Path, backbone: Backbone, hub: FakeHub
) -> None:
    nt.load("hf://user/birds", backbone)
    hub.fails = ConnectionError("no route")
    with pytest.warns(HubWarning, match="hf://user/birds: the hub can't be reached; a copy from before is used"):
        assert nt.load("hf://user/birds", backbone).classes == fabricated.CLASSES
    hub.fails = http_error(errors.RepositoryNotFoundError, 404)
    with pytest.raises(HubError, match="there is no such model"):
        fetch(BIRDS)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"pip install 'nettailor\[hub\]'"):
        fetch(BIRDS)
