"""Cost tables: what is measured, how it is kept, and that penalty and pruning count in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blocks import Backbone, Plan, TailoredNet, latency
from blocks.adapters import Adapted
from blocks.layer_types import is_norm
from nettailor.artifacts.cost_table import CostTable, architecture, cost_model, measure_costs
from nettailor.errors import FileError
from nettailor.pruning.graph import BlockGraph
from nettailor.training.losses import expected_complexity
from tests import tiny
from tests.conftest import CommandLine
from tests.tiny import QUICK

PLAN = Plan(skips=2, proxies="conv1x1", gates="independent")


@pytest.fixture
def table(backbone: Backbone) -> CostTable:
    return measure_costs(backbone, PLAN, batch=2, threads=1, device=torch.device("cpu"), rounds=5)


def test_every_path_is_measured_and_the_table_survives_its_file(
    backbone: Backbone, table: CostTable, tmp_path: Path
) -> None:
    student = TailoredNet(backbone, 2, PLAN)
    assert [row.key for row in table.paths] == [path.key for path in student.paths]
    assert all(row.ms > 0 and row.iqr_ms >= 0 for row in table.paths)
    for row, path in zip(table.paths, student.paths, strict=True):
        assert (row.macs, row.params) == (student.costs[path].macs, student.costs[path].params)
    assert table.whole.sum_of_parts_ms == pytest.approx(
        sum(row.ms for row in table.paths if row.form == "universal") + table.whole.stem_ms + table.whole.head_ms
    )
    table.write(tmp_path / "costs.json")
    assert CostTable.read(tmp_path / "costs.json") == table


def test_blocks_are_timed_as_a_compact_net_runs_them(monkeypatch: pytest.MonkeyPatch, backbone: Backbone) -> None:
    """Merged and folded: what is timed for the default student has neither low-rank weights nor norms of its own."""
    timed: dict[str, torch.nn.Module] = {}
    real = latency.time_modules

    def note(modules, *settings, **more):  # type: ignore[no-untyped-def]
        timed.update({name: module for name, (module, _) in modules.items()})
        return real(modules, *settings, **more)

    monkeypatch.setattr(latency, "time_modules", note)
    rich = replace(PLAN, batch_norm="affine", rank=2)
    assert any(isinstance(part, Adapted) for part in TailoredNet(backbone, 2, rich).modules())
    table = measure_costs(backbone, rich, batch=1, threads=1, device=torch.device("cpu"), rounds=1)
    assert set(timed) == {"stem", "head", "whole", *(row.key for row in table.paths)}
    for name, module in timed.items():
        assert not any(isinstance(part, Adapted) or is_norm(part) for part in module.modules()), name


def test_a_width_that_was_chosen_is_measured_for_its_student_alone(backbone: Backbone) -> None:
    plan = Plan(skips=1, proxies="auto")
    student = TailoredNet(backbone, 2, plan)
    key = student.paths[-1].key
    student.reform({key: "thinned_half"})
    usual, own = (
        measure_costs(backbone, plan, 1, 1, torch.device("cpu"), rounds=1, forms=forms)
        for forms in (None, {key: "thinned_half"})
    )
    with pytest.raises(
        FileError, match=f"has no thinned_half {key}; its width was chosen for this student: leave cost"
    ):
        cost_model(student, "latency", usual)
    assert set(cost_model(student, "latency", own).paths) == set(student.paths)


def test_penalty_and_graph_count_in_the_unit_that_is_asked_for(backbone: Backbone, table: CostTable) -> None:
    student = TailoredNet(backbone, 2, PLAN)
    gates = student.gates().detach()
    by_macs = expected_complexity(student, gates, "exact")
    for unit in ("macs", "params", "latency"):
        found = cost_model(student, unit, table)  # type: ignore[arg-type]
        student.use_cost_model(found)
        universal = [path for path in student.paths if path.is_universal]
        assert sum(float(student.cost_matrix[path.place]) for path in universal) == pytest.approx(1)
        assert BlockGraph.of(student).price() == pytest.approx(sum(found.paths.values()))
        if unit == "macs":
            assert torch.equal(expected_complexity(student, gates, "exact"), by_macs)
        else:
            assert not torch.allclose(expected_complexity(student, gates, "exact"), by_macs)
    key = {row.key: row.ms for row in table.paths}
    assert all(student.cost_model.paths[path] == key[path.key] for path in student.paths)


def test_a_table_of_another_network_is_refused(backbone: Backbone, table: CostTable) -> None:
    with pytest.raises(FileError, match=r"t.json: was measured on tiny at 16 px, not on this tiny at 32 px"):
        cost_model(TailoredNet(tiny.tiny_backbone(32), 2, PLAN), "latency", table, "t.json")
    with pytest.raises(FileError, match=r"has no bottleneck A0-1; .* --skips 2 --proxies bottleneck"):
        cost_model(TailoredNet(backbone, 2, replace(PLAN, proxies="bottleneck")), "latency", table, "t.json")
    with pytest.raises(FileError, match=r"has no conv1x1 A0-3"):
        cost_model(TailoredNet(backbone, 2, replace(PLAN, skips=3)), "latency", table, "t.json")


def test_the_architecture_is_known_whatever_its_weights() -> None:
    one, other = tiny.tiny_backbone(), tiny.tiny_backbone()
    with torch.no_grad():
        next(iter(other.tensors().values())).add_(1)
    assert architecture(one) == architecture(other)
    assert architecture(one) != architecture(tiny.tiny_backbone(32))


@pytest.mark.slow
def test_profile_writes_a_table_that_a_run_counts_in(nettailor: CommandLine, digit_folder: Path) -> None:
    status, out, _ = nettailor("profile", "resnet34_tiny", "--rounds", "3", "--threads", "1", "--out", "slow.json")
    assert status == 0
    assert "layer4.2" in out
    assert "the sum of its parts" in out
    table = json.loads(Path("slow.json").read_text())
    assert (table["format"], table["batch"], table["threads"], table["input_size"]) == (1, 1, 1, 32)
    for row in table["paths"]:
        row["ms"] = 1000.0 if row["key"] in ("G5", "G9") else 1.0  # as if measured on a device that is slow there
    Path("slow.json").write_text(json.dumps(table))
    words = ("--data", digit_folder, "cost=latency", "cost_table=slow.json", *QUICK)
    assert nettailor("adapt", *words, "--out", "run", "prune.how=tolerance")[0] == 0
    report = json.loads(Path("run/report.json").read_text())
    assert report["prune"]["cost"] == "latency"
    trials = report["prune"]["trials"]
    assert all(trial["price"] < trial["macs"] for trial in trials)
    assert {"G5", "G9"} & set(trials[0]["removed"]), "half of the price is in one of them"


@pytest.mark.slow
def test_a_run_without_a_table_measures_its_own_and_keeps_it(nettailor: CommandLine, digit_folder: Path) -> None:
    assert nettailor("adapt", "--data", digit_folder, "--out", "run", "cost=latency", *QUICK)[0] == 0
    assert CostTable.read(Path("run/costs.json")).backbone == "resnet34_tiny"


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["profile", "resnet34_tiny", "--batch", "0"], 2, "--batch: must be at least 1"),
        (["profile", "resnet34_tiny", "--proxies", "conv1"], 2, "did you mean 'conv1x1'"),
        (["adapt", "cost=latency", "cost_table=nowhere.json"], 1, "nowhere.json: "),
        (["adapt", "cost_table=nowhere.json"], 2, "cost_table: is read where cost is latency"),
        (["adapt", "prune.how=budget"], 2, "prune.budget: is missing"),
        (["adapt", "cost=time"], 2, "cost: input should be 'macs', 'params' or 'latency'"),
        (["adapt", "student.proxies=conv3x3"], 2, "there is no 'conv3x3'"),
        (["adapt", "student.proxies=nowhere:thing"], 2, "'nowhere:thing' can't be imported"),
    ],
)
def test_bad_input(nettailor: CommandLine, words: list[str], status: int, says: str) -> None:
    assert says in nettailor.fails(*words, status=status)
    assert list(Path().iterdir()) == []


def test_an_unfit_table_is_refused_before_any_training(nettailor: CommandLine, digit_folder: Path) -> None:
    words = ("--rounds", "1", "--skips", "1", "--out", "short.json")
    assert nettailor("profile", "resnet34_tiny", *words)[0] == 0
    said = nettailor.fails("adapt", "--data", digit_folder, "cost=latency", "cost_table=short.json", "--out", "run")
    assert "short.json: has no conv1x1 A0-2; measure anew with nettailor profile --skips 3 --proxies auto" in said
    assert list(Path("run").rglob("*.safetensors")) == []


@pytest.mark.slow
@pytest.mark.alone
def test_the_parts_of_a_resnet18_add_up_to_its_time() -> None:
    from nettailor.backbones.load import load_backbone

    backbone = load_backbone("torchvision/resnet18", None, 224, untrained=True)
    whole = measure_costs(backbone, Plan(skips=1), 1, torch.get_num_threads(), torch.device("cpu")).whole
    assert whole.sum_of_parts_ms == pytest.approx(whole.ms, rel=0.15)
