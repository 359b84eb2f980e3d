"""Every method: found by name, trained from the command line, and its delta loads to the same bits."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from blocks import count_params
from blocks.counting import tensors_of
from nettailor import methods
from nettailor.artifacts import delta
from nettailor.artifacts.report import Report
from nettailor.artifacts.run_folder import RunFolder
from nettailor.data.batches import normalise
from nettailor.data.task import load_task
from nettailor.errors import UsageError
from nettailor.jobs.adapt import adapt
from nettailor.jobs.recipe import Recipe, parse_recipe
from nettailor.methods._protocol import Context, Trained
from tests.conftest import CommandLine
from tests.nettailor.export._files import assert_same, written
from tests.tiny import QUICK

NAMES = [
    "adapters",
    "batch_norm",
    "blocks_per_stage",
    "channel_pruning",
    "finetune",
    "grow_both",
    "grow_depth",
    "grow_twice",
    "grow_width",
    "keep_classifier",
    "linear",
    "lwf",
    "nettailor",
    "nettailor_pruned_as_paper",
    "paper",
    "paper_pruned_as_nettailor",
    "paper_text",
    "random_weights",
    "scratch",
    "shallow",
    "soft",
]
LONG = {
    "blocks_per_stage",
    "channel_pruning",
    "grow_both",
    "grow_depth",
    "grow_twice",
    "grow_width",
    "keep_classifier",
    "random_weights",
    "paper",
    "paper_text",
    "nettailor_pruned_as_paper",
    "paper_pruned_as_nettailor",
}
"""Those with many stages, most of which other methods run, too, or that `test_all_methods` runs on small backbones."""
TUNED = {"finetune", "lwf", "soft"}
"""Those whose own training is the stage that is a teacher's in others."""
BESIDE = {"adapters", "batch_norm", "lwf", "scratch", "shallow", "soft"}
"""Those that train as others here do; their own tests train them on a smaller backbone."""
FAST_PAPER = ("prune.remove=[1,2]", "prune.proxies_below=0.001")


def test_summaries_are_read_without_importing_what_has_them() -> None:
    found = methods.summaries()
    assert list(found) == methods.names()
    assert found == {name: methods.find(name).summary for name in methods.names()}
    assert all(found.values())


def words_for(name: str, others: Path) -> tuple[str, ...]:
    """Quick settings of a method; `others` are source pictures for what needs some."""
    as_paper = name in ("paper", "paper_text", "nettailor_pruned_as_paper")
    quick = tuple(word for word in QUICK if not word.startswith("recover")) if as_paper else QUICK
    if methods.find(name).needs_source:
        quick = (*quick, f"source.data={others}")
    return ("--method", name, *quick, *(FAST_PAPER if as_paper else ()))


def test_methods_are_the_files_of_their_room() -> None:
    assert methods.names() == NAMES
    for name in NAMES:
        method = methods.find(name)
        assert method.name == name
        assert method.settings(name=name).name == name
        assert method.summary
    with pytest.raises(UsageError, match=r"there is no method 'linaer'; did you mean 'linear'"):
        methods.find("linaer")


