"""Settings of the data: each of those that augment does so on its own, and what leaves no pictures is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from nettailor.config.loading import differences, parse_overrides
from nettailor.data.augment import augment, augments
from nettailor.data.config import DataConfig
from nettailor.errors import UsageError
from nettailor.jobs.recipe import Recipe, parse_recipe

STILL = DataConfig(shift=0, scale=0, rotate=0, flip=False)


@pytest.mark.parametrize(("setting", "value"), [("shift", 0.2), ("scale", 0.3), ("rotate", 30.0), ("flip", True)])
def test_each_setting_of_augmentation_works_alone(setting: str, value: float) -> None:
    images = torch.rand(8, 3, 8, 8)
    varied = replace(STILL, **{setting: value})
    assert augments(varied)
    assert not augments(STILL)
    assert not torch.allclose(augment(images, varied, torch.Generator().manual_seed(0)), images, atol=1e-3)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("val_fraction", 1.0),  # nothing would be left to train on
        ("test_fraction", 1.0),
        ("scale", 1.0),  # a picture of no size
        ("train_limit", 0),
        ("per_class", 0),
        ("thin", {"a": 0.0}),
        ("thin", {"a": 1.5}),
        ("thin", {"a": -0.1}),
        ("thin", 0.1),
        ("rotate", 181.0),
        ("memory_gib", 0.0),
        ("shift", float("nan")),
        ("augment", True),
    ],
)
def test_what_leaves_no_picture_is_refused_by_the_name_of_its_setting(setting: str, value: object) -> None:
    with pytest.raises(ValidationError, match=setting):
        DataConfig(**{setting: value})  # type: ignore[arg-type]


def test_a_list_of_augmentations_is_kept_in_the_order_in_which_they_are_applied() -> None:
    given = ["flip", "random_erasing", "random_resized_crop"]
    assert DataConfig(augment=given, random_erasing=0.5).augment == ("random_resized_crop", "flip", "random_erasing")  # type: ignore[arg-type]
    assert [DataConfig(augment=word).augment for word in ("sign", "photo", "none")] == ["sign", "photo", "none"]
    assert DataConfig().augment == "sign"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"augment": "photos"}, "input should be sign, photo, none or a list of some of random_resized_crop, flip"),
        ({"augment": []}, "list of some of"),
        ({"augment": ["flip", "flip"]}, "each once"),
        ({"augment": ["flip", "sign"]}, "list of some of"),
        ({"augment": ["color_jitter"]}, "did you mean 'colour_jitter'"),
        ({"augment": ["flip", "rand_augment"]}, r"rand_augment.*\n.*names it, so it must be above 0; 9 is usual"),
        ({"rand_augment": 9}, "acts only where data.augment is photo or a list that names rand_augment"),
        ({"augment": "none", "crop_area": 0.5}, "or a list that names random_resized_crop"),
        ({"augment": ["flip"], "random_erasing": 0.5}, "or a list that names random_erasing"),
        ({"augment": "photo", "rand_augment": 31}, "rand_augment"),
        ({"augment": "photo", "crop_area": 0}, "crop_area"),
        ({"augment": "none", "rotate": 40}, "acts only where data.augment is sign or a list that names affine"),
        ({"augment": "photo", "shift": 0.5}, "acts only where data.augment is sign or a list that names affine"),
        ({"augment": ["flip"], "scale": 0.5}, "or a list that names affine"),
        ({"augment": "none", "flip": True}, "or a list that names flip"),
        ({"workers": -1}, "workers"),
    ],
)
def test_augmentations_that_can_not_act_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings",
    [
        {"augment": "sign", "rotate": 40.0, "flip": True},
        {"augment": ["affine"], "shift": 0.5},
        {"augment": "photo", "flip": True},
        {"augment": "none", "rotate": 8.0},
    ],
)
def test_what_acts_or_asks_for_nothing_is_taken(settings: dict[str, object]) -> None:
    found = DataConfig(**settings)  # type: ignore[arg-type]
    assert all(getattr(found, name) == value for name, value in settings.items() if name != "augment")


def test_a_recipe_names_augmentations_and_says_what_is_wrong_with_them() -> None:
    recipe = parse_recipe(parse_overrides(["data.augment=[flip, affine]"]), "command line")
    assert recipe.data.augment == ("flip", "affine")
    assert parse_recipe(recipe.as_dict(), "written").data == recipe.data
    with pytest.raises(
        UsageError, match=r"^command line: data.augment: input should be sign, .* but it is 'photograph'$"
    ):
        parse_recipe(parse_overrides(["data.augment=photograph"]), "command line")


def test_classes_that_yaml_reads_as_numbers_are_names() -> None:
    recipe = parse_recipe(parse_overrides(["data.thin.3=0.5", "data.per_class=7"]), "command line")
    assert recipe.data.thin == {"3": 0.5}
    assert DataConfig(thin={7: 1}).thin == {"7": 1.0}  # type: ignore[dict-item]
    assert parse_recipe(recipe.as_dict(), "written").data == recipe.data
    with pytest.raises(
        UsageError, match=r"^command line: data.thin.3: input should be less than or equal to 1, but it is 2$"
    ):
        parse_recipe(parse_overrides(["data.thin.3=2"]), "command line")


def test_the_number_of_workers_is_no_difference_between_runs() -> None:
    one, other = (Recipe(data=DataConfig(workers=workers)).as_dict() for workers in (0, 3))
    assert not differences(one, other)
