"""The verbs that look at a model: what they print, and the cost table that `profile` leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nettailor.artifacts.cost_table import CostTable
from tests.conftest import CommandLine
from tests.fabricated import TINY

SMALL = (TINY, "--input-size", 16)


def test_blocks_are_printed_as_a_table_or_as_json(nettailor: CommandLine) -> None:
    status, said, err = nettailor("blocks", *SMALL, "--skips", 2, "--json")
    assert status == 0, err
    parts = json.loads(said)["parts"]
    assert [part["key"] for part in parts if part["key"].startswith("G")] == [f"G{n}" for n in range(1, 7)]
    assert max(len(part["proxies"]) for part in parts) == 2
    assert "6 universal blocks" in " ".join(nettailor("blocks", *SMALL)[1].split())


def test_profile_writes_its_table_under_a_plain_name(nettailor: CommandLine) -> None:
    status, said, err = nettailor("profile", *SMALL, "--skips", 0, "--rounds", 1, "--threads", 1, "--json")
    assert status == 0, err
    (path,) = Path("costs").iterdir()
    assert path.name == "tests.tiny-tiny_resnet-16.json"
    table = CostTable.read(path)
    assert (len(table.paths), table.batch, table.threads) == (6, 1, 1)
    assert json.loads(said) == json.loads(path.read_text())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["blocks", TINY, "--skips", "-1"], "--skips: must be at least 0, but it is -1"),
        (["profile", TINY, "--rounds", "0"], "--rounds: must be at least 1, but it is 0"),
        (["profile", TINY, "--batch", "0"], "--batch: must be at least 1, but it is 0"),
        (["profile", TINY, "--threads", "0"], "--threads: must be at least 1, but it is 0"),
    ],
)
def test_numbers_out_of_range_are_named(nettailor: CommandLine, words: list[str], says: str) -> None:
    assert says in nettailor.fails(*words, status=2)
    assert list(Path().iterdir()) == []
