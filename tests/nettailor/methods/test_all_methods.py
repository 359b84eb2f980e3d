"""Every method over backbones of three kinds: what its delta holds is what was counted, and it comes back as it was.

A method that is new is here by its file alone.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors import safe_open

from blocks import Backbone, CompactNet
from blocks.counting import count_params, tensors_of
from nettailor import methods
from nettailor.artifacts import delta
from nettailor.artifacts.report import Report
from nettailor.backbones.load import load_backbone
from nettailor.config.loading import merge, parse_overrides
from nettailor.data.batches import normalise
from nettailor.data.task import load_task
from nettailor.errors import UsageError
from nettailor.files import write_tensors
from nettailor.jobs.adapt import adapt
from nettailor.jobs.recipe import Recipe, parse_recipe
from nettailor.methods._protocol import Context, Trained
from nettailor.training.checkpoint import Checkpoints
from tests.conftest import CommandLine, made_once
from tests.nettailor.methods.test_methods import LONG, words_for

NAMES = methods.names()
BACKBONES = ("embedded", "timm", "alexnet")
RANDOM: dict[str, tuple[str, Callable[[], torch.nn.Module]]] = {
    "timm": ("timm/test_resnet", lambda: timm.create_model("test_resnet")),
    "alexnet": ("torchvision/alexnet,num_classes=20", lambda: torchvision.models.alexnet(num_classes=20)),
}
OWN = {"keep_classifier": ("method.classifier=random", "method.norm=batch")}
"""Of random weights there is no source classifier to keep."""
REFUSED = {("blocks_per_stage", "timm"): "no stage of timm/test_resnet has more than 1 block"}
ON_ALEXNET = {
    "finetune",
    "grow_both",
    "grow_depth",
    "grow_twice",
    "grow_width",
    "keep_classifier",
    "linear",
    "lwf",
    "soft",
}
"""Of AlexNet 57 M parameters are written after every pass: those are run there whose networks differ there."""
ALSO_ON_ALEXNET = {"adapters", "batch_norm", "nettailor", "scratch"}
"""One of each kind of the others, without the run that is stopped: what they write is the same code's for every network.
A shallower cut, one block of each stage, channels pruned and random paths are networks of fewer layers, which AlexNet's five
blocks show no better than the small ResNet; the other rows differ from `nettailor` by settings."""
TUNES = ("finetune", "grow_both", "grow_depth", "grow_twice", "grow_width", "keep_classifier", "lwf", "soft")
QUICKEST = {"keep_classifier", "linear"}
"""Those that are run in every test session, over the smallest backbone."""


@pytest.fixture(autouse=True)
def _memory_given_back() -> Iterator[None]:
    """Traced networks hold each other in circles, and Python counts objects, not bytes: nine AlexNets took 21 GiB."""
    yield
    gc.collect()


class Killed(BaseException):
    """In the place of a signal that ends the process."""


@pytest.fixture(scope="session")
def recipe_of(
    tmp_path_factory: pytest.TempPathFactory, digit_folder: Path, other_digits: Path
) -> Callable[[str, str], Recipe]:
    """The quickest recipe of a method over a backbone, whose random weights are made once."""

    def recipe(method: str, kind: str) -> Recipe:
        words = [
            word
            for word in words_for(method, other_digits)[2:]
            if not word.startswith("teacher.epochs") or method in LONG
        ]
        words += ["backbone.input_size=64" if kind == "alexnet" else "backbone.input_size=32", "machine.device=cpu"]
        words += [] if method in LONG else ["teacher.epochs=2"]
        tree: dict[str, Any] = {"data": {"source": str(digit_folder)}, "method": {"name": method}}
        if kind in RANDOM:
            name, build = RANDOM[kind]
            words += OWN.get(method, ())

            def make(folder: Path) -> None:
                torch.manual_seed(0)
                folder.mkdir()
                write_tensors(folder / "w.safetensors", build().state_dict())

            file = made_once(tmp_path_factory, f"random-{kind}", make) / "w.safetensors"
            tree["backbone"] = {"name": name, "weights": str(file)}
        return parse_recipe(merge(parse_overrides(words), tree), "test")

    return recipe


def stopped_then_finished(
    recipe: Recipe, out: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> tuple[Report, int]:
    """A run that is killed right after its first checkpoint, or where it keeps none before it is measured, and goes on.

    Returns:
        Its report, and how many checkpoints it wrote in all.
    """
    written = 0
    save = Checkpoints.save

    def save_and_die(self: Checkpoints, *words: Any) -> None:
        nonlocal written
        save(self, *words)
        written += 1
        if written == 1:
            raise Killed

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", save_and_die)
        patched.setattr("nettailor.jobs.adapt.measure", die)
        with pytest.raises(Killed):
            adapt(recipe, out, backbone=backbone)
    assert not (out / "report.json").exists()
    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", save_and_die)
        return adapt(recipe, out, backbone=backbone), written


def trained_by(method: str, monkeypatch: pytest.MonkeyPatch) -> list[Trained]:
    """What a method's trainings give from here on, in order."""
    kind, given = type(methods.find(method)), list[Trained]()
    train = kind.train

    def keep(self: Any, context: Context) -> Trained:
        given.append(train(self, context))
        return given[-1]

    monkeypatch.setattr(kind, "train", keep)
    return given


