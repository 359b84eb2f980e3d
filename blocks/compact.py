"""The compact net: a student after pruning, with nothing left in it that it does not run.

    student + kept paths -> compact -> CompactNet          (shares the backbone, copies what the task owns)
    backbone + kept paths + tensors -> CompactNet          (what loading a delta does; the same builder, so the same bits)

The gates are constants here, one vector per layer, in the order of the layer's paths.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from blocks.assembly import NetPlan, build_parts, end_costs, head_reads, path_costs
from blocks.backbone import Backbone
from blocks.counting import Cost, count_params, measure, params_of, tensors_of
from blocks.fold import fold
from blocks.fuse import frozen_copy
from blocks.gates import without_gates
from blocks.narrow import WidthError, narrow, widths_of
from blocks.paths import UNIVERSAL, Path
from blocks.proxies import Proxy, Resampled, Shape
from blocks.shallow import ShallowNet
from blocks.student import TailoredNet, proxy_key, task_tensors
from blocks.wiring import Layer, Term, Wiring


class CompactNet(nn.Module):
    """Pictures (B, 3, H, W) in, logits (B, classes) out, over the kept paths alone.

    Args:
        backbone: shared, not copied, unless the plan says so.
        plan: how the network is put together.
    """

    def __init__(self, backbone: Backbone, plan: NetPlan) -> None:
        super().__init__()
        self.plan = replace(plan, paths=tuple(sorted(plan.paths)))
        self.paths = list(self.plan.paths)
        self.classes = plan.classes
        self.spec = backbone.spec
        self.depth = plan.depth
        parts = build_parts(backbone, self.plan)
        self.stem = parts.stem
        self.blocks = nn.ModuleDict({str(target): block for target, block in parts.blocks.items()})
        self.proxies = nn.ModuleDict({proxy_key(*ends): proxy for ends, proxy in parts.proxies.items()})
        self.acts = nn.ModuleDict({str(target): act for target, act in parts.acts.items()})
        self.head = parts.head
        self.head_reads = head_reads(backbone, self.plan)
        if plan.widths:
            if not plan.copied or any(not path.is_universal for path in plan.paths):
                raise WidthError("only a copied net without proxies can have fewer channels than its backbone")
            narrow(self, dict(plan.widths))
        self._backbone = (backbone,)
        self._layers: dict[int, list[Path]] = defaultdict(list)
        for path in self.paths:
            self._layers[path.target].append(path)
        gated = {str(t): p for t, p in self._layers.items() if plan.gated and t > plan.shared_prefix}
        self.gates = nn.ParameterDict({layer: nn.Parameter(torch.ones(len(p))) for layer, p in gated.items()})
        self.requires_grad_(False).eval()

    @property
    def backbone(self) -> Backbone:
        """The backbone whose modules this net shares."""
        return self._backbone[0]

    @property
    def shapes(self) -> list[Shape]:
        """Of x_0..x_L, the backbone's; where the net `gives_activations`, its own, too."""
        return self.backbone.shapes

    @property
    def gives_activations(self) -> bool:
        """Whether it computes all of x_0..x_L in the backbone's shapes."""
        return not self.plan.widths and set(self._layers) == set(range(1, self.backbone.depth + 1))

    def activations(self, x: Tensor) -> list[Tensor]:
        """x_0..x_L and, last, the logits, as of a backbone.

        Raises:
            KeyError: some layer is left out.
        """
        xs = self.advance({0: self.stem(x)}, 0, self.depth)
        logits = self.head(*(xs[number] for number in self.head_reads))
        return [*(xs[number] for number in range(self.depth + 1)), logits]

    def frozen_copy(self) -> CompactNet:
        """The same function up to rounding, to compute with: norms folded, in eval mode, nothing shared but `backbone`."""
        twin = copy.deepcopy(self, {id(self.backbone): self.backbone})
        twin.stem, twin.head = frozen_copy(self.stem), frozen_copy(self.head)
        twin.blocks = nn.ModuleDict({layer: frozen_copy(block) for layer, block in self.blocks.items()})  # type: ignore[arg-type]
        return twin.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_from({0: self.stem(x)}, 0)

    def forward_from(self, xs: Mapping[int, Tensor], layer: int) -> Tensor:
        """Logits (B, classes) where the activations up to a layer are known: the same bits as from the pictures.

        Args:
            xs: by number, x_p (B, C, H, W) for every p of `reads(layer)`; others are not looked at.
        """
        found = self.advance(xs, layer, self.depth)
        logits: Tensor = self.head(*(found[number] for number in self.head_reads))
        return logits

    def reads(self, layer: int) -> tuple[int, ...]:
        """The activations up to a layer that what follows reads, the head included, in ascending order."""
        read = {path.source for path in self.paths if path.target > layer} | {*self.head_reads}
        return tuple(sorted(number for number in read if number <= layer))

    def advance(self, known: Mapping[int, Tensor], first: int, last: int) -> dict[int, Tensor]:
        """Compute the layers after `first` up to `last`; returns their activations beside those that are known."""
        xs = dict(known)
        resampled = Resampled()
        for layer, paths in self._layers.items():
            if not first < layer <= last:
                continue
            total: Tensor | None = None
            gates = self.gates[str(layer)].unbind(0) if str(layer) in self.gates else (None,) * len(paths)
            for weight, path in zip(gates, paths, strict=True):
                out = self._through(path, xs[path.source], resampled)
                out = out if weight is None else weight * out
                total = out if total is None else total + out
            xs[layer] = self.acts[str(layer)](total)
        return xs

    def train(self, mode: bool = True) -> CompactNet:
        """A compact net only answers; it stays in eval mode."""
        return super().train(False)

    def task_tensors(self) -> dict[str, Tensor]:
        """Every tensor that is not the backbone's own, as it is saved in the delta."""
        return task_tensors(self, self.backbone)

    def shared_params(self) -> dict[str, int]:
        """Elements of the backbone's own tensors that it reads, part by part: `stem`, `G3`, `head`.

        Tensors of which a thinned block reads some channels are counted whole, as they lie beside the deltas.
        """
        own = {id(tensor) for tensor in self.task_tensors().values()}
        parts: dict[str, list[Tensor]] = defaultdict(list)
        for name, tensor in tensors_of(self).items():
            if id(tensor) not in own:
                part, number, *_ = name.split(".")
                layer = number.split("-")[-1]  # of a proxy, the one that it leads to, whose block it is thinned from
                parts[f"G{layer}" if part in ("blocks", "acts", "proxies") else part].append(tensor)
        return {part: count_params(tensors) for part, tensors in parts.items()}

    def cost(self) -> Cost:
        """MACs of one picture, and elements of all tensors in this module."""
        if self.plan.widths:
            return measure(self, self._picture())
        macs = end_costs(self.backbone, self.plan, self.stem, self.head).macs
        macs += sum(self.path_cost(path).macs for path in self.paths)
        return Cost(macs, params_of([self]))

    def wiring(self) -> Wiring:
        """Its parts, for `fold`."""
        layers = {}
        for layer, paths in self._layers.items():
            terms = tuple(Term(path.source, self.module_of(path), self.gate_of(path)) for path in paths)  # type: ignore[arg-type]
            layers[layer] = Layer(terms, self.acts[str(layer)])
        return Wiring(self.stem, layers, self.head, self.head_reads)

    def for_inference(self) -> fx.GraphModule:
        """What it runs as: a folded copy that shares nothing, in eval mode."""
        return fold(self)

    def module_of(self, path: Path) -> nn.Module:
        """The block or proxy that computes a path."""
        if path.is_universal:
            return self.blocks[str(path.target)]
        return self.proxies[proxy_key(path.source, path.target)]

    def gate_of(self, path: Path) -> float:
        """The weight of a kept path."""
        if str(path.target) not in self.gates:
            return 1.0
        return float(self.gates[str(path.target)][self._layers[path.target].index(path)].detach())

    def path_cost(self, path: Path) -> Cost:
        """MACs and parameters of one kept path."""
        if self.plan.widths:
            return self._narrow_cost(path)
        return path_costs(self.backbone, path, self.module_of(path))

    def _picture(self) -> Tensor:
        return torch.zeros(1, 3, self.spec.size, self.spec.size, device=next(self.parameters()).device)

    def _narrow_cost(self, path: Path) -> Cost:
        """Of a block that has other channels than the backbone's: measured on what reaches it."""
        block, seen = self.module_of(path), []
        handle = block.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            with torch.no_grad():
                self(self._picture())
        finally:
            handle.remove()
        return measure(block, seen[0])

    def _through(self, path: Path, source: Tensor, resampled: Resampled) -> Tensor:
        module = self.module_of(path)
        return resampled.through(module, path.source, source) if isinstance(module, Proxy) else module(source)


