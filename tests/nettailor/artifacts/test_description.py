"""`task.json` is held to its schema; format 1 is read as format 2, and nothing is guessed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blocks import Path as NetPath
from nettailor.artifacts.description import DESCRIPTION, Description, PlanFields, read_description
from nettailor.errors import FileError, VersionError
from nettailor.files import write_json

EDGES = [
    {"source": 0, "target": 1, "key": "G1", "slot": 0, "form": "universal", "gate": 0.75},
    {"source": 0, "target": 1, "key": "A0-1", "slot": 1, "form": "conv1x1", "gate": 0.25},
    {"source": 1, "target": 2, "key": "G2", "slot": 0, "form": "universal", "gate": 1.0},
]
SHARED: dict[str, Any] = {
    "task": "birds",
    "classes": ["cat", "dog"],
    "input": {"size": 16, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    "graph": {
        "nodes": [{"id": n} for n in range(3)],
        "edges": EDGES,
        "directed": True,
        "multigraph": True,
        "graph": {},
    },
    "method": "nettailor",
    "tensors_sha256": "a" * 64,
}
FORMAT_1 = {**SHARED, "format": 1, "backbone": {"name": "tiny", "sha256": "b" * 64}, "batch_norm": "affine", "rank": 4}
FORMAT_2 = {
    **SHARED,
    "format": 2,
    "backbone": {"name": "tiny", "sha256": "b" * 64, "geometry_sha256": "c" * 64},
    "plan": {"depth": 2, "batch_norm": "affine", "rank": 4},
}


def read(folder: Path, tree: Any) -> Description:
    write_json(folder / DESCRIPTION, tree)
    return read_description(folder)


def changed(place: str, value: Any) -> dict[str, Any]:
    """Format 2 with another value at a place; without it where the value is None."""
    tree: Any = json.loads(json.dumps(FORMAT_2))
    inner, keys = tree, place.split(".")
    for key in keys[:-1]:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    if value is None:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    result: dict[str, Any] = tree
    return result


def test_a_description_gives_plan_and_gates_of_its_network(tmp_path: Path) -> None:
    description = read(tmp_path, FORMAT_2)
    assert description.says_all
    plan = description.net_plan(tmp_path / DESCRIPTION)
    assert plan.paths == (NetPath(1, 0, "universal"), NetPath(1, 1, "conv1x1"), NetPath(2, 0, "universal"))
    assert (plan.classes, plan.batch_norm, plan.rank, plan.head) == (2, "affine", 4, "backbone")
    assert description.gates() == {
        NetPath(1, 0, "universal"): 0.75,
        NetPath(1, 1, "conv1x1"): 0.25,
        NetPath(2, 0, "universal"): 1.0,
    }


def test_format_1_is_the_same_network_of_a_backbone_whose_geometry_is_not_known(tmp_path: Path) -> None:
    old, new = read(tmp_path, FORMAT_1), read(tmp_path, FORMAT_2)
    assert old.format == 2
    assert old.plan == PlanFields(2, "affine", 4) == new.plan
    assert (old.graph, old.classes, old.input, old.tensors_sha256) == (
        new.graph,
        new.classes,
        new.input,
        new.tensors_sha256,
    )
    assert old.backbone.geometry_sha256 is None
    assert not old.says_all


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("classes", ["cat"], "classes: "),
        ("classes", ["cat", 3], "classes.1: "),
        ("classes", ["cat", "dog", "cat"], "classes: 'cat' stands there twice"),
        ("task", "../up", "task: '../up' is no name for a task"),
        ("input.size", "16", "input.size: "),
        ("input.size", 5000, "input.size: "),
        ("input.std", [0.0, 1.0, 1.0], "input.std.0: "),
        ("input.crop", 0, "input.crop: "),
        ("input.interpolation", "magic", "input.interpolation: "),
        ("backbone.sha256", "B" * 64, "backbone.sha256: "),
        ("backbone.geometry_sha256", None, "backbone.geometry_sha256: is missing"),
        ("plan.depth", 0, "plan.depth: "),
        ("plan.rank", True, "plan.rank: "),
        ("plan.batch_norm", "some", "plan.batch_norm: "),
        ("graph.edges.0.gate", "0.75", "graph.edges.0.gate: "),
        ("graph.edges.0.colour", "red", "graph.edges.0.colour: "),
        ("method", None, "method: "),
        ("colour", "red", "colour: "),
        ("format", True, "format: is True"),
    ],
)
def test_a_field_that_is_wrong_is_named(tmp_path: Path, place: str, value: Any, says: str) -> None:
    with pytest.raises(FileError) as raised:
        read(tmp_path, changed(place, value))
    assert str(raised.value).startswith(f"{tmp_path / DESCRIPTION}: {says}")


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        ("format", 3, "format: is 3, this nettailor reads 1 and 2"),
        ("method", "nettailer", "method: this nettailor has no method 'nettailer'; did you mean 'nettailor'?"),
        ("plan.colour", "red", "plan.colour: this nettailor knows no such part of a plan"),
        ("plan.top", {"kind": "crown"}, "plan.top.kind: is 'crown', this nettailor knows "),
    ],
)
def test_what_a_later_version_wrote_is_refused_with_status_2(tmp_path: Path, place: str, value: Any, says: str) -> None:
    path = tmp_path / DESCRIPTION
    with pytest.raises(VersionError) as raised:
        read(tmp_path, changed(place, value)).net_plan(path)
    assert raised.value.exit_status == 2
    assert str(raised.value).startswith(f"{path}: {says}")
    assert str(raised.value).endswith("; update nettailor")


def test_a_method_by_the_name_that_it_had_in_0_1_0_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, changed("method", "teacher")).method == "teacher"


def test_a_list_is_no_description(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is no description of a task"):
        read(tmp_path, [FORMAT_2])


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (
            "graph.edges.1.form",
            "mystery",
            "graph: A0-1 is a 'mystery'; there are conv1x1, bottleneck, identity, thinned, thinned_half",
        ),
        ("graph.edges.1.form", "my.code:form", "it is code to import: allow it with --proxies my.code:form"),
        ("plan.depth", 3, "graph: "),
    ],
)
def test_a_graph_that_no_network_has_is_named(tmp_path: Path, place: str, value: Any, says: str) -> None:
    path = tmp_path / DESCRIPTION
    with pytest.raises(FileError) as raised:
        read(tmp_path, changed(place, value)).net_plan(path)
    assert str(raised.value).startswith(f"{path}: graph: ")
    assert says in str(raised.value)
