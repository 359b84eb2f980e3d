"""A recovery whose outcomes are written down before, so that its order and its choice can be looked at."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from blocks import Backbone, Plan, TailoredNet
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.prune import Pruned
from nettailor.pruning.recover import Recovered, recover_leanest
from nettailor.pruning.rounds import Trial, Whole
from nettailor.pruning.states import snapshot
from nettailor.training.checkpoint import restore
from nettailor.training.config import RecoverConfig
from nettailor.training.run import Fitted


class Pictures:
    """A task of so many validation pictures; they are not looked at."""

    def __init__(self, count: int = 1000) -> None:
        self.val = range(count)


class Scripted:
    """A student without training: networks of three sizes below it, and a recovery that gives known accuracies.

    Args:
        before: what rounds 1 to 3 gave.
        choice: after which round it is as chosen; 0: before the first.
        whole: what it gives without proxies; None: it is pruned to a cost.
    """

    def __init__(
        self,
        backbone: Backbone,
        before: tuple[float, ...],
        monkeypatch: pytest.MonkeyPatch,
        choice: int = 0,
        whole: float | None = None,
    ) -> None:
        self.student = TailoredNet(backbone, 4, Plan(skips=2))
        self.stages: list[str] = []
        self.after: dict[str, float] = {}
        start, trials, steps, self.graphs = snapshot(self.student), [], [], [BlockGraph.of(self.student)]
        for key, value in zip(("G2", "G3", "G4"), before, strict=True):
            last = self.graphs[-1]
            left = last.without([path for path in last.paths if path.key == key])
            self.student.keep(left.paths)
            trials.append(Trial([path.key for path in left.paths], left.macs(), left.price(), value, [key]))
            steps.append(snapshot(self.student))
            self.graphs.append(left)
        restore(self.student.task_tensors(), start, "student")
        self.student.keep(path for path in self.student.paths if path.is_universal)
        all_blocks = None if whole is None else Whole(snapshot(self.student), whole)
        restore(self.student.task_tensors(), [start, *steps][choice], "student")
        self.pruned = Pruned(self.graphs[choice], 0.9, 0.92, trials, steps=steps, whole=all_blocks)
        monkeypatch.setattr("nettailor.pruning.recover.recover", self._train)
        monkeypatch.setattr("nettailor.pruning.recover.answered_right", self._answered)
        monkeypatch.setattr("nettailor.pruning.recover.divergence", self._divergence)
        monkeypatch.setattr("nettailor.pruning.recover.answers", lambda *_: None)
        self._fresh = self.student.gates.logits.detach().clone()
        self.nearer = False
        self.at_first: float | None = None

    def _train(self, student: TailoredNet, *given: object) -> Fitted:
        stage = str(given[-1])
        self.stages.append(stage)
        with torch.no_grad():
            student.gates.logits.add_(1.0)
        return Fitted({"val_accuracy": self.after[stage]}, 0.0, 4)

    def _answered(self, net: TailoredNet | None, split: object) -> torch.Tensor:
        """Of 1,000 pictures: the teacher gets 905 right, the student those of its last recovery."""
        right = 0.905 if net is None else self.after[self.stages[-1]]
        if net is not None and self.at_first is not None and torch.equal(net.gates.logits, self._fresh):
            right = self.at_first
        return torch.arange(1000) < round(1000 * right)

    def _divergence(self, net: TailoredNet, *_: object) -> float:
        """Recovery takes the student away from its teacher, or brings it `nearer`."""
        return float(torch.equal(net.gates.logits, self._fresh) == self.nearer)

    def recover(
        self, leaner: int = 3, epochs: int = 4, judge: Any = None, pictures: int = 1000, lr: float = 1e-4
    ) -> Recovered:
        """At a rate that keeps pretrained features, unless another is given."""
        config = RecoverConfig(epochs=epochs, leaner=leaner, lr=lr)
        return recover_leanest(self.student, None, Pictures(pictures), self.pruned, config, 0.5, judge=judge)  # type: ignore[arg-type]
