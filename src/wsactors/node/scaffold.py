"""``wsactors new DIR``: the smallest project that embeds the runtime, with a supervision tree and a test."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

__all__ = ["ScaffoldError", "create_project"]

_FILES = {
    "pyproject.toml": """\
[project]
name = "@NAME@"
version = "0.1.0"
requires-python = ">=3.11,<3.14"
dependencies = ["wsactors"]

[project.optional-dependencies]
test = ["pytest", "pytest-trio"]

[tool.pytest.ini_options]
trio_mode = true
pythonpath = ["."]
""",
    "README.md": """\
# @NAME@

    python -m @NAME@        # starts the tree, counts to three, stops
    python -m pytest        # its test

`supervisors/app.toml` says what is started and who is restarted; `@NAME@/counter.py` is the actor.
""",
    "supervisors/app.toml": """\
# What this service starts, in this order; it is stopped in the opposite one.
[supervisor]
strategy = "one_for_one"
# More than `intensity` restarts in `period` seconds and the supervisor gives up.
intensity = 3
period = 5.0

[[child]]
id = "counter"
start = "@NAME@.counter:Counter"
args = { start = 1 }
name = "counter"
""",
    "@NAME@/__init__.py": '"""A service with actors in it."""\n',
    "@NAME@/counter.py": '''\
"""An actor that counts."""

from __future__ import annotations

from wsactors import UNHANDLED, Actor


class Counter(Actor):
    """Adds what it is told: ``await call("counter", ("add", 2))``."""

    async def init(self, start: int = 0) -> None:
        self.count = start

    def handle_call(self, message: object, caller: object) -> object:
        match message:
            case ("add", int(n)):
                self.count += n
                return self.count
            case _:
                return UNHANDLED
''',
    "@NAME@/__main__.py": '''\
"""Starts the tree inside an ordinary Trio program."""

from __future__ import annotations

from pathlib import Path

import trio

from wsactors import Node, call, load_tree

TREE = Path(__file__).parents[1] / "supervisors" / "app.toml"


async def main() -> None:
    tree = load_tree(TREE, ["@NAME@"])
    async with Node("@NAME@") as node:
        await node.start_tree(tree)
        print("the counter stands at", await call("counter", ("add", 2), timeout=5))


trio.run(main)
''',
    "tests/test_counter.py": '''\
"""The counter counts."""

from __future__ import annotations

from wsactors import Node, call

from @NAME@.counter import Counter


async def test_it_adds() -> None:
    async with Node("test") as node:
        pid = await node.spawn(Counter, 40)
        assert await call(pid, ("add", 2), timeout=5) == 42
''',
    ".gitignore": "__pycache__/\n.venv/\n",
}


class ScaffoldError(Exception):
    """The project was not created, and nothing was written; the text says what to choose instead."""


def create_project(folder: Path) -> list[Path]:
    """Write a project named after ``folder`` into it, and say which files.

    Raises:
        ScaffoldError: the folder holds something already, or its name is no name for a Python package.
    """
    name = re.sub(r"[-. ]+", "_", folder.resolve().name).lower()
    if not name.isidentifier() or keyword.iskeyword(name) or name in {"wsactors", "tests", "supervisors"}:
        raise ScaffoldError(f"{folder.resolve().name!r} cannot name a Python package; choose letters, digits and '_'")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ScaffoldError(f"{folder} is not empty; name a folder that does not exist yet")
    written = []
    for path, text in _FILES.items():
        target = folder / path.replace("@NAME@", name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace("@NAME@", name))
        written.append(target)
    return written
