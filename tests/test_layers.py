"""The import rule, read from the source: who may import whom, no cycles, and pure means pure."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "wsactors"

LEVELS = {
    "errors": 0, "crdt": 0, "dsp": 0, "wire": 0,
    "actors": 1,
    "supervision": 2,
    "cluster": 3,
    "realtime": 4, "media": 4,
    "dj": 5, "store": 5,
    "sessions": 6,
    "gateway": 7, "client": 7,
    "node": 8,
    "loadtest": 9,
}  # fmt: skip
# Pages and files; no Python inside.
NO_CODE = {"web", "defaults"}

# A pure module gets bytes, values and `now`; it may not reach for these.
IMPURE = {
    "asyncio", "concurrent", "datetime", "multiprocessing", "os", "pathlib", "random", "secrets", "select", "selectors",
    "signal", "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "trio", "uuid",
}  # fmt: skip
BANNED_EVERYWHERE = {"asyncio", "pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml"}


@cache
def modules() -> dict[str, Path]:
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(), filename=str(modules()[module]))


def package(module: str) -> str | None:
    """The name after ``wsactors.``; None for the root package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def imports(module: str, *, eager_only: bool = False) -> Iterator[tuple[str, int]]:
    """What ``module`` imports, as full module names with line numbers; ``eager_only``: when it is imported itself."""
    body = tree(module)
    nodes = _eager(body) if eager_only else ast.walk(body)
    is_package = modules()[module].name == "__init__.py"
    for node in nodes:
        match node:
            case ast.Import(names=names):
                yield from ((name.name, node.lineno) for name in names)
            case ast.ImportFrom(module=source, names=names, level=level):
                parents = module.split(".")[: len(module.split(".")) - level + is_package] if level else []
                origin = ".".join([*parents, *([source] if source else [])])
                for name in names:
                    inner = f"{origin}.{name.name}"
                    yield (inner if inner in modules() else origin), node.lineno


def _eager(body: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run on import: not what functions hold, not what only type checkers see."""
    for node in ast.iter_child_nodes(body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield other
                yield from _eager(other)
            continue
        yield node
        yield from _eager(node)


def test_every_package_has_a_level() -> None:
    names = {
        path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path.is_dir() and any(path.glob("*.py")))
    }

    assert names - {"__init__"} - NO_CODE <= set(LEVELS), "name the new package's level in LEVELS and in __init__.py"


def test_a_package_imports_only_lower_levels() -> None:
    wrong = []
    for module, path in modules().items():
        home = package(module)
        if home is None:
            continue
        for imported, line in imports(module):
            other = package(imported)
            if imported.partition(".")[0] != "wsactors" or other == home:
                continue
            where = f"{path.relative_to(ROOT)}:{line}"
            if other is None:
                wrong.append(f"{where} imports the root package; import the module that owns the name")
            elif LEVELS.get(other, 99) >= LEVELS[home]:
                wrong.append(f"{where} ({home}, L{LEVELS[home]}) imports {imported} (L{LEVELS.get(other)})")
    assert wrong == []


def test_the_lowest_level_is_pure() -> None:
    wrong = []
    for module, path in modules().items():
        if LEVELS.get(package(module) or "") == 0:
            for imported, line in imports(module):
                if imported.partition(".")[0] in IMPURE or imported.startswith("numpy.random"):
                    wrong.append(f"{path.relative_to(ROOT)}:{line} imports {imported}; take the value as an argument")
    assert wrong == []


def test_nobody_imports_what_is_never_wanted() -> None:
    wrong = []
    for module, path in modules().items():
        for imported, line in imports(module):
            if imported.partition(".")[0] in BANNED_EVERYWHERE or imported == "multiprocessing.shared_memory":
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {imported}")
    assert wrong == []


def test_no_import_cycles() -> None:
    graph = {
        module: {name for name, _ in imports(module, eager_only=True) if name in modules() and name != module}
        for module in modules()
        if module != "wsactors"
    }
    for module, edges in graph.items():
        # Importing a.b.c imports a and a.b first; a package and its own modules are one body.
        edges.difference_update(module.rsplit(".", depth)[0] for depth in range(1, module.count(".") + 1))
    assert find_cycle(graph) is None


def find_cycle(graph: dict[str, set[str]]) -> list[str] | None:
    """One cycle of ``graph``, first node repeated at its end; None if there is none."""
    done: set[str] = set()
    for start in sorted(graph):
        path, stack = [start], [iter(sorted(graph[start]))]
        while stack:
            following = next((name for name in stack[-1] if name not in done and name in graph), None)
            if following is None:
                done.add(path.pop())
                stack.pop()
            elif following in path:
                return [*path[path.index(following) :], following]
            else:
                path.append(following)
                stack.append(iter(sorted(graph[following])))
    return None


@pytest.mark.parametrize(
    ("graph", "cycle"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, None),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"]),
        ({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}, None),
    ],
)
def test_the_cycle_finder_finds(graph: dict[str, set[str]], cycle: list[str] | None) -> None:
    assert find_cycle(graph) == cycle


def test_the_rule_is_written_at_the_door() -> None:
    header = (SOURCE / "__init__.py").read_text().partition('"""')[0]
    for name, level in LEVELS.items():
        line = next(
            line for line in header.splitlines() if f" {name} " in f"{line} ".replace("  ", " ") and " L" in line
        )
        assert f"L{level} " in line, f"{name} is L{level} here, but the header says {line!r}"


def test_every_module_defers_its_annotations() -> None:
    missing = [
        str(path.relative_to(ROOT))
        for module, path in modules().items()
        if any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in tree(module).body)
        and not any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree(module).body)
    ]
    assert missing == []


def test_the_standard_names_are_real() -> None:
    assert IMPURE - {"trio"} <= sys.stdlib_module_names
