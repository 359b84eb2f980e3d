"""Thousands of damaged deltas: each is refused in a plain line, or answers as the original does.

A file that was changed and hashed anew is another delta, not a damaged one: where the tensors' bytes differ and their hash
was put right, only finite answers are asked for. Everything else that is accepted has to give the original's bits: what may
differ without a word are fields that no answer depends on (names of task, method and classes, settings, MACs, parameters).
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from blocks import Backbone, Plan, TailoredNet, compact
from nettailor.artifacts import delta
from nettailor.data.batches import normalise
from nettailor.data.task import load_task
from nettailor.errors import NettailorError
from nettailor.pruning.graph import BlockGraph
from tests.tiny import tiny_backbone

DEEP: Any = functools.reduce(lambda inner, _: [inner], range(100), 0)
HOSTILE = st.sampled_from(
    [
        *(None, True, False, 0, 1, -1, 2, 7, 10**6, 2**31, 2**63, 10**40, -0.0, 0.5, 1e-320, 1e308, float("nan")),
        *(
            float("inf"),
            float("-inf"),
            "",
            "abc",
            "0.5",
            "1",
            "\ud800",
            "\x00",
            "../x",
            "a/b",
            "resnet34_tiny",
            "os:getcwd",
        ),
        *(
            "conv1x1",
            "bottleneck",
            "identity",
            "universal",
            "source",
            "stats",
            "affine",
            "pooled",
            "backbone",
            "f" * 64,
        ),
        *([], {}, [1], {"a": 1}, [[]], DEEP, ["x"] * 1000, "x" * 10000),
    ]
)
RULES: Any = {"derandomize": True, "database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}


@dataclass(frozen=True)
class Original:
    """A sound delta, pictures, and what it answers to them."""

    tree: Any
    text: bytes
    tensors: bytes
    x: torch.Tensor
    logits: torch.Tensor
    backbone: Backbone
    folder: Path


@pytest.fixture(scope="module")
def original(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A delta over the tiny backbone, whose hashes are taken once: every case is loaded over the same object."""
    backbone = tiny_backbone()
    torch.manual_seed(0)
    student = TailoredNet(backbone, 4, Plan(batch_norm="affine", gates="independent", rank=2)).eval()
    with torch.no_grad():
        student.gates.logits.add_(torch.randn_like(student.gates.logits))
    whole = BlockGraph.of(student)
    student.keep(whole.without([path for path in whole.paths if path.key in {"G2", "G5", "A0-1", "A1-4"}]).paths)
    net = compact(student)
    task = load_task(str(digit_folder), backbone.spec)
    folder = tmp_path_factory.mktemp("fuzz") / "task"
    delta.save(net, folder, "digits4", task.classes, settings={"data": {"source": "digits", "flip": False}, "seed": 0})
    x = normalise(task.test.batch(torch.arange(8)), net.spec, torch.device("cpu"))
    text, tensors = (folder / delta.DESCRIPTION).read_bytes(), (folder / delta.TENSORS).read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("tensors_sha256", "geometry_sha256"):
            patch.setattr(delta, name, functools.cache(getattr(delta, name)))
        with torch.no_grad():
            logits = net(x)
            assert torch.equal(delta.load(folder, backbone).net(x), logits)
        yield Original(json.loads(text), text, tensors, x, logits, backbone, folder)


