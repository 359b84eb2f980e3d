"""Deltas with something wrong in their files, and what is said of each: for test_delta.py."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import torch

from nettailor.files import read_tensors, sha256_of, write_tensors


def edit(folder: Path, change: Callable[[dict], None]) -> None:
    path = folder / "task.json"
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


def edge(tree: dict) -> dict:
    return tree["graph"]["edges"][0]


def swap(folder: Path, old: str, new: str) -> None:
    text = (folder / "task.json").read_text()
    assert old in text
    (folder / "task.json").write_text(text.replace(old, new))


def with_tensors(
    folder: Path,
    change: Callable[[str, torch.Tensor], torch.Tensor] = lambda name, tensor: tensor,
    more: dict[str, torch.Tensor] | None = None,
) -> None:
    """Other tensors under a hash of their own, as somebody would write them who means it."""
    path = folder / "task.safetensors"
    tensors, notes = read_tensors(path)
    write_tensors(path, {name: change(name, tensor) for name, tensor in tensors.items()} | (more or {}), notes)
    edit(folder, lambda tree: tree.update(tensors_sha256=sha256_of(path)))


def shorten(folder: Path) -> None:
    path = folder / "task.safetensors"
    path.write_bytes(path.read_bytes()[:-200])


def alter(folder: Path) -> None:
    path = folder / "task.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


WRONG: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut tensors": (shorten, r"task\.safetensors: .*cut short or altered"),
    "altered tensors": (alter, r"task\.safetensors: .*cut short or altered"),
    "no tensors": (lambda f: (f / "task.safetensors").unlink(), r"task\.safetensors: can't be read"),
    "no description": (lambda f: (f / "task.json").unlink(), "holds no delta"),
    "no json": (lambda f: (f / "task.json").write_text("{"), r"task\.json: is no valid JSON"),
    "future format": (lambda f: edit(f, lambda t: t.update(format=3)), r"task\.json: format: is 3.*update nettailor"),
    "another backbone": (
        lambda f: edit(f, lambda t: t["backbone"].update(sha256="0" * 64)),
        r"task\.json: backbone\.sha256: belongs to another",
    ),
    "unknown backbone": (lambda f: edit(f, lambda t: t["backbone"].update(name="resnet35")), "no such backbone"),
    "code as backbone": (
        lambda f: edit(f, lambda t: t["backbone"].update(name="os:getcwd")),
        "name it yourself with --backbone",
    ),
    "cycle": (
        lambda f: edit(
            f,
            lambda t: t["graph"]["edges"].append(
                {"source": 9, "target": 3, "key": "A9-3", "slot": 1, "form": "conv1x1"}
            ),
        ),
        r"task\.json: graph: has a cycle",
    ),
    "unknown node": (
        lambda f: edit(f, lambda t: t["graph"]["nodes"].append({"id": 99})),
        "graph: has an unknown node 99",
    ),
    "unknown form": (
        lambda f: edit(f, lambda t: [e.update(form="x") for e in t["graph"]["edges"] if e["form"] != "universal"]),
        "graph: .* is a 'x'",
    ),
    "a missing edge": (lambda f: edit(f, lambda t: t["graph"]["edges"].pop(0)), "graph|tensor"),
    "no classes": (lambda f: edit(f, lambda t: t.update(classes=[])), r"task\.json: classes"),
    "a class more": (lambda f: edit(f, lambda t: t["classes"].append("x")), r"task\.safetensors: tensor 'head"),
    "a strange field": (lambda f: edit(f, lambda t: t.update(extra=1)), r"task\.json: extra"),
    "no input": (lambda f: edit(f, lambda t: t["input"].update(std=[0, 0, 0])), r"task\.json: input.std"),
    "an unknown interpolation": (
        lambda f: edit(f, lambda t: t["input"].update(interpolation="x")),
        r"task\.json: input.interpolation",
    ),
    "code as proxy": (
        lambda f: edit(f, lambda t: [e.update(form="os:getcwd") for e in t["graph"]["edges"] if e["slot"]]),
        r"is a 'os:getcwd'; it is code to import: allow it with --proxies os:getcwd",
    ),
    "a gate that is text": (
        lambda f: edit(f, lambda t: edge(t).update(gate="abc")),
        r"graph\.edges\.0\.gate: .*number",
    ),
    "a gate that the tensors lack": (
        lambda f: edit(f, lambda t: edge(t).update(gate=edge(t)["gate"] + 1e-3)),
        r"task\.json: graph: .* has a gate of .*, but task\.safetensors has",
    ),
    "MACs that are a list": (lambda f: edit(f, lambda t: edge(t).update(macs=[1])), r"edges\.0\.macs: .*integer"),
    "a number as text": (lambda f: edit(f, lambda t: t["input"].update(size="32")), r"input\.size: .*integer"),
    "infinity": (lambda f: edit(f, lambda t: edge(t).update(gate=float("inf"))), "Infinity is no number"),
    "not a number": (lambda f: edit(f, lambda t: t["settings"].update(seed=float("nan"))), "NaN is no number"),
    "a number too large": (lambda f: swap(f, '"crop": 1.0', '"crop": 1e999'), "1e999 is larger than any number"),
    "a key twice": (lambda f: swap(f, '"crop": 1.0', '"crop": 1.0, "crop": 1.0'), "'crop' stands twice"),
    "an undirected graph": (lambda f: edit(f, lambda t: t["graph"].update(directed=False)), r"graph\.directed"),
    "deep nesting": (lambda f: (f / "task.json").write_text("[" * 100_000), "nested deeper than 64 levels"),
    "deep settings": (
        lambda f: edit(f, lambda t: t.update(settings={"x": functools.reduce(lambda x, _: [x], range(99), 0)})),
        "nested deeper than 64 levels",
    ),
    "a class that is a number": (lambda f: edit(f, lambda t: t["classes"].__setitem__(3, 3)), r"classes\.3: .*string"),
    "a class twice": (lambda f: edit(f, lambda t: t["classes"].__setitem__(3, "7")), "classes: '7' stands there twice"),
    "a task that is a path": (lambda f: edit(f, lambda t: t.update(task="../x")), "task: '../x' is no name"),
    "no geometry": (
        lambda f: edit(f, lambda t: t["backbone"].pop("geometry_sha256")),
        r"backbone\.geometry_sha256: is missing",
    ),
    "another geometry": (
        lambda f: edit(f, lambda t: t["backbone"].update(geometry_sha256="0" * 64)),
        r"backbone\.geometry_sha256: .*computes otherwise with the same tensors",
    ),
    "an untruthful format": (lambda f: edit(f, lambda t: t.update(format=True)), "format: is True, this nettailor"),
    "another head": (
        lambda f: edit(f, lambda t: t["plan"].update(head="pooled")),
        r"task\.safetensors: tensor 'head\.",
    ),
    "a huge description": (
        lambda f: (f / "task.json").write_bytes(b" " * (32 * 2**20 + 1)),
        "33554432 are the most it may have",
    ),
    "values that are not finite": (
        lambda f: with_tensors(f, lambda name, t: t * float("nan") if name.endswith("running_mean") else t),
        r"task\.safetensors: tensor '.*running_mean' has values that are not finite",
    ),
    "negative variances": (
        lambda f: with_tensors(f, lambda name, t: -t if name.endswith("running_var") else t),
        "has negative variances",
    ),
    "integers": (
        lambda f: with_tensors(f, lambda name, t: t.int()),
        r"tensor '.*' does not fit this network: it is I32 .*, but has to be F32",
    ),
    "half the precision": (lambda f: with_tensors(f, lambda name, t: t.half()), "it is F16 .*, but has to be F32"),
    "values too large": (
        lambda f: with_tensors(f, lambda name, t: t * 1e30),
        "gives answers that are not finite|has a gate of|has values above",
    ),
    "a tensor more": (lambda f: with_tensors(f, more={"x": torch.zeros(1)}), "'x' does not fit .* none of that name"),
    "arguments that are no YAML": (
        lambda f: edit(f, lambda t: t["backbone"].update(name="resnet34_tiny,x=[")),
        "is no value of x",
    ),
    "arguments that read files": (
        lambda f: edit(f, lambda t: t["backbone"].update(name="timm/resnet18,checkpoint_path=x.pth")),
        "checkpoint_path is no argument of a model's architecture",
    ),
}
