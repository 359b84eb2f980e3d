"""Settings of the trainings: choices come from the tables that implement them."""

from __future__ import annotations

from dataclasses import fields

import pytest
from pydantic import ValidationError

from blocks import Plan
from blocks.complexity import FORMS
from blocks.gates import KINDS
from blocks.norms import POLICIES
from nettailor.training.config import RecoverConfig, StudentConfig, TeacherConfig, TrainingConfig
from nettailor.training.stages import plan_of


def test_every_entry_of_a_table_is_a_choice_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting, table in (("gates", KINDS), ("complexity", FORMS), ("batch_norm", POLICIES)):
        for name in table:
            assert getattr(StudentConfig(**{setting: name}), setting) == name
        with pytest.raises(ValidationError, match="should be .*"):
            StudentConfig(**{setting: "softmx"})
    with pytest.raises(ValidationError, match="third"):
        StudentConfig(gates="third")
    monkeypatch.setitem(KINDS, "third", KINDS["softmax"])
    assert StudentConfig(gates="third").gates == "third", "one more entry is one more choice"


def test_what_a_student_is_made_of_is_what_its_settings_say() -> None:
    config = StudentConfig(
        skips=1, proxies="identity", gates="independent", batch_norm="stats", rank=2, shared_prefix=3
    )
    plan = plan_of(config)
    assert plan == Plan(1, "identity", "independent", batch_norm="stats", rank=2, shared_prefix=3)
    same = {field.name for field in fields(Plan)} & {field.name for field in fields(StudentConfig)}
    assert same == {"skips", "proxies", "gates", "batch_norm", "rank", "shared_prefix"}


@pytest.mark.parametrize(
    ("kind", "setting", "value"),
    [
        (TeacherConfig, "batch", 1),  # a batch norm in training needs two values
        (StudentConfig, "batch", 1),
        (TeacherConfig, "epochs", 0),
        (TeacherConfig, "label_smoothing", 1.0),
        (StudentConfig, "lr", float("nan")),
        (StudentConfig, "temperature", 0.0),
        (StudentConfig, "proxies", "my proxies"),
        (RecoverConfig, "epochs", -1),
        (TeacherConfig, "layer_decay", 0.0),
        (TeacherConfig, "layer_decay", 1.1),
        (TrainingConfig, "optimizer", "adam"),
        (TrainingConfig, "momentum", 1.0),
        (TrainingConfig, "schedule", "steps"),
        (TrainingConfig, "steps_at", (0.5, 1.0)),
        (TrainingConfig, "step_factor", 0.0),
        (TrainingConfig, "accumulate", 0),
        (TrainingConfig, "ema", 1.0),
        (TrainingConfig, "mixup", -0.1),
        (TrainingConfig, "cutmix", float("inf")),
        (TrainingConfig, "stop_after", -1),
        (TrainingConfig, "class_weights", "yes"),
    ],
)
def test_what_no_training_can_run_with_is_refused(kind: type, setting: str, value: object) -> None:
    with pytest.raises(ValidationError, match=setting):
        kind(**{setting: value})
    assert kind() == kind(**{setting: getattr(kind(), setting)})
