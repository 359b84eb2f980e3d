"""Tables hold the figures of the records they are made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.table import Table

from blocks import Backbone, Plan
from nettailor.artifacts.confusion import Confusion
from nettailor.artifacts.cost_table import CostTable, PathCost, WholeCost
from nettailor.artifacts.report import DropFigures
from nettailor.artifacts.weight_of_tasks import Shared, TasksWeight
from nettailor.backbones.summary import summarize
from nettailor.pruning.graph import BlockGraph
from nettailor.views.tables import (
    board_table,
    confusion_table,
    costs_table,
    files_text,
    front_table,
    graph_table,
    report_table,
    summary_of_model_table,
    summary_table,
    weight_table,
)
from tests import fabricated


def rows(table: Table) -> list[list[str]]:
    return [[str(cell) for cell in row] for row in zip(*(column.cells for column in table.columns), strict=True)]


def headings(table: Table) -> list[str]:
    return [str(column.header) for column in table.columns]


def test_a_report_sets_the_compact_net_against_its_teacher() -> None:
    table = report_table(fabricated.report())
    assert table.title == "birds over tiny"
    assert headings(table) == ["", "teacher", "compact", "difference"]
    assert rows(table) == [
        ["test accuracy", "95.00%", "94.50%", "-0.50 points"],
        ["M MACs", "2.00", "1.20", "-40 %"],
        ["parameters", "1,000", "700", "-30 %"],
        ["task parameters", "1,000", "250", "25.0% of the backbone's"],
        ["ms per picture", "4.00", "3.00", "-25 %"],
        ["universal blocks", "6", "4", "and 2 proxies"],
    ]
    assert table.caption is None


@pytest.mark.parametrize(
    ("drop", "within", "says"),
    [
        (
            DropFigures(0.25, 0.5, -0.73, 1.23, 400, can_tell=True),
            True,
            "on the 400 validation pictures -0.25 points, 95 % interval -1.23 to +0.73",
        ),
        (
            DropFigures(0.0, 0.6, -1.18, 1.18, 355, can_tell=False),
            False,
            "none was found within 0.5 points of the teacher\n"
            "on the 355 validation pictures +0.00 points, 95 % interval -1.18 to +1.18\n"
            "they are too few to tell a drop of 0.5 points from none",
        ),
        (
            DropFigures(-1.0, 0.5, -1.98, -0.02, 349, can_tell=True, folds=5),
            True,
            "over 5 folds of the 349 training and validation pictures +1.00 points, 95 % interval +0.02 to +1.98",
        ),
    ],
)
def test_the_caption_says_what_is_known_of_the_drop(drop: DropFigures, within: bool, says: str) -> None:
    report = fabricated.report()
    assert report.prune is not None
    found = replace(report, prune=replace(report.prune, drop_allowed=0.5, within_drop=within, drop=drop))
    assert report_table(found).caption == says


def test_where_pictures_can_not_tell_a_smaller_network_is_there_for_the_asking() -> None:
    report = fabricated.report()
    assert report.prune is not None
    drop = DropFigures(0.0, 0.7, -1.38, 1.38, 348, can_tell=False, folds=2)
    unsure = replace(report.prune, how="tolerance", drop_allowed=0.5, within_drop=True, drop=drop)
    said = "nettailor prune RUN --drop POINTS takes a smaller one that may lose more"
    assert str(report_table(replace(report, prune=unsure)).caption).endswith(f" from none\n{said}")
    sure = replace(unsure, drop=replace(drop, can_tell=True))
    assert said not in str(report_table(replace(report, prune=sure)).caption)


def test_a_report_without_a_teacher_is_set_against_the_backbone() -> None:
    table = report_table(fabricated.without_teacher())
    assert table.title == "birds over tiny, linear"
    assert headings(table) == ["", "network", ""]
    assert rows(table)[1] == ["M MACs", "1.20", "60% of the backbone's"]
    assert rows(table)[5] == ["universal blocks", "4", "of 6"]


def test_a_report_says_where_no_network_was_good_enough() -> None:
    report = fabricated.report()
    assert report.prune is not None
    missed = replace(report, prune=replace(report.prune, within_drop=False, how="budget"))
    assert report_table(missed).caption == "none was found within 0.5 points of the teacher"
    missed = replace(report, prune=replace(report.prune, within_drop=False, how="tolerance"))
    assert str(report_table(missed).caption).endswith(
        "\nnettailor prune RUN --drop POINTS takes a smaller one that may lose more"
    )
    for points, says in ((0.5, "none was shown to be"), (0.6, "none was found")):
        drop = DropFigures(points, 0.9, -1.26, 2.26, 484, can_tell=False)
        undecided = replace(missed, prune=replace(missed.prune, drop_allowed=0.5, drop=drop))
        assert str(report_table(undecided).caption).startswith(f"{says} within 0.5 points of the teacher")


def test_balanced_accuracy_stands_below_accuracy_where_it_was_measured() -> None:
    report = fabricated.report()
    assert report.teacher is not None
    compact = replace(report.compact, balanced_accuracy=0.9)
    both = replace(report, compact=compact, teacher=replace(report.teacher, balanced_accuracy=0.92))
    assert rows(report_table(both))[1] == ["balanced accuracy", "92.00%", "90.00%", "-2.00 points"]
    alone = replace(fabricated.without_teacher(), compact=compact)
    assert rows(report_table(alone))[1] == ["balanced accuracy", "90.00%", ""]


def test_few_classes_are_a_confusion_matrix() -> None:
    table = confusion_table(Confusion("birds", ["cat", "[dog]"], [[3, 1], [0, 4]]))
    assert headings(table) == [r"class \ taken for", "cat", r"\[dog]"]
    assert rows(table) == [["cat", "3", "1"], [r"\[dog]", "", "4"]]


def test_of_many_classes_the_pairs_that_are_confused_most_are_shown() -> None:
    counts = [[5 if row == column else 0 for column in range(20)] for row in range(20)]
    counts[3][4], counts[7][1] = 2, 3
    table = confusion_table(Confusion("birds", [f"c{place}" for place in range(20)], counts))
    assert headings(table) == ["class", "taken for", "pictures", "of"]
    assert rows(table) == [["c7", "c1", "3", "8"], ["c3", "c4", "2", "7"]]


def test_where_the_results_are() -> None:
    text = files_text(fabricated.report(), Path("run"))
    assert "delta    run/task  (4 KiB beside the backbone)\n" in text
    assert "figures  run/report.json\n" in text
    assert "nettailor show run --html run/show.html " in text


def test_many_tasks_have_a_row_each_and_failed_ones_too() -> None:
    table = summary_table([fabricated.report(), fabricated.without_teacher()], {"fish": "broken"})
    ours, alone, failed = rows(table)
    assert ours == ["birds", "3", "95.00%", "94.50%", "-0.50", "60%", "25.0%", "4/6", "2"]
    assert (alone[2], alone[4]) == ("", "")
    assert failed == ["fish", "failed", *[""] * 7]


def test_a_board_has_a_row_for_each_method() -> None:
    table = board_table(fabricated.board())
    assert table.title == "birds over tiny: 3 classes, 48 pictures, 20 to test"
    teacher, ours = rows(table)
    assert teacher[:4] == ["finetune", "95.00 ± 1.41", "+0.00 ± 1.41", "100.00"]
    assert ours == ["nettailor", "91.00 ± 1.41", "-4.00 ± 1.41", "50.00", "40.00", "10.00", "7", "12"]
    assert "seeds 0, 1" in str(table.caption)


def test_a_curve_marks_the_chosen_network() -> None:
    table = front_table(fabricated.front())
    found = rows(table)
    assert [row[0] for row in found] == ["", "*", ""]
    assert found[1] == ["*", "1.20", "60%", "600", "10.0%", "5", "1", "91.00%", "93.00%", "-2.00"]
    assert table.title == "birds over tiny: teacher 95.00% on test"


def test_a_model_is_shown_part_by_part_with_the_proxies_beside_each_block(backbone: Backbone) -> None:
    summary = summarize(backbone, Plan(2, "conv1x1"))
    table = summary_of_model_table(summary)
    found = rows(table)
    assert [row[0] for row in found] == [part.key for part in summary.parts]
    assert headings(table)[-2:] == ["from l-1", "from l-2"]
    assert [len([cell for cell in row[8:] if cell]) for row in found] == [0, 1, 2, 2, 2, 2, 2, 0]
    block = summary.parts[1]
    assert found[1][2] == "x".join(map(str, block.input))
    assert found[1][8] == f"1x1 {block.proxies[0].macs / block.macs:.0%}"
    assert "6 universal blocks" in str(table.title)


def test_a_cost_table_shows_times_and_shares() -> None:
    whole = WholeCost(ms=4.0, iqr_ms=0.1, stem_ms=1.0, head_ms=0.5, sum_of_parts_ms=4.4)
    paths = [
        PathCost("G1", "universal", "layer1.0", 2_000_000, 100, 2.0, 0.05),
        PathCost("A0-1", "conv1x1", "layer1.0", 200_000, 10, 0.5, 0.01),
        PathCost("G2", "universal", "layer1.1", 0, 100, 0.9, 0.05),
    ]
    table = costs_table(CostTable("tiny", "x", 16, 1, 2, "cpu", whole, paths, {}))
    assert rows(table) == [
        ["", "stem", "", "1.000", "", "25.0%", ""],
        ["G1", "layer1.0", "2.00", "2.000", "0.050", "50.0%", "10%, 25%"],
        ["G2", "layer1.1", "0.00", "0.900", "0.050", "22.5%", ""],
        ["", "head", "", "0.500", "", "12.5%", ""],
    ]
    assert table.title == "tiny at 16 px, batch 1, cpu, 2 threads"
    assert "the sum of its parts 4.400 ms, +10 %" in str(table.caption)


def test_a_graph_is_shown_layer_by_layer_with_what_is_removed(backbone: Backbone) -> None:
    net = fabricated.pruned(backbone)
    graph = BlockGraph.of(net)
    found = rows(graph_table(graph, backbone, "birds"))
    assert [row[0] for row in found] == [str(layer) for layer in range(1, 7)]
    gates = {path.key: data["gate"] for path, data in graph.edges()}
    assert found[1][4:] == [f"{gates['G2']:.2f}", ""]
    assert found[2][3:] == ["", "[dim]removed[/dim]", f"from x_2 ({gates['A2-3']:.2f})"]
    assert backbone.block_names[2] in found[2][1]
    assert found[0][2] == " x ".join(map(str, backbone.shapes[1]))


@pytest.mark.parametrize(("now", "shown"), [(6.0, "+50 %"), (4.0, "+0 %"), (1.0, "-75 %")])
def test_time_is_set_against_the_teachers(now: float, shown: str) -> None:
    report = fabricated.report()
    slower = replace(report, compact=replace(report.compact, latency_ms=now))
    assert rows(report_table(slower))[4][3] == shown


def test_what_tasks_weigh_has_a_row_for_each_method_that_ends_with_a_delta() -> None:
    assert weight_table(fabricated.board()) is None, "boards of older versions do not say"
    mib = 2**20
    shared = Shared([5.5 * mib, 7.5 * mib, 15 * mib], 4), Shared([1.5 * mib, 4 * mib, 12 * mib], 2)
    weight = TasksWeight([1, 5, 20], 0.5 * mib, 1.75 * mib, True, *shared, [1.75 * mib, 8.75 * mib, 35 * mib])
    never = Shared([2.5 * mib, 4.5 * mib, 12 * mib], None)
    board = fabricated.board()
    teacher, ours = board.rows
    old = replace(weight, folded=False, blocks=None)
    alone = replace(weight, backbone=never, blocks=never)
    rows_of = [replace(ours, weight=one) for one in (weight, old, alone)]
    table = weight_table(replace(board, rows=[teacher, *rows_of]))
    assert table is not None
    assert table.title == "MiB of 1 / 5 / 20 tasks"
    assert rows(table) == [
        ["nettailor", "5.50 / 7.50 / 15.00", "1.50 / 4.00 / 12.00", "1.75 / 8.75 / 35.00", "4 / 2"],
        ["nettailor", "5.50 / 7.50 / 15.00", "", "at most 1.75 / 8.75 / 35.00", "at least 4"],
        ["nettailor", "2.50 / 4.50 / 12.00", "2.50 / 4.50 / 12.00", "1.75 / 8.75 / 35.00", "never"],
    ]
