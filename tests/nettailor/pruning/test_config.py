"""Settings of pruning: the ways are those of the table that implements them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from nettailor.pruning.config import PruneConfig
from nettailor.pruning.ways import WAYS


def test_every_way_to_prune_is_a_choice_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [PruneConfig(how=how).how for how in WAYS] == list(WAYS)
    with pytest.raises(ValidationError, match="should be 'paper', 'tolerance' or 'budget'"):
        PruneConfig(how="magnitude")
    monkeypatch.setitem(WAYS, "magnitude", WAYS["budget"])
    assert PruneConfig(how="magnitude").how == "magnitude", "one more entry is one more choice"


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("shrink", 1.0),  # a round that leaves everything would never end
        ("shrink", 0.0),
        ("remove", ()),
        ("remove", (2, -1)),
        ("budget", 0.0),
        ("drop", -0.1),
        ("epochs", 0),
        ("measured_on", 0),
        ("importance", "random"),
    ],
)
def test_what_no_pruning_can_end_with_is_refused(setting: str, value: object) -> None:
    with pytest.raises(ValidationError, match=setting):
        PruneConfig(**{setting: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("measured_on", "keeps_features", "pictures"),
    [(None, False, 200), (None, True, 100), (7, False, 7), (300, True, 300)],
)
def test_losses_are_measured_on_fewer_pictures_where_every_round_measures_all(
    measured_on: int | None, keeps_features: bool, pictures: int
) -> None:
    assert PruneConfig(measured_on=measured_on).pictures_to_measure_on(keeps_features) == pictures
