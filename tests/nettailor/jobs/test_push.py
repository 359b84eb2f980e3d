"""A run's delta goes to the hub as three files that load again, and that say nothing of the machine they come from."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml

import nettailor as nt
from blocks import Backbone
from nettailor.artifacts import delta
from nettailor.artifacts.hub import HubError
from nettailor.artifacts.report import Report
from nettailor.backbones.load import load_backbone
from nettailor.errors import FileError, NettailorError, UsageError
from nettailor.jobs.push import PushSettings, data_name, push, without_paths
from nettailor.jobs.recipe import parse_recipe
from tests import fabricated

if TYPE_CHECKING:
    from tests.fake_hub import FakeHub

errors = pytest.importorskip("huggingface_hub").errors
pytestmark = pytest.mark.extra
from tests.fake_hub import http_error  # noqa: E402 - it imports the extra

MIT = PushSettings("mit")
FILES = ["README.md", "task.json", "task.safetensors"]


def over() -> Backbone:
    """The backbone of the run."""
    return load_backbone(fabricated.TINY, None, 16)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose recipe names a person's files in four ways."""
    run = tmp_path_factory.mktemp("home") / "runs" / "birds"
    tree = {
        "task": "birds",
        "data": {"source": "/home/lovelace/secret/My Birds.zip", "root": "/home/lovelace/sets"},
        "backbone": {"name": fabricated.TINY, "weights": "../lovelace/tiny.pth"},
        "cost_table": "/home/lovelace/costs.json",
    }
    recipe = parse_recipe(tree, "here")
    recipe.write(run / "recipe.yaml")
    settings = recipe.as_dict()
    delta.save(fabricated.pruned(over()), run / "task", "birds", fabricated.CLASSES, settings=settings)
    fabricated.report().write(run / "report.json")
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "birds"))


def metadata(folder: Path) -> dict[str, Any]:
    _, front, _ = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(front)


def test_what_is_pushed_loads_again_and_answers_the_same(run: Path, hub: FakeHub) -> None:
    done = push(run, "user/birds", MIT)
    backbone, x = over(), torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        here, there = (nt.load(name, backbone).net(x) for name in (run, str(done.name)))
    assert torch.equal(here, there)
    ((repo, branch, message, files),) = hub.commits
    assert (repo, branch, files) == ("user/birds", "main", FILES)
    assert message == "birds: 0.9450 of the test pictures right, 1.20 M MACs"
    assert done.page == "https://huggingface.co/user/birds"
    assert done.size == sum((hub.branch("user/birds") / name).stat().st_size for name in FILES)
    assert not hub.private


def test_nothing_says_where_the_files_lay(run: Path, hub: FakeHub) -> None:
    before = json.loads((run / "task" / "task.json").read_text())
    done = push(run, "user/birds", MIT)
    text = "".join((hub.branch("user/birds") / name).read_text(errors="replace") for name in FILES)
    assert "lovelace" not in text
    assert str(run) not in text
    after = json.loads((hub.branch("user/birds") / "task.json").read_text())
    assert after["settings"]["data"]["source"] == "My Birds.zip"
    assert after["settings"]["backbone"]["weights"] == "tiny.pth"
    assert done.stripped == ["backbone.weights", "cost_table", "data.root", "data.source"]
    for section in ("data", "backbone"):
        after["settings"][section] = before["settings"][section]
    after["settings"]["cost_table"] = before["settings"]["cost_table"]
    assert after == before, "all else is as it was"
    assert json.loads((run / "task" / "task.json").read_text()) == before, "and the run itself is left alone"


