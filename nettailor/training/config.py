"""Settings of what is trained: all trainings alike, the teacher, the student, and the recovery of what pruning left."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from blocks.complexity import FORMS
from blocks.gates import KINDS
from blocks.norms import BatchNormPolicy
from nettailor.schema import STRICT, Count, Fraction, NotNegative, Positive, one_of

Matching = Literal["local", "end_to_end"]
PartOfSteps = Annotated[float, Field(gt=0, lt=1)]


@dataclass(config=STRICT, frozen=True)
class TrainingConfig:
    """What holds for every training of a run: teacher, student, rounds of pruning, recovery, and the other methods."""

    optimizer: Annotated[
        Literal["adamw", "sgd"], Field(description="adamw, or sgd, which wants other learning rates")
    ] = "adamw"
    momentum: Annotated[Fraction, Field(description="of sgd, not Nesterov's; adamw does not read it")] = 0.9
    schedule: Annotated[
        Literal["cosine", "step", "constant"],
        Field(description="of the learning rates: warm-up and cosine to zero, down in steps, or as they are"),
    ] = "cosine"
    steps_at: Annotated[
        tuple[PartOfSteps, ...], Field(description="schedule step: the parts of a training after which rates go down")
    ] = (0.5, 0.75)
    step_factor: Annotated[PartOfSteps, Field(description="schedule step: what rates are multiplied with there")] = 0.1
    accumulate: Annotated[Count, Field(description="batches whose mean gradient makes one step")] = 1
    ema: Annotated[
        Fraction, Field(description="decay of a moving average of the weights, which is what is kept; 0 for none")
    ] = 0.0
    mixup: Annotated[
        NotNegative, Field(description="alpha of mixup; 0 for none; with cutmix one of them for each batch")
    ] = 0.0
    cutmix: Annotated[NotNegative, Field(description="alpha of CutMix; 0 for none")] = 0.0
    stop_after: Annotated[
        int,
        Field(ge=0, description="end a training after so many passes without a better val_accuracy; 0: never"),
    ] = 0
    class_weights: Annotated[
        Literal["none", "balanced"],
        Field(description="of the cross entropy; balanced: against the classes' numbers of training pictures"),
    ] = "none"


PeakRate = Annotated[Positive | None, Field(description="peak learning rate; left out, as the teacher's search finds")]


@dataclass(config=STRICT, frozen=True)
class TeacherConfig:
    """Fine-tuning of a whole copy of the backbone, and which network a student learns from: that one, or another."""

    method: Annotated[
        str, Field(description="that trains what a student learns from; finetune: the whole backbone, fine-tuned")
    ] = "finetune"
    settings: Annotated[
        dict[str, Any],
        Field(description="of that method, as they would stand under method; left out, its own defaults"),
    ] = field(default_factory=dict)
    run: Annotated[
        str | None,
        Field(description="a finished run or delta: its network is the teacher, and nothing is trained for one"),
    ] = None
    epochs: Count = 20
    start: Annotated[
        Literal["auto", "probe", "fresh"],
        Field(
            description="what its classifier begins as: a probe of frozen features, fresh (random), or auto: by the rate"
        ),
    ] = "auto"
    lr: Annotated[
        Positive | None, Field(description="peak learning rate; left out, the best of a short search on validation")
    ] = None
    weight_decay: NotNegative = 0.02
    batch: Annotated[int, Field(ge=2)] = 64
    label_smoothing: Fraction = 0.0
    layer_decay: Annotated[
        float,
        Field(gt=0, le=1, description="factor of the learning rate from each block to the one before it; 1 for none"),
    ] = 1.0

    @property
    def is_plain(self) -> bool:
        """Whether the teacher is the whole backbone, fine-tuned as this section says."""
        return self.method == "finetune" and not self.settings and self.run is None

    def plainly(self) -> TeacherConfig:
        """The same training for the plain teacher."""
        return replace(self, method="finetune", settings={}, run=None)


@dataclass(config=STRICT, frozen=True)
class StudentConfig:
    """What the student is made of, and how it is trained (docs/how_it_works.md)."""

    skips: Annotated[int, Field(ge=0, description="how many activations back proxies reach")] = 3
    proxies: Annotated[
        str,
        Field(
            pattern=r"^\w+$|^[\w.]+:\w+$",
            description="conv1x1, bottleneck, identity, thinned (the block with a quarter of its inner channels; also "
            "thinned_half, thinned_three_quarters), pointwise or auto (by cost), by_block (as the paper), or "
            "package.module:function",
        ),
    ] = "auto"
    gates: Annotated[
        str,
        one_of(lambda: KINDS),
        Field(description="softmax over the paths into a layer, or independent (a sigmoid each)"),
    ] = "softmax"
    batch_norm: Annotated[
        BatchNormPolicy,
        Field(description="what the task owns: source (nothing), stats (statistics), affine (also scale and shift)"),
    ] = "affine"
    rank: Annotated[
        int, Field(ge=0, description="of the low-rank weights that the task adds to dense convolutions; 0 for none")
    ] = 4
    shared_prefix: Annotated[
        int,
        Field(
            ge=0,
            description="n: stem and blocks 1 to n stay the backbone's own, without proxies, and are kept: tasks share them; "
            "0 for none",
        ),
    ] = 0
    warm_start: Annotated[
        int, Field(ge=0, description="pictures on which proxies are fitted to the blocks beside them; 0: random start")
    ] = 512
    start: Annotated[
        Literal["teacher", "backbone"],
        Field(description="teacher: what it can hold of the fine-tuned network; backbone: the pretrained one"),
    ] = "teacher"
    epochs: Annotated[
        Count | None,
        Field(
            description="passes; left out, 3, or more where few pictures make few steps or the teacher is often wrong"
        ),
    ] = None
    lr: PeakRate = None
    gate_lr: Annotated[Positive, Field(description="learning rate of the gates' logits")] = 0.05
    weight_decay: NotNegative = 0.02
    batch: Annotated[int, Field(ge=2)] = 64
    complexity: Annotated[
        str, one_of(lambda: FORMS), Field(description="form of the expected complexity: exact, or the paper's")
    ] = "exact"
    complexity_weight: Annotated[NotNegative, Field(description="g1, weight of the expected complexity")] = 0.3
    matching: Annotated[
        Matching,
        Field(description="end_to_end, or local: each layer learns to imitate the teacher on its own"),
    ] = "end_to_end"
    matching_weight: Annotated[
        NotNegative | None,
        Field(
            description="g2, weight of the matching of activations; left out, 10 where training is at a rate that keeps "
            "pretrained features and the teacher is right on less than 95 % of the validation pictures, else 0"
        ),
    ] = None
    distill_weight: Annotated[
        NotNegative, Field(description="weight of the softened KL divergence to the teacher's answers")
    ] = 1.0
    views: Annotated[
        int | None,
        Field(
            ge=0,
            description="fixed augmented views of each picture, answered by the teacher once; 0: new ones every pass; left "
            "out, 8, but new ones for recovery where the teacher is often wrong",
        ),
    ] = None
    temperature: Annotated[Positive, Field(description="of that softening")] = 4.0


@dataclass(config=STRICT, frozen=True)
class RecoverConfig:
    """The last training of what is left: teacher kept, complexity off."""

    epochs: Annotated[
        int | None,
        Field(
            ge=0,
            description="passes; left out, 36, fewer of a network of over half of the MACs, or 12 at a rate that keeps "
            "features (24 where the teacher is often wrong); more where few pictures make few steps",
        ),
    ] = None
    lr: PeakRate = None
    leaner: Annotated[
        int,
        Field(
            ge=0,
            description="at most so many networks below the choice are recovered: the leanest within the drop is taken; "
            "where none is, nor the choice, one above it, and at last all blocks",
        ),
    ] = 3