def places(tree: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value below a tree."""
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, part in parts for place in ((*here, key), *places(part, (*here, key)))]


def change_tree(draw: Any, tree: Any) -> None:
    """One structural change at a random place."""
    place = draw(st.sampled_from(places(tree)))
    parent = functools.reduce(lambda part, key: part[key], place[:-1], tree)
    key = place[-1]
    how = draw(st.sampled_from(["replace", "replace", "number", "delete", "double", "wrap", "text", "add", "swap"]))
    if how == "replace":
        parent[key] = copy.deepcopy(draw(HOSTILE))
    elif how == "number":
        parent[key] = draw(st.one_of(st.integers(), st.floats(), st.integers(0, 8)))
    elif how == "delete":
        del parent[key]
    elif how == "double" and isinstance(parent, list):
        parent.insert(draw(st.integers(0, len(parent))), copy.deepcopy(parent[key]))
    elif how == "wrap":
        parent[key] = draw(st.sampled_from([[parent[key]], {"x": parent[key]}, [parent[key]] * 3]))
    elif how == "text":
        parent[key] = str(parent[key])
    elif how == "add" and isinstance(parent, dict):
        parent[draw(st.text(max_size=5))] = copy.deepcopy(draw(HOSTILE))
    elif how == "swap":
        other = draw(st.sampled_from(list(parent) if isinstance(parent, dict) else range(len(parent))))
        parent[key], parent[other] = parent[other], parent[key]


def change_bytes(draw: Any, data: bytes) -> bytes:
    """Flip, insert, remove or cut some bytes."""
    place = draw(st.integers(0, len(data) - 1))
    how = draw(st.sampled_from(["flip", "insert", "remove", "cut"]))
    if how == "flip":
        return data[:place] + bytes([data[place] ^ draw(st.integers(1, 255))]) + data[place + 1 :]
    if how == "insert":
        return data[:place] + draw(st.binary(min_size=1, max_size=9)) + data[place:]
    if how == "remove":
        return data[:place] + data[place + draw(st.integers(1, 40)) :]
    return data[:place]


def change_header(draw: Any, data: bytes) -> bytes:
    """Change the header of a safetensors file, its length put right."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    change_tree(draw, header)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def change_values(draw: Any, data: bytes) -> bytes:
    """Put one number into the values."""
    (length,) = struct.unpack("<Q", data[:8])
    start = 8 + length
    place = start + 4 * draw(st.integers(0, (len(data) - start) // 4 - 1))
    number = draw(st.one_of(st.floats(width=32), st.sampled_from([float("nan"), float("inf"), -1.0, 3e38, -3e38])))
    return data[:place] + struct.pack("<f", number) + data[place + 4 :]


def check(original: Original, data: Any) -> None:
    """One damaged delta."""
    draw = data.draw
    what = draw(st.sampled_from(["tree", "tree", "tree", "bytes", "header", "tensor bytes", "values"]))
    tree, text, tensors = copy.deepcopy(original.tree), original.text, original.tensors
    if what == "tree":
        for _ in range(draw(st.integers(1, 3))):
            if places(tree):
                change_tree(draw, tree)
    elif what == "bytes":
        text = change_bytes(draw, text)
    else:
        change = {"header": change_header, "tensor bytes": change_bytes, "values": change_values}[what]
        tensors = change(draw, tensors)
        if draw(st.integers(0, 3)):
            tree["tensors_sha256"] = hashlib.sha256(tensors).hexdigest()
    if what != "bytes":
        text = json.dumps(tree).encode()
    (original.folder / delta.DESCRIPTION).write_bytes(text)
    (original.folder / delta.TENSORS).write_bytes(tensors)
    refusal = ""
    try:
        loaded = delta.load(original.folder, original.backbone)
    except NettailorError as error:
        refusal = str(error)
    event(f"{what}: {'refused' if refusal else 'accepted'}")  # pytest --hypothesis-show-statistics
    if refusal:
        assert refusal.startswith(str(original.folder)), "the file is named"
        assert len(refusal.splitlines()) <= 2, "in a plain line"
        assert len(refusal) < 1000
        return
    with torch.no_grad():
        logits = loaded.net(original.x)
    assert torch.isfinite(logits).all()
    assert len(loaded.classes) == logits.shape[1]
    if tensors == original.tensors:
        assert torch.equal(logits, original.logits)


@settings(max_examples=100, **RULES)
@given(data=st.data())
def test_a_hundred_damaged_deltas(original: Original, data: Any) -> None:
    check(original, data)


@pytest.mark.slow
@settings(max_examples=2000, **RULES)
@given(data=st.data())
def test_thousands_of_damaged_deltas(original: Original, data: Any) -> None:
    check(original, data)
