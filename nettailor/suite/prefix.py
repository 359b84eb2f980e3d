"""Several tasks' networks on one picture, what they begin with alike computed once.

    compact nets -> untouched steps of each -> trie -> SharedNets(pictures, tasks) -> logits of each task

    picture -> stem, G1..G5 -> G6..G8 -> the rest of task a -> logits        a branch is a stretch of layers that two or more
                            |         -> the rest of task b -> logits        tasks begin with; what a task has for itself
                            -> the rest of task c -> logits                  follows behind its last branch

Two tasks share a layer where both leave it as the backbone has it, and all before it too (`blocks.untouched`): that is so for
networks trained with `student.shared_prefix`, and by nature for those of method `linear`. Others run by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from torch import Tensor, nn

from blocks import CompactNet, pack
from blocks.fold import Span, fold_span
from blocks.untouched import Step, untouched


@dataclass(frozen=True)
class Branch:
    """Steps that several tasks take alike, one behind the other.

    Attributes:
        first: the layer after which it begins; None: at the picture.
        steps: at least one.
        tasks: that take them, in the order in which they were given; at least two.
        children: where some of these tasks go on together.
    """

    first: int | None
    steps: tuple[Step, ...]
    tasks: tuple[str, ...]
    children: tuple[Branch, ...] = ()

    @property
    def last(self) -> int:
        """The layer that it ends with."""
        return self.steps[-1].layer

    def walk(self) -> Iterator[Branch]:
        """It and all below it, each before its children."""
        yield self
        for child in self.children:
            yield from child.walk()


def trie(chains: Mapping[str, Sequence[Step]]) -> tuple[Branch, ...]:
    """The branches of several tasks: common prefixes of their steps, the longest possible, of two tasks or more.

    Args:
        chains: of each task the steps that it could share, from the picture on; none where it shares nothing.
    """
    return _grow(chains, tuple(chains), 0, None)


def _grow(
    chains: Mapping[str, Sequence[Step]], tasks: tuple[str, ...], start: int, first: int | None
) -> tuple[Branch, ...]:
    """The branches of tasks whose first `start` steps are the same."""
    groups: dict[Step, list[str]] = {}
    for task in tasks:
        if len(chains[task]) > start:
            groups.setdefault(chains[task][start], []).append(task)
    found = []
    for together in groups.values():
        if len(together) > 1:
            end = start + _common([chains[task][start:] for task in together])
            steps, same = tuple(chains[together[0]][start:end]), tuple(together)
            found.append(Branch(first, steps, same, _grow(chains, same, end, steps[-1].layer)))
    return tuple(found)


def _common(chains: Sequence[Sequence[Step]]) -> int:
    """How many steps all of these begin with alike."""
    alike = takewhile(lambda steps: len(set(steps)) == 1, zip(*chains, strict=False))
    return sum(1 for _ in alike)


class SharedNets:
    """The networks of several tasks over one backbone, run together.

    Args:
        nets: by task; all over the same backbone object, on one device, in eval mode.
        fast: run folded copies (`blocks.fold`), packed on a CPU, that take memory of their own: one of each branch, and one
            of what is left of each task. Otherwise the nets themselves run, and the answers are theirs bit for bit.

    Attributes:
        branches: what is computed once.

    Raises:
        ValueError: the nets stand over different backbones.
    """

    def __init__(self, nets: Mapping[str, CompactNet], fast: bool = False) -> None:
        if len({id(net.backbone) for net in nets.values()}) > 1:
            raise ValueError("these nets stand over different backbones, so they have nothing to share")
        self.nets = dict(nets)
        self.branches = trie({task: untouched(net) for task, net in nets.items()})
        self.shared_up_to: dict[str, int | None] = dict.fromkeys(nets)
        for branch in self._walk():
            self.shared_up_to |= dict.fromkeys(branch.tasks, branch.last)
        self._folded: dict[Branch | str, _Folded] = {}
        if fast:
            self._folded = {part: self._fold(part) for part in (*self._walk(), *nets)}

    def __call__(self, x: Tensor, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Logits (B, classes) of each task for the same pictures.

        Args:
            x: pictures (B, 3, H, W), normalised.
            tasks: whose; all of them if left out.

        Raises:
            KeyError: there is no such task.
        """
        wanted = list(self.nets if tasks is None else tasks)
        xs: dict[str, Mapping[int, Tensor]] = {task: {} for task in wanted}
        for branch in self._walk():
            here = [task for task in branch.tasks if task in xs]
            if here:
                xs |= dict.fromkeys(here, self._advance(branch, x, xs[here[0]]))
        return {task: self._rest(task, x, xs[task]) for task in wanted}

    def folded(self) -> list[nn.Module]:
        """The copies that run; none where the nets themselves do."""
        return [part.module for part in self._folded.values()]

    def macs(self, tasks: Iterable[str] | None = None) -> int:
        """Multiply-accumulates of one picture for these tasks together, what they share counted once."""
        wanted = list(self.nets if tasks is None else tasks)
        total = sum(self.nets[task].cost().macs for task in wanted)
        for branch in self._walk():
            here = [task for task in branch.tasks if task in wanted]
            total -= max(0, len(here) - 1) * self._branch_macs(branch)
        return total

    def _walk(self) -> Iterator[Branch]:
        for branch in self.branches:
            yield from branch.walk()

    def _branch_macs(self, branch: Branch) -> int:
        net = self.nets[branch.tasks[0]]
        stem = net.backbone.stem_cost.macs if branch.first is None else 0
        return stem + sum(net.path_cost(step.path).macs for step in branch.steps if step.path is not None)

    def _advance(self, branch: Branch, x: Tensor, known: Mapping[int, Tensor]) -> Mapping[int, Tensor]:
        """The activations that are known behind a branch."""
        if branch in self._folded:
            return {**known, **self._folded[branch].activations(x, known)}
        net = self.nets[branch.tasks[0]]
        first = branch.first
        if first is None:
            known, first = {0: net.stem(x)}, 0
        return net.advance(known, first, branch.last)

    def _rest(self, task: str, x: Tensor, known: Mapping[int, Tensor]) -> Tensor:
        """What a task has for itself: from the last shared layer to its logits."""
        if task in self._folded:
            return self._folded[task].logits(x, known)
        net, shared = self.nets[task], self.shared_up_to[task]
        logits: Tensor = net(x) if shared is None else net.forward_from(known, shared)
        return logits

    def _fold(self, part: Branch | str) -> _Folded:
        """A folded copy of a branch, or of what a task has for itself."""
        if isinstance(part, str):
            net, shared = self.nets[part], self.shared_up_to[part]
            return _Folded.of(net, Span() if shared is None else Span(shared, given=net.reads(shared)))
        net, first, last = self.nets[part.tasks[0]], part.first, part.last
        begin = -1 if first is None else first
        read = {number for task in part.tasks for number in self.nets[task].reads(last) if number > begin}
        given: tuple[int, ...] = ()
        if first is not None:
            sources = {step.path.source for step in part.steps if step.path is not None}
            given = tuple(sorted(number for number in sources if number <= first))
        return _Folded.of(net, Span(first, last, given, tuple(sorted(read))))


@dataclass(frozen=True)
class _Folded:
    """A folded part of a network, and the activations that it is given and gives."""

    module: nn.Module
    span: Span

    @classmethod
    def of(cls, net: CompactNet, span: Span) -> _Folded:
        folded = fold_span(net, span)
        on_cpu = next(net.parameters()).device.type == "cpu"
        return cls(pack(folded) if on_cpu else folded, span)

    def activations(self, x: Tensor, known: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Those that it gives, by number; of a branch."""
        given: tuple[Tensor, ...] = self.module(*self._inputs(x, known))
        return dict(zip(self.span.wanted, given, strict=True))

    def logits(self, x: Tensor, known: Mapping[int, Tensor]) -> Tensor:
        """Of what a task has for itself."""
        found: Tensor = self.module(*self._inputs(x, known))
        return found

    def _inputs(self, x: Tensor, known: Mapping[int, Tensor]) -> list[Tensor]:
        return [x] if self.span.first is None else [known[number] for number in self.span.given]
