"""What is promised of the code as a whole: how it is imported, and that its modules do not import each other in circles."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).parents[1]
PACKAGES = ("nettailor", "blocks", "recipes")


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


def imports_of(tree: ast.AST) -> Iterator[str]:
    """What is imported when the code runs, inside functions too: of `from a.b import c` both `a.b` and `a.b.c`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{name.name}" for name in node.names)
        yield from imports_of(node)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """A package that imports its own modules is no circle: they import nothing from it."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    graph = nx.DiGraph()
    for name, path in files.items():
        found = set(imports_of(ast.parse(path.read_text(encoding="utf-8")))) & set(files)
        inner = {parent for parent in found if any(other.startswith(f"{parent}.") for other in found)}
        graph.add_edges_from((name, other) for other in found - inner - {name})
    assert graph.number_of_edges() > 500
    circles = [sorted(circle) for circle in nx.strongly_connected_components(graph) if len(circle) > 1]
    assert circles == []
