"""A study's file: what is wrong with it is said in one line, before anything is written."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from nettailor.errors import UsageError
from nettailor.jobs.study_file import is_study, is_where, read_study


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "some.yaml"
    path.write_text(dedent(text))
    return path


def test_a_study_has_factors_and_the_name_of_its_file(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        factors: {rate: [0.1], training.optimizer: [sgd, adamw]}
        base: {teacher: {epochs: 3}, data: {source: a}}
        """,
    )
    study = read_study(path, {"teacher": {"epochs": 5}})
    assert (study.name, study.axes()) == ("some", {"rate": [0.1], "training.optimizer": ["sgd", "adamw"]})
    assert study.base == {"teacher": {"epochs": 5}, "data": {"source": "a"}}
    assert (study.distance.pictures, study.change.pictures, study.baselines) == (1000, 500, ())
    assert read_study(written(tmp_path, "{name: other, factors: {seed: [0, 1]}}")).name == "other"
    assert is_study(path)
    assert not is_study(written(tmp_path, "seed: 3"))
    assert not is_study(tmp_path / "none")


def test_pairs_are_a_factor_of_their_own(tmp_path: Path) -> None:
    text = "{factors: {seed: [0]}, pairs: {near: {data: {source: a}}, far: {data: {source: b}}}}"
    assert read_study(written(tmp_path, text)).axes() == {"pair": ["near", "far"], "seed": [0]}
    text = "{factors: {pair: [far]}, pairs: {near: {data: {source: a}}, far: {data: {source: b}}}}"
    assert read_study(written(tmp_path, text)).axes() == {"pair": ["far"]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed: 3", "is no study: a mapping factors with the values of each factor is needed"),
        ("tasks: [{a: 1}, {b: 2}]", "is no study"),
        ("factors: {}", "factors: is empty; name at least one factor and its values"),
        ("factors: {rate: [0.1, 0.2, 0.1]}", "factors.rate: 0.1 stands there twice; name every value once"),
        ("factors: {rate: []}", "factors.rate: is empty; name at least one value, or leave the factor out"),
        ("factors: {raet: [1]}", "factors.raet: there is no factor 'raet'; did you mean 'rate'?"),
        (
            "factors: {colour: [1]}",
            "there is no factor 'colour'; there are rate, passes, tune_from, per_class, method, seed,",
        ),
        ("factors: {teachr.lr: [1]}", "there is no factor 'teachr.lr'; did you mean 'teacher.lr'?"),
        ("factors: {teacher.: [1]}", "there is no factor 'teacher.'"),
        ("factors: {rate: 0.1}", "factors.rate: input should be a valid list, but it is 0.1"),
        ("factor: {rate: [1]}", "is no study"),
        ("{factors: {rate: [1]}, bases: {}}", "bases: no such key; did you mean 'base'?"),
        ("{factors: {pair: [nr]}, pairs: {near: {}}}", "factors.pair: there is no pair 'nr'; did you mean 'near'?"),
        ("factors: {pair: [a]}", "factors.pair: there is no pair 'a'; name it under pairs, with its data and backbone"),
        ("factors: {source_classes: [5]}", "pretrain.data: is needed by the factor source_classes"),
        ("{factors: {source_classes: [1]}, pretrain: {data: a}}", "factors.source_classes: 1 is no number of classes"),
        (
            "{factors: {source_classes: [x]}, pretrain: {data: a}}",
            "factors.source_classes: 'x' is no number of classes",
        ),
        (
            "{factors: {source_pictures: [5]}, pretrain: {data: a}}",
            "factors.source_pictures: 5 is no such choice; write",
        ),
        ("{factors: {source_pictures: [{all: 5}]}, pretrain: {data: a}}", "is no such choice"),
        ("{factors: {source_pictures: [{each: 0}]}, pretrain: {data: a}}", "is no such choice"),
        (
            "{factors: {seed: [0]}, distance: {pictures: 3}}",
            "distance.pictures: input should be greater than or equal to 10",
        ),
        ("{factors: {seed: [0]}, name: a/b}", "name: string should match pattern"),
        ("factors: [", "is no valid YAML"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_study(written(tmp_path, text))
    assert says in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "some.yaml"))
    assert "\n" not in str(raised.value)


def test_which_factors_decide_what_is_trained_on() -> None:
    where = ("pair", "per_class", "seed", "source_classes", "source_pictures", "data.classes", "backbone.name")
    how = ("rate", "passes", "tune_from", "method", "training.optimizer", "teacher.batch", "method.new_lr")
    assert all(map(is_where, where))
    assert not any(map(is_where, how))
