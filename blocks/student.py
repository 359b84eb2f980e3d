"""The student: a frozen backbone with proxies beside its blocks and a gate on every path.

    x_l = act_l( a_l^l * G_l(x_(l-1))  +  sum over p of a_p^l * A_p^l(x_p) )          p = max(0, l - k) .. l - 1

Every frozen block runs once per forward. A path whose fade is 0, and one whose source has no live path left, is not
computed at all. Where proxies would keep much for their gradients (`blocks.memory`), they are computed again in the backward
pass; the values are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, fx, nn

from blocks.assembly import NetPlan, Plan, PrefixError, build_parts, end_costs, path_costs
from blocks.backbone import Backbone
from blocks.cost_model import CostModel
from blocks.counting import Cost, params_of, tensors_of
from blocks.fold import fold, fold_part
from blocks.fuse import frozen_copy
from blocks.gates import Gates, without_gates
from blocks.memory import worth_recomputing
from blocks.paths import UNIVERSAL, Path
from blocks.proxies import Proxy, Resampled, form_for
from blocks.recompute import recomputed
from blocks.wiring import Layer, Term, Wiring

NO_LIVE_PATH = "no live path leads from the input to the output"


@dataclass
class Activity:
    """One forward of a student.

    Attributes:
        activations: x_0..x_L; None where no live path arrives.
        logits: (B, classes).
        gates: the gate matrix (L, 1 + k).
        rows: its L rows, the very tensors that the layers were weighted with. The gradient of a layer's matching loss with
            respect to its row stays in that layer.
    """

    activations: list[Tensor | None]
    logits: Tensor
    gates: Tensor
    rows: tuple[Tensor, ...]


class TailoredNet(nn.Module):
    """A student of `backbone` for a task of `classes` classes.

    `train()` trains the proxies, gates, classifier and the norms that the task owns; whatever is the backbone's stays in
    eval mode, so that no frozen statistic drifts.
    """

    def __init__(self, backbone: Backbone, classes: int, plan: Plan) -> None:
        super().__init__()
        self.plan = plan
        self.classes = classes
        self.spec = backbone.spec
        self.depth = backbone.depth
        self.paths = candidate_paths(backbone, plan)
        self.net_plan = NetPlan(
            tuple(self.paths),
            classes,
            plan.batch_norm,
            plan.rank,
            plan.adapters,
            shared_prefix=plan.shared_prefix,
        )
        parts = build_parts(backbone, self.net_plan)
        self.stem = parts.stem
        self.blocks = nn.ModuleDict({str(target): block for target, block in parts.blocks.items()})
        self.proxies = nn.ModuleDict({proxy_key(*ends): proxy for ends, proxy in parts.proxies.items()})
        self.acts = backbone.acts
        self.gates = Gates(backbone.depth, plan.skips, plan.gates, plan.shared_prefix)
        self.head = parts.head
        self._backbone = (
            backbone,
        )  # in a tuple, so that it is no submodule and its source classifier no weight of ours
        self._own_norms = tuple(parts.norms)
        self._frozen: dict[int, nn.Module] = {}
        self._folded: dict[int, nn.Module] = {}
        self._folded_proxies: dict[Path, nn.Module] = {}
        self.costs = {path: path_costs(backbone, path, self.module_of(path)) for path in self.paths}
        self.use_cost_model(self.cost_model_in("macs"))
        self.train(self.training)

    @property
    def backbone(self) -> Backbone:
        """The backbone whose modules this student shares."""
        return self._backbone[0]

    def module_of(self, path: Path) -> nn.Module:
        """The block or proxy that computes a path."""
        if path.is_universal:
            return self.blocks[str(path.target)]
        return self.proxies[proxy_key(path.source, path.target)]

    def paths_into(self, layer: int) -> list[Path]:
        """The paths into a layer, live or not, its universal block first."""
        return [path for path in self.paths if path.target == layer]

    def reform(self, forms: Mapping[str, str]) -> None:
        """Put fresh proxies in the place of some; gates, and which paths are live, stay as they are.

        Args:
            forms: of these proxies, by the keys of their paths.

        Raises:
            ValueError: the student counts in milliseconds, and what another form takes is not known.
        """
        if not forms:
            return
        if self.cost_model.unit == "latency":
            raise ValueError("what proxies of other forms take is not measured")
        for place, path in enumerate(self.paths):
            if path.key not in forms:
                continue
            found = self.paths[place] = replace(path, form=forms[path.key])
            fresh = Proxy(found.form, self.backbone.site(path.source, path.target, self.plan.rank))
            self.proxies[proxy_key(path.source, path.target)] = fresh.to(self.gates.fade.device)
            del self.costs[path]
            self.costs[found] = path_costs(self.backbone, found, fresh)
        self.net_plan = replace(self.net_plan, paths=tuple(self.paths))
        self.use_cost_model(self.cost_model_in(self.cost_model.unit))  # type: ignore[arg-type]
        self.train(self.training)

    def run(self, x: Tensor, known: Sequence[Tensor | None] = ()) -> Activity:
        """Forward with everything that losses need to see.

        Args:
            x: pictures (B, 3, H, W).
            known: x_0..x_m for these very pictures, as another run gave them; only what follows is computed.
        """
        gates = self.gates()
        rows = tuple(gates[layer] for layer in range(self.depth))  # a node each: unbind would tie all layers together
        fades = self.gates.fade.tolist()
        xs: list[Tensor | None] = list(known) or [self.part(0)(x)]
        live = [
            [p for p in self.paths_into(layer) if fades[p.target - 1][p.slot]] for layer in range(1, self.depth + 1)
        ]
        resampled = None if torch.is_grad_enabled() and self.keeps_much() else Resampled()
        for layer in range(len(xs), self.depth + 1):
            paths = [path for path in live[layer - 1] if xs[path.source] is not None]
            if layer <= self.plan.shared_prefix and paths:
                total: Tensor | None = self.part(layer)(xs[-1])
            else:
                total = self.mixture(paths, rows[layer - 1], xs, resampled) if paths else None
            xs.append(None if total is None else self.acts[layer - 1](total))
        last = xs[-1]
        if last is None:
            raise RuntimeError(NO_LIVE_PATH)
        return Activity(xs, self.part(self.depth + 1)(last), gates, rows)

    def mixture(self, paths: list[Path], row: Tensor, xs: list[Tensor | None], resampled: Resampled | None) -> Tensor:
        """What paths into a layer give together, weighted by their gates, before the layer's activation.

        Args:
            paths: the universal block first, where it is among them.
            row: the gates of the layer (1 + k).
            xs: the activations; those that the paths read are there.
            resampled: what was resampled for the layers before; None where the mixture is computed again in the backward
                pass. The block is computed once in any case.
        """
        modules = [self._folded_proxies.get(path) or self.module_of(path) for path in paths]
        inputs = [xs[path.source] for path in paths]
        if paths[0].is_universal:
            inputs[0] = self.part(paths[0].target)(inputs[0])

        def mix(row: Tensor, *inputs: Tensor) -> Tensor:
            weights, shared = row.unbind(0), resampled or Resampled()
            total: Tensor | None = None
            for path, module, x in zip(paths, modules, inputs, strict=True):
                if isinstance(module, Proxy):
                    x = shared.through(module, path.source, x)
                elif not path.is_universal:
                    x = module(x)
                out = weights[path.slot] * x
                total = out if total is None else total + out
            assert total is not None
            return total

        proxies = [module for module in modules if isinstance(module, Proxy)]
        if resampled is None and proxies:
            return recomputed(proxies, mix, row, *inputs)  # type: ignore[arg-type]
        return mix(row, *inputs)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x).logits

    def keep(self, paths: Iterable[Path]) -> None:
        """Remove every path that is not among `paths`, at once."""
        fade = torch.zeros_like(self.gates.fade)
        for path in paths:
            fade[path.place] = 1.0
        self.gates.fade.copy_(fade)

    def live_paths(self) -> list[Path]:
        """The paths that are not removed."""
        fades = self.gates.fade.tolist()
        return [path for path in self.paths if fades[path.target - 1][path.slot] > 0]

    def keeps_much(self) -> bool:
        """Whether the live proxies would keep so much for their gradients that they are computed again instead."""
        live = [path for path in self.live_paths() if not path.is_universal]
        inside = [shape for path in live for shape in self.module_of(path).hidden_shapes()]  # type: ignore[operator]
        return worth_recomputing([*(self.backbone.shapes[path.target] for path in live), *inside])

    def layer_parameters(self, layer: int) -> list[nn.Parameter]:
        """What trains in layer 1..L, gates excepted: its live proxies and the norms of its block that the task owns."""
        modules = [self.module_of(path) for path in self.paths_into(layer) if self.gates.fade[path.place] > 0]
        return [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]

    def trained_parameters(self) -> list[nn.Parameter]:
        """Everything that trains, gates excepted."""
        return [p for p in without_gates(dict(self.named_parameters())).values() if p.requires_grad]

    def task_tensors(self) -> dict[str, Tensor]:
        """Every floating-point tensor that is not the backbone's own: what trains, what is saved, what is counted."""
        return task_tensors(self, self.backbone)

    def wiring(self) -> Wiring:
        """What its live paths compute in eval mode, for `fold`: what they have no source for is left out, as in `run`."""
        gates = self.gates().detach()
        live = self.live_paths()
        layers: dict[int, Layer] = {}
        for layer in range(1, self.depth + 1):
            paths = [path for path in live if path.target == layer and (path.source == 0 or path.source in layers)]
            if paths:
                terms = (Term(path.source, self.module_of(path), float(gates[path.place])) for path in paths)  # type: ignore[arg-type]
                layers[layer] = Layer(tuple(terms), self.acts[layer - 1])
        if self.depth not in layers:
            raise RuntimeError(NO_LIVE_PATH)
        return Wiring(self.stem, layers, self.head)

    def for_inference(self) -> fx.GraphModule:
        """What its live paths run as: a folded copy that shares nothing, in eval mode."""
        return fold(self)

    def cost(self) -> Cost:
        """MACs of one picture through the live paths, and elements of all their tensors, the gates aside."""
        live = self.live_paths()
        parts = [self.stem, self.head, *(self.module_of(path) for path in live)]
        parts += [self.acts[layer - 1] for layer in sorted({path.target for path in live})]
        macs = self.fixed_cost().macs + sum(self.costs[path].macs for path in live)
        return Cost(macs, params_of(parts))

    def fixed_cost(self) -> Cost:
        """Stem and head with this task's classifier."""
        return end_costs(self.backbone, self.net_plan, self.stem, self.head)

    def cost_model_in(self, unit: Literal["macs", "params"]) -> CostModel:
        """What everything costs in MACs or parameters."""
        paths = {path: float(getattr(cost, unit)) for path, cost in self.costs.items()}
        return CostModel(unit, paths, float(getattr(self.fixed_cost(), unit)), float(getattr(self.backbone.cost, unit)))

    def use_cost_model(self, model: CostModel) -> None:
        """What paths cost in the complexity term and in pruning: MACs unless told otherwise.

        Args:
            model: of every path, in any unit. `cost_matrix` holds them as fractions of all universal blocks'.
        """
        self.cost_model = model
        self.cost_matrix = torch.zeros_like(self.gates.fade)
        for path, price in model.paths.items():
            self.cost_matrix[path.place] = price / model.blocks

    def train(self, mode: bool = True) -> TailoredNet:
        super().train(mode)
        for part in (self.stem, self.blocks, self.head, self.acts):
            part.eval()
        for norm in self._own_norms:
            norm.train(mode)
        return self

    def part(self, number: int) -> nn.Module:
        """The stem (0), block l or the head (L + 1) as it is run now."""
        if number in self._folded:
            return self._folded[number]
        if number > self.depth:
            return self.head
        module = self.blocks[str(number)] if number else self.stem
        return self._quick(number, module) if self.training else module

    @contextmanager
    def folded(self, proxies: bool = False) -> Iterator[None]:
        """In it stem, blocks and head run as folded copies of what they are at its start: faster, equal up to rounding.

        For looking at a student in which proxies and gates alone change; no gradient reaches what is copied.

        Args:
            proxies: whether they are folded, too; those of a layer that changes are to be unfolded (`unfold`).
        """
        whole = [self.stem, *(self.blocks[str(layer)] for layer in range(1, self.depth + 1)), self.head]
        self._folded = {number: fold_part(part) for number, part in enumerate(whole)}  # type: ignore[arg-type]
        if proxies:
            self._folded_proxies = {
                path: fold_part(self.module_of(path))  # type: ignore[arg-type]
                for path in self.live_paths()
                if not path.is_universal
            }
        try:
            yield
        finally:
            self._folded, self._folded_proxies = {}, {}

    def unfold(self, layer: int) -> None:
        """Run the proxies into a layer as they are, from here to the end of `folded`."""
        self._folded_proxies = {path: proxy for path, proxy in self._folded_proxies.items() if path.target != layer}

    def _quick(self, part: int, module: nn.Module) -> nn.Module:
        """A frozen part (0 for the stem, l for G_l) with its norms folded, where nothing in it is the task's.

        It is no submodule, so it is neither saved nor counted; it is made when training first needs it.
        """
        is_shared = part <= self.plan.shared_prefix and self.plan.shared_prefix > 0
        policy = "source" if is_shared else self.plan.batch_norm
        if policy != "source" or any(parameter.requires_grad for parameter in module.parameters()):
            return module
        device = self.gates.fade.device
        found = self._frozen.get(part)
        if found is None or next((tensor.device for tensor in tensors_of(found).values()), device) != device:
            found = self._frozen[part] = frozen_copy(module)  # type: ignore[arg-type]
        return found

    def __repr__(self) -> str:
        own = sum(tensor.numel() for tensor in self.task_tensors().values())
        plan = f"{self.plan.gates} gates, {self.plan.proxies} proxies, norms: {self.plan.batch_norm}, rank {self.plan.rank}"
        if self.plan.shared_prefix:
            plan += f", blocks 1 to {self.plan.shared_prefix} shared"
        gates = self.gates().detach()
        lines = [f"TailoredNet over {self.backbone.name}, {self.classes} classes; {plan}; {own:,} task parameters"]
        live = set(self.live_paths())
        for layer in range(1, self.depth + 1):
            shown = (f"{path.key} {gates[path.place]:.2f}" for path in self.paths_into(layer) if path in live)
            lines.append(f"  x_{layer:<3} = " + " + ".join(shown))
        return "\n".join(lines)


