"""Reports say which commit made them; how much memory there is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nettailor import environment
from nettailor.environment import commit_of, machine_memory, versions

GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    package = tmp_path / "repository" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    git(package, "init", "--quiet", "..")
    git(package, "add", ".")
    git(package, "commit", "--quiet", "-m", "first")
    return package


def git(folder: Path, *words: str) -> str:
    return subprocess.run([*GIT, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_a_clean_checkout_is_named_by_its_commit(checkout: Path) -> None:
    (checkout / "notes.txt").write_text("untracked files, run folders among them, change no code")
    assert commit_of(checkout) == git(checkout, "rev-parse", "HEAD")


def test_a_changed_checkout_is_dirty(checkout: Path) -> None:
    (checkout / "__init__.py").write_text("changed = True\n")
    assert commit_of(checkout) == git(checkout, "rev-parse", "HEAD") + "-dirty"


def test_somebody_elses_checkout_is_not_ours(checkout: Path) -> None:
    installed = checkout / "site-packages" / "nettailor"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert commit_of(installed) is None


def test_no_checkout_and_no_git(tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    alone = tmp_path / "alone"
    alone.mkdir()
    assert commit_of(alone) is None
    monkeypatch.setenv("PATH", str(alone))
    commit_of.cache_clear()
    assert commit_of(checkout) is None


def test_versions_carry_the_commit_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "commit_of", lambda package: "abc-dirty")
    assert versions()["commit"] == "abc-dirty"
    monkeypatch.setattr(environment, "commit_of", lambda package: None)
    assert "commit" not in versions()


def test_the_package_itself_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(environment, "commit_of", asked.append)
    versions()
    assert asked == [Path(environment.__file__).resolve().parent]


def test_a_containers_memory_is_what_it_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "CONTAINER_LIMITS", ())
    whole = machine_memory()
    assert whole > 2**28
    for text, wanted in (("max\n", whole), (f"{2**27}\n", 2**27), (f"{2**60}\n", whole)):
        (tmp_path / "memory.max").write_text(text)
        monkeypatch.setattr(environment, "CONTAINER_LIMITS", (tmp_path / "none", tmp_path / "memory.max"))
        assert machine_memory() == wanted
