"""What the admin socket answers: requests in, plain values out. Texts are redacted and bounded here.

==========================================  ===========================================================================
request                                     answer
==========================================  ===========================================================================
``{"op": "info"}``                          ``node``, ``uptime`` in seconds, ``trees`` and what ``Node.info()`` counts
``{"op": "processes"}``                     the same and ``processes``: at most ``limit`` rows (30), ordered by ``sort``:
                                            ``cpu`` (sampled share of the loop), ``queue``, ``handled`` or ``pid``
``{"op": "status", "pid": "..."}``          one row with its ``status``: the actor's state and where it waits, as text
``{"op": "kill", "pid": "..."}``            ends that actor with ``kill``; needs ``admin.allow_changes``
``{"op": "suspend" | "resume", ...}``       holds it still, lets it go on; needs ``admin.allow_changes``
==========================================  ===========================================================================

``pid`` is a pid as it is shown, or a registered name.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from wsactors.actors import Pid
from wsactors.actors.redact import safe_text
from wsactors.actors.statistics import ProcessInfo
from wsactors.errors import WsactorsError
from wsactors.supervision import Node

__all__ = ["SORTS", "Refused", "answer"]

_MAX_ROWS: Final = 1_000
_MAX_TEXT: Final = 200
_HOLD_SECONDS: Final = 5.0
SORTS: Final[Mapping[str, Callable[[ProcessInfo], Any]]] = {
    "cpu": lambda row: (-(row.cpu or 0.0), -row.seconds, -row.handled),
    "queue": lambda row: -(row.mailbox + row.held),
    "handled": lambda row: -row.handled,
    "pid": lambda row: 0,
}
"""The orders of rows; the least comes first, and among equals the oldest."""


class Refused(Exception):
    """The request is unknown, malformed or not allowed; the text says what would be."""


async def answer(node: Node, request: object, *, may_change: bool, uptime: float = 0.0) -> dict[str, Any]:
    """The answer to one request.

    Raises:
        Refused: it is none of the requests above, or changes something and ``may_change`` is false.
    """
    match request:
        case {"op": "info"}:
            return _info(node, uptime)
        case {"op": "processes", **options}:
            queued, rows = await _top(node, options)
            return {**_info(node, uptime), "queued": queued, "processes": rows}
        case {"op": "status", "pid": str(text)}:
            status = node.status(_found(node, text))
            return {**_row(status.info), "status": {"state": status.state, "stack": list(status.stack)}}
        case {"op": "kill" | "suspend" | "resume" as op, "pid": str(text)}:
            if not may_change:
                raise Refused("this node does not let itself be changed from here; set admin.allow_changes = true")
            return await _change(node, op, _found(node, text))
        case _:
            raise Refused('expected {"op": "info"}, {"op": "processes"}, or {"op": "status", "pid": "..."}')


def _info(node: Node, uptime: float) -> dict[str, Any]:
    return {"node": node.name, "uptime": round(uptime, 3), "trees": list(node.trees), **attrs.asdict(node.info())}


async def _top(node: Node, options: Mapping[Any, Any]) -> tuple[int, list[dict[str, Any]]]:
    """Messages waiting in all mailboxes, and the first rows. Memory is that of the rows shown, however many there are."""
    sort, limit = options.get("sort", "cpu"), options.get("limit", 30)
    if sort not in SORTS:
        raise Refused(f"sort: expected one of {', '.join(SORTS)}")
    if type(limit) is not int or not 1 <= limit <= _MAX_ROWS:
        raise Refused(f"limit: expected a whole number from 1 to {_MAX_ROWS}")
    if unknown := set(options) - {"op", "sort", "limit"}:
        raise Refused(f"unknown option {min(unknown)!r}; expected sort, limit")
    first: list[tuple[Any, int, ProcessInfo]] = []
    queued = 0
    async for info in node.processes():
        queued += info.mailbox
        first.append((SORTS[sort](info), info.pid.serial, info))
        if len(first) >= 2 * limit:
            first = heapq.nsmallest(limit, first)
    return queued, [_row(info) for _, _, info in heapq.nsmallest(limit, first)]


def _row(info: ProcessInfo) -> dict[str, Any]:
    return {
        "pid": repr(info.pid),
        "name": _shown(", ".join(info.names)),
        "class": _shown(info.cls),
        "style": info.style,
        "state": info.state,
        "queue": info.mailbox + info.held,
        "high_water": info.high_water,
        "handled": info.handled,
        "refused": info.refused,
        "seconds": round(info.seconds, 3),
        "cpu": info.cpu,
        "parent": None if info.parent is None else repr(info.parent),
    }


def _shown(text: str) -> str:
    return safe_text(text[:_MAX_TEXT])


def _found(node: Node, text: str) -> Pid:
    pid = node.find(text)
    if pid is None:
        raise Refused("no live actor has that pid or name")
    return pid


async def _change(node: Node, op: str, pid: Pid) -> dict[str, Any]:
    try:
        match op:
            case "kill":
                done = node.exit(pid, "kill")
            case "suspend":
                await node.suspend(pid, _HOLD_SECONDS)
                done = True
            case _:
                done = node.resume(pid)
    except (WsactorsError, TypeError) as error:
        raise Refused(str(error)) from error
    return {"pid": repr(pid), "op": op, "done": done}
