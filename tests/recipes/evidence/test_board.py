"""docs/board.md: made from either layout of raw reports, says what they say, and no more."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nettailor.artifacts.board import Board
from nettailor.artifacts.report import Report
from nettailor.errors import FileError
from nettailor.jobs.board_rows import ALL
from recipes.evidence import board as board_recipe
from recipes.evidence._board_cells import Cells, read_boards
from recipes.evidence._board_page import claims, cuts, differences, ease, page, removals
from recipes.evidence._board_weight import weights

DOCS = Path(__file__).parents[3] / "docs"
OLD = DOCS / "0.1.0" / "board"
SEEDS = [f"seed-{seed}" for seed in range(5)]
BESIDE_OTHERS = ("digits", "gtsrb", "omniglot242")  # boards that have other rows of as many passes as ours


@pytest.fixture(scope="module")
def committed() -> dict[str, Cells]:
    return read_boards(DOCS / "board")


@pytest.fixture(scope="module")
def old() -> dict[str, Cells]:
    """Six boards of version 0.1.0, whose figures do not change any more."""
    return read_boards(OLD)


def run_layout(name: str, out: Path) -> Path:
    """A published board as `nettailor compare` would have left it, fine-tuning under its present name."""
    shutil.copytree(OLD / name, out, ignore=shutil.ignore_patterns("seed-*"))
    for file in (OLD / name).glob("seed-*/*"):
        method, kind = re.fullmatch(r"(\w+)-(.+)", file.name).groups()  # type: ignore[union-attr]
        place = out / file.parent.name / method.replace("teacher", "finetune") / kind
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    return out


def test_the_committed_pages_are_what_their_raw_reports_say(committed: dict[str, Cells], old: dict[str, Cells]) -> None:
    assert page(committed) == (DOCS / "board.md").read_text(encoding="utf-8")
    assert page(old) == (DOCS / "0.1.0" / "board.md").read_text(encoding="utf-8")


def test_every_row_that_all_stands_for_has_run_on_the_digits() -> None:
    found = read_boards(DOCS / "every_method" / "board")
    assert page(found) == (DOCS / "every_method" / "board.md").read_text(encoding="utf-8")
    assert set(ALL) <= found["digits"].reports.keys()


def test_the_committed_means_are_those_of_the_raw_reports(committed: dict[str, Cells], old: dict[str, Cells]) -> None:
    checked = []
    for boards in (committed, old):
        for cells in boards.values():
            for method, reports in cells.reports.items():
                row = cells.board.row(method)
                assert row is not None
                mean = sum(report.compact.test_accuracy for report in reports) / len(reports)
                assert row.test_accuracy.mean == pytest.approx(mean)
                checked.append(method)
    assert len(checked) == (11 + 6 + 6 + 2) + (4 * 7 + 2 * 4)


def test_a_round_that_was_undone_is_none_of_the_rounds(old: dict[str, Cells]) -> None:
    ours = old["gtsrb_resnet56"].ours
    (report,) = ours
    assert report.prune is not None
    first, *rest = report.prune.trials
    undone = replace(report, prune=replace(report.prune, trials=[{**first, "undone": True}, first, *rest]))
    assert removals([undone]) == removals(ours)


def test_both_layouts_and_both_names_of_fine_tuning_give_one_page(tmp_path: Path, old: dict[str, Cells]) -> None:
    run_layout("digits", tmp_path / "boards" / "digits")
    board_recipe.main([str(tmp_path / "boards"), "--out", str(tmp_path / "docs")])
    published = (tmp_path / "docs/board.md").read_text()
    assert published == page({"digits": old["digits"]})
    assert "| finetune | 99.62 ± 0.33 |" in published
    assert "| teacher |" not in published
    raw = tmp_path / "docs/board/digits/seed-1/finetune-report.json"
    assert raw.read_bytes() == (OLD / "digits/seed-1/teacher-report.json").read_bytes()
    for picture in ("digits/board.png", "sizes.png"):
        assert (tmp_path / "docs/board" / picture).read_bytes().startswith(b"\x89PNG")
    before = {
        file: file.read_bytes() for file in (tmp_path / "docs").rglob("*") if file.suffix != ".png" and file.is_file()
    }
    shutil.rmtree(tmp_path / "boards")
    board_recipe.main([str(tmp_path / "docs/board"), "--out", str(tmp_path / "docs")])
    after = {
        file: file.read_bytes() for file in (tmp_path / "docs").rglob("*") if file.suffix != ".png" and file.is_file()
    }
    assert after == before, "the page is made anew from what it published itself"


def test_a_folder_without_boards_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="holds no board"):
        board_recipe.main([str(tmp_path), "--out", str(tmp_path / "docs")])


def test_a_claim_is_held_by_its_mean_and_by_every_run(old: dict[str, Cells]) -> None:
    said = claims(old["cifar10_jpeg"])
    assert said[0] == (
        "* **no**, by the mean: within 0.5 points of its teacher: -1.01 points; "
        "1 of 3 runs (over: seed 1 -2.62 points, seed 2 -0.52 points)"
    )
    assert said[2].startswith(
        "* yes, by the mean: at most 10 % task parameters: 5.53 %; 2 of 3 runs (over: seed 0 10.03 %)"
    )


def test_half_a_point_is_half_a_point(old: dict[str, Cells]) -> None:
    """0.5 points of 1,000 pictures, whatever the last bit of the quotients says."""
    cells = old["gtsrb_resnet56"]
    (ours,) = cells.ours
    for right, start in ((859, "* yes"), (858, "* **no**")):
        nets = {"finetune": 0.864, "nettailor": right / 1000}
        reports = {name: [replace(ours, compact=replace(ours.compact, test_accuracy=x))] for name, x in nets.items()}
        assert claims(replace(cells, reports=reports))[0].startswith(start)


def test_a_difference_whose_interval_contains_zero_is_not_shown(old: dict[str, Cells]) -> None:
    lines = differences(old["digits"])
    assert "| shallow | +10.14 | -28.65 to +48.93 | not shown |" in lines
    assert any(line.startswith("| linear | +6.38 |") and line.endswith("| shown |") for line in lines)
    assert all("not shown (one seed)" in line for line in differences(old["gtsrb_resnet56"])[2:])
    (gap,) = [line for line in claims(old["digits"]) if "shallower" in line]
    assert gap.startswith("* **not shown**")
    (gap,) = [line for line in claims(old["gtsrb_mobilenetv2"]) if "shallower" in line]
    assert gap.startswith("* **not shown**")
    assert gap.endswith("+3.75 points (1 run, no interval)")


def test_a_loss_is_said_to_be_one(old: dict[str, Cells]) -> None:
    cells = old["digits"]
    better = [replace(r, compact=replace(r.compact, test_accuracy=1.0)) for r in cells.reports["shallow"]]
    said = claims(replace(cells, reports=cells.reports | {"shallow": better}))
    assert any(line.startswith("* **no**: more accurate than a shallower cut") for line in said)


def test_ease_is_judged_over_tasks_not_over_runs(old: dict[str, Cells]) -> None:
    tasks = {name: old[name] for name in ("cifar10_jpeg", "digits", "gtsrb", "omniglot242")}
    (line,) = [line for line in ease(tasks) if line.startswith("*")]
    assert line.startswith("* **not shown**")
    assert "-0.80 over 4 tasks, exact permutation p = 0.33 two-sided, 0.17 one-sided" in line
    assert ease({"digits": old["digits"]}) == []


def test_every_run_stands_beside_the_length_of_its_cut(old: dict[str, Cells]) -> None:
    lines = [line for line in cuts(old) if re.match(r"\| \w+ \| \d", line)]
    assert len(lines) == 14
    assert lines[0].startswith("| digits | 2 | 1 of 16 | 9.0 | 71.55 |")
    assert any("the 5 cuts of 1 to 4 blocks are 21.17 points behind" in line for line in cuts(old))


def test_milliseconds_of_reports_without_a_commit_are_withdrawn(old: dict[str, Cells]) -> None:
    digits = old["digits"]
    assert "milliseconds are **withdrawn**" in page({"digits": digits})
    new = {method: [_with_commit(report) for report in reports] for method, reports in digits.reports.items()}
    assert "withdrawn" not in page({"digits": replace(digits, reports=new)})


def test_what_tasks_weigh_is_said_of_every_method_and_where_deltas_lose(old: dict[str, Cells]) -> None:
    lines = weights(old["gtsrb"])
    assert "| shallow | 155 | 5.26 / 5.87 / 8.14 |  | at most 0.15 / 0.76 / 3.03 | never |" in lines
    assert any("from at least 34 tasks on: a delta of 287 KiB" in line for line in lines)
    assert any(line.endswith("as private copies: nettailor 8.6 MiB, shallow 3.0 MiB") for line in lines)
    cells = old["gtsrb_resnet56"]
    (ours,) = cells.ours
    small = replace(ours, compact=replace(ours.compact, private_params=60_000, shared_params={"G1": 40_000}))
    lines = weights(replace(cells, reports=cells.reports | {"nettailor": [small]}))
    assert any("**A private compact net is smaller than a delta** here" in line for line in lines)
    assert any(line.startswith("| nettailor | 268 |") and "| 0.23 / 1.14 / 4.58 | never |" in line for line in lines)


def _with_commit(report: Report) -> Report:
    return replace(report, versions=report.versions | {"commit": "0" * 40})


def _gap(seed: Path, method: str) -> float:
    """Points of test accuracy that a method's network of a seed is above ours."""
    theirs, ours = (Report.read(seed / f"{name}-report.json").compact.test_accuracy for name in (method, "nettailor"))
    return 100 * (theirs - ours)


