"""The README's code runs, and its claims about size hold."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from nettailor.cli.main import main
from nettailor.cli.verbs import VERBS
from nettailor.pruning import prune as pruning
from nettailor.pruning.config import PruneConfig
from nettailor.training import stages as training
from nettailor.training.config import RecoverConfig, StudentConfig, TeacherConfig

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def python_block() -> str:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return block


@pytest.mark.slow
def test_the_api_fits_in_fifteen_lines_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one epoch for each stage; the slow test of the main job holds the full figures."""
    assert len(python_block().strip().splitlines()) <= 15
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "TeacherConfig", partial(TeacherConfig, epochs=1, lr=2e-3, start="fresh"))
    monkeypatch.setattr(training, "StudentConfig", partial(StudentConfig, epochs=1, warm_start=64, views=0))
    monkeypatch.setattr(training, "RecoverConfig", partial(RecoverConfig, epochs=1))
    monkeypatch.setattr(
        pruning, "PruneConfig", partial(PruneConfig, epochs=1, shrink=0.4, patience=0, importance="gate")
    )
    exec(compile(python_block(), "README.md", "exec"), {})
    assert (tmp_path / "digits-delta" / "task.json").is_file()


def test_every_verb_and_option_that_the_readme_shows_exists(capsys: pytest.CaptureFixture[str]) -> None:
    shown = set(re.findall(r"^nettailor (\w+)", README, re.MULTILINE))
    assert shown <= set(VERBS)
    for verb in shown:
        assert main([verb, "--help"]) == 0
    told = capsys.readouterr().out
    for flag in set(re.findall(r"nettailor [^#\n`]*?(--[a-z-]+)", README)):
        assert flag in told, flag