@pytest.mark.extra
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LONG | BESIDE else ()) for name in NAMES]
)
def test_every_method_leaves_a_delta_that_loads_to_the_same_bits(
    name: str, nettailor: CommandLine, digit_folder: Path, other_digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the extra `onnx` is there the net is exported, too."""
    trained: list[Trained] = []
    method = methods.find(name)
    train = type(method).train

    def keep(self: object, context: Context) -> Trained:
        trained.append(train(self, context))  # type: ignore[arg-type]
        return trained[-1]

    monkeypatch.setattr(type(method), "train", keep)
    status, said, err = nettailor("adapt", "--data", digit_folder, "--out", "run", *words_for(name, other_digits))
    assert status == 0, err
    again, report = delta.load("run"), Report.read(Path("run/report.json"))
    net = trained[0].net
    x = normalise(load_task(str(digit_folder), 32).test.batch(torch.arange(24)), net.spec, torch.device("cpu"))
    with torch.no_grad():
        assert torch.equal(again.net(x), net(x))
    assert again.description.method == report.method == name
    if find_spec("onnxruntime") is not None:
        assert_same(again.net, written(again.net, "onnx", Path(), raw=True), 3, raw=True)
    owned = again.net.task_tensors()
    assert report.compact.task_params == sum(tensor.numel() for tensor in owned.values())
    assert report.compact.params == count_params(tensors_of(again.net).values())
    assert report.compact.macs == again.net.cost().macs
    assert (report.teacher is not None) == method.needs_teacher
    assert ("teacher      1/1" in said) == (method.needs_teacher or name in TUNED), "no teacher is trained in vain"
    status, said, err = nettailor("eval", "run")
    assert f"{report.compact.test_accuracy:.4f} of 24 test pictures right" in said
    assert nettailor("show", "run", "--svg", "graph.svg")[0] == 0
    assert nettailor("predict", "run", next(digit_folder.rglob("*.png")))[0] == 0
    assert nettailor("adapt", "--data", digit_folder, "--out", "run", *words_for(name, other_digits))[0] == 0


@pytest.mark.slow
def test_every_second_is_in_one_stage(digit_folder: Path, tmp_path: Path) -> None:
    import time

    tree: dict[str, dict[str, object]] = {"data": {"source": str(digit_folder)}}
    for word in QUICK:
        section, _, rest = word.partition(".")
        key, _, value = rest.partition("=")
        tree.setdefault(section, {})[key] = float(value)
    start = time.perf_counter()
    report = adapt(parse_recipe(tree, "test"), tmp_path / "run")
    took = time.perf_counter() - start
    assert set(report.seconds) == {"prepare", "teacher", "student", "prune", "recover", "measure"}
    assert 0.9 * took - 0.3 < sum(report.seconds.values()) <= took
    assert report.epochs["importance"] > 0, "pictures that were only looked at count too"


def test_a_method_has_its_own_settings_and_no_others(nettailor: CommandLine, digit_folder: Path) -> None:
    assert parse_recipe({"method": "shallow"}, "t").method == methods.find("shallow").settings(name="shallow")
    recipe = parse_recipe({"method": {"name": "shallow", "macs": 0.5}}, "t")
    assert recipe.as_dict()["method"] == {"name": "shallow", "passes": None, "distill": False, "macs": 0.5}
    for words, says in (
        (["--method", "shalow"], "did you mean 'shallow'"),
        (["--method", "linear", "method.macs=0.5"], "method.macs: no such key"),
        (["--method", "shallow", "method.macs=2"], "method.macs: input should be less than or equal to 1"),
        (["method.macs=0.5"], "method.macs: no such key"),
    ):
        assert says in nettailor.fails("adapt", "--data", digit_folder, *words, status=2)
    assert list(Path().iterdir()) == []


def test_a_recipe_that_names_another_method_gets_that_ones_settings(tmp_path: Path) -> None:
    from nettailor.config.loading import merge

    below = {"method": {"name": "shallow", "macs": 0.5}, "seed": 1}
    assert merge(below, {"method": {"macs": 0.25}})["method"] == {"name": "shallow", "macs": 0.25}
    assert merge(below, {"method": "linear"})["method"] == {"name": "linear"}
    assert merge({"method": "shallow"}, {"method": {"macs": 0.25}})["method"] == {"name": "shallow", "macs": 0.25}


def test_the_papers_defaults_are_the_papers_recipe() -> None:
    from nettailor.config.library import shipped_recipes
    from nettailor.jobs.recipe import read_recipes

    (shipped,) = read_recipes(shipped_recipes()["paper"])
    assert shipped == Recipe().with_method("paper")
    ours = Recipe(seed=3)
    assert ours.with_method("paper").seed == 3
    assert ours.with_method("linear").student == ours.student


def test_a_run_of_version_0_1_0_names_its_method_in_its_report(tmp_path: Path) -> None:
    tree = Recipe().as_dict()
    del tree["method"]
    (tmp_path / "recipe.yaml").write_text(json.dumps(tree))
    assert Recipe.read(RunFolder(tmp_path).recipe).method.name == "nettailor"
    (tmp_path / "report.json").write_text(json.dumps({"method": "teacher"}))
    assert Recipe.read(RunFolder(tmp_path).recipe).method.name == "finetune"
    tree["prune"]["how"] = "paper"
    (tmp_path / "recipe.yaml").write_text(json.dumps(tree))
    assert Recipe.read(RunFolder(tmp_path).recipe).method.name == "paper"
