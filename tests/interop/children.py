"""Programs of foreign clients in processes of their own: they say JSON lines, and are told JSON lines.

They are JavaScript (`tests/interop/js/*.mjs`, on Node.js) or Python with asyncio (`tests/interop/py/*.py`, which asyncio
never leaves). Both have a small library for their side: `js/talk.mjs` and `py/talk.py`.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

ROOT: Final = Path(__file__).parents[2]
JS: Final = Path(__file__).with_name("js")
SECONDS: Final = 90.0
"""Deadline of everything that has none of its own. A client's scenarios are played all at once, and have 30 s for each step."""

Line: TypeAlias = dict[str, Any]


class Child:
    """One running client program.

    Its methods block, as a test of it has nothing else to do; a Trio test calls them by ``trio.to_thread.run_sync``.
    """

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self.heard: list[Line] = []
        """Everything it has said."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `kill`
        self._buffer = b""
        # A session of its own: an interrupt at the terminal is the test's business.
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            start_new_session=True,
        )  # fmt: skip

    def say(self, **message: object) -> None:
        """Tell it one JSON line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def hear(self, within: float = SECONDS, **wanted: object) -> Line:
        """The next line that has all these items; lines before it are passed over (they stay in ``heard``)."""
        deadline = time.monotonic() + within
        while True:
            line = self._line(deadline, f"something with {wanted}")
            if line is None:
                raise self._failed(f"ended (exit code {self._process.wait()}) without saying something with {wanted}")
            if all(key in line and line[key] == value for key, value in wanted.items()):
                return line

    def end(self, within: float = SECONDS) -> list[Line]:
        """Wait until it ends by itself, without an error; everything it has said."""
        deadline = time.monotonic() + within
        while self._line(deadline, "its end") is not None:
            pass
        try:
            code = self._process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise self._failed("closed its output and did not end") from None
        if code:
            raise self._failed(f"failed with exit code {code}")
        return self.heard

    def kill(self) -> None:
        """End it now, if it still runs, and forget it."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def _line(self, deadline: float, wanted: str) -> Line | None:
        stdout = self._process.stdout
        assert stdout is not None
        while b"\n" not in self._buffer:
            if not select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise self._failed(f"did not come to {wanted} in time")
            data = os.read(stdout.fileno(), 65_536)
            if not data:
                return None
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\n")
        try:
            line = json.loads(text)
        except ValueError:
            raise self._failed(f"said {text[:200]!r}, which is not a JSON object") from None
        if not isinstance(line, dict):
            raise self._failed(f"said {text[:200]!r}, which is not a JSON object")
        self.heard.append(line)
        return line

    def _failed(self, what: str) -> AssertionError:
        self._errors.seek(0)
        errors = self._errors.read().decode(errors="replace")[-4000:]
        said = "\n".join(json.dumps(line)[:500] for line in self.heard[-40:])
        return AssertionError(f"{self.name} {what}\n--- it said\n{said}\n--- and on standard error\n{errors}")


def node_js() -> str:
    """The Node.js to use; the test is skipped where there is none or its packages are absent."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node.js is not installed (Debian: apt install nodejs npm)")
    if not (JS / "node_modules" / ".wsactors").exists():
        pytest.skip("the JavaScript clients are not installed (scripts/npm.sh)")
    return found


@contextmanager
def js_child(script: str, *arguments: object) -> Iterator[Child]:
    """``tests/interop/js/SCRIPT`` on Node.js, killed at the end of the block if it still runs."""
    with _child(script, [node_js(), str(JS / script), *map(str, arguments)]) as child:
        yield child


@contextmanager
def py_child(script: str, *arguments: object) -> Iterator[Child]:
    """``tests/interop/py/SCRIPT``, killed at the end of the block if it still runs."""
    module = f"tests.interop.py.{script.removesuffix('.py')}"
    with _child(script, [sys.executable, "-m", module, *map(str, arguments)]) as child:
        yield child


@contextmanager
def _child(name: str, command: Sequence[str]) -> Iterator[Child]:
    child = Child(name, command)
    try:
        yield child
    finally:
        child.kill()