def _loss(seed: Path) -> float:
    """Points of test accuracy that our network of a seed is below its teacher."""
    return _gap(seed, "finetune")


def test_the_readmes_figures_are_the_boards_and_the_digits(committed: dict[str, Cells]) -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    for cells in committed.values():
        row = [line for line in (DOCS / "board.md").read_text().splitlines() if f"| {cells.board.backbone} |" in line]
        assert all(line in readme for line in row)
    losses = [_loss(DOCS / "board" / name / f"seed-{seed}") for name in committed for seed in (0, 1, 2)]
    assert sum(losses) / len(losses) < 0, "the mean loss on test is below zero"
    assert sum(loss <= 1 for loss in losses) == 11, "and eleven are within one point"
    assert f"{_loss(DOCS / 'board/cifar10_jpeg/seed-1'):.1f}" == "2.1"
    words = " ".join(readme.split())
    assert "Over these twelve runs the mean loss on test is below zero, and eleven are within one point" in words
    assert "(`cifar10_jpeg`, seed 1: 2.1)" in words
    for board in BESIDE_OTHERS:
        one_per_stage, ours = (_said(committed[board], name) for name in ("blocks_per_stage+distill", "nettailor"))
        assert re.search(rf"{one_per_stage}(?: of the MACs)? \(ours {ours}", words), (one_per_stage, ours)
    saving = [re.search(r"from (\d+) tasks on", " ".join(weights(committed[name]))) for name in BESIDE_OTHERS]
    first, second, third = (found[1] for found in saving if found is not None)
    assert f"copies of our own networks from {first}, {second} and {third} tasks on.)" in words
    assert f"on the digits {_said(committed['digits'], 'channel_pruning')} of the MACs" in words
    control = committed["digits"].board.row("random_weights+distill")
    assert control is not None
    worse, low, high = (round(figure) for figure in _shown(committed["gtsrb"], "random_weights+distill"))
    digits = f"({control.test_accuracy.mean:.2%}),".replace("%", " %")
    assert f"{digits} and {worse} points worse on `gtsrb` (95 % interval {low} to {high})" in words
    gaps = {
        (board, method): [_gap(DOCS / "board" / board / f"seed-{seed}", method) for seed in (0, 1, 2)]
        for board, method in (
            ("omniglot242", "random_weights+distill"),
            ("gtsrb", "finetune+90"),
            ("gtsrb", "shallow+distill"),
        )
    }
    above = {row: sum(gap) / len(gap) for row, gap in gaps.items()}
    assert (
        f"its mean is {-above['omniglot242', 'random_weights+distill']:.1f} points below ours: nothing is shown"
        in words
    )
    assert f"its mean is {above['gtsrb', 'finetune+90']:.1f} points above ours)" in words
    near, far, farther = sorted(-gap for gap in gaps["gtsrb", "shallow+distill"])
    assert f"were {far:.0f} and {farther:.0f} points below ours, and one of 39 % was {near:.1f} points below" in words
    sizes = [row.macs / 185_856 for row in committed["gtsrb"].nets("shallow+distill")]
    assert sorted(f"{size:.0f}" for size in sizes) == ["22", "22", "39"]
    assert sizes.index(max(sizes)) == gaps["gtsrb", "shallow+distill"].index(-near), "the long one is the near one"
    paper = committed["digits"].board.row("paper")
    assert paper is not None
    below, _, _ = _shown(committed["digits"], "paper")
    assert f"{below:.1f} points below ours on the digits as the authors' code reads (shown)" in words
    assert f"with {paper.macs.mean:.0%} of the MACs".replace("%", " %") in words
    lines = [line for board in BESIDE_OTHERS for line in differences(committed[board])]
    boards = {
        "blocks_per_stage+distill": 3,
        "shallow+distill": 3,
        "finetune+90": 3,
        "channel_pruning": 1,
        "paper_text": 1,
    }
    for method, count in boards.items():
        found = [line for line in lines if line.startswith(f"| {method} |")]
        assert len(found) == count, method
        assert all(line.endswith("| not shown |") for line in found), method
    (control_there,) = (line for line in differences(committed["omniglot242"]) if line.startswith("| random_weights"))
    assert control_there.endswith("| not shown |")
    reports = {name: Report.read(DOCS / "digits" / f"{name}.json") for name in (*SEEDS, "two-threads-1")}
    table = readme[readme.index("digits over resnet34_tiny") : readme.index("delta    runs/digits/task")]
    first = reports["seed-0"]
    assert first.teacher is not None
    for figure in (
        f"{first.teacher.test_accuracy:.2%}",
        f"{first.compact.test_accuracy:.2%}",
        f"{first.compact.macs / 1e6:.2f}",
        f"{first.compact.params:,}",
        f"{first.compact.task_params:,}",
        f"and {first.compact.proxies_kept} proxies",
    ):
        assert figure in table, figure
    text = " ".join(readme[readme.index("Those are seed 0's figures") :].split())
    assert all(reports[name].seed == seed for seed, name in enumerate(SEEDS))
    for name, report in reports.items():
        part = f"with {report.compact.macs / report.backbone.macs:.0%}".replace("%", " %")
        assert report.teacher is not None
        before, after = 100 * report.teacher.test_accuracy, 100 * report.compact.test_accuracy
        said = f"{before:.2f} to {after:.2f} %" if name in SEEDS else f"{after:.2f} % (teacher {before:.2f} %)"
        assert f"{said} {part}" in text, name
    ratios = []
    for pair in range(1, len(list((DOCS / "digits").glob("two-threads-?.json"))) + 1):
        ours, plain = (
            Report.read(DOCS / "digits" / f"two-threads-{pair}{ending}.json") for ending in ("", "-finetune")
        )
        assert ours.compact == replace(reports["two-threads-1"].compact, **_clock(ours)), "the same run twice"
        ratios.append(f"{sum(ours.seconds.values()) / sum(plain.seconds.values()):.1f}")
    assert len(ratios) >= 2
    assert f"It took {', '.join(ratios[:-1])} and {ratios[-1]} times" in text
    for task, words in (("gtsrb", " times"), ("omniglot242", "")):
        runs = [DOCS / "bench/training_time" / f"{task}-seed-{seed}" for seed in (0, 1, 2)]
        first, second, third = (_seconds(run) / _seconds(run.with_name(f"{run.name}-finetune")) for run in runs)
        assert f"{task} {first:.1f}, {second:.1f} and {third:.1f}{words}" in text


