"""docs/evidence.md: which cells there are, in which order they run, what is published, and what the page says of it."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nettailor.artifacts import delta
from nettailor.artifacts.confusion import Confusion
from nettailor.backbones.load import load_backbone
from nettailor.errors import FileError, UsageError
from nettailor.files import write_json
from nettailor.jobs.recipe import parse_recipe
from nettailor.jobs.study_cells import plan
from nettailor.jobs.study_file import read_study
from recipes.evidence import _transfer_cells, transfer
from recipes.evidence._transfer_cells import Cell, Made, seed_major
from recipes.evidence._transfer_claims import Claim, Group, judge
from recipes.evidence._transfer_figures import (
    BESIDE,
    PROBE,
    TEST,
    BestOf,
    Metric,
    Runs,
    figure,
    recall_of,
    until_as_good_as,
)
from recipes.evidence._transfer_page import page
from recipes.evidence._transfer_publish import differs, publish
from recipes.evidence._transfer_rates import GRID, all_rate_cells, chosen_rates
from recipes.evidence._transfer_table import groups
from recipes.evidence.transfer import plan_of
from tests.fabricated import without_teacher

DOCS = Path(__file__).parents[3] / "docs"
RATES = {"sgd": 0.01, "adamw": 1e-3}
OURS, OTHER = Cell("ours", "finetune"), Cell("other", "finetune")


def all_cells() -> dict[str, Cell]:
    cells = [*all_rate_cells(), *(cell for group in groups().values() for cell in group.cells)]
    return {cell.key: cell for cell in cells}


def finished(out: Path, cell: Cell, tests: list[float], vals: list[float] | None = None) -> None:
    """Fabricated reports of a cell, one for each seed, of 150 validation pictures."""
    for seed, test in enumerate(tests):
        made = without_teacher(cell.method)
        made = replace(made, data=replace(made.data, val=150))
        net = replace(made.compact, test_accuracy=test, val_accuracy=(vals or tests)[seed], balanced_accuracy=test)
        replace(made, task=cell.data, seed=seed, compact=net).write(cell.folder(out, seed).report)


def beside(out: Path, cell: Cell, vals: list[float], source_pictures: int = 0, probe: float = 0.5) -> None:
    """A fabricated record of the first seed: validation accuracy after every pass."""
    passes: list[dict[str, Any]] = [{"number": 0, "val_accuracy": None, "source_pictures": 0, "seconds": 0.0}]
    for number, val in enumerate(vals, 1):
        passes.append(
            {
                "number": number,
                "val_accuracy": val,
                "source_pictures": number * source_pictures,
                "seconds": 3.0 * number,
            }
        )
    record = {"source": None, "probe": {"accuracy_after": probe}, "passes": passes}
    write_json(cell.folder(out, 0).root / BESIDE, record)


def test_every_cell_is_a_recipe_and_a_name_stands_for_one(tmp_path: Path) -> None:
    seen: dict[str, Cell] = {}
    checked = 0
    for cell in [*all_rate_cells(), *(cell for group in groups().values() for cell in group.cells)]:
        assert seen.setdefault(cell.key, cell) == cell
        recipe = cell.recipe(2, tmp_path, tmp_path, RATES, 20)
        held = recipe.seed, recipe.machine.threads, recipe.teacher.start, recipe.prune.cut
        assert held == (2, 1, "fresh", "fade")
        assert recipe.teacher.epochs == 20 * cell.longer
        assert (cell.longer > 1) == ("twice-as-long" in cell.name), "all others have the same passes"
        assert recipe.teacher.lr == (RATES[cell.rate] if cell.rate else cell.settings["teacher.lr"])
        assert recipe.find_method().check(recipe) is None
        checked += 1
    assert checked > 150


def test_the_studies_are_studies_of_this_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("gtsrb", "omniglot242", "cifar10_jpeg", "dtd10", "tiny_imagenet_40"):
        (tmp_path / f"{name}.zip").touch()
    file = DOCS / "evidence" / "studies" / "pairs.yaml"
    found = plan(read_study(file, {"teacher": {"lr": 0.004}}), tmp_path / "sources", str(file))
    assert len(found) == 5 * 3 * 3, "fine-tuned, a probe and from scratch"
    assert {cell.recipe.teacher.lr for cell in found} == {0.004}
    sources = read_study(DOCS / "evidence" / "studies" / "sources.yaml")
    assert sources.axes() == {"source_classes": [25, 50, 100, 200], "seed": [0]}
    assert sources.pretrain.total == 25 * 300


def test_the_groups_stand_in_the_order_in_which_they_may_be_cut_short() -> None:
    names = ["scaling", "kind", "not_wide", "via", "forgetting", "kept", "soft", "bias", "factors", "teachers"]
    assert list(groups()) == names
    order = [(cell.name, seed) for cell, seed in seed_major([OURS, replace(OTHER, seeds=1)], 2)]
    assert order == [("ours", 0), ("other", 0), ("ours", 1)]


def test_rows_of_plain_fine_tuning_have_four_depths_and_both_optimisers() -> None:
    cells = all_cells()
    for depth, layer in {"new": "new", "top": 16, "top2": 15, "all": "all"}.items():
        cell = cells[f"gtsrb/plain-{depth}-sgd"]
        assert cell.settings["method.tune_from"] == layer
        assert (cell.settings["method.optimizer"], cell.settings["method.new_lr"], cell.seeds) == ("sgd", 10, 3)
    assert cells["gtsrb/plain-all-adamw"].settings["method.optimizer"] == "training"
    assert "omniglot242/plain-all-sgd" in cells


@pytest.mark.parametrize(("near", "taken"), [(0.88, 3), (0.87, 2)])
def test_the_lowest_rate_within_one_error_of_the_best_is_taken_when_all_have_run(
    tmp_path: Path, near: float, taken: int
) -> None:
    cells = [cell for cell in all_rate_cells() if "-sgd-" in cell.name]
    for cell, accuracy in zip(cells[:-1], (0.8, 0.9, 0.89, near, 0.5), strict=True):
        finished(tmp_path, cell, [0.1], [accuracy])
    assert chosen_rates(tmp_path) == {}
    finished(tmp_path, cells[-1], [0.99], [0.6])
    assert chosen_rates(tmp_path) == chosen_rates(tmp_path / "fresh", tmp_path) == {"sgd": GRID["sgd"][taken]}


@pytest.mark.parametrize(
    ("ours", "published", "below", "word"),
    [
        ([0.80, 0.82, 0.81], "yes", False, "agrees"),
        ([0.80, 0.82, 0.81], "yes", True, "disagrees"),
        ([0.60, 0.62, 0.61], "yes", False, "disagrees"),
        ([0.60, 0.62, 0.61], "yes", True, "agrees"),
        ([0.60, 0.62, 0.61], "", False, "shown: below"),
        ([0.80, 0.82, 0.81], "", False, "shown: above"),
        ([0.60, 0.90, 0.71], "yes", False, "not shown"),
        ([0.99], "yes", False, "not shown"),
        ([], "yes", False, "not run"),
    ],
)
def test_verdicts(tmp_path: Path, ours: list[float], published: str, below: bool, word: str) -> None:
    finished(tmp_path, OURS, ours)
    finished(tmp_path, OTHER, [0.70, 0.71, 0.72])
    found = judge(Claim("a claim", OURS, OTHER, published, below=below), Runs(tmp_path), 3)
    assert found.word == word
    assert found.seeds == list(range(len(ours)))
    if ours:
        assert found.difference is not None
        pairs = zip(ours, (0.70, 0.71, 0.72), strict=False)
        assert found.difference.mean == pytest.approx(sum(100 * (a - b) for a, b in pairs) / len(ours))


def test_the_best_of_several_is_chosen_on_validation_seed_by_seed(tmp_path: Path) -> None:
    finished(tmp_path, OURS, [0.5, 0.6], [0.9, 0.1])
    finished(tmp_path, OTHER, [0.7, 0.4], [0.2, 0.8])
    either, runs = BestOf("either", (OURS, OTHER)), Runs(tmp_path)
    assert [figure(TEST, either, runs, seed) for seed in range(3)] == [pytest.approx(50), pytest.approx(40), None]


def test_passes_are_counted_until_validation_is_as_good_as_plains_at_its_end(tmp_path: Path) -> None:
    for cell, vals, pictures in ((OTHER, [0.3, 0.7, 0.6], 0), (OURS, [0.2, 0.5, 0.65], 10)):
        finished(tmp_path, cell, [0.5])
        beside(tmp_path, cell, vals, pictures)
    late = Cell("late", "finetune")
    finished(tmp_path, late, [0.5])
    beside(tmp_path, late, [0.1, 0.2, 0.59])
    metrics, runs = until_as_good_as(OTHER), Runs(tmp_path)
    train = without_teacher().data.train
    assert [metric.read(runs, OTHER, 0) for metric in metrics] == [2, 2 * train, 6]
    assert [metric.read(runs, OURS, 0) for metric in metrics] == [3, 3 * train + 30, 9]
    assert [metric.read(runs, late, 0) for metric in metrics] == [None, None, None]
    group = Group("Soft", "claimed", "ran", [OTHER, late], columns=metrics[:1])
    assert "| gtsrb/late | finetune sgd | none | 1 of 3 |" in page({"soft": group}, runs)


def test_what_is_faster_in_some_seeds_and_never_gets_there_in_another_is_not_shown_to_be_faster(tmp_path: Path) -> None:
    finished(tmp_path, OURS, [0.5, 0.5, 0.5])
    finished(tmp_path, OTHER, [0.5, 0.5, 0.5])
    reached: dict[tuple[str, int], float | None] = {(OTHER.name, seed): 9.0 for seed in range(3)}
    reached |= {(OURS.name, 0): 2.0, (OURS.name, 1): 2.01, (OURS.name, 2): None}
    metric = Metric("passes", lambda runs, cell, seed: reached[cell.name, seed])
    claim, runs = Claim("faster", OURS, OTHER, "yes", metric, below=True), Runs(tmp_path)
    found = judge(claim, runs, 3)
    assert (found.word, found.seeds, found.without) == ("not shown", [0, 1], (2,))
    text = page({"soft": Group("Soft", "claimed", "ran", [OURS, OTHER], [claim])}, runs)
    assert "| 2 of 3: the others never reach it | **not shown** |" in text
    reached[OURS.name, 2] = 2.02
    assert judge(claim, runs, 3).word == "agrees"
    reached |= {(OURS.name, seed): None for seed in range(3)}
    assert judge(claim, runs, 3).word == "not shown"


def test_recall_and_probe_come_from_the_files_beside_the_report(tmp_path: Path) -> None:
    finished(tmp_path, OURS, [0.5])
    Confusion("signs", ["a", "b"], [[3, 1], [0, 4]]).write(OURS.folder(tmp_path, 0).confusion)
    runs = Runs(tmp_path)
    assert recall_of("a").read(runs, OURS, 0) == 75
    with pytest.raises(FileError, match=r"source\.json"):
        PROBE.read(runs, OURS, 0)
    beside(tmp_path, OURS, [0.4], probe=0.25)
    assert PROBE.read(runs, OURS, 0) == 25


def test_the_page_says_what_ran_and_lists_what_did_not(tmp_path: Path) -> None:
    missing, part = Cell("missing", "finetune"), Cell("part", "finetune", {"method.new_lr": 1, "data.group": "a|b"})
    finished(tmp_path, OURS, [0.80, 0.82, 0.81])
    finished(tmp_path, OTHER, [0.70, 0.71, 0.72])
    finished(tmp_path, part, [0.5, 0.6])
    claims = [Claim("above", OURS, OTHER, "9 - 8"), Claim("more", part, missing, "5 - 4"), Claim("ours", part, OTHER)]
    group = Group(
        "Growth", "It grows.", "We grew.", [OURS, OTHER, missing, part], claims, {OURS.key: "9"}, record="w.json"
    )
    write_json(tmp_path / "w.json", {"top-1": 0.38, "passes": 100})
    said = page({"growth": group}, Runs(tmp_path))
    assert "| Growth | 8 of 12 | 2 | 1 | 0 | 0 | 1 |" in said
    assert "| gtsrb/ours | finetune sgd | 9 | 81.00 ± 1.00 | 3 |" in said
    assert "| gtsrb/part | finetune new_lr=1 data.group=a\\|b sgd |  | 55.00 ± 7.07 | 2 of 3 |" in said
    assert "| above: gtsrb/ours - gtsrb/other | 9 - 8 | +10.00 | +7.52 to +12.48 | 3 | agrees |" in said
    assert "| ours: gtsrb/part - gtsrb/other | ours | -15.50 | -72.68 to +41.68 | 2 | **not shown** |" in said
    assert "Not run: gtsrb/missing." in said
    assert "[w.json](evidence/w.json): top-1 0.38, passes 100." in said
    assert "more: " not in said, "a claim of cells that did not run is no row"
    assert "| sgd | 0.05 | not run |  |" in said


def test_a_claim_is_about_cells_of_its_group() -> None:
    with pytest.raises(AssertionError, match="gtsrb/other"):
        Group("Growth", "", "", [OURS], [Claim("above", OURS, OTHER)])


def test_only_runs_that_are_what_the_table_says_are_published(tmp_path: Path) -> None:
    out, docs, data = tmp_path / "runs", tmp_path / "docs", tmp_path / "data"
    for optimizer, rate in (("sgd", 0.01), ("adamw", 1e-3)):
        for cell in all_rate_cells():
            if f"-{optimizer}-" in cell.name:
                finished(out, cell, [0.5], [0.9 if cell.settings["teacher.lr"] == rate else 0.5])
                cell.recipe(0, out, data, {}, 20).write(cell.folder(out, 0).recipe)
    for cell, rates, epochs in ((OURS, RATES, 20), (OTHER, {"sgd": 0.05}, 20), (Cell("short", "finetune"), RATES, 3)):
        finished(out, cell, [0.5])
        cell.recipe(0, out, data, rates, epochs).write(cell.folder(out, 0).recipe)
        beside(out, cell, [0.5])
    cells = [OURS, OTHER, Cell("short", "finetune")]
    problems = publish([Group("Growth", "", "", cells)], out, docs, 20)
    assert len(problems) == 2
    assert "other/seed-0: not published: teacher.lr" in problems[0]
    assert "short/seed-0: not published: teacher.epochs" in problems[1]
    assert {path.name for path in docs.rglob("*.json")} == {"report.json"}
    assert Runs(docs).seeds(OURS) == [0]
    assert Runs(docs).seeds(OTHER) == []
    write_json(out / "w.json", {})
    assert publish([Group("Growth", "", "", [OURS], columns=(PROBE,), record="w.json")], out, docs, 20) == []
    assert (docs / "w.json").is_file()
    assert (OURS.folder(docs, 0).root / BESIDE).is_file()


def test_a_teachers_settings_that_were_left_at_their_defaults_are_no_difference(tmp_path: Path) -> None:
    cell = Cell("taught", "nettailor", {"teacher.method": "soft", "teacher.settings": {"new_lr": 10}}, rate="adamw")
    filled = cell.recipe(0, tmp_path, tmp_path, RATES, 20).as_dict()
    filled["teacher"]["settings"] |= {"until": 0.5}
    assert differs(cell, parse_recipe(filled, "here"), RATES, 20) == []
    filled["teacher"]["settings"] |= {"new_lr": 1.0}
    assert differs(cell, parse_recipe(filled, "here"), RATES, 20) == ["teacher.settings"]


def test_the_committed_page_is_what_its_raw_reports_say() -> None:
    assert page(groups(), Runs(DOCS / "evidence")) == (DOCS / "evidence.md").read_text(encoding="utf-8")


def test_wrong_use_is_told_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*words: str) -> str:
        with pytest.raises(UsageError) as error:
            transfer.main(list(words))
        return str(error.value)

    out = str(tmp_path / "runs")
    assert refused() == "--out: name the folder of the runs"
    assert "no group 'kinds'; did you mean 'kind'?" in refused("--out", out, "--only", "kinds")
    assert "--data: name the folder of gtsrb.zip" in refused("--out", out, "--only", "rates")
    assert "has no gtsrb.zip" in refused("--out", out, "--only", "rates", "--data", str(tmp_path))
    (tmp_path / "gtsrb.zip").touch()
    said = refused("--out", out, "--only", "factors", "--only", "kind", "--data", str(tmp_path))
    assert "has no omniglot242.zip" in said
    (tmp_path / "omniglot242.zip").touch()
    assert "the rate of sgd is not chosen yet" in refused("--out", out, "--only", "kind", "--data", str(tmp_path))
    assert not (tmp_path / "runs").exists()


def test_only_what_has_no_published_report_is_run_and_the_network_that_it_begins_with(tmp_path: Path) -> None:
    out, docs = tmp_path / "runs", tmp_path / "docs"
    first = Cell("first", "finetune", rate=None, seeds=1)
    cells = [first, Cell("second", "finetune", rate=None, seeds=1), Cell("third", "finetune", rate=None, begins=first)]
    for cell in cells[:2]:
        finished(docs / "evidence", cell, [0.5])
    options = Namespace(out=out, docs=docs, seeds=1, epochs=20, unpublished=True)
    assert list(plan_of({"some": cells}, options, tmp_path).cells) == ["gtsrb/first/seed-0", "gtsrb/third/seed-0"]
    assert list(plan_of({"some": cells[:2]}, options, tmp_path).cells) == []
    options.unpublished = False
    assert len(plan_of({"some": cells}, options, tmp_path).cells) == 3


def test_the_published_rates_hold_for_what_is_added_to_them_alone(tmp_path: Path) -> None:
    for cell in all_rate_cells():
        finished(tmp_path / "docs" / "evidence", cell, [0.5], [0.9 if "0.01" in cell.name else 0.5])
    options = Namespace(out=tmp_path / "runs", docs=tmp_path / "docs", seeds=1, epochs=20, unpublished=True)
    (job,) = plan_of({"some": [OURS]}, options, tmp_path).jobs
    assert job.recipe.teacher.lr == 0.01
    options.unpublished = False
    with pytest.raises(UsageError, match="the rate of sgd is not chosen yet"):
        plan_of({"some": [OURS]}, options, tmp_path)


def test_what_is_not_there_yet_is_skipped_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begins = Cell("unknown", "no_such_method", rate=None)
    cells = [begins, Cell("wide", "finetune", {"backbone.weights": Made("wide.safetensors")}, rate=None)]
    cells += [Cell("then", "finetune", rate=None, begins=begins)]
    monkeypatch.setattr(transfer, "groups", lambda: {"some": Group("Some", "", "", cells)})
    assert transfer.main(["--out", str(tmp_path), "--only", "some", "--data", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "gtsrb/unknown: skipped: this version has no method no_such_method" in said
    assert f"gtsrb/wide: skipped: {tmp_path / 'wide.safetensors'} is not made yet" in said
    assert "gtsrb/then: skipped: this version has no method no_such_method" in said


QUICK = {"teacher.batch": 16, "backbone.name": "tests.tiny:tiny_resnet", "backbone.input_size": 16}


def test_a_cell_runs_once_and_what_begins_with_it_has_its_weights(
    digit_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(_transfer_cells.DATA, "digits4", {"data.source": str(digit_folder)})
    first = Cell("first", "finetune", QUICK, "digits4", None, seeds=1)
    settings = {**QUICK, "teacher.lr": 1e-3}
    then = Cell("then", "finetune", settings, "digits4", None, seeds=1, begins=replace(first, settings=settings))
    refused = Cell("refused", "finetune", {"method.no_such_key": 1}, "digits4", None, seeds=1)
    cells = [then.begins or first, then, refused]
    monkeypatch.setattr(transfer, "groups", lambda: {"some": Group("Some", "", "", cells)})
    command = ["--out", str(tmp_path), "--data", str(tmp_path), "--only", "some", "--epochs", "1"]
    assert transfer.main(command) == 1
    assert "method.no_such_key: no such key" in capsys.readouterr().err
    reports = {cell.key: cell.folder(tmp_path, 0).report.read_bytes() for cell in cells[:2]}
    assert transfer.main(command) == 1
    assert capsys.readouterr().out.count("finished already; nothing to run") == 2
    assert reports == {cell.key: cell.folder(tmp_path, 0).report.read_bytes() for cell in cells[:2]}
    tuned = delta.load(first.folder(tmp_path, 0).root, load_backbone("tests.tiny:tiny_resnet", None, 16)).net
    begun = load_backbone("tests.tiny:tiny_resnet", then.weights(tmp_path, 0), 16)
    x = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        last = tuned.advance({0: tuned.stem(x)}, 0, tuned.depth)[tuned.depth]
        torch.testing.assert_close(begun.activations(x)[-2], last, rtol=1e-5, atol=1e-6)
