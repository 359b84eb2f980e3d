"""Compilers and runtimes that tell of their own steps: what they say is kept off the terminal. Errors still come through."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quietly(native: bool = False) -> Iterator[None]:
    """Inside, no warning is shown or logged and nothing is printed.

    Args:
        native: what is written to file 2 past Python, as a runtime in C++ does, goes nowhere too. It holds for all threads.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            if native:
                stack.enter_context(_no_file_2())
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _no_file_2() -> Iterator[None]:
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
