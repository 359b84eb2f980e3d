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
        fast: run folded copies (`blocks.fold`) that take memory of their own: one of each branch, and one of what is left of
            each task; the nets are not kept. Otherwise the nets themselves run, and the answers are theirs bit for bit.
        packed: pack the folded copies for this CPU, too (`blocks.prepack`).

    Attributes:
        branches: what is computed once.
        shared_up_to: the last layer of each task that is; None where none is, 0 where it is the stem alone.

    Raises:
        ValueError: the nets stand over different backbones.
    """

    def __init__(self, nets: Mapping[str, CompactNet], fast: bool = False, packed: bool = False) -> None:
        if len({id(net.backbone) for net in nets.values()}) > 1:
            raise ValueError("these nets stand over different backbones, so they have nothing to share")
        self.branches = trie({task: untouched(net) for task, net in nets.items()})
        self.shared_up_to: dict[str, int | None] = dict.fromkeys(nets)
        for branch in self._walk():
            self.shared_up_to |= dict.fromkeys(branch.tasks, branch.last)
        self._nets: dict[str, CompactNet] = {} if fast else dict(nets)
        self._folded: dict[Branch | str, FoldedSpan] = {}
        if fast:
            spans = {branch: (nets[branch.tasks[0]], _span(branch, nets)) for branch in self._walk()}
            rests = {task: (net, _rest(net, self.shared_up_to[task])) for task, net in nets.items()}
            self._folded = {part: FoldedSpan(net, span, packed) for part, (net, span) in (spans | rests).items()}

    def __call__(self, x: Tensor, tasks: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Logits (B, classes) of each task for the same pictures.

        Args:
            x: pictures (B, 3, H, W), normalised.
            tasks: whose; all of them if left out.

        Raises:
            KeyError: there is no such task.
        """
        wanted = list(self.shared_up_to if tasks is None else tasks)
        xs: dict[str, Mapping[int, Tensor]] = {task: {} for task in wanted}
        for branch in self._walk():
            here = [task for task in branch.tasks if task in xs]
            if here:
                xs |= dict.fromkeys(here, self._advance(branch, x, xs[here[0]]))
        return {task: self._logits(task, x, xs[task]) for task in wanted}

    def alone(self, task: str) -> nn.Module:
        """The network of one task, pictures to logits: the net itself, or the folded copies that are on its way."""
        if task in self._nets:
            return self._nets[task]
        branches = [self._folded[branch] for branch in self._walk() if task in branch.tasks]
        return _Way(branches, self._folded[task]) if branches else self._folded[task].module

    def shared_copies(self) -> list[nn.Module]:
        """The folded copies of the branches; none where the nets themselves run."""
        return [part for key, part in self._folded.items() if isinstance(key, Branch)]

    def _walk(self) -> Iterator[Branch]:
        for branch in self.branches:
            yield from branch.walk()

    def _advance(self, branch: Branch, x: Tensor, known: Mapping[int, Tensor]) -> Mapping[int, Tensor]:
        """The activations that are known behind a branch."""
        if branch in self._folded:
            return self._folded[branch].advance(x, known)
        net, first = self._nets[branch.tasks[0]], branch.first
        if first is None:
            known, first = {0: net.stem(x)}, 0
        return net.advance(known, first, branch.last)

    def _logits(self, task: str, x: Tensor, known: Mapping[int, Tensor]) -> Tensor:
        """What a task has for itself: from the last shared layer to its logits."""
        if task in self._folded:
            return self._folded[task].logits(x, known)
        net, shared = self._nets[task], self.shared_up_to[task]
        logits: Tensor = net(x) if shared is None else net.forward_from(known, shared)
        return logits


def shared_macs(nets: Mapping[str, CompactNet]) -> int:
    """Multiply-accumulates of one picture for these tasks together, what they share counted once."""
    total = sum(net.cost().macs for net in nets.values())
    for top in trie({task: untouched(net) for task, net in nets.items()}):
        for branch in top.walk():
            net = nets[branch.tasks[0]]
            once = sum(net.path_cost(step.path).macs for step in branch.steps if step.path is not None)
            once += net.backbone.stem_cost.macs if branch.first is None else 0
            total -= (len(branch.tasks) - 1) * once
    return total


class FoldedSpan(nn.Module):
    """A folded part of a network, and the activations that it is given and gives."""

    def __init__(self, net: CompactNet, span: Span, packed: bool) -> None:
        super().__init__()
        folded = fold_span(net, span)
        on_cpu = next(net.parameters()).device.type == "cpu"
        self.module = pack(folded) if packed and on_cpu else folded
        self.span = span

    def advance(self, x: Tensor, known: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """What is known behind it; of a branch."""
        given: tuple[Tensor, ...] = self.module(*self._inputs(x, known))
        return {**known, **dict(zip(self.span.wanted, given, strict=True))}

    def logits(self, x: Tensor, known: Mapping[int, Tensor]) -> Tensor:
        """Of what a task has for itself."""
        found: Tensor = self.module(*self._inputs(x, known))
        return found

    def _inputs(self, x: Tensor, known: Mapping[int, Tensor]) -> list[Tensor]:
        return [x] if self.span.first is None else [known[number] for number in self.span.given]


class _Way(nn.Module):
    """One task's way through folded copies: its branches, and what it has for itself."""

    def __init__(self, branches: Sequence[FoldedSpan], rest: FoldedSpan) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.rest = rest

    def forward(self, x: Tensor) -> Tensor:
        known: Mapping[int, Tensor] = {}
        for branch in self.branches:
            known = branch.advance(x, known)  # type: ignore[operator]
        return self.rest.logits(x, known)


def _span(branch: Branch, nets: Mapping[str, CompactNet]) -> Span:
    """What a branch is given, and what is read of it behind it."""
    first, last = branch.first, branch.last
    sources = {step.path.source for step in branch.steps if step.path is not None}
    read = {number for task in branch.tasks for number in nets[task].reads(last)}
    if first is None:
        return Span(None, last, (), tuple(sorted(read)))
    given = tuple(sorted(number for number in sources if number <= first))
    return Span(first, last, given, tuple(sorted(number for number in read if number > first)))


def _rest(net: CompactNet, shared: int | None) -> Span:
    """What a task has for itself."""
    return Span() if shared is None else Span(shared, given=net.reads(shared))
