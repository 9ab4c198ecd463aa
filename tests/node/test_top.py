"""`wsactors top` draws what a node answers, finds the node, and says so when there is none."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from wsactors.node.top import NoNode, Query, ask, connected, draw, find_socket

ANSWER = {
    "node": "demo", "actors": 12_345, "queued": 7, "uptime": 12.4, "workers": 3, "crashes": 1, "dropped_full": 2, "holds": 4,
    "processes": [
        {"pid": "<demo.3>", "name": "\x1b[2J[red]evil[/]", "class": "Deck", "queue": 7, "high_water": 9, "handled": 900,
         "refused": 0, "state": "blocked", "seconds": 1.25, "cpu": 0.125},
    ],
}  # fmt: skip


@contextmanager
def fake_node(path: Path, answer: bytes | None) -> Iterator[list[Any]]:
    """A socket at ``path`` that answers every line with ``answer``; None closes the connection."""
    asked: list[Any] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, connection.makefile("rwb") as stream:
                    for line in stream:
                        asked.append(json.loads(line))
                        if answer is None:
                            break
                        stream.write(answer)
                        stream.flush()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "wsactors").mkdir()
    return tmp_path / "wsactors"


def test_a_question_is_one_line_and_so_is_the_answer(tmp_path: Path) -> None:
    with (
        fake_node(tmp_path / "s", json.dumps(ANSWER).encode() + b"\n") as asked,
        connected(tmp_path / "s") as connection,
    ):
        assert ask(connection, {"op": "processes"}) == ANSWER
        assert ask(connection, {"op": "again"}) == ANSWER
    assert asked == [{"op": "processes"}, {"op": "again"}]


def test_a_refusal_is_told(tmp_path: Path) -> None:
    with (
        fake_node(tmp_path / "s", b'{"error": "not allowed"}\n'),
        connected(tmp_path / "s") as connection,
        pytest.raises(NoNode, match="not allowed"),
    ):
        ask(connection, {})


def test_a_node_that_hangs_up_is_told(tmp_path: Path) -> None:
    with (
        fake_node(tmp_path / "s", None),
        connected(tmp_path / "s") as connection,
        pytest.raises(NoNode, match="closed the connection"),
    ):
        ask(connection, {})


def test_the_only_node_needs_no_name(runtime: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(runtime / "dead.sock"))
    with pytest.raises(NoNode, match="no node runs here"):
        find_socket(Query())

    with fake_node(runtime / "one.sock", b"{}\n"):
        assert find_socket(Query()) == runtime / "one.sock"
        with fake_node(runtime / "two.sock", b"{}\n"):
            with pytest.raises(NoNode, match="several nodes run here: one, two"):
                find_socket(Query())
            assert find_socket(Query(node="two")) == runtime / "two.sock"


def test_on_a_terminal_the_table_lives_until_ctrl_c(runtime: Path) -> None:
    ours, theirs = pty.openpty()
    code = "from wsactors.node.cli import main; main()"
    with fake_node(runtime / "demo.sock", json.dumps(ANSWER).encode() + b"\n") as asked, subprocess.Popen(
        [sys.executable, "-c", code, "top", "--interval", "0.2"],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env={**os.environ, "TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(theirs)
        drawn = b""
        while len(asked) < 3:
            drawn += os.read(ours, 65_536)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                drawn += os.read(ours, 65_536)
            except OSError:  # the other side of the terminal is gone
                break
        assert process.wait(30) == 0
    os.close(ours)
    assert drawn.count(b"demo, up 12 s") >= 2
    assert b"Traceback" not in drawn


def test_a_foreign_name_cannot_paint_the_terminal() -> None:
    output = io.StringIO()

    Console(file=output, width=160, force_terminal=True).print(draw(ANSWER))

    assert "\x1b[2J" not in output.getvalue()
    assert "\\x1b[2J[red]evil[/]" in output.getvalue()
    assert "demo, up 12 s: 12345 actors, 7 messages waiting" in output.getvalue()
    assert "blocked 1.2 s" in output.getvalue()
    assert "12.5%" in output.getvalue()
