"""Settings of what is trained: the teacher, the student, and the recovery of what pruning left."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from blocks.complexity import FORMS
from blocks.gates import KINDS
from blocks.norms import BatchNormPolicy
from nettailor.schema import STRICT, Count, Fraction, NotNegative, Positive, one_of

Matching = Literal["local", "end_to_end"]


@dataclass(config=STRICT, frozen=True)
class TeacherConfig:
    """Fine-tuning of a whole copy of the backbone."""

    epochs: Count = 20
    lr: Positive = 2e-3
    weight_decay: NotNegative = 0.02
    batch: Annotated[int, Field(ge=2)] = 64
    label_smoothing: Fraction = 0.0


@dataclass(config=STRICT, frozen=True)
class StudentConfig:
    """What the student is made of, and how it is trained (docs/how_it_works.md)."""

    skips: Annotated[int, Field(ge=0, description="how many activations back proxies reach")] = 3
    proxies: Annotated[
        str,
        Field(
            pattern=r"^\w+$|^[\w.]+:\w+$",
            description="conv1x1, bottleneck, identity, auto (by cost), or package.module:function of your own",
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
    warm_start: Annotated[
        int, Field(ge=0, description="pictures on which proxies are fitted to the blocks beside them; 0: random start")
    ] = 512
    epochs: Count = 20
    lr: Positive = 4e-3
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
    matching_weight: Annotated[NotNegative, Field(description="g2, weight of the matching of activations")] = 0.3
    distill_weight: Annotated[
        NotNegative, Field(description="weight of the softened KL divergence to the teacher's answers")
    ] = 1.0
    temperature: Annotated[Positive, Field(description="of that softening")] = 4.0


@dataclass(config=STRICT, frozen=True)
class RecoverConfig:
    """The last training of what is left: teacher kept, complexity off."""

    epochs: Annotated[int, Field(ge=0)] = 30
    lr: Positive = 4e-3
    leaner: Annotated[
        int,
        Field(
            ge=0,
            description="so many networks below the choice are recovered too: the leanest within the drop is taken",
        ),
    ] = 3
