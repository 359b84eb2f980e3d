"""A backbone's geometry in a canonical form: what it computes beside the values of its tensors.

    segment -> nodes, from its output backwards -> one line each: operation, settings, tensors, inputs, shape of the output

Two backbones with the same tensors can compute different things: another stride, padding, eps or activation is in no
tensor. Each line says what an operation is in words of this file, so that the same network gives the same lines whatever
the library calls its modules, in whatever order it runs branches, and whatever attributes a later version adds:

* no names of nodes, modules or attributes; inputs are numbers of earlier lines;
* one name for an operation that libraries spell in several ways (`operator.add`, `torch.add`, `Tensor.add_`);
* what does nothing in eval mode (identity, dropout, stochastic depth, `contiguous`) is left out;
* what is no torch layer (a module that timm declares untraceable) is described by its class, its public settings and
  those of its children, in order.

What it does not see: two layers of equal settings that change places while their tensors keep their names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _NormBase

from blocks import Backbone
from blocks.counting import tensors_of
from blocks.layer_types import CONVOLUTION, is_activation_name

SAME = {
    **{"iadd": "add", "radd": "add", "imul": "mul", "multiply": "mul", "rmul": "mul", "isub": "sub", "subtract": "sub"},
    **{
        "truediv": "div",
        "divide": "div",
        "true_divide": "div",
        "concat": "cat",
        "concatenate": "cat",
        "view": "reshape",
    },
    **{"swish": "silu", "hard_swish": "hardswish", "hard_sigmoid": "hardsigmoid", "leaky_relu": "leakyrelu"},
}
COMMUTATIVE = {"add", "mul"}
PARAMETERS: dict[str, tuple[tuple[str, Any], ...]] = {
    "flatten": (("start_dim", 0), ("end_dim", -1)),
    "cat": (("dim", 0),),
    "mean": (("dim", None), ("keepdim", False)),
    "gelu": (("approximate", "none"),),
    "leakyrelu": (("negative_slope", 0.01),),
    "elu": (("alpha", 1.0),),
    "celu": (("alpha", 1.0),),
    "softplus": (("beta", 1.0), ("threshold", 20.0)),
    "hardtanh": (("min_val", -1.0), ("max_val", 1.0)),
    "hardsigmoid": (),
    "hardswish": (),
    **dict.fromkeys(("relu", "relu6", "silu", "sigmoid", "tanh", "mish", "selu", "softsign", "quickgelu"), ()),
}
"""Arguments behind the tensor, with their defaults: only what differs from a default is said, by its name."""

NOTHING_IN_EVAL = ("Identity", "DropPath", "StochasticDepth", "DropBlock2d", "PatchDropout")
NO_OPERATIONS = {
    "contiguous",
    "dropout",
    "dropout2d",
    "stochastic_depth",
    "drop_path",
    "drop_block_2d",
    "clone",
    "detach",
}
NOT_GEOMETRY = {"training", "inplace", "momentum", "drop_prob", "drop_rate", "name", "scale_by_keep", "gain_init"}
CONVOLUTIONS_OWN = {
    *("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    *("padding_mode", "transposed", "output_padding"),
}
SETTINGS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.MaxPool2d: ("kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    nn.AvgPool2d: ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    nn.AdaptiveAvgPool2d: ("output_size",),
    nn.AdaptiveMaxPool2d: ("output_size",),
    nn.LayerNorm: ("normalized_shape", "eps", "elementwise_affine"),
    nn.RMSNorm: ("normalized_shape", "eps", "elementwise_affine"),
    nn.GroupNorm: ("num_groups", "num_channels", "eps", "affine"),
    nn.PixelShuffle: ("upscale_factor",),
    nn.Upsample: ("size", "scale_factor", "mode", "align_corners"),
}
"""What matters of torch's layers, so that an attribute that a later version adds changes nothing."""

PAIRED = {"kernel_size", "stride", "padding", "dilation", "output_size", "output_padding"}
LARGEST_CONSTANT = 4096  # elements; a larger tensor that is no part of the weights is known by its shape alone


def canonical_form(backbone: Backbone) -> list[str]:
    """The lines of stem, blocks, their activations and head, in order, each segment under a headline.

    The head is described with a classifier for two classes: how many the source task had is no matter to another.
    """
    with torch.random.fork_rng(devices=[]):
        head = backbone.head_for(2)
    device = next((tensor.device for tensor in backbone.tensors().values()), torch.device("cpu"))
    x = torch.zeros(1, 3, backbone.spec.size, backbone.spec.size, device=device)
    lines: list[str] = []
    for name, segment in _segments(backbone, head.to(device)):
        shape = list(x.shape[1:])
        x, described = _segment(segment, x)
        lines += [f"{name} {shape}", *described]
    return lines


def _segments(backbone: Backbone, head: fx.GraphModule) -> Iterator[tuple[str, nn.Module]]:
    yield "stem", backbone.stem
    for block, act in zip(backbone.blocks, backbone.acts, strict=True):
        yield "block", block
        yield "activation", act
    yield "head", head


