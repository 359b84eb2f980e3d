"""The curve of accuracy against cost: how it is put together, and which of its networks answers a wish."""

from __future__ import annotations

from pathlib import Path

import pytest

from nettailor.artifacts.pareto import Front, front_of
from nettailor.errors import FileError
from nettailor.files import read_json, write_json
from tests import fabricated
from tests.fabricated import point


@pytest.mark.parametrize(
    ("macs", "found"), [(2_000_000, 1_800_000), (1_200_000, 1_200_000), (1_199_999, 600_000), (1, None)]
)
def test_the_most_costly_network_within_some_macs(macs: int, found: int | None) -> None:
    best = fabricated.front().largest_within(macs)
    assert (best and best.macs) == found


@pytest.mark.parametrize(("accuracy", "found"), [(0.5, 600_000), (0.91, 1_200_000), (0.915, 1_800_000), (0.93, None)])
def test_the_leanest_network_is_judged_by_the_validation_split(accuracy: float, found: int | None) -> None:
    best = fabricated.front().leanest_as_accurate(accuracy)
    assert (best and best.macs) == found


def test_a_curve_holds_the_compact_net_in_the_place_of_the_step_it_came_from() -> None:
    report = fabricated.report()
    net = report.compact
    before_recovery = point(net.macs, 0.5, 0.5, params=net.params)
    as_costly = point(net.macs, 0.6, 0.6, params=net.params + 1)
    front = front_of(report, [point(600_000, 0.7, 0.72), before_recovery, as_costly, point(2_400_000, 0.92, 0.93)])
    assert [p.macs for p in front.points] == [2_400_000, net.macs, net.macs, 600_000], "the most costly first"
    (chosen,) = [p for p in front.points if p.chosen]
    assert (chosen.val_accuracy, chosen.test_accuracy) == (net.val_accuracy, net.test_accuracy)
    assert (chosen.params, chosen.task_params) == (net.params, net.task_params)
    assert (chosen.universal_blocks, chosen.proxies) == (net.universal_blocks_kept, net.proxies_kept)
    assert before_recovery not in front.points
    assert as_costly in front.points, "another network of as many MACs"
    assert (front.teacher_val_accuracy, front.teacher_test_accuracy) == (0.9, 0.95)
    assert (front.task, front.backbone, front.backbone_macs, front.seed) == ("birds", "tiny", 2_000_000, 3)


def test_a_curve_survives_its_file_and_an_empty_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "front.json"
    fabricated.front().write(path)
    assert Front.read(path) == fabricated.front()
    write_json(path, {**read_json(path), "points": []})
    with pytest.raises(FileError, match="points: .*is it a front of another version"):
        Front.read(path)
