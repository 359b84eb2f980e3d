"""`nettailor compare`: the cells of a board, what is not run again, and what the board says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nettailor.artifacts.board import Board, Figure
from nettailor.artifacts.pareto import Front
from nettailor.artifacts.report import Report
from nettailor.artifacts.weight_of_tasks import weigh
from nettailor.methods import names
from nettailor.methods.paper import Paper
from tests.conftest import CommandLine
from tests.tiny import QUICK

WORDS = (*QUICK, "prune.shrink=0.6")


@pytest.mark.slow
def test_a_board_is_made_once_and_grows_by_seeds(nettailor: CommandLine, digit_folder: Path) -> None:
    methods = "finetune,nettailor,shallow,linear,batch_norm,adapters"
    words = ("compare", "--data", digit_folder, "--methods", methods, "--out", "b", *WORDS)
    status, said, _ = nettailor(*words)
    assert status == 0
    for method in methods.split(","):
        assert method in said
    assert "MiB of 1 / 5 / 20 tasks" in said
    before = {path: path.stat().st_mtime_ns for path in Path("b").rglob("report.json")}
    assert len(before) == 6
    status, said, _ = nettailor(*words, "--seeds", "2")
    assert status == 0
    assert said.count("finished already") == 6
    assert {path: path.stat().st_mtime_ns for path in before} == before
    board = Board.read(Path("b/board.json"))
    assert board.seeds == [0, 1]
    assert (Path("b/board.png")).read_bytes().startswith(b"\x89PNG")
    reports = {m: [Report.read(Path(f"b/seed-{s}/{m}/report.json")) for s in (0, 1)] for m in methods.split(",")}
    for method, (one, other) in reports.items():
        row = board.row(method)
        assert row is not None
        values = [one.compact.test_accuracy, other.compact.test_accuracy]
        assert row.test_accuracy == Figure.of(values)
        assert row.macs.mean == pytest.approx((one.compact.macs + other.compact.macs) / 2 / board.backbone_macs)
        assert row.seeds == 2
        assert row.weight == weigh([one, other])
        assert row.weight.folded
        assert row.weight.blocks is not None
        if one.teacher is not None:
            assert one.teacher.test_accuracy == reports["finetune"][0].compact.test_accuracy


@pytest.mark.slow
def test_each_method_counts_what_it_owns(nettailor: CommandLine, digit_folder: Path) -> None:
    methods = "finetune,nettailor,shallow,linear,batch_norm,adapters"
    assert nettailor("compare", "--data", digit_folder, "--methods", methods, "--out", "b", *WORDS)[0] == 0
    found = {m: Report.read(Path(f"b/seed-0/{m}/report.json")) for m in methods.split(",")}
    whole = found["finetune"].backbone
    classifier = 4 * (128 + 1)
    assert found["linear"].compact.task_params == classifier
    assert classifier < found["batch_norm"].compact.task_params < found["adapters"].compact.task_params < whole.params
    assert found["finetune"].compact.task_params == found["finetune"].compact.params
    shallow, ours = found["shallow"].compact, found["nettailor"].compact
    assert shallow.macs >= ours.macs, "at least as large as ours"
    assert shallow.task_params == shallow.params < whole.params
    for report in found.values():
        net = report.compact
        assert net.shared_params is not None
        assert sum(net.shared_params.values()) == net.params - net.task_params
        assert net.private_params is not None
        assert 0.8 * net.params < net.private_params < net.params, "folded: norms are in the kernels"
    for method in ("linear", "batch_norm", "adapters"):
        assert found[method].compact.macs == found["finetune"].compact.macs
        assert found[method].epochs == {method: 1}
        assert found[method].teacher is None, "what needs no teacher trains none"
    ours_teacher = found["nettailor"].teacher
    assert ours_teacher is not None
    assert ours_teacher.test_accuracy == found["finetune"].compact.test_accuracy, "one teacher for all"
    assert (ours_teacher.macs, ours_teacher.params) == (
        found["finetune"].compact.macs,
        found["finetune"].compact.params,
    )
    assert len({report.data.sha256 for report in found.values()}) == 1, "the same pictures for all"


@pytest.mark.slow
def test_the_papers_network_is_met_on_our_curve(
    nettailor: CommandLine, digit_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    student = {**Paper.defaults["student"], "epochs": 1, "batch": 16}
    prune = {**Paper.defaults["prune"], "epochs": 1, "remove": (1, 2), "proxies_below": 0.001}
    monkeypatch.setattr(Paper, "defaults", {**Paper.defaults, "student": student, "prune": prune})
    words = ("--data", digit_folder, "--methods", "nettailor,paper", "--out", "b", *WORDS)
    assert nettailor("compare", *words)[0] == 0
    board = Board.read(Path("b/board.json"))
    paper = Report.read(Path("b/seed-0/paper/report.json"))
    front = Front.read(Path("b/seed-0/nettailor/front.json"))
    cheap = [point for point in front.points if point.macs <= paper.compact.macs]
    row = board.row("nettailor at the paper's MACs")
    assert (row is not None) == bool(cheap)
    if row is not None:
        assert row.macs.mean <= paper.compact.macs / board.backbone_macs
        assert row.test_accuracy.mean == max(cheap, key=lambda point: point.macs).test_accuracy


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--methods", "magic"], f"there is no method 'magic'; there are {', '.join(names())}"),
        (["--methods", "finetune,shallow"], "shallow: takes its size and passes from nettailor's run"),
        (["--seeds", "0"], "--seeds: must be at least 1"),
        (["--recipe", "three_tasks"], "has several tasks, a board has one"),
    ],
)
def test_bad_input(nettailor: CommandLine, words: list[str], says: str) -> None:
    assert says in nettailor.fails("compare", *words, status=2)
    assert list(Path().iterdir()) == []
