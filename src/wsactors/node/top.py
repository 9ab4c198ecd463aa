"""``wsactors top``: asks a running node's admin socket for its actors, and draws them."""

from __future__ import annotations

import json
import socket as sockets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wsactors.node.runtime_dir import runtime_folder
from wsactors.node.terminal import as_text, visible

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["NoNode", "Query", "ask", "connected", "find_socket", "watch"]

_ANSWER_SECONDS = 5.0
_MAX_ANSWER_BYTES = 16 * 1024 * 1024


class NoNode(Exception):
    """No running node answered; the text says where it was looked for."""


@attrs.frozen
class Query:
    """Whom to ask, and for what."""

    node: str | None = None
    """Name of the node; None if only one runs here."""
    socket: Path | None = None
    sort: str = "cpu"
    limit: int = 30


def find_socket(query: Query) -> Path:
    """The admin socket of the node that ``query`` means.

    Raises:
        NoNode: none is there, or several are and none was named.
    """
    if query.socket is not None:
        return query.socket
    folder = runtime_folder()
    if query.node is not None:
        return folder / f"{query.node}.sock"
    alive = [path for path in sorted(folder.glob("*.sock")) if _answers(path)]
    match alive:
        case [path]:
            return path
        case []:
            raise NoNode(f"no node runs here (no live socket in {folder}); start one with `wsactors run CONFIG`")
        case _:
            names = ", ".join(path.stem for path in alive)
            raise NoNode(f"several nodes run here: {names}; name one, such as `wsactors top {alive[0].stem}`")


def _answers(path: Path) -> bool:
    try:
        with connected(path):
            return True
    except NoNode:
        return False


@contextmanager
def connected(path: Path) -> Iterator[sockets.socket]:
    """An open connection to the admin socket at ``path``.

    Raises:
        NoNode: nobody listens there, or it is somebody else's.
    """
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as connection:
        connection.settimeout(_ANSWER_SECONDS)
        try:
            connection.connect(str(path))
        except OSError as error:
            raise NoNode(f"no node answers at {path}: {error.strerror or error}") from error
        yield connection


def ask(connection: sockets.socket, request: Mapping[str, Any]) -> dict[str, Any]:
    """Send one request and wait for its answer (one JSON object per line, both ways).

    Raises:
        NoNode: the node went away, did not answer within 5 s, or refused; the text says which.
    """
    try:
        connection.sendall(json.dumps(request).encode() + b"\n")
        line = bytearray()
        while not line.endswith(b"\n") and len(line) < _MAX_ANSWER_BYTES:
            if not (piece := connection.recv(65_536)):
                raise NoNode("the node closed the connection; is it another user's, or has it stopped?")
            line += piece
    except OSError as error:
        raise NoNode(f"the node does not answer: {error.strerror or error}") from error
    answer = json.loads(line)
    if "error" in answer:
        raise NoNode(f"the node refused: {answer['error']}")
    return dict(answer)


def watch(query: Query, interval: float | None) -> None:
    """Draw the table every ``interval`` seconds until Ctrl-C; once if ``interval`` is None.

    Raises:
        NoNode: there is nobody to ask, or the node has stopped.
        KeyboardInterrupt: somebody has seen enough.
    """
    from rich.console import Console
    from rich.live import Live

    request = {"op": "processes", "sort": query.sort, "limit": query.limit}
    with connected(find_socket(query)) as connection:
        first = ask(connection, request)
        if interval is None:
            Console().print(draw(first))
            return
        console = Console()
        # A pipe gets one table after the other, a terminal one that changes.
        with Live(draw(first), console=console, auto_refresh=False, screen=console.is_terminal) as live:
            while True:
                time.sleep(interval)
                live.update(draw(ask(connection, request)), refresh=True)


_COLUMNS = (
    ("pid", "left"), ("name", "left"), ("class", "left"), ("state", "left"), ("loop", "right"), ("queue", "right"),
    ("high", "right"), ("handled", "right"), ("refused", "right"),
)  # fmt: skip


def draw(answer: Mapping[str, Any]) -> Table:
    """The table for one answer of the node; every text in it may be foreign."""
    from rich.table import Table

    counted = f"{answer['actors']} actors, {answer['queued']} messages waiting, {answer['workers']} workers"
    wrong = (
        f"{answer['crashes']} crashes, {answer['dropped_full']} messages refused, {answer['holds']} holds of the loop"
    )
    title = f"{answer['node']}, up {answer['uptime']:.0f} s: {counted}; {wrong}"
    table = Table(title=as_text(title), title_justify="left", expand=True)
    for name, justify in _COLUMNS:
        table.add_column(name, justify=justify, no_wrap=name == "pid", overflow="ellipsis")  # type: ignore[arg-type]
    for row in answer["processes"]:
        doing = f"{row['state']} {row['seconds']:.1f} s" if row["seconds"] else row["state"]
        share = "" if row["cpu"] is None else f"{row['cpu']:.1%}"
        counts = (row["queue"], row["high_water"], row["handled"], row["refused"])
        texts = (row["pid"], row["name"], row["class"], doing, share, *counts)
        table.add_row(*(as_text(visible(text, 60)) for text in texts))
    return table
