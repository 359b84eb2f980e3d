"""Cut, tailor, prune and reload one model of every convolutional family of timm and torchvision.

    python -m recipes.evidence.conformance                    the whole table, into docs/backbones.md and docs/backbones.json
    python -m recipes.evidence.conformance --only resnet      families whose name holds a word; prints, writes nothing

The families come from the libraries' own registries: of timm, the smallest model of each module whose parameters are mainly
convolutional; of torchvision, every classification model that is no transformer. Weights are random,
norms with randomised statistics, inputs small.
The same properties are the bodies of tests/recipes/evidence/test_conformance.py.

Expected: 126 of 130 families have every property; about a quarter of an hour on two cores.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import Tensor, fx, nn
from torchvision import models

from blocks import Backbone, CompactNet, CutError, InputSpec, Plan, TailoredNet, compact, count_macs, count_params
from blocks.counting import tensors_of
from blocks.cut import ENOUGH_BLOCKS
from blocks.layer_types import CONVOLUTION
from nettailor.artifacts.delta import load, save
from nettailor.files import read_json, write_json, write_text
from nettailor.pruning.graph import BlockGraph, GraphError

SIZES = (64, 96, 128, 160, 192, 224, 256, 288, 331)
CLASSES = 7
FEW_CONVOLUTIONS = 5
DOCS = Path(__file__).parents[2] / "docs"


@dataclass(frozen=True)
class Family:
    """One model that stands for a family: `timm/resnet10t` for timm's module `resnet`."""

    model: str
    module: str


def families() -> Iterator[Family]:
    """Every convolutional family of both libraries, by their registries. Takes two minutes: all models are built once."""
    for module in timm.list_modules():
        sizes = [size for name in timm.list_models(module=module) if (size := _convolutional(f"timm/{name}"))]
        if sizes:
            yield Family(min(sizes)[1], module)
    for name in models.list_models(module=models):
        if _convolutions(f"torchvision/{name}") >= FEW_CONVOLUTIONS:
            yield Family(f"torchvision/{name}", models.get_model_builder(name).__module__.split(".")[-1])


def recorded() -> list[Family]:
    """The families of the last whole run."""
    return [Family(row["model"], row["module"]) for row in read_json(DOCS / "backbones.json")["families"]]


def build(model: str, **arguments: Any) -> nn.Module:
    """A model with random weights; heads that only its own training would use are left off."""
    library, _, name = model.partition("/")
    if library == "timm":
        return timm.create_model(name, **arguments)
    if name in ("googlenet", "inception_v3"):
        arguments = {"aux_logits": False, "init_weights": False}
    elif name.startswith("vgg"):
        arguments = {"init_weights": False}  # which takes seconds
    return models.get_model(name, weights=None, **arguments)


def _convolutions(model: str) -> int:
    """How many convolutions a model has; a transformer cuts its picture into patches with one."""
    return sum(isinstance(part, CONVOLUTION) for part in _sketch(model).modules())


def _sketch(model: str) -> nn.Module:
    try:
        with torch.device("meta"):
            return build(model)
    except NotImplementedError:  # torchvision's RegNets compute with tensors while they are built
        return build(model)


def _convolutional(model: str) -> tuple[int, str] | None:
    """Parameters and name of a model in which convolutions hold most of them, the classifier left out; else None."""
    if model.startswith("timm/test_"):
        return None  # timm's own miniatures for its tests stand for no family
    net = _sketch(model)
    classifier: Any = net.get_classifier() if hasattr(net, "get_classifier") else None  # type: ignore[operator]
    leave = {id(p) for p in classifier.parameters()} if isinstance(classifier, nn.Module) else set()
    every = {id(p): p.numel() for p in net.parameters() if id(p) not in leave}
    convolved = {
        id(p): p.numel()
        for part in net.modules()
        if isinstance(part, CONVOLUTION)
        for p in part.parameters(recurse=False)
        if id(p) not in leave
    }
    mainly = sum(convolved.values()) > sum(every.values()) / 2
    return (sum(parameter.numel() for parameter in net.parameters()), model) if mainly else None


@dataclass
class Subject:
    """One model under test, built once for all properties."""

    family: Family
    sizes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.sizes = self._sizes()
        # frozen, as a backbone's are: some processors round otherwise where parameters require gradients, even without any
        self.model = self.at(self.sizes[0]).requires_grad_(False)
        self.x = torch.rand(2, 3, self.sizes[0], self.sizes[0])
        with torch.no_grad():
            self.logits = self.model(self.x)
        self.macs = count_macs(self.model, self.x[:1])
        self.params = count_params(tensors_of(self.model).values())

    def at(self, size: int) -> nn.Module:
        """The model for one input size, its norms with randomised statistics."""
        config = timm.get_pretrained_cfg(self.family.model[5:]) if self.family.model.startswith("timm/") else None
        fixed = config is not None and config.fixed_input_size
        torch.manual_seed(0)
        return with_random_statistics(build(self.family.model, **({"img_size": size} if fixed else {})))

    def _sizes(self) -> list[int]:
        """The two smallest sizes that the model takes, or the only one."""
        found = []
        for size in SIZES:
            try:
                with torch.no_grad():
                    self.at(size)(torch.rand(2, 3, size, size))
            except (RuntimeError, AssertionError, ValueError, TypeError):
                continue
            found.append(size)
            if len(found) == 2:
                break
        return found

    @cached_property
    def backbone(self) -> Backbone:
        """The model, cut."""
        return _backbone(self.model, self.sizes[0])

    @cached_property
    def student(self) -> TailoredNet:
        """A student of it, after the training steps of `frozen_is_frozen`."""
        torch.manual_seed(1)
        return TailoredNet(self.backbone, CLASSES, Plan(skips=2, gates="independent", batch_norm="affine"))


