"""Which layers to freeze: one run for each first trained layer, all from the pretrained weights and equally long.

recipe -> new, head, G_L, ..., G_1, all -> one run each, DIR/LAYER/report.json -> freezing.json, freezing.png

A run that is finished is not run again and one that was stopped goes on. The best on the validation split is chosen.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from blocks import Backbone
from nettailor.artifacts.freezing import Freezing
from nettailor.artifacts.run_folder import RunFolder
from nettailor.errors import NettailorError, UsageError
from nettailor.jobs.context import resolve
from nettailor.jobs.early_checks import EarlyChecks
from nettailor.jobs.many import Job, run_jobs
from nettailor.jobs.recipe import Recipe
from nettailor.methods._tuned import ALL, HEAD, NEW, Tunes, TuneSettings
from nettailor.progress import Display
from nettailor.views.freezing import draw_freezing
from nettailor.views.plots import need_matplotlib

CURVE = "freezing.json"


def search_freezing(
    recipe: Recipe,
    out: Path,
    every: int = 1,
    display: Display | None = None,
    workers: int = 1,
    on: str | None = None,
) -> Freezing:
    """Run what is not finished yet, and write the curve.

    Args:
        recipe: of a method that is tuned from a layer up.
        out: a folder for a run folder of each layer, and for the curve.
        every: of the blocks, each `every`-th from the top down is tried.
        workers, on: as `run_jobs` takes them.

    Raises:
        UsageError: the method trains no old layers, `tune_from` or the folder is taken, or matplotlib is missing.
        NettailorError: a run failed; what others ended with is on disk.
    """
    display = display or Display()
    _check(recipe, out, every)
    need_matplotlib()
    recipe = resolve(recipe)
    checks = EarlyChecks()
    backbone = checks.backbone(recipe.backbone)
    checks.check(recipe)  # refused before anything is written
    jobs = [
        Job(layer, replace(recipe, method=replace(recipe.method, tune_from=layer)), out / layer)  # type: ignore[call-arg]
        for layer in first_layers(recipe, backbone, every)
    ]
    outcome = run_jobs(jobs, display, workers, on)
    if outcome.failed:
        layer, reason = next(iter(outcome.failed.items()))
        raise NettailorError(f"{layer}: {reason}; the same command runs what is not finished yet")
    freezing = Freezing.of(outcome.reports)
    draw_freezing(freezing, (out / CURVE).with_suffix(".png"))
    freezing.write(out / CURVE)
    return freezing


def first_layers(recipe: Recipe, backbone: Backbone, every: int = 1) -> list[str]:
    """Where training may begin, from the top down, as `method.tune_from` says it; the head only where it has something to
    train."""
    method = recipe.find_method()
    assert isinstance(method, Tunes)
    blocks = list(reversed(backbone.block_names))[::every]
    return [NEW, *([HEAD] if method.head_trains(recipe, backbone) else []), *blocks, ALL]


def _check(recipe: Recipe, out: Path, every: int) -> None:
    own = recipe.method
    if not isinstance(recipe.find_method(), Tunes) or not isinstance(own, TuneSettings):
        raise UsageError(
            f"--search-freezing: method {own.name} has no setting tune_from; use keep_classifier or finetune"
        )
    if own.tune_from != ALL:
        raise UsageError(f"method.tune_from: is {own.tune_from}, but --search-freezing tries every layer; leave it out")
    if every < 1:
        raise UsageError(f"--every: must be at least 1, but it is {every}")
    if RunFolder(out).recipe.is_file():
        raise UsageError(f"--out {out}: holds a run; choose another folder for the runs of --search-freezing")