def _said(cells: Cells, method: str) -> str:
    """Accuracy and size of a row, over three seeds, as the README writes them."""
    found = cells.reports[method]
    assert len(found) == 3
    accuracy = sum(report.compact.test_accuracy for report in found) / len(found)
    macs = sum(report.compact.macs / report.backbone.macs for report in found) / len(found)
    return f"{accuracy:.2%} with {macs:.0%}".replace("%", " %")


def _shown(cells: Cells, method: str) -> tuple[float, float, float]:
    """By how many points ours is above a row, and the interval's ends, where a difference is shown."""
    (line,) = [line for line in differences(cells) if line.startswith(f"| {method} |")]
    found = re.search(r"\| (\S+) \| (\S+) to (\S+) \| shown \|", line)
    assert found is not None, line
    difference, low, high = map(float, found.groups())
    return difference, low, high


def _seconds(run: Path) -> float:
    """All that a run took, by its report without the ending."""
    return sum(Report.read(run.with_name(f"{run.name}.json")).seconds.values())


def _clock(report: Report) -> dict[str, float | None]:
    """What a clock says of a compact net."""
    return {name: getattr(report.compact, name) for name in ("latency_ms", "latency_packed_ms")}


def test_board_files_of_the_first_version_still_load() -> None:
    board = Board.read(OLD / "digits/board.json")
    assert board.row("teacher") is not None
    assert json.loads((OLD / "digits/board.json").read_text())["format"] == 1
