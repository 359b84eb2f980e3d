"""The compact net: a student after pruning, with nothing left in it that it does not run.

    student + kept paths -> compact -> CompactNet          (shares the backbone, copies what the task owns)
    backbone + kept paths + tensors -> CompactNet          (what loading a delta does; the same builder, so the same bits)

The gates are constants here, one vector per layer, in the order of the layer's paths.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn

from blocks.assembly import build_parts, end_costs, path_costs
from blocks.backbone import Backbone
from blocks.counting import Cost, count_params, tensors_of
from blocks.norms import BatchNormPolicy
from blocks.paths import Path
from blocks.proxies import Proxy, Resampled
from blocks.student import TailoredNet, proxy_key, task_tensors


class CompactNet(nn.Module):
    """Pictures (B, 3, H, W) in, logits (B, classes) out, over the kept paths alone.

    Args:
        backbone: shared, not copied.
        paths: kept paths; every source must be x_0 or the target of another, and x_L must be a target.
        classes: number of classes.
        policy: who owns the batch norms.
        rank: of what the task adds to dense convolutions.
        adapters: residual adapters beside larger convolutions.
    """

    def __init__(
        self,
        backbone: Backbone,
        paths: list[Path],
        classes: int,
        policy: BatchNormPolicy,
        rank: int = 0,
        adapters: bool = False,
    ) -> None:
        super().__init__()
        self.paths = sorted(paths)
        self.classes = classes
        self.batch_norm = policy
        self.rank = rank
        self.spec = backbone.spec
        self.depth = backbone.depth
        parts = build_parts(backbone, self.paths, classes, policy, rank, adapters)
        self.stem = parts.stem
        self.blocks = nn.ModuleDict({str(target): block for target, block in parts.blocks.items()})
        self.proxies = nn.ModuleDict({proxy_key(*ends): proxy for ends, proxy in parts.proxies.items()})
        self.acts = nn.ModuleDict({str(p.target): backbone.acts[p.target - 1] for p in self.paths})
        self.head = parts.head
        self._backbone = (backbone,)
        self._layers: dict[int, list[Path]] = defaultdict(list)
        for path in self.paths:
            self._layers[path.target].append(path)
        self.gates = nn.ParameterDict({str(t): nn.Parameter(torch.ones(len(p))) for t, p in self._layers.items()})
        self.requires_grad_(False).eval()

    @property
    def backbone(self) -> Backbone:
        """The backbone whose modules this net shares."""
        return self._backbone[0]

    def forward(self, x: Tensor) -> Tensor:
        xs = {0: self.stem(x)}
        resampled = Resampled()
        for layer, paths in self._layers.items():
            total: Tensor | None = None
            for weight, path in zip(self.gates[str(layer)].unbind(0), paths, strict=True):
                out = weight * self._through(path, xs[path.source], resampled)
                total = out if total is None else total + out
            xs[layer] = self.acts[str(layer)](total)
        return self.head(xs[self.depth])

    def train(self, mode: bool = True) -> CompactNet:
        """A compact net only answers; it stays in eval mode."""
        return super().train(False)

    def task_tensors(self) -> dict[str, Tensor]:
        """Every tensor that is not the backbone's own, as it is saved in the delta."""
        return task_tensors(self, self.backbone)

    def cost(self) -> Cost:
        """MACs of one picture, and elements of all tensors in this module."""
        macs = end_costs(self.backbone, self.classes, self.stem, self.head).macs
        macs += sum(self.path_cost(path).macs for path in self.paths)
        return Cost(macs, count_params(tensors_of(self).values()))

    def module_of(self, path: Path) -> nn.Module:
        """The block or proxy that computes a path."""
        if path.is_universal:
            return self.blocks[str(path.target)]
        return self.proxies[proxy_key(path.source, path.target)]

    def path_cost(self, path: Path) -> Cost:
        """MACs and parameters of one kept path."""
        return path_costs(self.backbone, path, self.module_of(path))

    def _through(self, path: Path, source: Tensor, resampled: Resampled) -> Tensor:
        module = self.module_of(path)
        return resampled.through(module, path.source, source) if isinstance(module, Proxy) else module(source)


def compact(student: TailoredNet) -> CompactNet:
    """A student's live paths as a network of their own. Its logits equal the masked student's in eval mode.

    Args:
        student: its live paths must be closed under the exclusion rules, as `nettailor.graph` leaves them.
    """
    paths = student.live_paths()
    plan = student.plan
    net = CompactNet(student.backbone, paths, student.classes, plan.batch_norm, plan.rank, plan.adapters)
    gates = student.gates().detach()
    own = student.task_tensors()
    with torch.no_grad():
        for name, tensor in net.task_tensors().items():
            if not name.startswith("gates."):
                tensor.copy_(own[name])
        for layer, members in net._layers.items():
            net.gates[str(layer)].copy_(torch.stack([gates[path.place] for path in members]))
    return net.to(gates.device)
