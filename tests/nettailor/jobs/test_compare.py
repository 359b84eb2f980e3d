"""The board: its order and cells, what each row counts, and where our curve meets the paper's network."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from blocks import Backbone, CompactNet, NetPlan
from blocks import Path as Path_
from blocks.paths import UNIVERSAL
from nettailor.artifacts import delta
from nettailor.artifacts.board import Board
from nettailor.artifacts.report import Report
from nettailor.data.source import SourceConfig
from nettailor.errors import NettailorError, UsageError
from nettailor.jobs import compare as module
from nettailor.jobs.board_rows import BoardRow, in_order
from nettailor.jobs.compare import cells, compare, draw_board, points_of_runs, read_board, take_size
from nettailor.jobs.job import Job, Outcome
from nettailor.jobs.recipe import Recipe, parse_recipe
from nettailor.progress import Display
from nettailor.training.config import StudentConfig, TeacherConfig
from nettailor.views.plots import Curve
from tests import fabricated
from tests.fabricated import TINY


def rows(*labels: str) -> list[BoardRow]:
    """Fine-tuning and these, as a board has them."""
    return in_order(labels)


def finish(out: Path, seed: int, method: str, report: Report) -> None:
    """A finished cell."""
    report.write(out / f"seed-{seed}" / method / "report.json")


def teacher_report(accuracy: float) -> Report:
    report = fabricated.without_teacher("finetune")
    return replace(report, compact=replace(report.compact, test_accuracy=accuracy, macs=2_000_000, params=1000))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Finished cells of three methods over two seeds, with the paper's network between two of our curve."""
    for seed, accuracy in ((0, 0.94), (1, 0.96)):
        finish(tmp_path, seed, "finetune", teacher_report(accuracy))
        finish(tmp_path, seed, "nettailor", fabricated.report(seed=seed))
        fabricated.front().write(tmp_path / f"seed-{seed}" / "nettailor" / "front.json")
        paper = fabricated.report(method="paper", seed=seed)
        finish(
            tmp_path, seed, "paper", replace(paper, compact=replace(paper.compact, macs=1_500_000, val_accuracy=0.6))
        )
    return tmp_path


def test_the_papers_cell_gets_our_data_and_teacher_and_its_own_student(tmp_path: Path) -> None:
    ours = Recipe(seed=3, teacher=TeacherConfig(epochs=7), student=StudentConfig(epochs=9))
    jobs = {job.name: job for job in cells(ours, rows("nettailor", "paper", "linear"), tmp_path / "seed-3")}
    paper = jobs["seed-3/paper"].recipe
    assert (paper.seed, paper.teacher, paper.data) == (3, ours.teacher, ours.data)
    assert (paper.student.rank, paper.student.matching, paper.prune.how) == (0, "local", "paper")
    assert (paper.student.epochs, paper.training) == (20, ours.training), "the teacher's stays"
    assert jobs["seed-3/linear"].recipe.student == ours.student
    assert jobs["seed-3/nettailor"].recipe.prune.front
    assert [job.after for job in jobs.values()] == [(), ("seed-3/finetune",), ("seed-3/finetune",), ()]


def test_cells_that_need_the_teacher_begin_with_its_nets(tmp_path: Path) -> None:
    folder = tmp_path / "seed-0"
    jobs = {job.name: job for job in cells(Recipe(), rows("nettailor", "shallow", "linear"), folder)}
    assert {name: job.begin_with for name, job in jobs.items()} == {
        "seed-0/finetune": None,
        "seed-0/nettailor": folder / "finetune" / "nets",
        "seed-0/shallow": None,
        "seed-0/linear": None,
    }
    assert jobs["seed-0/shallow"].after == ("seed-0/nettailor",)
    assert [job.out for job in jobs.values()] == [folder / name.split("/")[1] for name in jobs]


def test_rows_that_are_sized_like_ours_take_size_paths_and_all_passes_of_our_run(
    tmp_path: Path, backbone: Backbone
) -> None:
    report = fabricated.report()
    finish(tmp_path, 0, "nettailor", report)
    net = CompactNet(backbone, NetPlan((Path_(1, 0, UNIVERSAL), Path_(6, 5, "conv1x1")), 2))
    delta.save(net, tmp_path / "seed-0" / "nettailor" / "task", "birds", ["a", "b"])
    labels = ("nettailor", "shallow", "shallow+distill", "blocks_per_stage+two", "random_weights")
    labels += ("channel_pruning+magnitude",)
    jobs = {job.name: job for job in cells(Recipe(), rows(*labels), tmp_path / "seed-0")}
    sized = {label: vars(take_size(jobs[f"seed-0/{label}"]).recipe.method) for label in labels[1:]}
    passes = sum(report.epochs.values())
    assert passes == 10.5
    assert sized["shallow"] == {"name": "shallow", "macs": 0.6, "passes": passes, "distill": False}
    assert sized["shallow+distill"] == {**sized["shallow"], "distill": True}
    assert sized["blocks_per_stage+two"] == {
        "name": "blocks_per_stage",
        "blocks": 2,
        "passes": passes,
        "distill": False,
    }
    assert sized["random_weights"]["paths"] == ("G1", "A1-6 conv1x1")
    assert sized["random_weights"]["passes"] == passes
    pruned = sized["channel_pruning+magnitude"]
    assert (pruned["macs"], pruned["passes"], pruned["importance"], pruned["distill"]) == (
        0.6,
        passes,
        "magnitude",
        True,
    )
    assert take_size(jobs["seed-0/nettailor"]) is jobs["seed-0/nettailor"]
    learns = {name: job.begin_with is not None for name, job in jobs.items()}
    assert [name.removeprefix("seed-0/") for name, it in learns.items() if it] == [
        "nettailor",
        "shallow+distill",
        "channel_pruning+magnitude",
    ], "begin with the one teacher"
    assert jobs["seed-0/shallow+distill"].after == ("seed-0/finetune", "seed-0/nettailor")