class _Shapes(fx.Interpreter):
    """Runs a segment and keeps what its nodes gave: a graph that was copied or sent elsewhere has lost its notes."""

    def __init__(self, segment: fx.GraphModule) -> None:
        super().__init__(segment, garbage_collect_values=False)
        self.shapes: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.shapes[n] = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        return value


def _segment(segment: nn.Module, x: Tensor) -> tuple[Tensor, list[str]]:
    """What a segment gives for `x`, and its lines."""
    if not isinstance(segment, fx.GraphModule):
        return x, []  # no activation
    runner = _Shapes(segment)
    with torch.no_grad():
        out: Tensor = runner.run(x)
    (output,) = [node for node in segment.graph.nodes if node.op == "output"]
    return out, _Listing(segment, runner.shapes).lines(output.args[0])


class _Listing:
    """The lines of one segment: every node once, after its inputs."""

    def __init__(self, segment: fx.GraphModule, shapes: dict[fx.Node, Any]) -> None:
        self.segment = segment
        self.shapes = shapes
        self.numbers: dict[fx.Node, int] = {}
        self.modules: dict[int, int] = {}
        self.found: list[str] = []
        self.keys: dict[fx.Node, str] = {}
        for node in segment.graph.nodes:  # in an order in which inputs come first
            what, inputs = self._describe(node)
            if what == ["nothing"]:
                self.keys[node] = self.keys[inputs[0]]
                continue
            text = _text([what, [self.keys[source] for source in inputs]])
            self.keys[node] = hashlib.sha256(text.encode()).hexdigest()

    def lines(self, output: fx.Node) -> list[str]:
        """The lines, in the order in which the output's inputs need them."""
        waiting = [output]
        while waiting:
            node = waiting[-1]
            what, inputs = self._describe(node)
            missing = [source for source in inputs if source not in self.numbers]
            if node in self.numbers:
                waiting.pop()
            elif missing:
                waiting += reversed(missing)
            else:
                self._write(waiting.pop(), what, inputs)
        return [*self.found, f"output {self.numbers[output]}"]

    def _write(self, node: fx.Node, what: list[Any], inputs: list[fx.Node]) -> None:
        if what == ["nothing"]:
            self.numbers[node] = self.numbers[inputs[0]]
            return
        module = self.segment.get_submodule(str(node.target)) if node.op == "call_module" else None
        if module is not None and tensors_of(module):  # whether two calls share their weights
            what = [*what, "weights", self.modules.setdefault(id(module), len(self.modules))]
        self.numbers[node] = len(self.found)
        sources = [self.numbers[source] for source in inputs]
        self.found.append(_text([len(self.found), what, "of", sources, "gives", self.shapes[node]]))

    def _describe(self, node: fx.Node) -> tuple[list[Any], list[fx.Node]]:
        """What a node does, and the nodes that it reads, in the order of its arguments."""
        inputs = _nodes_in([node.args, dict(sorted(node.kwargs.items()))])
        if node.op == "placeholder":
            return ["input"], []
        if node.op == "output":
            return ["output"], inputs
        if node.op == "get_attr":
            return ["tensor", *_constant(_attribute(self.segment, str(node.target)), self.segment)], []
        if node.op == "call_module":
            return describe_module(self.segment.get_submodule(str(node.target))), inputs
        name = operation_name(node.target)
        if name in NO_OPERATIONS:
            return ["nothing"], inputs[:1]
        if name in COMMUTATIVE and all(source in self.keys for source in inputs):
            inputs = sorted(inputs, key=lambda source: self.keys[source])
            rest = [value for value in node.args if not isinstance(value, fx.Node)]
            named = {key: value for key, value in node.kwargs.items() if not isinstance(value, fx.Node)}
            return [name, _plain(rest), _plain(named)], inputs
        return [name, *_arguments(name, node)], inputs


def operation_name(target: Any) -> str:
    """One name for a function or method, however it is spelt: `operator.iadd`, `torch.add`, "add_" are all "add"."""
    name = target if isinstance(target, str) else getattr(target, "__name__", type(target).__name__)
    name = name.strip("_").lower()
    return SAME.get(name, name)


def _arguments(name: str, node: fx.Node) -> list[Any]:
    """The arguments of a call that are no tensors; of known operations by name, without what is the default anyway."""
    known = PARAMETERS.get(name)
    given = {key: value for key, value in node.kwargs.items() if key not in ("inplace", "training")}
    if known is None:
        return [_plain(node.args), _plain(given)]
    first = node.args[:1] or (given.pop("input", None),)
    named = dict(zip([key for key, _ in known], node.args[1:], strict=False)) | given
    return [_plain(first), _unusual(known, named)]


def _unusual(known: tuple[tuple[str, Any], ...], named: dict[str, Any]) -> Any:
    return _plain({key: named[key] for key, usual in known if key in named and named[key] != usual})


