"""What the admin socket answers: requests in, plain values out. Texts are redacted and bounded here.

========================  =============================================================================================
request                   answer
========================  =============================================================================================
``{"op": "info"}``        ``node``, ``count`` of actors, messages ``queued``, ``uptime`` in seconds, ``trees``
``{"op": "processes"}``   the same and ``processes``: at most ``limit`` rows (30), by ``sort``: ``queue``, ``busy``,
                          ``messages`` or ``pid``
``{"op": "kill"}``        ends the actor ``pid`` (a pid's text or a name) with ``kill``; needs ``admin.allow_changes``
========================  =============================================================================================
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from wsactors.actors.redact import safe_text

if TYPE_CHECKING:
    from wsactors.supervision import Node

__all__ = ["SORTS", "Refused", "answer"]

_MAX_ROWS: Final = 1_000
_MAX_TEXT: Final = 200
SORTS: Final[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {
    "queue": lambda row: -row["queue"],
    "busy": lambda row: -row["busy_ms"],
    "messages": lambda row: -row["messages"],
    "pid": lambda row: row["serial"],
}


class Refused(Exception):
    """The request is unknown, malformed or not allowed; the text says what would be."""


def answer(node: Node, request: object, *, may_change: bool, uptime: float = 0.0) -> dict[str, Any]:
    """The answer to one request.

    Raises:
        Refused: it is none of the requests above, or changes something and ``may_change`` is false.
    """
    match request:
        case {"op": "info"}:
            return _info(node, uptime)
        case {"op": "processes", **options}:
            return {**_info(node, uptime), "processes": _top(node, options)}
        case {"op": "kill", "pid": str(text)}:
            return _kill(node, text, may_change=may_change)
        case _:
            raise Refused('expected {"op": "info"}, {"op": "processes"} or {"op": "kill", "pid": "..."}')


def _info(node: Node, uptime: float) -> dict[str, Any]:
    processes = node.sched.processes.values()
    return {
        "node": node.name,
        "count": len(processes),
        "queued": sum(len(process) for process in processes),
        "uptime": round(uptime, 3),
        "trees": list(node.trees),
    }


def _top(node: Node, options: Mapping[Any, Any]) -> list[dict[str, Any]]:
    sort, limit = options.get("sort", "busy"), options.get("limit", 30)
    if sort not in SORTS:
        raise Refused(f"sort: expected one of {', '.join(SORTS)}")
    if type(limit) is not int or not 1 <= limit <= _MAX_ROWS:
        raise Refused(f"limit: expected a whole number from 1 to {_MAX_ROWS}")
    if unknown := set(options) - {"op", "sort", "limit"}:
        raise Refused(f"unknown option {min(unknown)!r}; expected sort, limit")
    return heapq.nsmallest(limit, _rows(node), key=SORTS[sort])


def _rows(node: Node) -> Iterable[dict[str, Any]]:
    for process in node.sched.processes.values():
        names = () if process.extras is None or process.extras.names is None else tuple(process.extras.names)
        yield {
            "pid": repr(process.pid),
            "serial": process.pid.serial,
            "name": safe_text(", ".join(names))[:_MAX_TEXT],
            "class": process.kind.cls.__qualname__[:_MAX_TEXT],
            "queue": len(process),
            "messages": process.handled,
            "busy_ms": 0.0,
            "state": "",
        }


def _kill(node: Node, text: str, *, may_change: bool) -> dict[str, Any]:
    if not may_change:
        raise Refused("this node does not let itself be changed from here; set admin.allow_changes = true")
    pid = node.find(text)
    if pid is None:
        raise Refused("no live actor has that pid or name")
    return {"killed": repr(pid), "done": node.exit(pid, "kill")}