def test_soft_is_left_out_with_a_line_where_no_source_pictures_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ran(source: SourceConfig) -> tuple[list[str], str]:
        jobs: list[Job] = []

        def run_jobs(given: list[Job], *_: object) -> Outcome:
            jobs.extend(given)
            return Outcome(failed={"x": "stopped here"})

        monkeypatch.setattr(module, "run_jobs", run_jobs)
        monkeypatch.setattr(module, "_check_rows", lambda given: None)
        text = StringIO()
        display = Display(Console(file=text, width=200))
        with pytest.raises(NettailorError, match="stopped here"):
            compare(replace(Recipe(), source=source), ["nettailor", "soft", "soft+joint", "lwf"], 1, tmp_path, display)
        named = {job.out.name: job.recipe.source.data for job in jobs}
        assert named == {
            name: source.data if name in ("finetune", "soft", "soft+joint", "lwf") else None for name in named
        }
        return list(named), text.getvalue()

    names, said = ran(SourceConfig())
    assert names == ["finetune", "nettailor", "lwf"]
    assert said.count("left out, because no source pictures are named (source.data=DIR|ZIP|NAME)") == 2
    names, said = ran(SourceConfig(data="/source.zip"))
    assert names == ["finetune", "nettailor", "soft", "soft+joint", "lwf"]
    assert said == ""


@pytest.mark.parametrize(
    ("section", "rows_wanted", "says"),
    [
        ("", ["keep_classifier"], "the source classifier of tests.tiny:tiny_resnet has random weights"),
        ("source", ["linear", "soft"], "is also the target, and class 'digit 0' is in both"),
        ("probe", ["linear"], "which trains on 4 of its 4 classes"),
    ],
)
def test_a_row_that_can_not_run_is_refused_before_another_is_trained(
    tmp_path: Path, digit_folder: Path, section: str, rows_wanted: list[str], says: str
) -> None:
    beside = {section: {"data": str(digit_folder)}} if section else {}
    tree = {"data": {"source": str(digit_folder)}, "backbone": {"name": TINY, "input_size": 16}, **beside}
    with pytest.raises(UsageError, match=re.escape(says)):
        compare(parse_recipe(tree, "here"), rows_wanted, 2, tmp_path / "board", Display(quiet=True))
    assert not (tmp_path / "board").exists()


def test_rows_that_have_begun_are_not_checked_again(
    tmp_path: Path, digit_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_jobs(*_: object) -> Outcome:
        return Outcome(failed={"x": "stopped here"})

    monkeypatch.setattr(module, "run_jobs", run_jobs)
    tree = {"data": {"source": str(digit_folder)}, "backbone": {"name": TINY, "input_size": 16}}
    begun = tmp_path / "seed-0" / "keep_classifier" / "recipe.yaml"
    begun.parent.mkdir(parents=True)
    begun.touch()
    with pytest.raises(NettailorError, match="stopped here"):
        compare(parse_recipe(tree, "here"), ["keep_classifier"], 1, tmp_path, Display(quiet=True))


def test_a_recipe_of_another_methods_student_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="--recipe: is of the method paper, but compare reads nettailor's settings from it"
    ):
        compare(Recipe().with_method("paper"), ["nettailor", "paper"], 1, tmp_path)


def test_rows_count_networks_in_parts_of_the_backbone_and_all_that_led_to_them(out: Path) -> None:
    board = read_board(out, [0, 1], ["finetune", "nettailor", "paper"])
    assert [row.name for row in board.rows[:4]] == ["finetune", "nettailor", "unpruned student", "paper"]
    assert (board.task, board.backbone, board.backbone_macs, board.seeds) == ("birds", "tiny", 2_000_000, [0, 1])
    ours, student = board.row("nettailor"), board.row("unpruned student")
    assert ours is not None
    assert student is not None
    assert (ours.macs.mean, ours.params.mean, ours.task_params.mean) == (0.6, 0.7, 0.25)
    assert ours.points.mean == pytest.approx(-0.5), "against each seed's own fine-tuned network: +0.5 and -1.5"
    assert ours.points.std == pytest.approx(2**0.5)
    assert (ours.epochs.mean, ours.seconds.mean) == (10.5, 42), "importance counts as passes, prepare as seconds"
    assert (student.macs.mean, student.epochs.mean, student.seconds.mean) == (1.2, 7, 31)


