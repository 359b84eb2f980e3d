"""A finished run's delta to the Hugging Face hub: three files, one commit, and nothing of the user's machine in them.

run -> delta, checked -> settings without paths, card with the figures -> a temporary folder -> the hub -> hf://user/name
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nettailor.artifacts.delta import CARD, DESCRIPTION, TENSORS, delta_folder, read_description
from nettailor.artifacts.hub import LOGIN, MOST, HubError, HubName, hub_library, page, plain_errors
from nettailor.artifacts.hub_card import Shared, hub_card
from nettailor.artifacts.report import Report
from nettailor.artifacts.run_folder import RunFolder
from nettailor.data.config import DataConfig
from nettailor.data.datasets import is_named
from nettailor.errors import FileError, UsageError, did_you_mean
from nettailor.files import read_json, read_tensor_infos, sha256_of, write_json, write_text
from nettailor.jobs.recipe import own_recipe

LICENSES = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "mpl-2.0", "unlicense", "cc0-1.0", "openrail"),
    *("gpl-2.0", "gpl-3.0", "lgpl-2.1", "lgpl-3.0", "agpl-3.0", "eupl-1.2", "odc-by", "odbl", "pddl"),
    *(f"cc-by-{version}" for version in ("3.0", "4.0", "sa-3.0", "sa-4.0", "nc-3.0", "nc-4.0", "nd-4.0")),
    *("cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0"),
    *("cdla-permissive-2.0", "cdla-sharing-1.0", "other", "unknown"),
)
"""As the hub spells them; it refuses what it does not know, and `other` is for all the rest."""
OURS = {*MOST, ".gitattributes"}
PATHS = {
    *(("data", "source"), ("data", "root"), ("source", "data"), ("probe", "data"), ("method", "via")),
    *(("backbone", "weights"), ("teacher", "run"), ("cost_table",)),
}
PATTERNS = {
    ("data", "group"),
    *((section, "classes") for section in ("data", "source", "probe")),
    ("method", "via_classes"),
}
"""Settings that are paths, and those whose slashes and tildes are of regular expressions."""
ABSOLUTE = r"(?:~[\w.-]*[\\/]|/|[A-Za-z]:[\\/]|\\\\|file:)"
WITHIN = re.compile(rf"(?<![\w.)\]\\/-]){ABSOLUTE}(?:[^\s,;'\"]*[\\/])?")


@dataclass(frozen=True)
class Pushed:
    """What was pushed.

    Attributes:
        page: where people look at it.
        size: bytes of the three files.
        stripped: settings of which a path was taken off, as `data.source`.
    """

    name: HubName
    page: str
    size: int
    stripped: list[str]


@dataclass(frozen=True)
class PushSettings:
    """How it is pushed. `private` is of a repository that is made; `revision` a branch, the main one if left out."""

    license: str | None
    private: bool = False
    message: str | None = None
    revision: str | None = None


def push(run: Path, repo: str, settings: PushSettings) -> Pushed:
    """Put a run's delta on the hub, as one commit to a repository that is made where there is none.

    Args:
        run: the folder of a finished run, whatever its method.
        repo: `user/name`.

    Raises:
        UsageError: no such name or licence, or the extra is missing.
        FileError: the run is not finished, or its delta is damaged.
        HubError: not logged in, no permission, no network, or a repository that holds something else.
    """
    name = _name(repo, settings)
    license = _license(settings.license)
    hub = hub_library()
    if hub.get_token() is None:
        raise HubError(f"{name}: you are not logged in to the hub; {LOGIN}")
    with tempfile.TemporaryDirectory() as folder:
        report, stripped = stage(run, Path(folder), name, license)
        with plain_errors(name):
            _upload(hub.HfApi(), Path(folder), name, settings, report)
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    return Pushed(name, page(name), size, stripped)


def stage(run: Path, folder: Path, name: HubName, license: str) -> tuple[Report, list[str]]:
    """Write what is pushed into a folder; returns the run's report, and the settings of which paths were taken off.

    Raises:
        FileError: the run is not finished, or its delta is damaged.
    """
    report, source = _finished(run)
    description = read_description(source)
    if sha256_of(source / TENSORS) != description.tensors_sha256:
        raise FileError(source / TENSORS, f"is not the file that {DESCRIPTION} describes: cut short or altered")
    read_tensor_infos(source / TENSORS)
    tree = read_json(source / DESCRIPTION)
    tree["settings"], stripped = without_paths(tree.get("settings", {}))
    bare = WITHIN.sub("", description.backbone.name)
    if bare != description.backbone.name:
        tree["backbone"]["name"] = report.backbone.name = bare
        stripped.append("backbone.name")
    write_json(folder / DESCRIPTION, tree)
    (folder / TENSORS).write_bytes((source / TENSORS).read_bytes())
    recipe = own_recipe(run)
    data = data_name(recipe.data.source if recipe else "", report.task)
    shared = Shared(name, license, data, own_weights=recipe is not None and recipe.backbone.weights is not None)
    write_text(folder / CARD, hub_card(report, read_description(folder), shared))
    return report, sorted(set(stripped))


def _finished(run: Path) -> tuple[Report, Path]:
    """A finished run's report and the folder of its delta."""
    folder = RunFolder(run)
    if folder.report.is_file():
        return Report.read(folder.report), delta_folder(run)
    if folder.recipe.is_file():
        raise FileError(run, "is not finished (it has no report.json); the same nettailor adapt goes on with it")
    if (run / DESCRIPTION).is_file():
        raise FileError(
            run, "is a delta without its run, whose report.json has the figures to push; name the run's folder"
        )
    raise FileError(run, "holds no finished run; name the folder that nettailor adapt wrote")


