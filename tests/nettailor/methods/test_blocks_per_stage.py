"""The first blocks of every stage: which they are, and that their weights are the backbone's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from blocks import Backbone
from nettailor.data.task import Task
from nettailor.jobs.recipe import Recipe
from nettailor.methods._protocol import Context
from nettailor.methods.blocks_per_stage import METHOD, Settings
from nettailor.training.run import Run
from tests.conftest import CommandLine


def test_the_first_block_of_each_stage_is_kept_with_its_weights(backbone: Backbone, task: Task) -> None:
    """The tiny network has three stages of two blocks of one shape."""
    context = Context(Recipe(method=Settings(blocks=1)), backbone, task, Run(), None, "")  # type: ignore[arg-type]
    net = METHOD.build(context)
    assert [path.key for path in net.paths if path.is_universal] == ["G1", "G3", "G5"]
    assert [path.key for path in net.paths if not path.is_universal] == ["A1-2", "A3-4", "A5-6"], "an identity each"
    for layer in (1, 3, 5):
        for mine, theirs in zip(
            net.blocks[str(layer)].parameters(), backbone.blocks[layer - 1].parameters(), strict=True
        ):
            assert torch.equal(mine, theirs)
            assert mine is not theirs


@pytest.mark.parametrize("blocks", [1, 2])
def test_variants_keep_more_blocks(blocks: int) -> None:
    settings = {"": {}, **METHOD.variants}["two" if blocks == 2 else ""]
    assert Settings(**settings).blocks == blocks  # type: ignore[arg-type]


def test_a_backbone_without_blocks_to_leave_out_is_refused_before_training(
    nettailor: CommandLine, digit_folder: Path
) -> None:
    said = nettailor.fails(
        "adapt", "--data", digit_folder, "--method", "blocks_per_stage", "method.blocks=9", "--out", "run", status=2
    )
    assert "blocks_per_stage: no stage of resnet34_tiny has more than 9 block(s) of one shape" in said