def test_the_card_is_one_that_the_hub_understands(run: Path, hub: FakeHub) -> None:
    push(run, "user/birds", MIT)
    found = metadata(hub.branch("user/birds"))
    assert [found[key] for key in ("license", "library_name")] == ["mit", "nettailor"]
    assert found["pipeline_tag"] == "image-classification"
    assert found["datasets"] == ["My-Birds"], "the hub takes no blank in it"
    (result,) = found["model-index"][0]["results"]
    assert result["dataset"] == {"name": "My Birds", "type": "My-Birds", "split": "test"}
    assert result["metrics"][0] == {"type": "accuracy", "value": 0.945}
    text = (hub.branch("user/birds") / "README.md").read_text()
    assert "| test accuracy | 0.9500 | 0.9450 |" in text
    assert "Measured on 20 test pictures; trained on 48, chosen by 24" in text
    assert f'nettailor predict hf://user/birds picture.png --backbone "{fabricated.TINY}" --weights FILE' in text
    code = text.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code.replace('"FILE"', "None"), "README.md", "exec"), names)
    assert names["delta"].classes == fabricated.CLASSES


def test_a_backbone_that_comes_along_needs_no_name(run: Path, hub: FakeHub) -> None:
    """Of a run over the embedded backbone, as the description says it."""
    (run / "recipe.yaml").unlink()
    tree = json.loads((run / "task" / "task.json").read_text())
    tree["backbone"]["name"] = "resnet34_tiny"
    (run / "task" / "task.json").write_text(json.dumps(tree))
    push(run, "user/birds", MIT)
    text = (hub.branch("user/birds") / "README.md").read_text()
    assert "nettailor predict hf://user/birds picture.png\n" in text
    assert 'nt.load("hf://user/birds")' in text
    assert metadata(hub.branch("user/birds"))["datasets"] == ["birds"], "without a recipe the task's name"


def test_a_method_without_a_teacher_is_pushed_too(run: Path, hub: FakeHub) -> None:
    replace(fabricated.without_teacher(), task="birds").write(run / "report.json")
    push(run, "user/birds", MIT)
    assert "by the method `linear`" in (hub.branch("user/birds") / "README.md").read_text()


def test_branch_message_and_privacy_are_the_users(run: Path, hub: FakeHub) -> None:
    done = push(run, "hf://user/birds", PushSettings("MIT", private=True, message="first", revision="v1"))
    assert str(done.name) == "hf://user/birds@v1"
    assert hub.commits == [("user/birds", "v1", "first", FILES)]
    assert hub.private == {"user/birds"}
    assert not list(hub.branch("user/birds").iterdir()), "the main branch has nothing of it"
    assert nt.load("hf://user/birds@v1", over()).classes == fabricated.CLASSES
    push(run, "user/birds", PushSettings("mit", private=True))  # again, into what is private already
    assert len(hub.commits) == 2


def test_what_is_public_stays_no_secret_and_what_is_anothers_is_left_alone(
    run: Path, hub: FakeHub, tmp_path: Path
) -> None:
    hub.put("user/birds", run / "task")
    with pytest.raises(HubError, match="is there already and public, and --private would not change that"):
        push(run, "user/birds", PushSettings("mit", private=True))
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "model.bin").write_text("weights")
    hub.put("user/bert", tmp_path / "bert")
    with pytest.raises(HubError, match=r"hf://user/bert: holds something else \(model.bin\)"):
        push(run, "user/bert", MIT)
    assert not hub.commits
    push(run, "user/birds", MIT)
    assert len(hub.commits) == 1


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda r: (r / "report.json").unlink(),
            r"is not finished \(it has no report.json\); the same nettailor adapt",
        ),
        (lambda r: [(r / n).unlink() for n in ("report.json", "recipe.yaml")], "holds no finished run"),
        (lambda r: shutil.rmtree(r / "task"), "holds no delta"),
        (lambda r: (r / "task" / "task.safetensors").write_bytes(b"x"), "cut short or altered"),
        (lambda r: (r / "task" / "task.json").write_text("{}"), "format"),
    ],
)
def test_a_run_that_can_not_be_loaded_is_not_pushed(run: Path, hub: FakeHub, spoil: Any, said: str) -> None:
    spoil(run)
    with pytest.raises(FileError, match=said):
        push(run, "user/birds", MIT)
    assert not hub.root.exists()
    with pytest.raises(FileError, match="holds no finished run"):
        push(run / "no such", "user/birds", MIT)


