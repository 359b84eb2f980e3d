"""`nettailor suite`: one backbone that serves many tasks."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from nettailor.cli.inputs import DEVICES, backbone_of, printable
from nettailor.cli.options import Actions, act, option, position
from nettailor.errors import UsageError

if TYPE_CHECKING:
    from blocks import Backbone

SUITE = "the suite's folder"
TOKEN = "NETTAILOR_TOKEN"
BACKBONE = "the backbone, where its name is code to import"
PROXIES = "import this form of proxy, where a delta uses one"


@dataclass
class SuiteOptions:
    """One backbone, stored once, and the deltas of many tasks: add, list, predict, remove, pack, serve.

    suite add SUITE RUN...               add finished runs or deltas; the first ones make the suite
    suite list SUITE                     its tasks
    suite predict SUITE TASK IMAGE...    classes of pictures; several tasks with commas, or all
    suite remove SUITE TASK...           take tasks out
    suite pack SUITE --out DIR           write it for a device: only the blocks that some task keeps
    suite serve SUITE                    answer over HTTP, with a page for the browser

    Each has options: nettailor suite ACTION --help
    """

    action: str = position("add, list, predict, remove, pack or serve", "ACTION")
    words: list[str] = position("what the action needs", "ARGUMENT", rest=True)


@dataclass
class AddOptions:
    """Add the deltas of finished runs to a suite, all or none. The first ones make it and settle its backbone."""

    suite: Path = position("the suite's folder; it is made where there is none", "SUITE")
    runs: list[Path] = position("folders of finished runs, or of deltas", "RUN")
    name: str | None = option("the task's name in the suite, where it is not that in the run", metavar="NAME")
    replace: bool = option("take the place of a task of the same name", default=False)
    backbone: str | None = option("the backbone, where its name in the delta is not enough", metavar="NAME")
    weights: str | None = option("a new suite's backbone's weights in a local file", metavar="FILE")
    proxies: str | None = option(PROXIES, metavar="MODULE:FUNCTION")


@dataclass
class ListOptions:
    """The tasks of a suite: classes, kept blocks and size of each."""

    suite: Path = position(SUITE, "SUITE")
    json: bool = option("print JSON instead", default=False)


@dataclass
class SuitePredictOptions:
    """Classes of pictures from one or several tasks of a suite, each with its probability."""

    suite: Path = position(SUITE, "SUITE")
    task: str = position("a task, several with commas, or all", "TASK")
    images: list[str] = position("pictures, and folders and zips of them, looked through at all depths", "IMAGE")
    top: int = option("how many classes for each picture and task", default=1, metavar="K")
    backbone: str | None = option(BACKBONE, metavar="NAME")
    proxies: str | None = option(PROXIES, metavar="MODULE:FUNCTION")
    device: str = option(DEVICES, default="auto", metavar="DEVICE")


@dataclass
class RemoveOptions:
    """Take tasks out of a suite, all or none; without tasks it keeps its backbone."""

    suite: Path = position(SUITE, "SUITE")
    tasks: list[str] = position("tasks", "TASK")


@dataclass
class PackOptions:
    """Write a suite for a device: only the blocks that some task keeps, and the deltas. It answers with the same bits."""

    suite: Path = position(SUITE, "SUITE")
    out: Path | None = option("the packed suite's folder, a new or empty one", metavar="DIR")
    backbone: str | None = option(BACKBONE, metavar="NAME")
    proxies: str | None = option(PROXIES, metavar="MODULE:FUNCTION")


@dataclass
class ServeOptions:
    """Answer over HTTP: a page for the browser, GET /tasks, POST /predict?task=NAME, /healthz, /metrics, /docs."""

    suite: Path = position(SUITE, "SUITE")
    host: str = option("address to listen on; 0.0.0.0 lets others in", default="127.0.0.1", metavar="ADDRESS")
    port: int = option("0 takes a free one", default=8000, metavar="N")
    token: str | None = option(
        f"answer only who sends it; others see it here in the list of processes, but not in {TOKEN}", metavar="TOKEN"
    )
    mode: str = option("resident: one backbone for all; fast: every task's network folded", default="resident")
    device: str = option(DEVICES, default="cpu", metavar="DEVICE")
    backbone: str | None = option(BACKBONE, metavar="NAME")
    proxies: str | None = option(PROXIES, metavar="MODULE:FUNCTION")
    max_batch: int = option("pictures that are computed together", default=16, metavar="N")
    max_wait_ms: float = option("that a picture waits for others", default=5.0, metavar="MS")
    max_body_mb: float = option("of a request, MiB", default=16.0, metavar="MB")
    max_megapixels: float = option("of a picture", default=40.0, metavar="MP")
    max_pictures: int = option("of a request", default=32, metavar="N")
    queue: int = option("requests at once; the next one gets 429", default=64, metavar="N")
    timeout: float = option("for a request", default=10.0, metavar="SECONDS")


def suite(options: SuiteOptions) -> int:
    """`nettailor suite`."""
    return act("suite", ACTIONS, options.action, options.words or [])


def add(options: AddOptions) -> int:
    """`nettailor suite add`."""
    from nettailor.suite.changes import add as add_runs

    if options.name is not None and len(options.runs) > 1:
        raise UsageError(f"--name: is one name, but {len(options.runs)} runs were given; add each by itself")
    names = None if options.name is None else [options.name]
    added = add_runs(options.suite, options.runs, _backbone(options), names, options.replace)
    print(f"{', '.join(added)} added to {options.suite}")
    return list_tasks(ListOptions(options.suite))


def list_tasks(options: ListOptions) -> int:
    """`nettailor suite list`."""
    from nettailor.suite.summary import summarize

    found = summarize(options.suite)
    if options.json:
        print(json.dumps(found.as_dict(), indent=2))
        return 0
    some = "" if found.packed is None else f", {len(found.packed)} blocks of it"
    count = f"{len(found.tasks)} task{'' if len(found.tasks) == 1 else 's'}"
    print(f"{options.suite}: {count} over {found.backbone}{some}, {found.input_size} px, {_size(found.bytes)}")
    width = max((len(task.name) for task in found.tasks), default=0)
    for task in found.tasks:
        kept = f"{task.blocks} blocks, {task.proxies} proxies"
        print(f"  {task.name:<{width}}  {task.classes:>4} classes  {kept:<22}  {_size(task.bytes):>9}  {task.method}")
    return 0


def predict(options: SuitePredictOptions) -> int:
    """`nettailor suite predict`."""
    from nettailor.data.gather import gather
    from nettailor.jobs.suite import predict as answers
    from nettailor.jobs.suite import tasks_named
    from nettailor.suite.suite import Suite

    _find_proxies(options.proxies)
    pictures = gather(options.images)
    wanted = tasks_named(options.task)
    loaded = Suite.load(options.suite, options.device, backbone=options.backbone, tasks=wanted)
    tasks = loaded.tasks if wanted is None else wanted
    if not tasks:
        raise UsageError(f"{options.suite}: has no tasks; nettailor suite add {options.suite} RUN adds one")
    bad = 0
    shown = [printable(picture.shown) for picture in pictures]
    wide, long = max(map(len, shown)), max(map(len, tasks))
    for image, answer in zip(shown, answers(loaded, tasks, pictures, max(1, options.top)), strict=True):
        if isinstance(answer, str):
            print(f"nettailor: {image}: {printable(answer)}", file=sys.stderr)
            bad += 1
            continue
        for task, best in answer.items():
            print(f"{image:<{wide}}  {task:<{long}}  " + "  ".join(f"{label} {chance:.3f}" for label, chance in best))
    return 1 if bad else 0


def remove(options: RemoveOptions) -> int:
    """`nettailor suite remove`."""
    from nettailor.suite.changes import remove as remove_tasks

    left = remove_tasks(options.suite, options.tasks)
    print(f"{', '.join(options.tasks)} removed from {options.suite}; it has {', '.join(left) or 'no tasks'} now")
    return 0


def pack(options: PackOptions) -> int:
    """`nettailor suite pack`."""
    from nettailor.suite.changes import pack as pack_suite

    if options.out is None:
        raise UsageError("nettailor suite pack: give the folder with --out DIR")
    _find_proxies(options.proxies)
    done = pack_suite(options.suite, options.out, options.backbone)
    count = f"{done.tasks} private network" + ("" if done.tasks == 1 else "s")
    print(f"{options.out}: {len(done.blocks)} of {done.depth} blocks, {done.tasks} tasks")
    for name, size in (("packed suite", done.packed), ("whole suite", done.full), (count, done.private)):
        beside = "" if size == done.packed else f"  the packed suite is {done.packed / size:.0%} of it"
        print(f"  {name:<20}  {_size(size):>9}{beside}")
    return 0


def serve(options: ServeOptions) -> int:
    """`nettailor suite serve`."""
    from nettailor.suite.server.run import serve as serve_suite
    from nettailor.suite.server.settings import settings_of

    _find_proxies(options.proxies)
    given = {name: value for name, value in vars(options).items() if name not in ("suite", "proxies")}
    if options.token is None:
        given["token"] = os.environ.get(TOKEN)
    return serve_suite(options.suite, settings_of(**given))


ACTIONS: Actions = {
    "add": (AddOptions, add),
    "list": (ListOptions, list_tasks),
    "predict": (SuitePredictOptions, predict),
    "remove": (RemoveOptions, remove),
    "pack": (PackOptions, pack),
    "serve": (ServeOptions, serve),
}


def _backbone(options: AddOptions) -> Backbone | str | None:
    """A new suite's backbone, found as for its first delta alone; an existing one has its tensors itself."""
    from nettailor.suite.changes import lacks_classifier
    from nettailor.suite.folder import SuiteFolder

    if SuiteFolder(options.suite).index.is_file() and not lacks_classifier(options.suite, options.runs):
        if options.weights is not None:
            raise UsageError(f"--weights: {options.suite} has the weights of its backbone already")
        _find_proxies(options.proxies)
        return options.backbone
    given = {"backbone": options.backbone, "weights": options.weights, "proxies": options.proxies}
    return backbone_of(SimpleNamespace(run=options.runs[0], **given))


def _find_proxies(form: str | None) -> None:
    """Make a form of proxy known that is code of the user's."""
    from nettailor.training.proxy_forms import find_form

    if form is not None:
        find_form(form)


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