def with_random_statistics(model: nn.Module) -> nn.Module:
    """Statistics, scales and shifts of norms as if trained: away from their start, and so that all can be told apart."""
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in ((part.running_mean, -0.1, 0.1), (part.running_var, 0.5, 1.5)):
                if tensor is not None:
                    nn.init.uniform_(tensor, low, high)
            if part.affine:
                nn.init.uniform_(part.weight, 0.5, 1.5)
                nn.init.uniform_(part.bias, -0.1, 0.1)
    return model.eval()


def _backbone(model: nn.Module, size: int) -> Backbone:
    return Backbone(model, InputSpec(size, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)), "conformance")


def reassembles_exactly(subject: Subject) -> None:
    """Cut and put together again, it gives the original's logits bit for bit."""
    with torch.no_grad():
        assert torch.equal(subject.backbone(subject.x), subject.logits), "logits differ from the model's"


def blocks_have_one_way_in_and_out(subject: Subject) -> None:
    """Every block takes one tensor (B, C, H, W) and gives one."""
    for block, name in zip(subject.backbone.blocks, subject.backbone.block_names, strict=True):
        assert isinstance(block, fx.GraphModule)
        inputs = [node for node in block.graph.nodes if node.op == "placeholder"]
        (output,) = [node for node in block.graph.nodes if node.op == "output"]
        assert len(inputs) == 1, f"{name} has {len(inputs)} inputs"
        assert isinstance(output.args[0], fx.Node), f"{name} has several outputs"
    assert all(len(shape) == 3 for shape in subject.backbone.shapes)


def costs_add_up(subject: Subject) -> None:
    """MACs and parameters of stem, blocks and head are the whole model's."""
    backbone = subject.backbone
    last = torch.zeros(1, *backbone.shapes[-1])
    parts = sum(cost.macs for cost in backbone.block_costs) + backbone.stem_cost.macs + count_macs(backbone.head, last)
    assert parts == subject.macs, f"{parts} MACs in parts, {subject.macs} in the whole"
    classifiers = {id(t): t for path in backbone.classifier_paths for t in _tensors(backbone.head, path)}
    held = count_params([*backbone.tensors().values(), *classifiers.values()])
    assert held == subject.params, f"{held} parameters in parts, {subject.params} in the whole"


def has_enough_blocks(subject: Subject) -> None:
    """At least five universal blocks."""
    assert subject.backbone.depth >= ENOUGH_BLOCKS, f"{subject.backbone.depth} blocks: no more places carry one tensor"


def trains_at_two_sizes(subject: Subject) -> None:
    """A student's forward and backward run at each size that the model takes, and reach all that trains."""
    assert subject.sizes
    for size in subject.sizes:
        backbone = subject.backbone if size == subject.sizes[0] else _backbone(subject.at(size), size)
        torch.manual_seed(1)
        student = TailoredNet(backbone, CLASSES, Plan(skips=2, gates="softmax", batch_norm="stats")).train()
        logits = student(torch.rand(2, 3, size, size))
        assert logits.shape == (2, CLASSES)
        logits.square().mean().backward()
        for name, parameter in student.named_parameters():
            assert not parameter.requires_grad or parameter.grad is not None, f"no gradient for {name} at {size} px"


def frozen_is_frozen(subject: Subject) -> None:
    """Training steps change what the task owns, and nothing of the backbone: statistics and step counters included."""
    backbone, student = subject.backbone, subject.student.train()
    every = {
        name: t for part in (backbone.stem, backbone.blocks, backbone.head) for name, t in part.state_dict().items()
    }
    before = {name: tensor.clone() for name, tensor in every.items()}
    own = {name: tensor.clone() for name, tensor in student.task_tensors().items()}
    trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        student(subject.x).square().mean().backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
    changed = [name for name, tensor in every.items() if not torch.equal(tensor, before[name])]
    assert not changed, f"{changed[:3]} changed while frozen"
    moved = sum(not torch.equal(tensor, own[name]) for name, tensor in student.task_tensors().items())
    assert moved > len(own) / 2, f"only {moved} of {len(own)} of the task's tensors moved"


