"""What is read is held to its schema, and the first wrong field is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from nettailor.errors import FileError
from nettailor.schema import RECORD, Record, checked, first_error, one_of


@dataclass(config=RECORD)
class Inner:
    sizes: list[int]


@dataclass(config=RECORD)
class Sample(Record):
    remedy: ClassVar[str] = "make it anew"

    name: str
    inner: Inner
    format: Literal[1] = 1


def test_a_record_survives_its_file_which_opens_with_the_format(tmp_path: Path) -> None:
    sample = Sample("a", Inner([1, 2]))
    sample.write(tmp_path / "sample.json")
    assert Sample.read(tmp_path / "sample.json") == sample
    assert list(json.loads((tmp_path / "sample.json").read_text())) == ["format", "name", "inner"]


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"name": "a", "inner": {"sizes": [1, "x"]}}, "inner.sizes.1: input should be a valid integer"),
        ({"name": "a"}, "inner: "),
        ({"name": "a", "inner": {"sizes": []}, "colour": "red"}, "colour: unexpected keyword argument"),
        ({"format": 2, "name": "a", "inner": {"sizes": []}}, "format: input should be 1"),
        (["a"], "input should be"),
    ],
)
def test_a_file_of_another_kind_is_named_with_its_field_and_the_remedy(tmp_path: Path, tree: Any, says: str) -> None:
    path = tmp_path / "sample.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(FileError) as raised:
        Sample.read(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert says in str(raised.value)
    assert str(raised.value).endswith("; make it anew")


def test_only_strict_checking_holds_values_to_the_types_of_json() -> None:
    tree = {"sizes": ["32"]}
    assert checked(Inner, tree, Path("x.json")).sizes == [32]
    with pytest.raises(FileError, match=r"^x\.json: sizes\.0: input should be a valid integer$"):
        checked(Inner, tree, Path("x.json"), strict=True)


def test_a_table_of_names_is_read_when_a_value_is() -> None:
    known = ["macs", "params"]
    kind: TypeAdapter[str] = TypeAdapter(Annotated[str, one_of(lambda: known)])
    with pytest.raises(ValidationError) as raised:
        kind.validate_python("latency")
    assert first_error(raised.value).endswith("input should be 'macs' or 'params'")
    known.append("latency")
    assert kind.validate_python("latency") == "latency"
