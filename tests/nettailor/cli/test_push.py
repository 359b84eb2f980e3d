"""`nettailor push`, and a name on the hub wherever a run is asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from nettailor.jobs.recipe import parse_recipe
from tests import fabricated
from tests.conftest import CommandLine
from tests.extras import needs
from tests.fabricated import TINY

if TYPE_CHECKING:
    from tests.fake_hub import FakeHub

pytestmark = needs("huggingface_hub")


@pytest.fixture
def run(delta_folder: Path, tmp_path: Path) -> Path:
    made = tmp_path / "runs" / "birds"
    shutil.copytree(delta_folder, made / "task")
    parse_recipe({"data": {"source": "/home/ada/birds"}}, "here").write(made / "recipe.yaml")
    fabricated.report().write(made / "report.json")
    return made


def test_a_pushed_run_is_predicted_with_shown_and_evaluated_by_its_name(
    nettailor: CommandLine, run: Path, hub: FakeHub
) -> None:
    status, said, err = nettailor(
        "push", run, "user/birds", "--license", "mit", "--message", "first", "--revision", "v1"
    )
    assert (status, err) == (0, "")
    assert hub.commits[0][:3] == ("user/birds", "v1", "first")
    assert "https://huggingface.co/user/birds" in said
    assert "nettailor predict hf://user/birds@v1 PICTURE" in said
    for place in range(2):
        for label in fabricated.CLASSES:
            Path("pictures", label).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), "red").save(Path("pictures", label, f"{place}.png"))
    over = "hf://user/birds@v1", "--backbone", TINY
    assert nettailor("predict", *over, "pictures/cat") == nettailor("predict", run, *over[1:], "pictures/cat")
    assert nettailor("show", *over) == nettailor("show", run / "task", *over[1:])
    status, said, _ = nettailor("eval", *over, "--data", "pictures")
    assert status == 0
    assert said.startswith("hf://user/birds@v1: 0.3333 of 6 pictures right")
    assert "hf://user/birds@v1: is a delta and no run" in nettailor.fails("eval", *over, status=2)


def test_what_can_not_be_had_or_pushed_is_said_in_plain_lines(nettailor: CommandLine, run: Path, hub: FakeHub) -> None:
    assert "there is no such model" in nettailor.fails("predict", "hf://user/gone", "a.png")
    assert "is no name on the hub" in nettailor.fails("show", "hf://gone", status=2)
    assert "--license" in nettailor.fails("push", run, "user/birds", status=2)
    assert "is a delta without its run" in nettailor.fails("push", run / "task", "user/birds", "--license", "mit")
    hub.fails = ConnectionError("no route")
    assert "can't be reached" in nettailor.fails("push", run, "user/birds", "--license", "mit")


@pytest.mark.slow
def test_what_is_on_the_hub_is_exported_and_the_cache_stays_as_it_came(
    nettailor: CommandLine, run: Path, hub: FakeHub
) -> None:
    assert nettailor("push", run, "user/birds", "--license", "mit")[0] == 0
    for label in fabricated.CLASSES:
        Path("pictures", label).mkdir(parents=True)
        Image.effect_noise((16, 16), 50).convert("RGB").save(Path("pictures", label, "0.png"))
    over = "hf://user/birds", "--backbone", TINY, "--data", "pictures"
    status, said, err = nettailor("export", *over, "--to", "torch", "--raw", "--out", "birds.pt2")
    assert status == 0, err
    assert Path("birds.pt2").is_file()
    assert "the model card can't be written" in said
