"""After pruning: the leanest network that is within the drop once what is left of it has been trained.

Pruned.trials, steps -> the chosen network, and the leaner ones that are a little below -> recover one after the other
                     -> the leanest that is within the drop, judged picture by picture (`criterion`) -> Recovered
                     -> where none is, a costlier one, the best that seems to be, or all blocks without a proxy
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from torch import Tensor

from blocks import TailoredNet
from blocks.teachers import Teacher
from nettailor.data.task import Task
from nettailor.pruning.criterion import NEAR, NEARER, Drop, answered_right, are_too_few, divergence
from nettailor.pruning.folds import FoldJudge
from nettailor.pruning.graph import BlockGraph
from nettailor.pruning.prune import Pruned
from nettailor.pruning.rounds import recoverable
from nettailor.pruning.states import snapshot
from nettailor.training.checkpoint import restore
from nettailor.training.config import RecoverConfig, StudentConfig
from nettailor.training.loop import answers
from nettailor.training.passes import is_hard
from nettailor.training.run import Run
from nettailor.training.stages import recover, students_rate_keeps_features

Order = Literal["up", "halves", "down"]
"""In which networks are recovered (`_next_place`)."""
WHOLE = "recover-whole"
"""Stage of the recovery of all blocks without a proxy."""


@dataclass
class Attempt:
    """One network's recovery.

    Attributes:
        macs: of its paths.
        before, after: accuracy on the validation split.
        drop, error: points lost against the teacher afterwards, picture by picture, and the standard error.
        pictures: that the drop was judged on.
        accepted: whether it is within what is allowed.
        epochs: passes over the training pictures.
        folds: over how many folds of training and validation pictures it was judged; 0: on the validation split.
        nats: how far its answers to the validation pictures are from the teacher's (KL), where these pictures are too few to
            tell a loss of the size that is allowed; None elsewhere.
        is_near: whether that is near enough to be taken all the same (`criterion.NEAR`).
    """

    macs: int
    before: float
    after: float
    drop: float
    error: float
    pictures: int
    accepted: bool
    epochs: int
    folds: int = 0
    nats: float | None = None
    is_near: bool = True

    @property
    def judged(self) -> Drop:
        """The drop as it was judged."""
        return Drop(self.drop, self.error, self.pictures)


@dataclass(frozen=True)
class Ended:
    """A network that was recovered, and what the task owns of it."""

    attempt: Attempt
    tensors: dict[str, Tensor]


@dataclass
class Recovered:
    """What recovery ended with, and all that was tried, in order; `ended` by the names of their stages."""

    graph: BlockGraph
    val_accuracy: float
    ended: dict[str, Ended] = field(default_factory=dict)
    taken: Attempt | None = None

    @property
    def attempts(self) -> list[Attempt]:
        """All that were tried, in order."""
        return [each.attempt for each in self.ended.values()]

    def took_leanest_of(self, pruned: Pruned) -> bool:
        """Whether the network is within the drop, and pruning passed none that is leaner."""
        is_leanest = all(self.graph.price() <= trial.price for trial in pruned.trials)
        return self.taken is not None and self.taken.accepted and is_leanest

    @property
    def epochs(self) -> int:
        """Passes over the training pictures, of all attempts."""
        return sum(attempt.epochs for attempt in self.attempts)


def recover_leanest(
    student: TailoredNet,
    teacher: Teacher,
    task: Task,
    pruned: Pruned,
    config: RecoverConfig,
    drop: float,
    settings: StudentConfig | None = None,
    run: Run | None = None,
    judge: FoldJudge | None = None,
    before: Recovered | None = None,
) -> Recovered:
    """Recover a pruned student in place: the leanest that is within the drop afterwards.

    Of what pruning passed, the networks that recovery may bring within the drop are tried in an order that goes by the
    rate. At a high one the leanest comes first; where it is refused, the middle one between it and the choice, and so on,
    at last the choice; the first that is accepted is taken. At a low one, where what recovery brings is harder to
    foresee, they are searched by halves: the middle one of those below the choice; where it is accepted, the leaner half
    next; else the choice itself, and where that is accepted, those between. On a hard task the choice comes first, or
    where all blocks are that, the costliest below them; where it is accepted, leaner ones by halves. At most
    `config.leaner` below the choice are tried. Where the choice is refused, the middle one of those between it and the
    network of all blocks without a proxy is tried. Where that is refused, too, the most accurate of those that lose no
    more than is allowed on the pictures that judge is taken, though these are too few to be sure. Where there is none
    such, all blocks without a proxy are recovered and taken: more than is allowed is not lost for a smaller network. A
    leaner one that is as accurate on validation is taken in place of that, as where blocks are frozen as they are; and
    the most accurate of what was pruned to a cost, or as in the paper, which keeps to it. A network that recovery does
    not help (no more accurate, and its answers no nearer to the teacher's) stays as it was. Where a validation picture is
    more than the drop, none is taken in place of all blocks whose answers are farther from the teacher's than `NEAR`, and
    those that are much farther before recovery (`NEARER`) are passed over.

    Args:
        drop: in points.
        judge: of the drop, where validation pictures are too few; left out, each is judged on these. It trains several
            networks anew, so it isn't asked about one of which validation alone shows that it loses more than the drop, nor
            about all blocks without a proxy, behind which there is nothing to choose any more.
        before: what was recovered already, of the same choice with fewer networks beside it; none of it is done again.
    """
    result = Recovered(pruned.graph, pruned.val_accuracy, {} if before is None else dict(before.ended))
    if config.epochs == 0:
        _without_recovery(student, pruned, result)
        return result
    job = _Job(student, teacher, task, config, drop, settings, run or Run(), result, judge)
    leaner, costlier = _leaner(pruned), _costlier(pruned, student)
    candidates = [*leaner, _choice(pruned, student), *costlier]
    ended = {n: result.ended[each.stage] for n, each in enumerate(candidates) if each.stage in result.ended}
    last = len(candidates) - 1
    may = [job.may_come_within(each, pruned.least) for each in candidates]
    choice = len(leaner)
    if pruned.whole is not None and are_too_few(len(task.val), drop):
        near = [job.may_come_near(each) for each in candidates]
        may = [all(both) for both in zip(may, near, strict=True)]
        choice = next((place for place in range(choice, last) if near[place]), last)
    while (place := _next_place(may, _accepted(ended), choice, config.leaner, job.order)) is not None:
        if place == last and pruned.whole is not None and _seem_within(ended, drop):
            break
        ended[place] = job.attempt(candidates[place])
    if within := [place for place, accepted in _accepted(ended).items() if accepted]:
        taken = ended[min(within)]
    else:
        kept = {place: each for place, each in ended.items() if each.attempt.is_near or place == last}
        taken = _most_accurate((_seem_within(ended, drop) or kept) if pruned.whole is not None else ended)
        if pruned.whole is not None and taken is ended.get(last):
            job.run.display.say("recover    nothing leaner is within the drop: all blocks stay, without a proxy")
    result.taken = taken.attempt
    restore(student.task_tensors(), taken.tensors, "student")
    result.graph, result.val_accuracy = BlockGraph.of(student), taken.attempt.after
    return result


def _accepted(ended: dict[int, Ended]) -> dict[int, bool]:
    return {place: each.attempt.accepted for place, each in ended.items()}


def _seem_within(ended: dict[int, Ended], drop: float) -> dict[int, Ended]:
    """Those that lose no more than is allowed on the pictures that judged them."""
    near = {place: each for place, each in ended.items() if each.attempt.is_near}
    return {place: each for place, each in near.items() if each.attempt.judged.seems_within(drop)}


def _most_accurate(ended: dict[int, Ended]) -> Ended:
    """On the validation split; the leaner of equals."""
    return ended[max(ended, key=lambda place: (ended[place].attempt.after, -place))]


def _without_recovery(student: TailoredNet, pruned: Pruned, result: Recovered) -> None:
    """The choice stands; where it is not within the drop, all blocks without a proxy, unless they are less accurate."""
    whole = pruned.whole
    if whole is not None and pruned.val_accuracy < pruned.least and whole.val_accuracy >= pruned.val_accuracy:
        restore(student.task_tensors(), whole.tensors, "student")
        result.graph, result.val_accuracy = BlockGraph.of(student), whole.val_accuracy


def _next_place(may: list[bool], accepted: dict[int, bool], choice: int, most: int, order: Order) -> int | None:
    """Which candidate to recover next; None at the end. The leanest stands first.

    Args:
        may: which of them recovery may bring within the drop.
        accepted: of those that are recovered, whether each was.
        choice: where the network stands that pruning chose: after the first that is refused, unless it is the last one.
        most: of those below the choice that are recovered; of those between it and the last one it is one, or none.
        order: halves: the middle one of those below the choice, then the choice, where that one is refused. up: the leanest
            that may come within the drop, then the middle one of those above it while they are refused; the first that is
            not is the last. down: the choice, or the costliest below all blocks, then by halves while they are accepted.
    """
    refused = [place for place, well in accepted.items() if not well]
    within = [place for place, well in accepted.items() if well]
    asks_choice = not accepted if order == "down" else order == "halves" and refused and not within
    if asks_choice and choice not in accepted and choice < len(may) - 1:
        return choice
    above = choice in refused and choice < len(may) - 1
    last = len(may) - 1 if above else choice
    left = [place for place in range(max(refused, default=-1) + 1, min(within, default=last)) if may[place]]
    so_far = sum((place > choice) == above for place in accepted if place != choice)
    if left and so_far < (min(most, 1) if above else most) and not (order == "up" and within):
        if not accepted and order != "halves":
            return left[0 if order == "up" else -1]
        leaner_middle = above or order == "up"  # of an even number; else the costlier, which is likelier to be accepted
        return left[(len(left) - 1) // 2 if leaner_middle else len(left) // 2]
    return None if within or last in accepted else last


@dataclass
class _Candidate:
    """A network that may be recovered.

    Attributes:
        stage: name of its recovery.
        tensors: what the task owned.
        val_accuracy: before recovery.
        from_blocks: whether it was cut out of the blocks as they began: recovery is all the training it has.
    """

    stage: str
    price: float
    tensors: dict[str, Tensor]
    val_accuracy: float
    from_blocks: bool = False


def _choice(pruned: Pruned, student: TailoredNet) -> _Candidate:
    """The network that pruning chose."""
    paths = [path.key for path in pruned.graph.paths]
    from_blocks = any(trial.from_blocks and trial.paths == paths for trial in pruned.trials)
    return _Candidate("recover", pruned.graph.price(), snapshot(student), pruned.val_accuracy, from_blocks)


def _steps(pruned: Pruned) -> list[_Candidate]:
    """The networks that pruning passed, in order."""
    passed = enumerate(zip(pruned.trials, pruned.steps, strict=True), 1)
    return [
        _Candidate(f"recover-{number}", trial.price, tensors, trial.val_accuracy, trial.from_blocks)
        for number, (trial, tensors) in passed
    ]


def _leaner(pruned: Pruned) -> list[_Candidate]:
    """The networks that cost less than the chosen one, the leanest first."""
    price = pruned.graph.price()
    return sorted((each for each in _steps(pruned) if each.price < price), key=lambda each: each.price)


def _costlier(pruned: Pruned, student: TailoredNet) -> list[_Candidate]:
    """The networks between the chosen one and all blocks without a proxy, and that one, in the order of their prices.

    There are none without `pruned.whole`, or where that is the choice.
    """
    whole, chosen, most = pruned.whole, pruned.graph.price(), student.cost_model.blocks
    if whole is None or set(pruned.graph.paths) == {path for path in student.paths if path.is_universal}:
        return []
    between = [each for each in _steps(pruned) if chosen < each.price < most]
    return [
        *sorted(between, key=lambda each: each.price),
        _Candidate(WHOLE, most, whole.tensors, whole.val_accuracy),
    ]


@dataclass
class _Job:
    """What every recovery needs, and where it is written down."""

    student: TailoredNet
    teacher: Teacher
    task: Task
    config: RecoverConfig
    drop: float
    settings: StudentConfig | None
    run: Run
    result: Recovered
    judge: FoldJudge | None

    def may_come_within(self, candidate: _Candidate, least: float) -> bool:
        """Whether recovery may bring a network up to an accuracy on the validation split."""
        value = candidate.val_accuracy
        return value + recoverable(value, len(self.task.val), self.keeps_features, self._taught_accuracy) >= least

    def may_come_near(self, candidate: _Candidate) -> bool:
        """Whether recovery may bring a network's answers near enough to the teacher's, where pictures are too few."""
        restore(self.student.task_tensors(), candidate.tensors, "student")
        return self._divergence() <= NEARER * NEAR * self.drop

    @property
    def keeps_features(self) -> bool:
        """Whether recovery is at a rate that keeps pretrained features."""
        return students_rate_keeps_features(self.config.lr, self.run)

    @property
    def order(self) -> Order:
        """In which networks are recovered: it begins with lean ones where recovery brings much."""
        if self.keeps_features:
            return "halves"
        return "down" if is_hard(self._taught_accuracy) else "up"

    @property
    def _taught_accuracy(self) -> float:
        return float(self._right.double().mean())

    def __post_init__(self) -> None:
        self._right = answered_right(self.teacher, self.task.val)

    def attempt(self, candidate: _Candidate) -> Ended:
        """Recover one network."""
        student, before = self.student, candidate.val_accuracy
        restore(student.task_tensors(), candidate.tensors, "student")
        macs = BlockGraph.of(student).macs()
        fitted = recover(student, self.teacher, self.task, self.config, self.settings, self.run, candidate.stage)
        after, tensors, trained = fitted.metrics["val_accuracy"], snapshot(student), fitted.epochs
        if after <= before and not self._is_nearer(tensors, candidate.tensors):
            said = f"recover    no gain on the validation split ({before:.3f} before); left as it was"
            self.run.display.say(said)
            after, tensors, trained = before, candidate.tensors, 0
            restore(student.task_tensors(), tensors, "student")
        right, nats = answered_right(student, self.task.val), self._nats()
        is_near = nats is None or nats <= NEAR * self.drop
        drop, folds = self._drop(candidate, right, trained, is_near)
        accepted = is_near and drop.is_within(self.drop)
        far = "" if is_near else f"; answers {nats:.3f} nats from the teacher's are too far where so few pictures judge"
        self.run.display.say(
            f"recover    {macs / 1e6:.2f} M MACs in paths: {drop.points:+.2f} points below the teacher, standard error "
            f"{drop.error:.2f}: {'accepted' if accepted else 'not accepted'}{far}"
        )
        attempt = Attempt(
            macs, before, after, drop.points, drop.error, drop.pictures, accepted, fitted.epochs, folds, nats, is_near
        )
        ended = self.result.ended[candidate.stage] = Ended(attempt, tensors)
        return ended

    def _is_nearer(self, recovered: dict[str, Tensor], before: dict[str, Tensor]) -> bool:
        """Whether recovery brought the network nearer to its teacher's answers on validation, all the same.

        A picture or two less is chance, and how near answers are is seen on every picture. Not where these pictures show
        that fewer are right. The student is left as it was recovered.
        """
        student, val = self.student, self.task.val
        right, far = answered_right(student, val), self._divergence()
        restore(student.task_tensors(), before, "student")
        lost = Drop.between(answered_right(student, val), right)
        nearer = far < self._divergence() and not lost.is_surely_beyond(0)
        restore(student.task_tensors(), recovered, "student")
        return nearer

    def _nats(self) -> float | None:
        """How far the answers of the network in the student are from the teacher's, where validation pictures are too few."""
        return self._divergence() if are_too_few(len(self.task.val), self.drop) else None

    def _divergence(self) -> float:
        return divergence(self.student, self._taught, self.task.val)

    @cached_property
    def _taught(self) -> Tensor:
        return answers(self.teacher, self.task.val)

    def _drop(self, candidate: _Candidate, right: Tensor, recovery: int, is_near: bool) -> tuple[Drop, int]:
        """What the network that is now in the student loses, and over how many folds that was judged; 0: on validation.

        Args:
            recovery: passes that it was trained after it was cut.
            is_near: whether its answers are near enough to the teacher's; else folds are not asked.
        """
        on_validation = Drop.between(self._right, right)
        if self.judge is None or candidate.stage == WHOLE or not is_near or on_validation.is_surely_beyond(self.drop):
            return on_validation, 0
        run = self.run
        before = run.passes("student") if "student" in run.fitted and not candidate.from_blocks else 0
        paths = BlockGraph.of(self.student).paths
        answered, trained = (self._right, right), before + recovery
        return self.judge.drop(answered, paths, candidate.stage, trained, self.drop, candidate.from_blocks)
