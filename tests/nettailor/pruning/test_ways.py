"""The table of ways to prune: it is full whoever asks first, and holds each name once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nettailor.pruning.ways import WAYS, way


@pytest.mark.slow
def test_the_table_is_full_although_this_module_knows_none_of_them() -> None:
    code = "from nettailor.pruning.ways import WAYS; print(*sorted(WAYS))"
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert said.split() == ["budget", "paper", "tolerance"]


def test_a_way_is_one_more_entry_and_a_name_stands_for_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nettailor.pruning.ways.WAYS", dict(WAYS))
    from nettailor.pruning import ways

    def shorter(job: object) -> None: ...

    assert way("short", "shorter")(shorter) is shorter
    assert ways.WAYS["short"] is ways.WAYS["shorter"] is shorter
    with pytest.raises(ValueError, match="two ways to prune called 'paper'"):
        way("paper")(shorter)
