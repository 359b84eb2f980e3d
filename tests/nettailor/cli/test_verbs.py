"""The command line's options are frozen here, so that a flag that people type is not changed by accident."""

from __future__ import annotations

import dataclasses

import pytest

from nettailor.cli.options import flags
from nettailor.cli.verbs import VERBS

FLAGS = {
    "adapt": "--backbone --data --device --every --forgetting --help --method --on --out --recipe --search-freezing --seed --skip-bad "
    "--via --weights --workers -h",
    "prune": "--device --drop --front --help --latency-ms --macs --out --params -h",
    "compare": "--backbone --data --device --help --methods --on --out --recipe --seeds --weights --workers -h",
    "study": "--device --help --on --out --workers -h",
    "eval": "--backbone --data --device --help --proxies --skip-bad --split --weights -h",
    "predict": "--backbone --device --format --help --out --proxies --top --weights -h",
    "export": "--backbone --data --drop --help --int8 --out --proxies --raw --skip-bad --split --to --weights -h",
    "push": "--help --license --message --private --revision -h",
    "show": "--backbone --help --html --proxies --svg --tensorboard --weights -h",
    "suite": "--help -h",
    "blocks": "--help --input-size --json --proxies --skips -h",
    "profile": "--batch --device --help --input-size --json --out --proxies --rounds --skips --threads -h",
    "recipes": "--help -h",
}


def test_the_verbs_and_their_flags() -> None:
    assert {verb: " ".join(flags(options)) for verb, (options, _) in VERBS.items()} == FLAGS


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_option_says_what_it_is(verb: str) -> None:
    options, do = VERBS[verb]
    assert do.__doc__ == f"`nettailor {verb}`."
    assert (options.__doc__ or "").strip().splitlines()[0].rstrip(".:,")
    assert all(entry.metadata["help"] for entry in dataclasses.fields(options))
