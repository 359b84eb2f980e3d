"""What is checked when it is read: records on disk, and the settings of a recipe.

record -> write -> file.json -> read -> record, or a plain line that names the field
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from nettailor.errors import FileError
from nettailor.files import read_json, write_json

T = TypeVar("T")
Some = TypeVar("Some", bound="Record")

RECORD = ConfigDict(extra="forbid")
"""Of the dataclasses of a record: no fields but its own."""


class Record:
    """Base of a pydantic dataclass with a field `format` that is kept as one JSON file."""

    remedy: ClassVar[str] = ""
    """Ends the message where a file is not of this kind."""

    def write(self, path: Path) -> None:
        """Write it atomically; `format` comes first."""
        tree = asdict(self)  # type: ignore[call-overload]
        write_json(path, {"format": tree.pop("format"), **tree})

    @classmethod
    def read(cls: type[Some], path: Path) -> Some:
        """Read and check one.

        Raises:
            FileError: no such file, or not this schema.
        """
        return checked(cls, read_json(path), path, cls.remedy)


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


def one_of(known: Callable[[], Iterable[str]]) -> AfterValidator:
    """Accept the names that a table holds when a recipe is read, so that one more entry of the table is one more choice."""

    def check(value: str) -> str:
        names = list(known())
        if value not in names:
            *some, last = (repr(name) for name in names)
            raise PydanticCustomError("one_of", f"input should be {', '.join(some)} or {last}")  # type: ignore[arg-type]
        return value

    return AfterValidator(check)


STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, validate_default=True)
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
NotNegative = Annotated[float, Field(ge=0)]
Channels = tuple[float, float, float]
PositiveChannels = tuple[Positive, Positive, Positive]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Fraction = Annotated[float, Field(ge=0, lt=1)]
