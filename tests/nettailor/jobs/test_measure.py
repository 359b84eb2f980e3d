"""What a report counts (tests/recipes/test_adapt.py reads whole reports)."""

from __future__ import annotations

from blocks import TailoredNet
from nettailor.backbones.load import load_backbone
from nettailor.training.config import StudentConfig
from nettailor.training.stages import plan_of


def test_a_teacher_has_no_parameters_of_its_students() -> None:
    """On the digits' 10 classes 1,340,450, not the 1,341,262 with the low-rank weights of the student's stem."""
    backbone = load_backbone()
    teacher = backbone.teacher(10)
    student = TailoredNet(backbone, 10, plan_of(StudentConfig()))
    assert teacher.network_cost().params == 1_340_450
    assert teacher.network_cost().macs == student.fixed_cost().macs + sum(block.macs for block in backbone.block_costs)
