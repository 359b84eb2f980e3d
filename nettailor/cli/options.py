"""Command-line options from dataclasses, so that a flag can't drift from the code that reads it.

@dataclass class Options: field with option(...)  ->  parser  ->  Options instance
"""

from __future__ import annotations

import argparse
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, field, fields
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

from nettailor.errors import UsageError, did_you_mean

T = TypeVar("T")


def option(help: str, default: Any = None, metavar: str | None = None, choices: tuple[str, ...] | None = None) -> Any:
    """A field that is an option `--name`."""
    metadata = {"help": help, "metavar": metavar, "choices": choices, "position": False}
    return field(default=default, metadata=metadata)


def position(help: str, metavar: str, optional: bool = False, rest: bool = False) -> Any:
    """A field that is a positional argument; a list takes all that come, with `rest` options included."""
    metadata = {"help": help, "metavar": metavar, "choices": None, "position": True, "optional": optional, "rest": rest}
    return field(metadata=metadata)


Actions = Mapping[str, tuple[type, Callable[[Any], int]]]
"""What a verb can do, by the word that follows it: options, and what does it."""


def act(verb: str, actions: Actions, action: str, words: list[str]) -> int:
    """Do what the word after a verb says, with the options that are left; returns the exit status.

    Raises:
        UsageError: there is no such action, or an option of it is wrong.
    """
    if action not in actions:
        hint = did_you_mean(action, actions, f"; there are {', '.join(actions)}")
        raise UsageError(f"{verb}: there is no {action!r}{hint}")
    options, do = actions[action]
    return do(parse(f"{verb} {action}", options, words))


class _Parser(argparse.ArgumentParser):
    at_end: Callable[[], str] | None = None

    def format_help(self) -> str:
        if self.at_end is not None:
            self.epilog = self.at_end()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} ({self.prog} --help)")


def parse(verb: str, options: type[T], words: list[str]) -> T:
    """Parse the words after a verb into its options dataclass, whose `help_at_end()`, if it has one, ends the help.

    Raises:
        UsageError: an unknown option (with the nearest right one), a missing or malformed value, a file named like an option.
    """
    parser = _parser(verb, options)
    _check_names(verb, words, [flag for action in parser._actions for flag in action.option_strings])
    rest = any(entry.metadata.get("rest") for entry in fields(options))  # type: ignore[arg-type]
    found, strange = parser.parse_known_args(words) if rest else parser.parse_known_intermixed_args(words)
    if strange:
        known = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
        hint = did_you_mean(strange[0].split("=")[0], known, f" (nettailor {verb} --help)", show=str)
        raise UsageError(f"nettailor {verb}: there is no option {strange[0]}{hint}")
    return options(**vars(found))


def _check_names(verb: str, words: list[str], flags: list[str]) -> None:
    """Name the way to write a file that looks like an option, which argparse's own message would not."""
    for word in words[: words.index("--")] if "--" in words else words:
        if word.startswith("-") and word.split("=")[0] not in flags and os.path.exists(word):
            raise UsageError(f"nettailor {verb}: there is no option {word}; for the file of that name write ./{word}")


def flags(options: type) -> list[str]:
    """The flags of an options dataclass, for the test that freezes them."""
    return sorted(flag for action in _parser("", options)._actions for flag in action.option_strings)


def _parser(verb: str, options: type) -> argparse.ArgumentParser:
    about = inspect.getdoc(options) or ""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog=f"nettailor {verb}", description=about, formatter_class=formatter, allow_abbrev=False)
    parser.at_end = getattr(options, "help_at_end", None)
    hints = get_type_hints(options)
    for entry in fields(options):
        _add(parser, entry, hints[entry.name])
    return parser


def _add(parser: argparse.ArgumentParser, entry: Field[Any], hint: Any) -> None:
    about = entry.metadata
    default = None if entry.default is MISSING else entry.default
    is_list = getattr(hint, "__origin__", None) is list
    kind = next((part for part in (get_args(hint) or (hint,)) if part is not type(None)), str)
    if about["position"]:
        count = ("*" if about["optional"] else "+") if is_list else ("?" if about["optional"] else None)
        count = argparse.REMAINDER if about["rest"] else count
        parser.add_argument(entry.name, help=about["help"], metavar=about["metavar"], nargs=count, type=kind)
        return
    name = "--" + entry.name.replace("_", "-")
    if kind is bool:
        parser.add_argument(name, dest=entry.name, help=about["help"], action="store_true")
        return
    shown = about["help"] + ("" if default is None else f" (default: {default})")
    parser.add_argument(
        name,
        dest=entry.name,
        help=shown,
        metavar=about["metavar"],
        type=kind,
        default=default,
        choices=about["choices"],
    )