def candidate_paths(backbone: Backbone, plan: Plan) -> list[Path]:
    """Every universal block and every proxy of a plan, layer by layer; into a shared prefix no proxy leads.

    Raises:
        PrefixError: the backbone has no so many blocks to share.
    """
    if not 0 <= plan.shared_prefix <= backbone.depth:
        raise PrefixError(
            f"{backbone.name} has {backbone.depth} universal blocks, of which {plan.shared_prefix} can't be shared"
        )
    paths = []
    for layer, block in enumerate(backbone.block_costs, 1):
        paths.append(Path(layer, 0, UNIVERSAL))
        for slot in range(1, (min(plan.skips, layer) if layer > plan.shared_prefix else 0) + 1):
            paths.append(Path(layer, slot, form_for(plan.proxies, backbone.site(layer - slot, layer), block.macs)))
    return paths


def proxy_key(source: int, target: int) -> str:
    """The name of a proxy among a network's modules."""
    return f"{source}-{target}"


def task_tensors(net: nn.Module, backbone: Backbone) -> dict[str, Tensor]:
    """The one predicate for what a task owns: a tensor of the network that is not the backbone's own object."""
    shared = {id(tensor) for tensor in tensors_of(backbone).values()}
    return {name: tensor for name, tensor in tensors_of(net).items() if id(tensor) not in shared}
