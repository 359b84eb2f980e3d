"""Formats are found by their names, say what they need, and answer as the net does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
import torchvision

from blocks import Backbone, CompactNet, InputSpec, Plan, TailoredNet, compact
from nettailor import export
from nettailor.backbones.load import load_backbone
from nettailor.errors import UsageError
from nettailor.export._preprocessing import Preprocessed
from nettailor.export._protocol import Exportable, ExportError, ancestors_of_first, failing_plainly, need_packages
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.solver import options_from_paths, within_budget
from tests import fabricated, tiny
from tests.nettailor.export._files import assert_same, pictures, written

NAMES = ["executorch", "onnx", "openvino", "torch"]
PACKAGES = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("openvino",),
    "executorch": ("executorch",),
    "torch": (),
}
FAMILIES = {
    "resnet34_tiny": lambda: None,
    "mobilenetv3_small_050": lambda: timm.create_model("mobilenetv3_small_050"),  # SE blocks and depthwise convolutions
    "regnety_002": lambda: timm.create_model("regnety_002"),  # SE blocks and groups
    "convnext_zepto_rms": lambda: timm.create_model("convnext_zepto_rms"),  # depthwise, linear layers, other norms
    "shufflenet_v2_x0_5": lambda: torchvision.models.shufflenet_v2_x0_5(),
    "mobilenetv2_035,pad_type=same": lambda: timm.create_model("mobilenetv2_035", pad_type="same"),
}


def family(name: str) -> CompactNet:
    """A compact net of 0.6 of the MACs over a random network of 32 px; gates and which blocks go are drawn."""
    torch.manual_seed(0)
    model = FAMILIES[name]()
    spec = InputSpec(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    backbone = load_backbone() if model is None else Backbone(tiny.live_in(model, 32), spec, name)
    student = TailoredNet(backbone, 5, Plan(3, "auto", "softmax", "affine"))
    with torch.no_grad():
        student.gates.logits.add_(0.3 * torch.randn_like(student.gates.logits))
    graph = BlockGraph.of(student)
    options = options_from_paths(graph, {path: data["gate"] for path, data in graph.edges()})
    student.keep(within_budget(graph, options, student.cost_model.limit(0.6)).paths)
    return compact(student)


def skip_without(to: str) -> None:
    for package in PACKAGES[to]:
        pytest.importorskip(package)


def test_formats_are_the_files_of_their_room() -> None:
    assert export.names() == NAMES
    for name in NAMES:
        format = export.find(name)
        assert format.name == name
        assert format.summary
        assert format.files(Path(f"net{format.suffix}"))[-1] == Path(f"net{format.suffix}")
    with pytest.raises(UsageError, match=r"--to: there is no format 'onx'; did you mean 'onnx'\?"):
        export.find("onx")
    with pytest.raises(UsageError, match="there are executorch, onnx, openvino, torch"):
        export.find("coreml-or-so")


@pytest.mark.parametrize("to", ["onnx", "openvino", "executorch"])
def test_a_format_without_its_packages_names_the_extra(to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = PACKAGES[to][-1]
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UsageError, match=rf"--to {to}: \w+ is not installed; pip install 'nettailor\[{to}\]'"):
        export.find(to).need()
    need_packages("torch", "torch")


def test_errors_of_converters_are_one_plain_line() -> None:
    with (
        pytest.raises(ExportError, match=r"^onnx can't take this network \(no such operator\)$"),
        failing_plainly("onnx"),
    ):
        raise RuntimeError("\nno such operator\nand much more")
    with pytest.raises(UsageError, match="as it is"), failing_plainly("onnx"):
        raise UsageError("as it is")


def test_what_comes_before_the_first_of_a_kind() -> None:
    nodes = [
        ("a", "Cast", []),
        ("b", "Mul", ["a", "w"]),
        ("c", "Conv", ["b"]),
        ("d", "Add", ["c"]),
        ("e", "Conv", ["d"]),
    ]
    assert ancestors_of_first(nodes, "Conv") == ["a", "b"]
    assert ancestors_of_first(nodes, "Gemm") == []


@pytest.mark.extra
@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "raw"), [("onnx", False), ("onnx", True), ("torch", False), ("openvino", True), ("executorch", True)]
)
def test_a_file_answers_as_the_net_does(to: str, raw: bool, tmp_path: Path) -> None:
    skip_without(to)
    net = fabricated.pruned(tiny.tiny_backbone(16))
    session = written(net, to, tmp_path, raw)
    assert_same(net, session, 5, raw)
    assert_same(net, session, 1, raw)
    if not raw:
        any_size = pictures(2, 31, 23)
        expected = Preprocessed(net, net.spec, any_size=True)(any_size).detach()
        torch.testing.assert_close(
            session(any_size), expected, rtol=0, atol=5e-3
        )  # a grey level off, where there are ties


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "name"),
    [("onnx", name) for name in FAMILIES]
    + [(to, name) for to in ("torch", "openvino") for name in ("mobilenetv3_small_050", "convnext_zepto_rms")],
)
def test_nets_of_every_family_answer_the_same(to: str, name: str, tmp_path: Path) -> None:
    skip_without(to)
    net = family(name)
    session = written(net, to, tmp_path)
    assert_same(net, session, 3)
    if to == "openvino":
        assert session(pictures(1, 50, 40)).shape == (1, 5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv3_small_050"])
def test_executorch_answers_the_same_one_by_one(name: str, tmp_path: Path) -> None:
    skip_without("executorch")
    net = family(name)
    assert_same(net, written(net, "executorch", tmp_path), 3)


@pytest.mark.slow
def test_openvino_tells_its_makers_nothing(tmp_path: Path) -> None:
    skip_without("openvino")
    code = (
        "import sys; from nettailor.export.openvino import import_openvino; import_openvino();"
        "sys.exit(any(name.startswith('openvino_telemetry') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, env={**os.environ, "HOME": str(tmp_path)})
    assert done.returncode == 0
    assert list(tmp_path.iterdir()) == [], "nor does it write into the user's home"


def test_weights_are_contiguous_whatever_the_net_has() -> None:
    net = fabricated.pruned(tiny.tiny_backbone(16)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    module = Exportable(net.for_inference(), net.spec).module(any_size=False)
    assert all(tensor.is_contiguous() for tensor in module.parameters())


@pytest.mark.extra
def test_openvino_corrects_every_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without("openvino")
    nncf = pytest.importorskip("nncf")
    asked: list[bool] = []

    def quantize(model: object, *_: object, **options: bool) -> object:
        asked.append(options["fast_bias_correction"])
        return model

    monkeypatch.setattr(nncf, "quantize", quantize)
    net = fabricated.pruned(tiny.tiny_backbone())
    source = Exportable(net.for_inference(), net.spec, True, torch.zeros(2, 3, 16, 16))
    export.find("openvino").convert(source)
    assert asked == [False]