def without_clock(report: Report) -> dict[str, Any]:
    """A report without what a clock says."""
    tree = json.loads(json.dumps(asdict(report)))
    for section in ("teacher", "compact"):
        for key in ("latency_ms", "latency_packed_ms"):
            (tree[section] or {}).pop(key, None)
    tree["versions"].pop("commit", None)
    del tree["seconds"]
    return tree


def is_slow(method: str, kind: str) -> bool:
    return method not in QUICKEST or kind != "timm"


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        pytest.param(method, kind, marks=pytest.mark.slow if is_slow(method, kind) else ())
        for kind in BACKBONES
        for method in NAMES
        if kind != "alexnet" or method in ON_ALEXNET | ALSO_ON_ALEXNET
    ],
)
def test_counts_bits_frozen_tensors_and_a_stopped_run(
    method: str,
    kind: str,
    recipe_of: Callable[[str, str], Recipe],
    digit_folder: Path,
    nettailor: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, trained = recipe_of(method, kind), trained_by(method, monkeypatch)
    backbone = load_backbone(**asdict(recipe.backbone))
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    if (why := REFUSED.get((method, kind))) is not None:
        with pytest.raises(UsageError, match=why):
            adapt(recipe, Path("run"), backbone=backbone)
        return
    report = adapt(recipe, Path("run"), backbone=backbone)
    check_run(report, recipe, trained[0].net, backbone, before, digit_folder)
    if kind == "alexnet" and method in ALSO_ON_ALEXNET:
        return

    resumed, _ = stopped_then_finished(recipe, Path("stopped"), backbone, monkeypatch)
    assert without_clock(resumed) == without_clock(report)
    stored = [Path(run, "task", "task.safetensors").read_bytes() for run in ("run", "stopped")]
    assert stored[0] == stored[1]

    status, said, err = nettailor("eval", "run")
    assert status == 0, err
    assert f"{report.compact.test_accuracy:.4f} of 24 test pictures right" in said
    assert nettailor("predict", "run", next(digit_folder.rglob("*.png")))[0] == 0
    assert nettailor("show", "run")[0] == 0


def check_run(
    report: Report,
    recipe: Recipe,
    net: CompactNet,
    backbone: Backbone,
    before: dict[str, torch.Tensor],
    digit_folder: Path,
) -> None:
    """What is frozen stayed, load(save) gives the same bits, and counts equal the delta's tensors."""
    after = backbone.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items()), "what is frozen stays"

    fresh = load_backbone(**asdict(recipe.backbone))
    again = delta.load("run", fresh).net
    x = normalise(
        load_task(str(digit_folder), fresh.spec.size).test.batch(torch.arange(6)), net.spec, torch.device("cpu")
    )
    with torch.no_grad():
        assert torch.equal(again(x), net(x)), "load(save) gives the same bits"
    with safe_open("run/task/task.safetensors", "pt") as file:
        assert report.compact.task_params == sum(file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118
    shared = {id(tensor) for tensor in tensors_of(fresh).values()}
    everything = tensors_of(again).values()
    own = count_params(tensor for tensor in everything if id(tensor) not in shared)
    assert report.compact.task_params == own
    assert report.compact.params == count_params(everything)
    assert report.compact.macs == again.cost().macs


@pytest.mark.parametrize("tune_from", ["new", 4])
@pytest.mark.parametrize(
    "method",
    [pytest.param(name, marks=() if name == "finetune" else pytest.mark.slow) for name in TUNES],
)
def test_below_the_first_layer_that_is_tuned_nothing_is_the_tasks(
    method: str,
    tune_from: str | int,
    recipe_of: Callable[[str, str], Recipe],
    digit_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = recipe_of(method, "timm")
    recipe = replace(recipe, method=replace(recipe.method, tune_from=tune_from))  # type: ignore[call-arg]
    monkeypatch.chdir(tmp_path)
    backbone, trained = load_backbone(**asdict(recipe.backbone)), trained_by(method, monkeypatch)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    report = adapt(recipe, Path("run"), backbone=backbone)
    net = trained[0].net
    check_run(report, recipe, net, backbone, before, digit_folder)
    first = backbone.depth + 1 if tune_from == "new" else int(tune_from)
    parts = {0: backbone.stem} | dict(enumerate(backbone.blocks, 1))
    frozen = {id(tensor) for number, part in parts.items() if number < first for tensor in tensors_of(part).values()}
    made = {id(tensor) for tensor in tensors_of(net).values()}
    assert frozen <= made, "statistics included, they are the backbone's very tensors"
    assert not frozen & {id(tensor) for tensor in net.task_tensors().values()}
    above = {id(tensor) for number, part in parts.items() if number >= first for tensor in tensors_of(part).values()}
    assert not above & made, "what is tuned is a copy"


def test_a_random_source_classifier_is_not_kept(
    recipe_of: Callable[[str, str], Recipe], nettailor: CommandLine
) -> None:
    backbone = recipe_of("keep_classifier", "timm").backbone
    words = ("--backbone", backbone.name, "--weights", str(backbone.weights), "backbone.input_size=32")
    said = nettailor.fails("adapt", *words, "--method", "keep_classifier", "--out", "run", status=2)
    assert "the source classifier of timm/test_resnet has random weights, so there is nothing to keep" in said
    assert list(Path().iterdir()) == []
