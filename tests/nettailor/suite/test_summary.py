"""What a suite's files say, without building a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from nettailor.artifacts import delta
from nettailor.errors import FileError
from nettailor.suite import summary as module
from nettailor.suite.summary import summarize
from tests.fabricated import CLASSES


def test_it_counts_what_the_deltas_hold_and_builds_nothing(
    suite: Path, birds: Path, signs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blocks.CompactNet.__init__", None)
    found = summarize(suite)
    assert [task.name for task in found.tasks] == ["birds", "signs"]
    for task, folder in zip(found.tasks, (birds, signs), strict=True):
        kept = delta.read_description(folder).gates()
        assert (task.blocks, task.proxies) == (4, len(kept) - 4)
        assert (task.classes, task.method) == (len(CLASSES), "nettailor")
        assert task.bytes == module.task_bytes(folder)
    assert found.bytes >= sum(task.bytes for task in found.tasks)
    assert (found.input_size, found.packed) == (16, None)
    assert found.as_dict()["tasks"][0]["name"] == "birds"


def test_a_folder_without_a_suite_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=str(tmp_path)):
        summarize(tmp_path)
