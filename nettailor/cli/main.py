"""The command line: `nettailor VERB ...`.

Exit status 0 when it worked, 1 when it failed, 2 when it was used wrongly, 130 when it was stopped. An error is one or
two plain lines; `--debug` adds the traceback.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from nettailor import __version__
from nettailor.cli.options import parse
from nettailor.cli.verbs import VERBS
from nettailor.errors import NettailorError, NettailorWarning, UsageError, did_you_mean


def main(words: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    words = list(sys.argv[1:] if words is None else words)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # CUDA's tools without a GPU are no fault
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", NettailorWarning)
            warnings.showwarning = partial(_show_warning, warnings.showwarning)
            return _run(words)
    except NettailorError as error:
        return _fail(str(error), error.exit_status, debug)
    except KeyboardInterrupt:
        print("\nnettailor: stopped; the same command goes on where it was", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read us has gone; nothing is wrong
        return 0
    except OSError as error:  # a disk that is full or gone, met outside `files.py`: by TensorBoard's writer, say
        return _fail(
            f"{error.filename or 'a file'}: {error.strerror or error}; free some space or choose another --out",
            1,
            debug,
        )
    except SystemExit as done:  # argparse ends so after --help
        return int(done.code or 0)
    except Exception as error:  # the last resort: a fault of ours still ends in a plain line
        return _fail(f"unexpected {type(error).__name__}: {error} (--debug shows where)", 1, debug)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        print(f"nettailor {__version__}")
        return 0
    if words[0] not in VERBS:
        hint = did_you_mean(words[0], VERBS, f"; there are {', '.join(VERBS)}")
        raise UsageError(f"there is no verb {words[0]!r}{hint}")
    options, do = VERBS[words[0]]
    return do(parse(words[0], options, words[1:]))


def _show_warning(usual: Callable[..., None], message: Warning | str, category: type[Warning], *rest: Any) -> None:
    """Print a warning of ours as a plain line, and any other as Python does."""
    if issubclass(category, NettailorWarning):
        print(f"nettailor: {message}", file=sys.stderr)
    else:
        usual(message, category, *rest)


def _overview() -> str:
    lines = [
        "nettailor: one frozen backbone, many tailored networks",
        "",
        "usage: nettailor VERB [options]   (each with --help)",
        "",
    ]
    for verb, (options, _) in VERBS.items():
        lines.append(f"  {verb:<10} {(options.__doc__ or '').strip().splitlines()[0]}")
    return "\n".join([*lines, "", "  --debug    show the traceback of an error", "  --version  print the version"])


def _fail(message: str, status: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"nettailor: {message}", file=sys.stderr)
    return status