def describe_module(module: nn.Module) -> list[Any]:
    """What a module that is called as a whole does: its kind, its settings, and its children's."""
    name = type(module).__name__
    if isinstance(module, nn.modules.dropout._DropoutNd) or name in NOTHING_IN_EVAL:
        return ["nothing"]
    if isinstance(module, CONVOLUTION):
        return _convolution(module)
    if isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward:
        return ["linear", module.in_features, module.out_features, module.bias is not None]
    plain = operation_name(name.replace("_", ""))
    if is_activation_name(name) and plain in PARAMETERS and not any(True for _ in module.parameters()):
        return [plain, [0], _unusual(PARAMETERS[plain], vars(module))]
    if isinstance(module, nn.Flatten):
        return ["flatten", [0], _unusual(PARAMETERS["flatten"], vars(module))]
    if isinstance(module, _NormBase):
        settings = [module.num_features, module.eps, module.affine, module.track_running_stats]
        return [_batch_norm_name(name), *settings, _children(module)]
    told = next((names for kind, names in SETTINGS.items() if isinstance(module, kind)), None)
    return [name, _settings(module, told), _constants(module), _children(module)]


def _batch_norm_name(name: str) -> str:
    """Batch norms of torch and timm compute the same; what else derives from them is named by its class."""
    return "batch_norm" if name in ("BatchNorm2d", "SyncBatchNorm", "BatchNormAct2d", "SyncBatchNormAct") else name


def _convolution(module: Any) -> list[Any]:
    name = type(module).__name__
    padding = (0,) * len(module.kernel_size) if module.padding == "valid" else module.padding
    dynamic = name.endswith("Same")
    plain = name in ("Conv1d", "Conv2d", "Conv3d", "Conv2dSame")
    sizes = {key: list(getattr(module, key)) for key in ("kernel_size", "stride", "dilation", "output_padding")}
    return [
        "convolution" if plain else name,
        {"channels": [module.in_channels, module.out_channels], "groups": module.groups, **sizes},
        {"padding": _plain(padding), "mode": module.padding_mode, "same": dynamic, "transposed": module.transposed},
        {"bias": module.bias is not None},
        {} if plain else {key: value for key, value in _settings(module).items() if key not in CONVOLUTIONS_OWN},
    ]


def _settings(module: nn.Module, told: tuple[str, ...] | None = None) -> dict[str, Any]:
    """Public settings of a module that are plain values; functions by their name.

    Args:
        told: the names of those that matter, where they are known.
    """
    found: dict[str, Any] = {}
    for key, value in sorted(vars(module).items()):
        if key.startswith("_") or key in NOT_GEOMETRY or (told is not None and key not in told):
            continue
        if key in PAIRED and isinstance(value, int):
            value = (value, value)
        if isinstance(value, (bool, int, float, str, tuple, list, torch.Size)):
            found[key] = _plain(value)
        elif callable(value) and not isinstance(value, nn.Module):
            found[key] = operation_name(value)
    return found


def _constants(module: nn.Module) -> list[Any]:
    """Tensors of a module that are computed when it is built and saved nowhere, such as a blur's kernel."""
    return [
        _values(buffer)
        for name, buffer in module.named_buffers(recurse=False)
        if name in module._non_persistent_buffers_set
    ]


def _children(module: nn.Module) -> list[Any]:
    described = [describe_module(child) for child in module.children()]
    return [child for child in described if child != ["nothing"]]


def _attribute(segment: nn.Module, path: str) -> Any:
    value: Any = segment
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _constant(value: Any, segment: nn.Module) -> list[Any]:
    """A tensor that the graph reads directly: one of the weights by its shape, any other by its values."""
    if not isinstance(value, Tensor):
        return [_plain(value)]
    saved = any(value is tensor for tensor in segment.state_dict(keep_vars=True).values())
    return [list(value.shape)] if saved else _values(value)


def _values(tensor: Tensor) -> list[Any]:
    values = tensor.flatten().tolist() if tensor.numel() <= LARGEST_CONSTANT else []
    return [list(tensor.shape), [f"{value:.4g}" for value in values]]


def _nodes_in(value: Any) -> list[fx.Node]:
    if isinstance(value, fx.Node):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, slice):
        value = [value.start, value.stop, value.step]
    if isinstance(value, (tuple, list)):
        return [node for part in value for node in _nodes_in(part)]
    return []


def _plain(value: Any) -> Any:
    """A value as JSON: a node by its place among the call's inputs is said elsewhere, here it is a hole."""
    if isinstance(value, fx.Node):
        return 0
    if isinstance(value, (tuple, list)):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in sorted(value.items())}
    if isinstance(value, slice):
        return ["slice", _plain([value.start, value.stop, value.step])]
    if isinstance(value, float):
        return float(f"{value:.9g}")  # the last digits of a power or root are the machine's
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value).removeprefix("torch.")


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