def pruned_saved_and_loaded_agree(subject: Subject) -> None:
    """The pruned student, its compact net, and the net that is loaded from the delta give the same logits."""
    student = subject.student.eval()
    graph = BlockGraph.of(student)
    for path in graph.paths[1::3]:
        if path in graph.paths:
            with suppress(GraphError):
                graph = graph.without([path])
    student.keep(graph.paths)
    net = compact(student)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        save(net, folder, "task", [f"class {number}" for number in range(CLASSES)])
        again = load(folder, subject.backbone).net
        masked, ours, loaded = (part(subject.x) for part in (student, net, again))
    assert len(net.paths) < len(student.paths)
    assert torch.allclose(masked, ours, rtol=1e-4, atol=1e-5), f"compact net is off by {_off(masked, ours)}"
    assert torch.equal(ours, loaded), f"the loaded net is off by {_off(ours, loaded)}"
    assert isinstance(again, CompactNet)


PROPERTIES: dict[str, Callable[[Subject], None]] = {
    "exact": reassembles_exactly,
    "one way": blocks_have_one_way_in_and_out,
    "costs": costs_add_up,
    "5 blocks": has_enough_blocks,
    "trains": trains_at_two_sizes,
    "frozen": frozen_is_frozen,
    "delta": pruned_saved_and_loaded_agree,
}
"""In this order: the last looks at the student that the one before it trained."""


@dataclass
class Row:
    """What was found of one family: `failed` says why, by property; empty where all hold."""

    model: str
    module: str
    sizes: list[int]
    blocks: int
    first: str
    last: str
    macs: int
    params: int
    failed: dict[str, str]
    seconds: float


def examine(family: Family) -> Row:
    """Try every property on one family."""
    start = time.perf_counter()
    subject = Subject(family)
    failed: dict[str, str] = {}
    try:
        names = subject.backbone.block_names
    except CutError as error:
        names, failed = [], {"cut": str(error).split(";")[0]}
    for name, holds in PROPERTIES.items() if not failed else ():
        try:
            holds(subject)
        except Exception as error:  # whatever goes wrong is the finding
            failed[name] = _first_line(error)
    first, last = (names[0], names[-1]) if names else ("", "")
    seconds = round(time.perf_counter() - start, 1)
    sizes, macs, params = subject.sizes, subject.macs, subject.params
    return Row(family.model, family.module, sizes, len(names), first, last, macs, params, failed, seconds)


def rows_of(table: dict[str, Any]) -> list[Row]:
    """The rows of docs/backbones.json."""
    return [Row(**row) for row in table["families"]]


def document(rows: list[Row], versions: dict[str, str]) -> str:
    """docs/backbones.md."""
    good = [row for row in rows if not row.failed]
    lines = [
        "# Backbones",
        "",
        f"{len(good)} of {len(rows)} convolutional families of timm {versions['timm']} and torchvision "
        f"{versions['torchvision'].split('+')[0]} have every property below. Generated by "
        "`python -m recipes.evidence.conformance`; raw figures in [backbones.json](backbones.json).",
        "",
        *(f"* **{name}**: {(holds.__doc__ or '').strip()}" for name, holds in PROPERTIES.items()),
        "",
        "Sizes are the two smallest of the inputs tried that the model takes; where one stands alone, the model is built for "
        "it. MACs are at the first. A family of timm is one of its modules, shown by its smallest model.",
        "",
        "| model | family | input | blocks | first | last | M MACs | M params | state |",
        "|---|---|---|---:|---|---|---:|---:|---|",
    ]
    for row in rows:
        state = "; ".join(f"**{name}**: {reason}" for name, reason in row.failed.items()) or "ok"
        sizes = ", ".join(map(str, row.sizes))
        figures = f"{row.macs / 1e6:.0f} | {row.params / 1e6:.2f}"
        lines.append(
            f"| `{row.model}` | {row.module} | {sizes} | {row.blocks} | `{row.first}` | `{row.last}` | {figures} | {state} |"
        )
    return "\n".join(lines) + "\n"


def _first_line(error: Exception) -> str:
    return f"{str(error) or type(error).__name__}".splitlines()[0][:200]


def main() -> None:
    """Examine all families, or some, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", help="words; recorded families whose model or module holds one")
    options = parser.parse_args()
    rows = []
    for family in recorded() if options.only else families():
        if options.only and not any(word in f"{family.model} {family.module}" for word in options.only):
            continue
        rows.append(row := examine(family))
        state = "; ".join(f"{name}: {reason}" for name, reason in row.failed.items()) or "ok"
        print(f"{row.model:<36} {row.blocks:>3} blocks {row.seconds:>6.1f} s  {state}", flush=True)
        gc.collect()
    if not options.only:
        found = {"timm": timm.__version__, "torchvision": torchvision.__version__, "torch": torch.__version__}
        write_json(DOCS / "backbones.json", {"versions": found, "families": [asdict(row) for row in rows]})
        write_text(DOCS / "backbones.md", document(rows, found))
    print(f"{sum(not row.failed for row in rows)} of {len(rows)} families have every property")


def _tensors(head: nn.Module, path: str) -> list[Tensor]:
    return list(tensors_of(head.get_submodule(path)).values())


def _off(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


if __name__ == "__main__":
    main()