def without_paths(settings: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Settings in which of every path of the user's machine only the last part is left, and which settings these were."""
    stripped: list[str] = []

    def bare(value: Any, place: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return {key: bare(inner, (*place, str(key))) for key, inner in value.items()}
        if isinstance(value, list):
            return [bare(inner, place) for inner in value]
        if not isinstance(value, str) or place in PATTERNS or (place == ("data", "root") and value == DataConfig.root):
            return value
        is_path = place in PATHS or re.match(ABSOLUTE, value)
        short = _last_part(value) if is_path else WITHIN.sub("", value)
        if short != value:
            stripped.append(".".join(place))
        return short

    return bare(settings, ()), stripped


def _last_part(path: str) -> str:
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def data_name(source: str, task: str) -> str:
    """What data are called: the name of a data set, of a folder, of a zip; the task's where that says nothing."""
    if source and is_named(source):
        return source
    name = re.sub(r"\.zip$", "", _last_part(source), flags=re.IGNORECASE)
    return name if name.strip(".~") else task


def _upload(api: Any, folder: Path, name: HubName, settings: PushSettings, report: Report) -> None:
    """One commit with the three files; a repository is made where there is none."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        there = api.model_info(name.repo)
    except RepositoryNotFoundError:
        api.create_repo(name.repo, private=settings.private or None, exist_ok=True)
    else:
        _check_repository(there, name, settings.private)
    if settings.revision is not None:
        api.create_branch(name.repo, branch=settings.revision, exist_ok=True)
    net = report.compact
    said = f"{report.task}: {net.test_accuracy:.4f} of the test pictures right, {net.macs / 1e6:.2f} M MACs"
    api.upload_folder(
        repo_id=name.repo,
        folder_path=str(folder),
        commit_message=settings.message or said,
        revision=settings.revision,
        allow_patterns=list(MOST),
    )


def _check_repository(there: Any, name: HubName, private: bool) -> None:
    """Refuse to publish what was to be private, and to write over another's card."""
    files = {file.rfilename for file in there.siblings or []}
    if (strange := sorted(files - OURS)) and DESCRIPTION not in files:
        raise HubError(f"{name}: holds something else ({', '.join(strange[:3])}); choose another name")
    if private and not there.private:
        raise HubError(f"{name}: is there already and public, and --private would not change that; choose another name")


def _name(repo: str, settings: PushSettings) -> HubName:
    name = HubName.parse(repo)
    if name.revision is not None:
        raise UsageError(f"{name}: give the branch with --revision {name.revision}, and the name without it")
    return HubName.parse(f"{name.repo}@{settings.revision}") if settings.revision is not None else name


def _license(license: str | None) -> str:
    if license is None:
        raise UsageError(
            "a delta that others load needs a licence; say which with --license apache-2.0, mit, ... or other"
        )
    if license.lower() not in LICENSES:
        hint = did_you_mean(license.lower(), LICENSES, f"; there are {', '.join(LICENSES)}", show=str)
        raise UsageError(f"--license {license}: is none that the hub knows by this name{hint}")
    return license.lower()