def test_seconds_of_measuring_on_source_pictures_are_no_methods(out: Path) -> None:
    usual = read_board(out, [0, 1], ["finetune"]).rows[0].seconds.mean
    for seed in (0, 1):
        report = Report.read(out / f"seed-{seed}" / "finetune" / "report.json")
        finish(out, seed, "finetune", replace(report, seconds={**report.seconds, "beside": 500.0}))
    assert read_board(out, [0, 1], ["finetune"]).rows[0].seconds.mean == usual


def test_our_curve_is_read_where_the_papers_network_is(out: Path) -> None:
    board = read_board(out, [0, 1], ["finetune", "nettailor", "paper"])
    within, accurate = board.row("nettailor at the paper's MACs"), board.row("nettailor at the paper's accuracy")
    assert within is not None
    assert accurate is not None
    assert (within.macs.mean, within.test_accuracy.mean) == (0.6, pytest.approx(0.93))
    assert (accurate.macs.mean, accurate.test_accuracy.mean) == (0.3, pytest.approx(0.72))


def test_a_row_that_not_every_seed_has_is_left_out(out: Path) -> None:
    paper = fabricated.report(method="paper", seed=1)
    finish(out, 1, "paper", replace(paper, compact=replace(paper.compact, macs=1, val_accuracy=0.6)))
    board = read_board(out, [0, 1], ["finetune", "nettailor", "paper"])
    assert board.row("nettailor at the paper's MACs") is None
    assert board.row("nettailor at the paper's accuracy") is not None
    assert read_board(out, [0, 1], ["finetune"]).rows == [board.rows[0]], "no curve where ours was not run"


def test_the_picture_has_each_methods_mean_and_seeds_one_by_one_and_a_curve_for_each_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[Curve], dict[str, float]]] = []
    monkeypatch.setattr(module, "draw_curves", lambda path, title, curves, levels: seen.append((curves, levels)))
    runs = {"nettailor": [(0.4, 0.9), (0.6, 0.92)]}
    draw_board(fabricated.board(), [fabricated.front(), fabricated.front()], tmp_path / "board.png", runs)
    ((curves, levels),) = seen
    labels = [curve.label for curve in curves]
    way = "nettailor's networks on the way down"
    assert labels == [way, "_", "finetune", "_", "nettailor"], "the legend names curves and methods once"
    assert curves[0].x == [0.9, 0.6, 0.3]
    _, _, plain, dots, ours = curves
    assert (dots.x, dots.y, dots.style) == ([0.4, 0.6], [0.9, 0.92], ".")
    assert (ours.x, ours.y, ours.style, ours.color) == ([0.5], [pytest.approx(0.91)], "o", dots.color)
    assert (ours.spread, ours.spread_x) == (None, None), "seeds say more than their deviation"
    assert plain.spread is not None
    assert plain.color != ours.color
    assert levels == {"teacher's accuracy": pytest.approx(0.95)}


def test_a_dot_is_a_runs_part_of_the_macs_and_its_test_accuracy() -> None:
    one, other = fabricated.report(), fabricated.report(seed=1)
    assert one.student is not None
    found = points_of_runs({"nettailor": [one, other], "linear": [one]})
    point = (one.compact.macs / one.backbone.macs, one.compact.test_accuracy)
    assert found["nettailor"] == [point, (other.compact.macs / other.backbone.macs, other.compact.test_accuracy)]
    assert found["unpruned student"][0] == (one.student.macs / one.backbone.macs, one.student.test_accuracy)
    assert len(found["unpruned student"]) == 2
    assert "unpruned student" not in points_of_runs({"linear": [one]})


def test_a_cell_that_fails_leaves_no_board_and_finished_cells_make_one(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = Outcome(failed={"seed-1/linear": "broken"})
    names: list[str] = []

    def ran(jobs: list[module.Job], *_: object) -> Outcome:
        names.extend(job.name for job in jobs)
        return outcome

    drawn: list[tuple[object, ...]] = []
    monkeypatch.setattr(module, "run_jobs", ran)
    monkeypatch.setattr(module, "draw_board", lambda *what: drawn.append(what))
    with pytest.raises(NettailorError, match="seed-1/linear: broken; the same command runs what is not finished yet"):
        compare(Recipe(), ["nettailor"], 2, out)
    assert not (out / "board.json").exists()
    outcome.failed.clear()
    board = compare(Recipe(), ["nettailor"], 2, out)
    assert names == [f"seed-{seed}/{name}" for seed in (0, 1) for name in ("finetune", "nettailor")] * 2
    assert Board.read(out / "board.json") == board
    assert [what[:3] for what in drawn] == [(board, [fabricated.front()] * 2, out / "board.png")]
    dots = drawn[0][3]
    assert isinstance(dots, dict)
    assert {name: len(points) for name, points in dots.items()} == dict.fromkeys(
        ("finetune", "nettailor", "unpruned student"), 2
    )
