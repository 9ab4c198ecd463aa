"""`import wsactors`, and using actors, costs nothing that the embedded runtime does not need."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import wsactors
from wsactors import errors

ROOT = Path(__file__).parents[1]
HEAVY = {
    "aioquic", "av", "cattrs", "cryptography", "h11", "h2", "httpx", "hypercorn", "hypothesis", "numpy",
    "prometheus_client", "pytest", "rich", "scipy", "starlette", "structlog", "trio_websocket", "typer", "wsproto",
}  # fmt: skip

USE_AN_ACTOR = """
import trio, wsactors
from wsactors import UNHANDLED, Actor, Node, call

class Counter(Actor):
    async def init(self, start=0):
        self.count = start
    def handle_call(self, message, caller):
        match message:
            case ("add", int(n)):
                self.count += n
                return self.count
            case _:
                return UNHANDLED

async def main():
    async with Node("lazy") as node:
        pid = await node.spawn(Counter, 1)
        assert await call(pid, ("add", 2), timeout=5) == 3

trio.run(main)
"""


def loaded_after(code: str) -> set[str]:
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_alone_loads_nothing() -> None:
    ours = {name for name in loaded_after("import wsactors") if name.startswith("wsactors")}
    assert ours == {"wsactors"}


@pytest.mark.parametrize("code", ["import wsactors", USE_AN_ACTOR], ids=["import", "use an actor"])
def test_no_heavy_library_is_loaded(code: str) -> None:
    assert loaded_after(code) & HEAVY == set()


def test_a_bare_install_is_small() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {requirement.partition(">")[0].partition("~")[0] for requirement in project["dependencies"]}
    assert names == {"attrs", "msgpack", "sortedcontainers", "structlog", "trio"}


def test_every_public_name_is_there() -> None:
    for name in wsactors.__all__:
        assert getattr(wsactors, name) is not None
    assert set(wsactors.__all__) <= set(dir(wsactors))


def test_type_checkers_see_the_same_names() -> None:
    body = ast.parse((ROOT / "src/wsactors/__init__.py").read_text()).body
    block = next(node for node in body if isinstance(node, ast.If))
    seen = {
        alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == wsactors._MODULE_OF


def test_every_error_is_public() -> None:
    raised = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert raised <= set(wsactors.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Actr'"):
        _ = wsactors.Actr
