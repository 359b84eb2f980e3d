"""What is promised of the package as a whole: it is imported, and answers `--help`, without loading torch."""

from __future__ import annotations

import subprocess
import sys


def test_help_and_recipes_answer_without_loading_torch() -> None:
    code = "import sys; from nettailor.cli.main import main; main([{!r}]); sys.exit('torch' in sys.modules)"
    for word in ("--help", "--version"):
        assert (
            subprocess.run([sys.executable, "-c", code.format(word)], check=False, capture_output=True).returncode == 0
        )


def test_importing_the_package_is_quick_and_its_names_are_all_there() -> None:
    code = (
        "import sys, nettailor as nt\n"
        "assert 'torch' not in sys.modules\n"
        "for name in nt.__all__: assert getattr(nt, name).__name__ == name, name\n"
        "for name in nt.__all__: assert getattr(nt, name).__name__ == name, name\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
