"""Options are fields: their types, defaults and names are the parser's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from nettailor.cli.options import act, flags, option, parse, position
from nettailor.errors import UsageError


@dataclass
class Some:
    """What some verb takes.

    More about it.
    """

    run: Path = position("the run", "RUN")
    words: list[str] = position("settings", "KEY=VALUE", optional=True)
    top_most: int = option("how many", default=2, metavar="N")
    part: float | None = option("a part", metavar="PART")
    split: str | None = option("which", choices=("train", "test"))
    skip_bad: bool = option("go on", default=False)


@dataclass
class Passing:
    """Passes words on."""

    action: str = position("what to do", "ACTION")
    words: list[str] = position("its words", "WORD", rest=True)


def test_values_have_the_types_of_their_fields_and_options_stand_anywhere() -> None:
    found = parse("some", Some, ["--top-most", "3", "here", "a=1", "--skip-bad", "b=2", "--part", "1e-2"])
    assert found == Some(Path("here"), ["a=1", "b=2"], 3, 0.01, None, True)


def test_what_is_not_given_has_its_default() -> None:
    assert parse("some", Some, ["here"]) == Some(Path("here"), [], 2, None, None, False)


def test_the_rest_is_passed_on_with_its_options() -> None:
    assert parse("passing", Passing, ["run", "name", "--out", "x"]) == Passing("run", ["name", "--out", "x"])
    assert parse("passing", Passing, ["ls"]).words == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["here", "--top-mst", "3"], "nettailor some: there is no option --top-mst; did you mean --top-most?"),
        (["here", "--zzzzz"], "nettailor some: there is no option --zzzzz (nettailor some --help)"),
        (["here", "--top", "3"], "there is no option --top"),  # no abbreviations: a new option must not break old ones
        (["here", "--top-most", "x"], "--top-most: invalid int value: 'x' (nettailor some --help)"),
        (["here", "--split", "val"], "--split: invalid choice: 'val'"),
        ([], "required: RUN"),
    ],
)
def test_wrong_use_is_named_with_its_remedy(words: list[str], says: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse("some", Some, words)
    assert says in str(raised.value)


def test_an_action_has_options_of_its_own_and_a_misspelt_one_is_named() -> None:
    seen: list[Some] = []
    actions = {"look": (Some, lambda found: seen.append(found) or 3)}
    assert act("some", actions, "look", ["here", "--top-most", "4"]) == 3
    assert seen == [Some(Path("here"), [], 4, None, None, False)]
    with pytest.raises(UsageError, match="some: there is no 'lok'; did you mean 'look'?"):
        act("some", actions, "lok", ["here"])
    with pytest.raises(UsageError, match="nettailor some look: there is no option --top-mst; did you mean --top-most?"):
        act("some", actions, "look", ["here", "--top-mst", "4"])


def test_flags_are_the_fields_with_help_beside_them() -> None:
    assert flags(Some) == ["--help", "--part", "--skip-bad", "--split", "--top-most", "-h"]
    assert flags(Passing) == ["--help", "-h"]


def test_help_shows_the_docstring_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("some", Some, ["--help"])
    said = capsys.readouterr().out
    assert "usage: nettailor some" in said
    assert "What some verb takes.\n\nMore about it." in said
    assert "how many (default: 2)" in said
    assert "a part (default" not in said
