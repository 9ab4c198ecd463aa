"""`docs/security.md` names the attack behind each promise, and every attack it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROMISES = [
    line for line in (ROOT / "docs/security.md").read_text().splitlines() if re.match(r"\| (?!promise )[^-]", line)
]
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}


@pytest.mark.parametrize("promise", PROMISES, ids=lambda line: line.split("|")[1].strip()[:60])
def test_a_promise_names_attacks_that_are_there(promise: str) -> None:
    attacks = re.findall(r"`([\w/]+\.py)::(\w+)`", promise)
    assert attacks
    for file, name in attacks:
        tree = ast.parse((ROOT / "tests" / file).read_text())
        tests = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in tests, f"{file} has no {name}"


def test_no_text_becomes_code() -> None:
    found = [
        f"{file.name}:{node.lineno}: {ast.unparse(node)[:60]}"
        for file in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id in RUNS_TEXT)
            or any(keyword.arg == "shell" for keyword in node.keywords)
            or ast.unparse(node.func) in {"os.system", "os.popen"}
        )
    ]
    assert found == []
