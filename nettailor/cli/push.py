"""`nettailor push`: a run's delta to the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nettailor.cli.options import option, position


@dataclass
class PushOptions:
    """Put a finished run's delta on the Hugging Face hub, where others load it as hf://user/name.

    Its three files are pushed in one commit: task.json, task.safetensors, and a model card with the figures. Paths of this
    machine are taken off the settings in task.json; nothing else of the run's folder leaves it.
    """

    run: Path = position("the folder of a finished run", "RUN")
    name: str = position("where it goes on the hub; made where there is none", "USER/NAME")
    license: str | None = option(
        "under which others may use it: apache-2.0, mit, cc-by-4.0, ..., other", metavar="NAME"
    )
    private: bool = option("make a repository that only you see", default=False)
    message: str | None = option("of the commit (default: the task and its figures)", metavar="TEXT")
    revision: str | None = option("a branch, made where there is none (default: the main one)", metavar="BRANCH")


def push(options: PushOptions) -> int:
    """`nettailor push`."""
    from nettailor.jobs.push import PushSettings
    from nettailor.jobs.push import push as pushed

    settings = PushSettings(options.license, options.private, options.message, options.revision)
    done = pushed(options.run, options.name, settings)
    if done.stripped:
        print(f"left out: the paths in {', '.join(done.stripped)} of task.json")
    print(f"pushed   {done.size / 1e3:.0f} kB to {done.page}")
    print(f"next     nettailor predict {done.name} PICTURE...")
    return 0
