"""The delta: load(save(x)) == x bit for bit, in a fresh process too; whatever is wrong with its files is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from blocks import Backbone, CompactNet, Plan, TailoredNet, compact, count_params
from blocks.chosen_channels import ChosenChannels
from blocks.counting import Cost, tensors_of
from blocks.narrow import narrow
from blocks.thinned import PARTS
from nettailor.artifacts import delta
from nettailor.backbones import resnet34_tiny as embedded
from nettailor.backbones.load import load_backbone
from nettailor.data.batches import normalise
from nettailor.data.task import load_task
from nettailor.errors import BackboneError, FileError, VersionError
from nettailor.pruning.graph import BlockGraph
from tests import tiny
from tests.nettailor.artifacts.wrong_deltas import WRONG, edit, with_tensors

CLASSES = [str(n) for n in range(10)]


def trained_net(policy: str) -> tuple[TailoredNet, CompactNet]:
    """A student that has seen real digits, and its compact net without some blocks."""
    backbone = load_backbone()
    task = load_task("digits", backbone.spec.size)
    student = TailoredNet(backbone, 10, Plan(batch_norm=policy, gates="independent")).train()  # type: ignore[arg-type]
    with torch.no_grad():
        student.gates.logits.add_(torch.randn_like(student.gates.logits))
        for start in range(0, 96, 32):
            student(normalise(task.train.batch(torch.arange(start, start + 32)), backbone.spec, torch.device("cpu")))
    student.eval()
    whole = BlockGraph.of(student)
    removed = {"G2", "G5", "G6", "G11", "A0-1", "A3-4", "A9-12"}
    graph = whole.without([path for path in whole.paths if path.key in removed])
    student.keep(graph.paths)
    return student, compact(student)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor, torch.Tensor]:
    """A saved delta, real pictures, and the logits of the net that was saved."""
    _, net = trained_net("affine")
    folder = tmp_path_factory.mktemp("run") / "task"
    delta.save(net, folder, "digits", CLASSES)
    x = normalise(load_task("digits", 32).test.batch(torch.arange(50)), net.spec, torch.device("cpu"))
    with torch.no_grad():
        return folder, x, net(x)


@pytest.mark.parametrize("policy", ["source", "stats", "affine"])
def test_on_real_pictures_pruning_equals_masking_and_loading_equals_saving(policy: str, tmp_path: Path) -> None:
    student, net = trained_net(policy)
    x = normalise(load_task("digits", 32).test.batch(torch.arange(50)), net.spec, torch.device("cpu"))
    delta.save(net, tmp_path, "digits", CLASSES)
    with torch.no_grad():
        assert torch.allclose(net(x), student(x), atol=1e-5)
        again = delta.load(tmp_path).net
        assert torch.equal(again(x), net(x))
        assert torch.equal(again(x[:1]), net(x[:1]))
    owned = load_file(tmp_path / "task.safetensors")
    assert sum(t.numel() for t in owned.values()) == sum(t.numel() for t in net.task_tensors().values())
    assert not owned.keys() & net.backbone.tensors().keys()
    assert again.cost() == net.cost()


def test_a_method_that_load_would_refuse_is_not_written(backbone: Backbone, tmp_path: Path) -> None:
    net = compact(TailoredNet(backbone, 3, Plan()))
    with pytest.raises(
        VersionError, match="method: this nettailor has no method 'nettailer'; did you mean 'nettailor'"
    ):
        delta.save(net, tmp_path / "new", "three", ["a", "b", "c"], method="nettailer")
    assert not (tmp_path / "new").exists()


def test_a_fresh_process_gives_the_same_bits(saved: tuple[Path, torch.Tensor, torch.Tensor], tmp_path: Path) -> None:
    folder, x, logits = saved
    torch.save({"x": x, "logits": logits}, tmp_path / "expected.pt")
    code = (
        "import sys, torch, nettailor as nt\n"
        f"torch.set_num_threads({torch.get_num_threads()})\n"
        "kept = torch.load(sys.argv[2], weights_only=True)\n"
        "with torch.no_grad(): same = torch.equal(nt.load(sys.argv[1]).net(kept['x']), kept['logits'])\n"
        "sys.exit(0 if same else 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, folder, tmp_path / "expected.pt"], check=False)
    assert done.returncode == 0


def test_it_counts_only_what_it_holds(saved: tuple[Path, torch.Tensor, torch.Tensor]) -> None:
    net = delta.load(saved[0]).net
    assert net.cost().params == count_params(tensors_of(net).values())
    assert {p.target for p in net.paths if p.is_universal}.isdisjoint({2, 5, 6, 11})
    assert not {"2", "5", "6", "11"} & set(net.blocks)


@pytest.mark.parametrize("what", WRONG)
def test_whatever_is_wrong_is_named(what: str, saved: tuple[Path, torch.Tensor, torch.Tensor], tmp_path: Path) -> None:
    change, says = WRONG[what]
    folder = shutil.copytree(saved[0], tmp_path / "task")
    change(folder)
    with pytest.raises(Exception, match=says) as raised:
        delta.load(folder)
    assert isinstance(raised.value, FileError | BackboneError)


def test_a_backbone_that_reads_other_pictures_is_refused(saved: tuple[Path, torch.Tensor, torch.Tensor]) -> None:
    with pytest.raises(FileError, match=r"task\.json: input: is .*, but the backbone reads .*crop=0.5"):
        delta.load(saved[0], load_backbone(crop=0.5))


def test_a_backbone_with_other_weights_is_refused(saved: tuple[Path, torch.Tensor, torch.Tensor]) -> None:
    backbone = load_backbone()
    with torch.no_grad():
        next(iter(backbone.tensors().values())).add_(1e-3)
    with pytest.raises(FileError, match="belongs to another"):
        delta.load(saved[0], backbone)


def test_the_same_weights_under_another_padding_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    with_padding = load_backbone("timm/mobilenetv2_050,pad_type=same", input_size=32, untrained=True)
    torch.manual_seed(0)
    without = load_backbone("timm/mobilenetv2_050", input_size=32, untrained=True)
    net = compact(TailoredNet(with_padding, 10, Plan(skips=1)))
    delta.save(net, tmp_path, "digits", CLASSES)
    assert torch.equal(*(n(torch.ones(1, 3, 32, 32)) for n in (net, delta.load(tmp_path, with_padding).net)))
    with pytest.raises(FileError, match=r"backbone\.geometry_sha256: .*padding.*--backbone NAME,argument=value"):
        delta.load(tmp_path, without)


def test_a_plan_that_fits_the_same_tensors_is_refused(tmp_path: Path) -> None:
    """Over a backbone whose classifier reads what a pooled head reads, names and shapes tell the heads apart no more."""

    class Headed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = tiny.tiny_resnet()
            self.body.fc = torch.nn.Identity()
            self.classifier = torch.nn.Linear(16, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.classifier(2 * self.body(x))

    backbone = Backbone(tiny.live_in(Headed(), 16), tiny.tiny_backbone().spec, "headed")
    delta.save(compact(TailoredNet(backbone, 3, Plan())), tmp_path, "three", ["a", "b", "c"])
    delta.load(tmp_path, backbone)
    edit(tmp_path, lambda tree: tree["plan"].update(head="pooled"))
    with pytest.raises(FileError, match=r"task\.json: plan: is not the one with which task\.safetensors was written"):
        delta.load(tmp_path, backbone)


@pytest.mark.slow
def test_half_a_million_classes_are_refused_before_memory_is_taken(
    saved: tuple[Path, torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    """In a process of its own: 500,000 classifiers' rows of 128 floats are 256 MB; what it takes in all is measured."""
    folder = shutil.copytree(saved[0], tmp_path / "task")
    edit(folder, lambda t: t.update(classes=[f"{n}" for n in range(500_000)]))
    code = (
        "import resource, sys, nettailor as nt\n"
        "backbone = nt.load_backbone()\n"
        "nt.load(sys.argv[1], backbone)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: nt.load(sys.argv[2], backbone)\n"
        "except nt.NettailorError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, saved[0], folder], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert "it is F32 [10], but has to be F32 [500000]" in done[0]
    assert int(done[1]) < 160 * 1024, "KiB: half a million names in JSON, and no classifier"


def test_what_load_would_refuse_is_not_saved(saved: tuple[Path, torch.Tensor, torch.Tensor], tmp_path: Path) -> None:
    net = delta.load(saved[0]).net
    for classes, says in (
        (["x"] * 10, "'x' stands there twice"),
        (CLASSES[:9], "are 9, but the network has 10 logits"),
        ([*CLASSES[:9], 9], r"classes\.9: .*string"),
    ):
        with pytest.raises(FileError, match=says):
            delta.save(net, tmp_path / "new", "digits", classes)  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


def test_the_embedded_backbone_is_as_small_as_it_says() -> None:
    backbone = load_backbone()
    assert backbone.depth == 16 >= 12
    assert backbone.cost.macs < 25e6
    assert backbone.cost.params < 1.5e6
    assert embedded.WEIGHTS.stat().st_size <= 3e6
    assert {t.dtype for t in load_file(embedded.WEIGHTS).values()} == {torch.float16, torch.int64}
    card = embedded.CARD.read_text()
    for word in ("data", "command", "seed", "epochs", "top-1", "top-5"):
        assert f"| {word} |" in card


def test_a_net_with_fewer_channels_keeps_its_widths_and_false_ones_are_named(
    backbone: Backbone, tmp_path: Path
) -> None:
    pruned = backbone.teacher(3)
    inner = {"blocks.4.layer3.0.conv1": (5, 8), "blocks.4.layer3.0.bn1": (5,), "blocks.4.layer3.0.conv2": (16, 5)}
    narrow(pruned, inner)
    for tensor in tensors_of(pruned).values():
        torch.nn.init.uniform_(tensor.detach(), 0.5, 1)
    net = compact(pruned.eval(), backbone)
    delta.save(net, tmp_path, "t", ["a", "b", "c"])
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(delta.load(tmp_path, backbone).net(x), net(x))
    text = (tmp_path / delta.DESCRIPTION).read_text()

    def says(name: str, width: list[int]) -> str:
        tree = json.loads(text)
        tree["plan"]["widths"][name] = width
        (tmp_path / delta.DESCRIPTION).write_text(json.dumps(tree))
        with pytest.raises(FileError) as raised:
            delta.load(tmp_path, backbone)
        return str(raised.value)

    assert "plan.widths: 'blocks.9' is no convolution" in says("blocks.9", [1])
    assert "plan.widths: 'blocks.5.layer3.0.bn1' is to have [99] channels" in says("blocks.5.layer3.0.bn1", [99])
    assert "tensor 'blocks.5.layer3.0.bn1.bias' does not fit" in says("blocks.5.layer3.0.bn1", [4])
    plain = compact(backbone.teacher(3), backbone)
    delta.save(plain, tmp_path / "plain", "t", ["a", "b", "c"])
    assert "widths" not in (tmp_path / "plain" / delta.DESCRIPTION).read_text(), "as older versions read it"


def test_widths_that_do_not_fit_together_are_refused_where_the_tensors_have_them(
    backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = compact(backbone.teacher(3), backbone).plan
    net = CompactNet(backbone, replace(plan, widths=(("blocks.5.layer3.0.conv1", (5, 8)),)))
    monkeypatch.setattr(CompactNet, "path_cost", lambda *_: Cost(0, 0))  # as somebody would write it who means it
    delta.save(net, tmp_path, "t", ["a", "b", "c"])
    with pytest.raises(FileError, match=r"plan\.widths: its layers do not fit together"):
        delta.load(tmp_path, backbone)


@pytest.mark.parametrize("form", PARTS)
def test_a_thinned_blocks_delta_has_numbers_of_channels_and_false_ones_are_refused(
    backbone: Backbone, tmp_path: Path, form: str
) -> None:
    """What they number is the backbone's, and not in the delta."""
    student = TailoredNet(backbone, 3, Plan(skips=1, proxies=form)).eval()
    thinned = [path for path in student.paths if path.form == form]
    gone = {path.target for path in thinned}
    student.keep(path for path in student.paths if not (path.is_universal and path.target in gone))
    for path in thinned:
        for layer in student.module_of(path).modules():
            if isinstance(layer, ChosenChannels):
                layer.outputs.add_(1)
    net, x = compact(student), torch.randn(2, 3, 16, 16)
    delta.save(net, tmp_path, "t", ["a", "b", "c"])
    tensors = load_file(tmp_path / delta.TENSORS)
    first = f"proxies.{thinned[0].source}-{thinned[0].target}.transform.0"
    assert tensors[f"{first}.outputs"].tolist()[0] == 1
    assert f"{first}.convolution.weight" not in tensors
    with torch.no_grad():
        assert torch.equal(delta.load(tmp_path, backbone).net(x), student(x))
    assert net.shared_params()[f"G{thinned[0].target}"] > 0
    with_tensors(tmp_path, lambda name, tensor: tensor + 1000 if name == f"{first}.outputs" else tensor)
    with pytest.raises(FileError, match=rf"task\.safetensors: .*{first}.* names channels that are not there"):
        delta.load(tmp_path, backbone)
