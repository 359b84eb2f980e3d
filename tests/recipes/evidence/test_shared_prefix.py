"""docs/suite/shared_prefix.md: from trainings of two tasks to the page, and what the page says of figures that are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nettailor.artifacts.run_folder import RunFolder
from nettailor.errors import NettailorError
from nettailor.jobs.recipe import Recipe, read_recipes
from recipes.evidence import shared_prefix
from recipes.evidence._shared_prefix_page import Cell, Figures, Ratio, Together, page
from tests.tiny import QUICK

DOCS = Path(__file__).parents[3] / "docs" / "suite"
TASKS = """
prune: {folds: 0}
backbone: {name: "tests.tiny:tiny_resnet", input_size: 16}
tasks:
  - {task: few, data: {source: DIGITS, classes: "digit [0-2]"}}
  - {task: all, data: {source: DIGITS}}
"""


def figures(tasks: int = 8, gained: float = 0.0, ratio: float = 0.4) -> Figures:
    """Made up: fine-tuned 0.90, n = 0 0.89, n = 5 as many points above that as asked for."""
    names = [f"task {number}" for number in range(tasks)]
    accuracy = {"finetune": 0.9, "n0": 0.89, "n5": 0.89 + gained / 100}
    macs = {"finetune": 10, "n0": 3, "n5": 5}
    cells = [
        Cell(task, name, 100, 5, accuracy[name], 0.9, macs[name] * 10**6, 10, 5, 3, 2, 9.0, 0, "cpu")
        for task in names
        for name in accuracy
    ]
    ms = {"finetune": 20.0, "n0": 10.0, "n5": 12.0, "n5 shared": 10 * ratio}
    times = {
        name: Ratio(taken / 10, taken / 10 - 0.01, taken / 10 + 0.01) for name, taken in ms.items() if name != "n0"
    }
    together = Together(names, {**{n: tasks * m * 10**6 for n, m in macs.items()}, "n5 shared": 9 * 10**6}, ms, times)
    return Figures(
        "tiny", 10**7, 16, [0, 5], ["student.views=4"], [0.25, 0.4], names, ["late"], cells, [together], "cpu", {}
    )


def test_the_page_says_what_was_measured_and_what_was_not() -> None:
    said = page(figures())
    assert "8 tasks over tiny (16 universal blocks, 10.0 M MACs)" in said
    assert "Not finished, so not counted: late." in said
    assert "budgets of 0.25, 0.4" in said
    assert "`student.views=4`" in said
    assert "| task 3 | 5 | 100 | 0.900 (1.00) | 0.890 (0.30) | 0.890 (0.50) |" in said
    assert "| n = 5, shared | 9.0 | 4.00 | 0.40 [0.39, 0.41] | 0.20 |" in said
    assert "| n = 0, own | 24.0 | 10.00 | 1 | 0.50 |" in said


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (figures(), "It is met at n = 5."),
        (figures(gained=-0.4, ratio=0.5), "It is met at n = 5."),
        (figures(gained=-0.6), "It is not met."),
        (figures(ratio=0.51), "It is not met."),
        (figures(tasks=4), "Only 4 tasks are trained, so this can't say yet whether it is met."),
    ],
)
def test_the_goal_is_met_by_time_and_accuracy_together(made: Figures, verdict: str) -> None:
    assert page(made).endswith(f"\n\n{verdict}\n")


def test_the_committed_page_is_what_its_raw_figures_say() -> None:
    committed = Figures.read(DOCS / "shared_prefix.json")
    assert page(committed) == (DOCS / "shared_prefix.md").read_text(encoding="utf-8")


def test_each_length_of_the_prefix_is_a_run_of_the_same_teacher(tmp_path: Path) -> None:
    recipe = Recipe(task="birds")
    jobs = shared_prefix.jobs_of([recipe], {0: None, 5: 0.4}, tmp_path)
    assert [job.name for job in jobs] == ["birds/finetune", "birds/n0", "birds/n5"]
    assert jobs[0].recipe.method.name == "finetune"
    assert jobs[1].recipe == recipe
    assert jobs[2].recipe == replace(
        recipe,
        student=replace(recipe.student, shared_prefix=5),
        prune=replace(recipe.prune, how="budget", budget=0.4),
    )
    for job in jobs[1:]:
        assert job.after == ("birds/finetune",)
        assert job.begin_with == RunFolder(tmp_path / "birds" / "finetune").nets


def test_the_shipped_tasks_are_eight_of_one_backbone() -> None:
    from nettailor.config.library import shipped_recipes

    recipes = read_recipes(shipped_recipes()["eight_tasks"])
    assert len({recipe.task for recipe in recipes}) == 8
    assert len({recipe.backbone for recipe in recipes}) == 1


@pytest.mark.slow
def test_two_tasks_from_training_to_page(digit_folder: Path, tmp_path: Path) -> None:
    tasks, docs, out = tmp_path / "two.yaml", tmp_path / "docs", tmp_path / "runs"
    tasks.write_text(TASKS.replace("DIGITS", str(digit_folder)))
    command = ["--recipe", str(tasks), "--out", str(out), "--docs", str(docs), "--rounds", "10", "--prefixes", "0,2,3"]
    with pytest.raises(NettailorError, match="fewer than two tasks"):
        shared_prefix.main([*command, "--measure"])
    with pytest.raises(NettailorError, match="--prefixes: begins with 0"):
        shared_prefix.main([*command[:-1], "2,3"])
    assert shared_prefix.main([*command, *QUICK]) == 0
    made = Figures.read(docs / "shared_prefix.json")
    assert made.tasks == ["few", "all"]
    assert made.budgets is None
    assert [len(together.tasks) for together in made.together] == [2, 4, 8]
    together, _, eight = made.together
    assert eight.tasks == ["few", "all"] * 4
    assert eight.macs["n0"] == 4 * together.macs["n0"]
    assert eight.macs["n3"] - eight.macs["n3 shared"] == 7 * (together.macs["n3"] - together.macs["n3 shared"])
    assert "the networks of few, all stand in for those of 8 tasks" in page(made)
    assert together.macs["n2 shared"] < together.macs["n2"]
    assert together.macs["n3 shared"] < together.macs["n3"]
    assert list(together.ms) == ["finetune", "n0", "n2", "n3", "n2 shared", "n3 shared"]
    assert (docs / "shared_prefix.md").read_text(encoding="utf-8") == page(made)
