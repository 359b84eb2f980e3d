"""`nettailor blocks`: the cut as a table and as JSON, from an architecture alone."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.conftest import CommandLine


def test_the_table_names_every_block_and_the_proxies_beside_it(nettailor: CommandLine) -> None:
    status, out, _ = nettailor("blocks", "torchvision/resnet18", "--input-size", "64")
    assert status == 0
    assert "8 universal blocks" in out
    rows = {line.split("│")[1].strip(): line for line in out.splitlines() if line.startswith("│")}
    assert all(word in rows["G3"] for word in ("layer2.0", "64x16x16", "128x8x8", "1x1 4%"))
    assert list(Path().iterdir()) == []


def test_the_table_says_where_a_block_may_be_thinned(nettailor: CommandLine) -> None:
    status, out, _ = nettailor("blocks", "timm/mobilenetv2_100", "--input-size", "64", "--skips", "2")
    assert status == 0
    rows = {line.split("│")[1].strip(): line for line in out.splitlines() if line.startswith("│")}
    assert "thin 25%" in rows["G3"]
    assert "thin" not in rows["G1"], "it begins with a depthwise convolution"
    assert "thin = thinned" in " ".join(out.split())
    _, plain, _ = nettailor("blocks", "timm/mobilenetv2_100", "--input-size", "64", "--proxies", "pointwise")
    assert not any("thin" in line for line in plain.splitlines() if line.startswith("│"))


@pytest.mark.parametrize(
    "model", ["resnet34_tiny", "timm/mobilenetv2_100,pad_type=same", "tests.cifar_resnet:resnet20"]
)
def test_json_holds_the_whole_cut(nettailor: CommandLine, model: str) -> None:
    status, out, _ = nettailor("blocks", model, "--json", "--input-size", "64", "--skips", "2")
    assert status == 0
    tree = json.loads(out)
    stem, *blocks, head = tree["parts"]
    assert (stem["module"], head["module"], stem["input"]) == ("stem", "head", [3, 64, 64])
    assert [block["key"] for block in blocks] == [f"G{n}" for n in range(1, len(blocks) + 1)]
    for before, after in zip(tree["parts"], tree["parts"][1:], strict=False):
        assert before["output"] == after["input"]
    for what in ("macs", "params"):
        assert sum(part[what] for part in tree["parts"]) == tree[what]
        assert math.isclose(sum(part[f"{what}_share"] for part in tree["parts"]), 1)
    assert [len(block["proxies"]) for block in blocks] == [1] + [2] * (len(blocks) - 1)
    for number, block in enumerate(blocks, 1):
        for proxy in block["proxies"]:
            assert 0 < proxy["macs"] < 0.5 * block["macs"]
            assert number - 2 <= proxy["source"] < number


def test_a_proxy_of_the_users_own_is_counted(nettailor: CommandLine) -> None:
    Path("my_proxies.py").write_text(
        "from torch import nn\n\ndef plain(site):\n    return nn.Conv2d(site.source[0], site.target[0], 1, bias=False)\n"
    )
    tree = json.loads(nettailor("blocks", "resnet34_tiny", "--json", "--proxies", "my_proxies:plain")[1])
    first = tree["parts"][1]["proxies"][0]
    assert (first["form"], first["macs"], first["params"]) == ("my_proxies:plain", 16 * 16 * 256, 16 * 16)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["timm/vit_tiny_patch16_224"], "at least 2 are needed"),
        (["timm/nasnetalarge"], "can be cut at 5 places"),
        (["torchvision/alexnet", "--input-size", "20"], "can't take a picture of 20x20"),
        (["timm/resnet9"], "did you mean timm/resnet"),
        (["tests.test_models:two_answers"], "returns a tuple of 2"),
    ],
)
def test_what_cannot_be_cut_is_said_in_a_line(
    nettailor: CommandLine, words: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("tests_models.py").write_text(
        "from torch import nn\nimport torchvision\n\nclass Two(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.net = torchvision.models.resnet18()\n\n    def forward(self, x):\n"
        "        return self.net(x), self.net(x)\n"
    )
    words = [word.replace("tests.test_models:two_answers", "tests_models:Two") for word in words]
    assert says in nettailor.fails("blocks", *words)
