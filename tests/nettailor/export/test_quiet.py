"""What compilers say is kept off the terminal, and everything is as it was afterwards."""

from __future__ import annotations

import logging
import os
import sys
import warnings

import pytest

from nettailor.export._quiet import quietly


def fail_noisily(native: bool) -> None:
    print("printed")
    warnings.warn("warned", stacklevel=1)
    logging.getLogger("compiler").warning("logged")
    if native:
        os.write(2, b"from C++\n")
    raise ZeroDivisionError


@pytest.mark.parametrize("native", [False, True])
def test_nothing_is_said_inside_and_all_is_put_back(native: bool, capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.root.manager.disable, list(warnings.filters), sys.stdout
    with pytest.raises(ZeroDivisionError), quietly(native):
        fail_noisily(native)
    assert capfd.readouterr() == ("", "")
    assert (logging.root.manager.disable, list(warnings.filters), sys.stdout) == before
    print("out")
    os.write(2, b"err\n")
    assert capfd.readouterr() == ("out\n", "err\n")


def test_what_a_runtime_writes_itself_is_only_held_back_where_that_is_asked_for(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with quietly():
        os.write(2, b"from C++\n")
    assert capfd.readouterr().err == "from C++\n"
