"""The card says for whom, over what and how well, and how to use the delta."""

from __future__ import annotations

from nettailor.artifacts.model_card import model_card
from tests import fabricated


def rows(card: str) -> dict[str, list[str]]:
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if line.startswith("|")
    ]
    return {name: values for name, *values in cells}


def test_the_card_holds_the_figures_of_teacher_and_compact_net() -> None:
    card = model_card(fabricated.report(), fabricated.CLASSES)
    assert card.startswith("# birds\n")
    assert "over the backbone `tiny` (sha256 `abababababababab...`), by the method `nettailor`" in card
    assert "3 classes: cat, dog, emu." in card
    assert "Measured on 20 test pictures; trained on 48, chosen by 24; seed 3." in card
    found = rows(card)
    assert found[""] == ["teacher", "compact net"]
    assert found["test accuracy"] == ["0.9500", "0.9450"]
    assert found["M MACs"] == ["2.00", "1.20 (40% of the backbone's gone)"]
    assert found["parameters"] == ["1,000", "700"]
    assert found["of these this task's own"] == ["1,000", "250"], "all of the teacher is the task's"
    assert found["universal blocks"] == ["6", "4 (and 2 proxies)"]


def test_a_method_without_a_teacher_has_one_column() -> None:
    found = rows(model_card(fabricated.without_teacher(), fabricated.CLASSES))
    assert found[""] == ["network"]
    assert {len(values) for values in found.values()} == {1}
    assert found["test accuracy"] == ["0.9450"]


def test_many_classes_are_cut_short() -> None:
    names = [f"class {n}" for n in range(15)]
    card = model_card(fabricated.report(), names)
    assert "15 classes: class 0, class 1, " in card
    assert "class 11 and 3 more." in card
    assert "class 12" not in card
    assert "class 11.\n" in model_card(fabricated.report(), names[:12])
