"""Settings of the data: which pictures, how they are split, and how training augments them."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from nettailor.errors import did_you_mean
from nettailor.schema import STRICT, Fraction, Positive

SIGN, PHOTO, NONE = "sign", "photo", "none"
AUGMENTATIONS = ("random_resized_crop", "flip", "rand_augment", "colour_jitter", "affine", "random_erasing")
"""What a list of `data.augment` may name; applied in this order, whatever the list's."""
STRENGTHS = {"colour_jitter": "0.4", "rand_augment": "9", "random_erasing": "0.25"}
"""Augmentations with a strength of the same name, where 0 is off, and a usual value of it."""
READ_BY: dict[str, tuple[tuple[str, ...], str]] = {
    "crop_area": ((PHOTO,), "random_resized_crop"),
    **{name: ((PHOTO,), name) for name in STRENGTHS},
    **dict.fromkeys(("shift", "scale", "rotate"), ((SIGN,), "affine")),
    "flip": ((SIGN, PHOTO), "flip"),
}
"""Settings that are read, or asked for what is done anyway, only where `data.augment` is one of these words or a list that
names this augmentation: another value is refused elsewhere."""


def _by_class(value: Any) -> Any:
    """A mapping by class names, which YAML reads as numbers where they look so."""
    return {str(key): part for key, part in value.items()} if isinstance(value, dict) else value


def _augmentations(value: Any) -> str | tuple[str, ...]:
    """`data.augment` as it is kept: one of the three words, or the names of a list in the order of `AUGMENTATIONS`."""
    if value in (SIGN, PHOTO, NONE):
        return value
    names = list(value) if isinstance(value, list | tuple) else [value]
    strange = [name for name in names if name not in AUGMENTATIONS]
    if not isinstance(value, list | tuple) or not names or strange or len(set(names)) < len(names):
        near = did_you_mean(strange[0], AUGMENTATIONS) if strange and isinstance(strange[0], str) else ""
        known = f"input should be sign, photo, none or a list of some of {', '.join(AUGMENTATIONS)}, each once{near}"
        raise PydanticCustomError("augment", known)  # type: ignore[arg-type]
    return tuple(name for name in AUGMENTATIONS if name in names)


@dataclass(config=STRICT, frozen=True)
class DataConfig:
    """Which pictures, how they are split, and how training varies them."""

    source: Annotated[
        str,
        Field(description="digits, a torchvision data set, a directory or zip of class folders (./digits: the folder)"),
    ] = "digits"
    root: Annotated[str, Field(description="where torchvision data sets are kept")] = "~/.cache/nettailor"
    val_fraction: Annotated[Fraction, Field(description="of the training pictures, where there is no val split")] = 0.15
    test_fraction: Annotated[Fraction, Field(description="of all pictures, where there is no test split")] = 0.2
    train_limit: Annotated[
        int | None,
        Field(ge=1, description="use about so many of the training pictures, drawn class by class; all if left out"),
    ] = None
    per_class: Annotated[
        int | None,
        Field(
            ge=1, description="at most so many training pictures of each class; all if left out; fewer are among more"
        ),
    ] = None
    thin: Annotated[
        dict[str, Annotated[float, Field(gt=0, le=1)]],
        BeforeValidator(_by_class),
        Field(description="the part of a class's training pictures that stays, by class, as {stop: 0.1}; at least one"),
    ] = field(default_factory=dict)
    group: Annotated[
        str | None,
        Field(
            description="regular expression on file names, or on paths if it has a /; what agrees in its group stays together"
        ),
    ] = None
    classes: Annotated[
        str | None,
        Field(description="regular expression; only classes are used whose whole name matches it; all if left out"),
    ] = None
    skip_bad: Annotated[bool, Field(description="go on without pictures that can't be read")] = False
    augment: Annotated[
        str | tuple[str, ...],
        BeforeValidator(_augmentations),
        Field(
            description="sign: shift, scale, rotate, flip as below; photo, recommended for photographs: random resized crop, "
            "flip, colour jitter; none; or a list of names"
        ),
    ] = SIGN
    shift: Annotated[Fraction, Field(description="sign, affine: largest random shift, as a fraction of the side")] = (
        0.08
    )
    scale: Annotated[Fraction, Field(description="sign, affine: largest random change of size, as a fraction")] = 0.1
    rotate: Annotated[float, Field(ge=0, le=180, description="sign, affine: largest random rotation, in degrees")] = 8.0
    flip: Annotated[
        bool, Field(description="sign: mirror half of the pictures; wrong for signs and characters; photo always does")
    ] = False
    crop_area: Annotated[
        float, Field(gt=0, le=1, description="photo: a random crop shows at least this part of the picture's area")
    ] = 0.35
    colour_jitter: Annotated[
        float, Field(ge=0, le=1, description="photo: largest change of brightness, contrast and saturation; 0 is off")
    ] = 0.4
    rand_augment: Annotated[
        int, Field(ge=0, le=30, description="photo: magnitude of RandAugment's two operations, 9 is usual; 0 is off")
    ] = 0
    random_erasing: Annotated[
        float, Field(ge=0, le=1, description="photo: part of the pictures in which a rectangle is erased; 0 is off")
    ] = 0.0
    memory_gib: Annotated[
        Positive,
        Field(
            description="keep decoded pictures in memory up to this size; a teacher's views of them up to as much again"
        ),
    ] = 2.0
    workers: Annotated[
        int | None,
        Field(
            ge=0, description="processes that read and augment pictures; by the cores if left out; results are the same"
        ),
    ] = None

    @field_validator(*READ_BY)
    @classmethod
    def _acts(cls, value: float, info: ValidationInfo) -> float:
        """Refuse an augmentation that is asked for without a strength, and a value that nothing would read."""
        setting, augment = str(info.field_name), info.data.get("augment")
        words, name = READ_BY[setting]
        if augment is None or augment in words:
            return value
        listed = isinstance(augment, tuple) and name in augment
        if listed and setting in STRENGTHS and value == 0:
            message = f"data.augment names it, so it must be above 0; {STRENGTHS[setting]} is usual"
            raise PydanticCustomError("no_strength", message)  # type: ignore[arg-type]
        if not listed and value != cls.__dataclass_fields__[setting].default:  # type: ignore[attr-defined]
            message = f"acts only where data.augment is {words[0]} or a list that names {name}"
            raise PydanticCustomError("not_read", message)  # type: ignore[arg-type]
        return value
