"""Which classes of two data sets are the same."""

from __future__ import annotations

from nettailor.data.class_names import common_names, plain_name


def test_case_and_what_stands_between_words_do_not_matter() -> None:
    assert plain_name(" Traffic_Light ") == plain_name("traffic light") == plain_name("TRAFFIC-light")
    assert plain_name("traffic lights") != plain_name("traffic light")


def test_common_names_are_found_and_numbers_say_nothing() -> None:
    assert common_names(["cat", "Red_Panda", "07"], ["red panda", "07", "dog"]) == ["Red_Panda"]
    assert common_names(["cat"], []) == []
