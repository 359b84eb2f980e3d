"""`nettailor suite`: add, list, predict, remove and pack, each with its own options."""

from __future__ import annotations

import json
from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image

from nettailor.cli.options import flags
from nettailor.cli.suite import ACTIONS, SuiteOptions
from tests.conftest import CommandLine
from tests.fabricated import TINY

FLAGS = {
    "add": "--backbone --help --name --proxies --replace --weights -h",
    "list": "--help --json -h",
    "predict": "--backbone --device --help --proxies --top -h",
    "remove": "--help -h",
    "pack": "--backbone --help --out --proxies -h",
    "serve": "--backbone --device --help --host --max-batch --max-body-mb --max-megapixels --max-pictures --max-wait-ms "
    "--mode --port --proxies --queue --timeout --token -h",
}


def test_the_actions_and_their_flags() -> None:
    found = {action: " ".join(flags(options)) for action, (options, _) in ACTIONS.items()}
    assert FLAGS.items() <= found.items()
    for action, (options, do) in ACTIONS.items():
        assert f"suite {action} " in (SuiteOptions.__doc__ or "")
        assert action in SuiteOptions.__dataclass_fields__["action"].metadata["help"]
        assert do.__doc__ == f"`nettailor suite {action}`."
        assert all(entry.metadata["help"] for entry in options.__dataclass_fields__.values())


def test_a_suite_from_its_first_task_to_a_packed_one(nettailor: CommandLine, delta_folder: Path) -> None:
    Image.new("RGB", (16, 16), "red").save("a.png")
    status, said, _ = nettailor("suite", "add", "s", delta_folder, "--backbone", TINY)
    assert status == 0
    assert said.splitlines()[0] == "birds added to s"
    assert nettailor("suite", "add", "s", delta_folder, "--name", "gulls", "--backbone", TINY)[0] == 0
    status, said, _ = nettailor("suite", "list", "s")
    assert status == 0
    assert said.splitlines()[0].startswith(f"s: 2 tasks over {TINY}, 16 px, ")
    assert said.splitlines()[1].split()[:6] == ["birds", "3", "classes", "5", "blocks,", "1"]
    listed = json.loads(nettailor("suite", "list", "s", "--json")[1])
    assert [task["name"] for task in listed["tasks"]] == ["birds", "gulls"]
    assert listed["bytes"] > sum(task["bytes"] for task in listed["tasks"])

    status, alone, _ = nettailor("predict", delta_folder, "a.png", "--backbone", TINY, "--top", "2")
    answer = alone.removeprefix("a.png")
    common = ("a.png", "--backbone", TINY, "--top", "2")
    assert nettailor("suite", "predict", "s", "birds", *common)[:2] == (0, f"a.png  birds{answer}")
    both = f"a.png  gulls{answer}a.png  birds{answer}"
    assert nettailor("suite", "predict", "s", "gulls,birds", *common)[:2] == (0, both)
    status, said, err = nettailor("suite", "predict", "s", "all", "bad.png", *common)
    assert status == 1
    assert err == "nettailor: bad.png: can't be read (No such file or directory)\n"
    assert len(said.splitlines()) == 2
    with ZipFile("more.zip", "w") as more:
        more.write("a.png", "in/a.png")
    status, said, _ = nettailor("suite", "predict", "s", "birds", "more.zip", *common)
    assert (status, said) == (0, f"more.zip/in/a.png  birds{answer}a.png{' ' * 14}birds{answer}")
    assert "did you mean 'gulls'?" in nettailor.fails(
        "suite", "predict", "s", "gull", "a.png", "--backbone", TINY, status=2
    )

    status, said, _ = nettailor("suite", "pack", "s", "--out", "p", "--backbone", TINY)
    assert status == 0
    lines = said.splitlines()
    assert lines[0] == "p: 5 of 6 blocks, 2 tasks"
    assert [line.split("  ")[1] for line in lines[1:]] == ["packed suite", "whole suite", "2 private networks"]
    assert nettailor("suite", "predict", "p", "birds", *common)[:2] == (0, f"a.png  birds{answer}")
    assert ", 5 blocks of it, " in nettailor("suite", "list", "p")[1]

    status, said, _ = nettailor("suite", "remove", "s", "birds")
    assert (status, said) == (0, "birds removed from s; it has gulls now\n")
    assert nettailor("suite", "remove", "s", "gulls")[1] == "gulls removed from s; it has no tasks now\n"
    assert "has no tasks" in nettailor.fails("suite", "predict", "s", "all", "a.png", "--backbone", TINY, status=2)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["ad", "s", "r"], 2, "suite: there is no 'ad'; did you mean 'add'?"),
        (["zzz"], 2, "suite: there is no 'zzz'; there are add, list, predict, remove, pack"),
        ([], 2, "required: ACTION"),
        (["list"], 2, "required: SUITE (nettailor suite list --help)"),
        (["list", "s", "--jsn"], 2, "nettailor suite list: there is no option --jsn; did you mean --json?"),
        (["list", "s"], 1, "s: holds no suite (suite.json); `nettailor suite add SUITE RUN` makes one"),
        (["pack", "s"], 2, "give the folder with --out DIR"),
        (["pack", "s", "--out", "p"], 1, "s: holds no suite"),
        (["add", "s", "a", "b", "--name", "n"], 2, "--name: is one name, but 2 runs were given"),
        (["add", "s", "a"], 1, "a: holds no delta"),
        (["remove", "s", "a"], 1, "s: holds no suite"),
    ],
)
def test_wrong_use_is_said_plainly(nettailor: CommandLine, words: list[str], status: int, says: str) -> None:
    assert says in nettailor.fails("suite", *words, status=status)
    assert list(Path().iterdir()) == []


def test_a_suite_has_its_backbones_weights_already(nettailor: CommandLine, delta_folder: Path) -> None:
    nettailor("suite", "add", "s", delta_folder, "--backbone", TINY)
    said = nettailor.fails("suite", "add", "s", delta_folder, "--weights", "w", "--backbone", TINY, status=2)
    assert "--weights: s has the weights of its backbone already" in said
    assert "--name" in nettailor.fails("suite", "add", "s", delta_folder, "--backbone", TINY)
    assert nettailor("suite", "add", "s", delta_folder, "--backbone", TINY, "--replace")[0] == 0
