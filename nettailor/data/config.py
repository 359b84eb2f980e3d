"""Settings of the data: which pictures, how they are split, and how training augments them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from nettailor.schema import STRICT, Fraction, Positive


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
    group: Annotated[
        str | None,
        Field(
            description="regular expression on file names, or on paths if it has a /; what agrees in its group stays together"
        ),
    ] = None
    skip_bad: Annotated[bool, Field(description="go on without pictures that can't be read")] = False
    shift: Annotated[Fraction, Field(description="largest random shift, as a fraction of the side")] = 0.08
    scale: Annotated[Fraction, Field(description="largest random change of size, as a fraction")] = 0.1
    rotate: Annotated[float, Field(ge=0, le=180, description="largest random rotation, in degrees")] = 8.0
    flip: Annotated[bool, Field(description="mirror half of the pictures; wrong for signs and characters")] = False
    memory_gib: Annotated[Positive, Field(description="keep decoded pictures in memory up to this size")] = 2.0
