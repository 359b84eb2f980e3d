"""The benchmark of training steps, on few and small steps: what it prints, returns and writes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from nettailor.training.config import StudentConfig
from recipes.benchmarks import bench_step
from recipes.benchmarks.bench_step import embedded_steps, main, resnet18_steps

SMALL = ("--size", "64", "--batch", "2", "--embedded-batch", "2", "--threads", "1", "--warmup", "0")


def test_it_prints_ratios_with_intervals_and_keeps_every_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = main([*SMALL, "--runs", "2", "--most", "2", "--out", str(tmp_path / "step.json")])
    said = capsys.readouterr().out
    assert [(row["network"], list(row["ratios"])) for row in rows] == [
        ("resnet18", ["local", "end_to_end"]),
        ("embedded", ["default", "answers_anew"]),
    ]
    kept = json.loads((tmp_path / "step.json").read_text())
    assert kept["rows"] == rows
    assert (kept["options"]["most"], kept["versions"]["torch"]) == ("2", torch.__version__.split("+")[0])
    for row in rows:
        assert all(len(taken) == 2 for taken in row["ms"].values())
        for ratio in row["ratios"].values():
            low, high = ratio["interval"]
            assert low <= ratio["value"] <= high
            assert f"{ratio['value']:.3f} [{low:.3f}, {high:.3f}] of a plain step" in said
    assert "an interval is still wider than 5%" in said, "two rounds are too few to know"


def test_it_goes_on_until_the_intervals_are_narrow(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = main([*SMALL, "--networks", "embedded", "--runs", "2", "--most", "50", "--width", "9"])
    assert row["rounds"] == 10
    assert "still wider" not in capsys.readouterr().out


def test_the_steps_take_turns_in_an_order_that_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    steps = {name: partial(called.append, name) for name in ("plain", "default")}
    monkeypatch.setattr(bench_step, "embedded_steps", lambda batch: steps)
    main(["--networks", "embedded", "--runs", "20", "--most", "20", "--warmup", "0"])
    rounds = [called[place : place + 2] for place in range(0, len(called), 2)]
    assert len(rounds) == 20
    assert all(sorted(turn) == ["default", "plain"] for turn in rounds), "each once in a round"
    assert {turn[0] for turn in rounds} == {"default", "plain"}


def test_the_steps_train_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    configs: list[StudentConfig] = []
    students = []
    known: list[bool] = []
    real = bench_step.backward

    def note(student, teacher, x, labels, config, targets):  # type: ignore[no-untyped-def]
        students.append(student)
        configs.append(config)
        known.append(targets is not None)
        assert teacher is not None
        return real(student, teacher, x, labels, config, targets)

    monkeypatch.setattr(bench_step, "backward", note)
    steps = embedded_steps(2) | {name: step for name, step in resnet18_steps(64, 2).items() if name != "plain"}
    for step in steps.values():
        step()
    assert known == [True, False, False, False], "the default student has its answers; the paper's asks in every step"
    assert configs[:2] == [StudentConfig()] * 2
    assert (students[0].plan.rank, students[0].plan.batch_norm) == (4, "affine")
    assert [config.matching for config in configs[2:]] == ["local", "end_to_end"]
    assert students[2].plan.batch_norm == "source"
    trained = [p for p in students[0].parameters() if p.requires_grad]
    kept = [p.clone() for p in trained]
    steps["default"]()
    assert sum(not torch.equal(one, other) for one, other in zip(trained, kept, strict=True)) > len(trained) / 2