def test_a_bare_delta_has_no_figures_to_push(run: Path, hub: FakeHub) -> None:
    with pytest.raises(FileError, match=r"is a delta without its run, whose report\.json has the figures"):
        push(run / "task", "user/birds", MIT)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("birds", MIT, "is no name on the hub; write hf://user/name"),
        ("user/birds@v1", MIT, "give the branch with --revision v1"),
        ("user/birds", PushSettings("mit", revision="a b"), "is no name on the hub"),
        ("user/birds", PushSettings(None), "needs a licence; say which with --license"),
        ("user/birds", PushSettings("apache"), r"--license apache: .*; did you mean apache-2\.0\?"),
    ],
)
def test_wrong_use_is_found_before_anything_is_asked_of_the_hub(
    run: Path, hub: FakeHub, name: str, settings: PushSettings, said: str
) -> None:
    hub.fails = AssertionError("the hub was asked")
    with pytest.raises(UsageError, match=said):
        push(run, name, settings)


def test_who_is_not_logged_in_or_offline_is_told_so(run: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.fails = ConnectionError("no route")
    with pytest.raises(HubError, match="can't be reached"):
        push(run, "user/birds", MIT)
    hub.fails = None
    hub.api.create_repo = lambda *_, **__: (_ for _ in ()).throw(http_error(errors.HfHubHTTPError, 403, "not yours"))
    with pytest.raises(HubError, match=r"your login may not do this there \(not yours\)"):
        push(run, "user/birds", MIT)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(NettailorError, match="you are not logged in to the hub; log in with `hf auth login`"):
        push(run, "user/birds", MIT)
    assert not hub.commits


@pytest.mark.parametrize(
    ("place", "value", "left"),
    [
        ("data.source", "digits", "digits"),
        ("data.source", "~/pictures/birds", "birds"),
        ("data.source", "C:\\Users\\ada\\birds.zip", "birds.zip"),
        ("data.root", "~/.cache/nettailor", "~/.cache/nettailor"),
        ("data.group", "/home/(.*)/", "/home/(.*)/"),
        ("source.data", "clients/acme/tiny.zip", "tiny.zip"),
        ("probe.data", "../acme/tiny.zip", "tiny.zip"),
        ("method.via", "clients/acme/signs", "signs"),
        ("teacher.run", "runs/acme/grown", "grown"),
        ("source.classes", "/home/(.*)/", "/home/(.*)/"),
        ("method.via_classes", "~a/b|c", "~a/b|c"),
        ("backbone.name", "timm/resnet18", "timm/resnet18"),
        ("backbone.name", "pkg.nets:make,file=/home/lovelace/w.pt,depth=3", "pkg.nets:make,file=w.pt,depth=3"),
        ("backbone.weights", "IMAGENET1K_V1", "IMAGENET1K_V1"),
        ("method.anything", ["/home/lovelace/x y/z", "of ~ada/z"], ["z", "of z"]),
        ("student.proxies", "pkg.forms:mine", "pkg.forms:mine"),
        ("machine.device", "/data", "data"),
    ],
)
def test_of_paths_the_last_part_is_left_and_all_else_is_kept(place: str, value: Any, left: Any) -> None:
    section, key = place.split(".")
    settings, stripped = without_paths({section: {key: value, "n": 3, "none": None}})
    assert settings == {section: {key: left, "n": 3, "none": None}}
    assert set(stripped) == ({place} if value != left else set())


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("digits", "digits"),
        ("MNIST", "MNIST"),
        ("/x/signs.zip", "signs"),
        ("./birds/", "birds"),
        (".", "task"),
        ("", "task"),
    ],
)
def test_data_are_called_by_their_name(source: str, name: str) -> None:
    assert data_name(source, "task") == name


def test_the_report_is_as_it_was(run: Path, hub: FakeHub) -> None:
    push(run, "user/birds", MIT)
    assert Report.read(run / "report.json") == fabricated.report()
