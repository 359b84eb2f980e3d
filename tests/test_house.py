"""The command line's options are frozen here, so that a flag that people type is not changed by accident."""

from __future__ import annotations

import subprocess
import sys

from nettailor.cli.options import flags
from nettailor.cli.verbs import VERBS

FLAGS = {
    "adapt": "--backbone --data --device --help --method --on --out --recipe --seed --skip-bad --weights --workers -h",
    "prune": "--device --drop --front --help --latency-ms --macs --out --params -h",
    "compare": "--backbone --data --device --help --methods --on --out --recipe --seeds --weights --workers -h",
    "eval": "--backbone --data --device --help --proxies --skip-bad --split --weights -h",
    "predict": "--backbone --device --help --proxies --top --weights -h",
    "show": "--backbone --help --proxies --svg --weights -h",
    "blocks": "--help --input-size --json --proxies --skips -h",
    "profile": "--batch --device --help --input-size --json --out --proxies --rounds --skips --threads -h",
    "recipes": "--help -h",
}


def test_the_verbs_and_their_flags() -> None:
    assert {verb: " ".join(flags(options)) for verb, (options, _) in VERBS.items()} == FLAGS


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
