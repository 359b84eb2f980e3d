"""Settings of the backbone: they are what `load_backbone` is given."""

from __future__ import annotations

import inspect
from dataclasses import asdict, fields
from typing import get_args

import pytest
from PIL import Image
from pydantic import ValidationError

from blocks import InputSpec
from nettailor.backbones.config import BackboneConfig
from nettailor.backbones.load import load_backbone
from nettailor.data.images import square
from nettailor.schema import Interpolation


def test_every_setting_is_an_argument_of_the_loader_or_says_how_pictures_are_read() -> None:
    named = {name for name in inspect.signature(load_backbone).parameters if name != "pictures"}
    settings, pictures = {field.name for field in fields(BackboneConfig)}, {field.name for field in fields(InputSpec)}
    assert settings - named <= pictures
    assert {"mean", "std", "interpolation", "crop"} == settings - named
    name = "tests.tiny:tiny_resnet"
    given = asdict(BackboneConfig(name, input_size=16))
    assert load_backbone(**given).spec == load_backbone(name, input_size=16).spec, "the defaults change nothing"


@pytest.mark.parametrize("name", get_args(Interpolation))
def test_every_interpolation_that_is_a_choice_resizes(name: str) -> None:
    assert BackboneConfig(interpolation=name).interpolation == name  # type: ignore[arg-type]
    assert square(Image.new("RGB", (9, 7), (255, 0, 0)), 8, name).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("std", (0.2, 0.0, 0.2)),  # it is divided by
        ("mean", (0.5, 0.5)),
        ("crop", 0.0),
        ("crop", 1.1),
        ("input_size", 7),
        ("interpolation", "hermite"),
    ],
)
def test_pictures_that_no_backbone_reads_are_refused(setting: str, value: object) -> None:
    with pytest.raises(ValidationError, match=setting):
        BackboneConfig(**{setting: value})  # type: ignore[arg-type]
