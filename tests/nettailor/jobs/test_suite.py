"""Pictures go through several tasks of a suite; a bad one costs the others nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from blocks import InputSpec
from nettailor.data.gather import gather
from nettailor.jobs.suite import best, predict, tasks_named


class Fixed:
    """Stands for a suite of two tasks whose logits are known."""

    spec = InputSpec(16, (0.5,) * 3, (0.25,) * 3)

    def classes(self, task: str) -> list[str]:
        return ["cat", "dog", "emu"] if task == "birds" else ["on", "off"]

    def __call__(self, images: Tensor, tasks: list[str]) -> dict[str, Tensor]:
        assert images.shape == (1, 3, 16, 16)
        assert images.dtype == torch.uint8
        known = {"birds": torch.tensor([[0.0, 2.0, 1.0]]), "lamps": torch.tensor([[1.0, 0.0]])}
        return {task: known[task] for task in tasks}


def test_every_picture_has_an_answer_of_every_task_or_what_is_wrong_with_it(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    pictures = gather([tmp_path / "a.png", tmp_path / "none.png", tmp_path])
    one, bad, two = predict(Fixed(), ["lamps", "birds"], pictures, 2)  # type: ignore[arg-type]
    assert one == two
    assert isinstance(one, dict)
    assert list(one) == ["lamps", "birds"]
    assert [label for label, _ in one["birds"]] == ["dog", "emu"]
    assert one["lamps"][0] == ("on", pytest.approx(0.7311, abs=1e-4))
    assert bad == "can't be read (No such file or directory)"


def test_at_most_all_classes_are_named() -> None:
    assert [label for label, _ in best(torch.tensor([1.0, 3.0]), ["a", "b"], 9)] == ["b", "a"]


@pytest.mark.parametrize(
    ("words", "names"), [("all", None), ("a", ["a"]), ("b, a", ["b", "a"]), ("a,a", ["a"]), ("a,all", ["a", "all"])]
)
def test_tasks_are_named_with_commas(words: str, names: list[str] | None) -> None:
    assert tasks_named(words) == names