def compact(net: TailoredNet | ShallowNet | Backbone | CompactNet, backbone: Backbone | None = None) -> CompactNet:
    """A trained network as one that only answers. Its logits equal those of the network in eval mode.

    Args:
        net: a student, whose live paths must be closed under the exclusion rules, as `nettailor.pruning.graph` leaves them;
            or a network that was trained as a whole (a `WholeNet` too, which is a compact net that trains).
        backbone: of a network that was trained as a whole; a student knows its own.
    """
    if isinstance(net, TailoredNet):
        return _compact_student(net)
    if isinstance(net, CompactNet):
        return _copy_of(net)
    if backbone is None:
        raise ValueError("a network that was trained as a whole needs the backbone that it came from")
    plan = _whole_plan(net)
    result = CompactNet(backbone, plan)
    wide = widths_of(result)
    narrower = {
        _name_in_compact(name): width for name, width in widths_of(net).items() if width != wide[_name_in_compact(name)]
    }
    if narrower:
        result = CompactNet(backbone, replace(plan, widths=tuple(sorted(narrower.items()))))
    result.to(next(net.parameters()).device)
    trained = {_name_in_compact(name): tensor for name, tensor in tensors_of(net).items()}
    with torch.no_grad():
        for name, tensor in result.task_tensors().items():
            tensor.copy_(trained[name])
    return result


