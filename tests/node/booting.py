"""A node in a process of its own, with a small application, for the tests that signal and watch it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import Signals
from typing import Any

APPLICATION = """
from __future__ import annotations
import sys, trio
from wsactors.actors import UNHANDLED, Actor, ProcessActor

def say(*words):
    print(*words, file=sys.stderr, flush=True)

class Worker(Actor):
    trap_exit = True
    async def init(self, label: str, hang: bool = False) -> None:
        self.label, self.hang = label, hang
        say("started", label)
    async def terminate(self, reason):
        say("stopping", self.label, reason)
        if self.hang:
            await trio.sleep_forever()

class Slow(Actor):
    async def init(self) -> None:
        say("starting slowly")
        await trio.sleep_forever()

class Refuses(Actor):
    async def init(self) -> None:
        raise ValueError("token=PLANTED is wrong")

class Keeper(Actor):
    async def init(self, token: str) -> None:
        self.token = token
        self.sessions = {"cookie": token, "user": {"password": token}}
        self.send_after(5.0, self.pid, ("login", {"password": token}))
    def handle_info(self, message):
        raise ValueError(f"cannot log in with {message[1]}, token={self.token}")

class Crashes(ProcessActor):
    async def run(self) -> None:
        raise RuntimeError("again, password=PLANTED")
"""

SECONDS = 90.0


class RunningNode:
    """One ``wsactors run`` and what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.seen: list[str] = []
        self._lines: queue.Queue[tuple[int, str | None]] = queue.Queue()
        self._unread: tuple[list[str], list[str]] = ([], [])
        pipes = (process.stdout, process.stderr)
        self._threads = [threading.Thread(target=self._read, args=each) for each in enumerate(pipes)]
        for thread in self._threads:
            thread.start()

    def _read(self, number: int, pipe: Any) -> None:
        for line in pipe:
            self._lines.put((number, line.rstrip("\n")))
        self._lines.put((number, None))

    def wait_line(self, part: str) -> str:
        """The next line, of either output, that contains ``part``. What comes before it on the same output is passed over.

        Of what is said on different outputs nobody can tell which was first.
        """
        ended = 0
        while (found := self._next_unread(part)) is None:
            number, line = self._lines.get(timeout=SECONDS)
            if line is not None:
                self.seen.append(line)
                self._unread[number].append(line)
                continue
            ended += 1
            if ended == 2:
                raise AssertionError(f"the node ended without saying {part!r}; it said:\n" + "\n".join(self.seen))
        return found

    def _next_unread(self, part: str) -> str | None:
        for lines in self._unread:
            for index, line in enumerate(lines):
                if part in line:
                    del lines[: index + 1]
                    return line
        return None

    def wait_event(self, event: str) -> dict[str, Any]:
        """The next log record of that event."""
        record: dict[str, Any] = json.loads(self.wait_line(f'"event": "{event}"'))
        return record

    def signal(self, number: Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def signal_group(self, number: Signals) -> None:
        """Send it and every process it started a signal, as a terminal or a service manager does."""
        os.killpg(self.process.pid, number)

    def wait_exit(self) -> int:
        """Its exit code; the rest of what it said is in ``seen``."""
        code = self.process.wait(SECONDS)
        for thread in self._threads:
            thread.join(SECONDS)
        while not self._lines.empty():
            _, line = self._lines.get()
            self.seen += [] if line is None else [line]
        return code


def write_application(folder: Path, tree: str, config: str = "") -> Path:
    """The application with this supervisor file; returns the configuration's path."""
    (folder / "bootapp.py").write_text(APPLICATION)
    (folder / "tree.toml").write_text(f"[supervisor]\nstrategy = 'one_for_one'\n{tree}")
    path = folder / "node.toml"
    path.write_text(f"[node]\ntrees = ['tree.toml']\nallowed_packages = ['bootapp', 'wsactors']\n{config}")
    for file in folder.iterdir():
        file.chmod(0o600)
    return path


@contextmanager
def node_running(config: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> Iterator[RunningNode]:
    """``wsactors run config`` while the block runs; killed after it if it still lives."""
    code = "from wsactors.node.cli import main; main()"
    runtime = config.parent / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    # A buffered standard output, as everywhere else: what is not flushed is not seen.
    plain = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    env = {**plain, "PYTHONPATH": str(config.parent), "XDG_RUNTIME_DIR": str(runtime), **(environ or {})}
    with subprocess.Popen(
        [sys.executable, "-c", code, "run", str(config), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env,
        start_new_session=True,
    ) as process:  # fmt: skip
        node = RunningNode(process)
        try:
            yield node
        finally:
            if process.poll() is None:
                process.kill()
            node.wait_exit()
