"""Checked records on disk: a pydantic dataclass with a `format`, as one JSON file.

record -> write_record -> file.json -> read_record -> record, or a plain line that names the field
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from nettailor.errors import FileError
from nettailor.files import read_json, write_json

T = TypeVar("T")


def write_record(record: Any, path: Path) -> None:
    """Write a record atomically; `format` comes first."""
    tree = asdict(record)
    write_json(path, {"format": tree.pop("format"), **tree})


def read_record(kind: type[T], path: Path, remedy: str) -> T:
    """Read and check a record.

    Args:
        remedy: ends the message where the file is not of this kind.

    Raises:
        FileError: no such file, or not this schema.
    """
    return checked(kind, read_json(path), path, remedy)


def checked(kind: type[T], tree: Any, path: Path, remedy: str = "", strict: bool = False) -> T:
    """A tree of plain values as a record; the first field that is wrong is named.

    Args:
        strict: hold values to the very types of JSON: "32" is then no number, and 1 is no string.
    """
    try:
        kinds = TypeAdapter(kind)
        return kinds.validate_json(json.dumps(tree), strict=True) if strict else kinds.validate_python(tree)
    except ValidationError as error:
        raise FileError(path, first_error(error) + (f"; {remedy}" if remedy else "")) from None


def first_error(error: ValidationError) -> str:
    """The first wrong field and what is wrong with it: `classes.3: input should be a valid string`."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message[:1].lower()}{message[1:]}"


STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, validate_default=True)
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Channels = tuple[float, float, float]
PositiveChannels = tuple[Positive, Positive, Positive]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Fraction = Annotated[float, Field(ge=0, lt=1)]
