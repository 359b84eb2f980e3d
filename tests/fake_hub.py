"""The Hugging Face hub as files in a folder: what the library's functions do, at their own signatures, without a network."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import huggingface_hub
from huggingface_hub import errors


def http_error(kind: type[Exception], status: int, text: str = "refused") -> Exception:
    """One of the library's errors, as the hub's answer with that status causes it."""
    error = kind.__new__(kind)
    Exception.__init__(error, text)
    error.response = SimpleNamespace(status_code=status)  # type: ignore[attr-defined]
    return error


class FakeHub:
    """Repositories as `root/user/name/branch`.

    Attributes:
        private: repositories that are.
        fails: what every call raises, where set.
        api: stands for `HfApi()`; `snapshot_download` for the function.
        commits: what was uploaded: repository, branch, message, files.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.cache = root / "repos", root / "cache"
        self.private: set[str] = set()
        self.fails: Exception | None = None
        self.commits: list[tuple[str, str, str, list[str]]] = []
        calls = ("model_info", "create_repo", "create_branch", "upload_folder")
        self.api = SimpleNamespace(**{name: self._as_the_library_has_it(name) for name in calls})
        self.snapshot_download = create_autospec(huggingface_hub.snapshot_download, side_effect=self._snapshot)

    def _as_the_library_has_it(self, name: str) -> Callable[..., Any]:
        """One of the functions below, which takes only what the library's own takes."""
        signature, ours = inspect.signature(getattr(huggingface_hub.HfApi, name)), getattr(self, f"_{name}")

        def call(*args: Any, **kwargs: Any) -> Any:
            signature.bind(None, *args, **kwargs)
            return ours(*args, **kwargs)

        return call

    def branch(self, repo: str, revision: str | None = None) -> Path:
        """The files of a branch."""
        return self.root / repo / (revision or "main")

    def put(self, repo: str, folder: Path, revision: str | None = None) -> Path:
        """A repository that is there already, with the files of a folder."""
        return Path(shutil.copytree(folder, self.branch(repo, revision)))

    def _there(self, repo: str, revision: str | None = None) -> Path:
        if self.fails is not None:
            raise self.fails
        if not (self.root / repo).is_dir():
            raise http_error(errors.RepositoryNotFoundError, 404)
        if not self.branch(repo, revision).is_dir():
            raise http_error(errors.RevisionNotFoundError, 404)
        return self.branch(repo, revision)

    def _model_info(self, repo_id: str, *, revision: str | None = None, files_metadata: bool = False) -> Any:
        files = [path for path in self._there(repo_id, revision).iterdir() if path.is_file()]
        return SimpleNamespace(
            private=repo_id in self.private,
            siblings=[
                SimpleNamespace(rfilename=path.name, size=path.stat().st_size if files_metadata else None)
                for path in files
            ],
        )

    def _create_repo(self, repo_id: str, *, private: bool | None = None, exist_ok: bool = False) -> None:
        if self.fails is not None:
            raise self.fails
        self.branch(repo_id).mkdir(parents=True, exist_ok=exist_ok)
        if private:
            self.private.add(repo_id)

    def _create_branch(self, repo_id: str, *, branch: str, exist_ok: bool = False) -> None:
        self._there(repo_id)
        if not self.branch(repo_id, branch).is_dir():
            self.put(repo_id, self.branch(repo_id), branch)

    def _upload_folder(
        self, *, repo_id: str, folder_path: str, commit_message: str, revision: str | None, allow_patterns: list[str]
    ) -> None:
        there, files = self._there(repo_id, revision), sorted(path.name for path in Path(folder_path).iterdir())
        sent = [name for name in files if name in allow_patterns]
        for name in sent:
            shutil.copyfile(Path(folder_path) / name, there / name)
        self.commits.append((repo_id, revision or "main", commit_message, sent))

    def _snapshot(
        self, repo_id: str, *, revision: str | None = None, allow_patterns: list[str], local_files_only: bool = False
    ) -> str:
        cached = self.cache / repo_id / (revision or "main")
        if local_files_only:
            if not cached.is_dir():
                raise errors.LocalEntryNotFoundError("no cached snapshot")
            return str(cached)
        there = self._there(repo_id, revision)
        cached.mkdir(parents=True, exist_ok=True)
        for path in there.iterdir():
            if path.name in allow_patterns:
                shutil.copyfile(path, cached / path.name)
        return str(cached)