def _copy_of(net: CompactNet) -> CompactNet:
    """A compact net of the same plan with the same task tensors, that shares nothing else with it but the backbone."""
    result = CompactNet(net.backbone, net.plan).to(next(net.parameters()).device)
    own = net.task_tensors()
    with torch.no_grad():
        for name, tensor in result.task_tensors().items():
            tensor.copy_(own[name])
    return result


def _compact_student(student: TailoredNet) -> CompactNet:
    paths, plan = student.live_paths(), student.plan
    gated = plan.skips > 0 or plan.gates != "softmax"  # a softmax over one path is 1
    net = CompactNet(
        student.backbone,
        replace(student.net_plan, paths=tuple(paths), gated=gated),
    )
    gates = student.gates().detach()
    own = student.task_tensors()
    with torch.no_grad():
        for name, tensor in without_gates(net.task_tensors()).items():
            tensor.copy_(own[name])
        for layer, gate in net.gates.items():
            gate.copy_(torch.stack([gates[path.place] for path in net.paths if path.target == int(layer)]))
    return net.to(gates.device)


def _whole_plan(net: ShallowNet | Backbone) -> NetPlan:
    """Every block of a network that was trained as a whole; of a teacher, from the layer up from which it was."""
    paths = tuple(Path(layer, 0, UNIVERSAL) for layer in range(1, net.depth + 1))
    if isinstance(net, ShallowNet):
        return NetPlan(paths, net.classifier.out_features, copied=True, head="pooled", gated=False)
    return NetPlan(paths, net.classes, copied=True, gated=False, tuned_from=net.tuned_from)


def _name_in_compact(name: str) -> str:
    """`blocks.0.conv.weight` of a list of blocks is `blocks.1.conv.weight` here: compact nets count layers."""
    part, _, rest = name.partition(".")
    if part == "classifier":
        return f"head.{name}"
    if part not in ("blocks", "acts"):
        return name
    number, _, rest = rest.partition(".")
    return f"{part}.{int(number) + 1}.{rest}"
