"""Exit reasons for people: what went wrong, and where in the tree, without the wrapping."""

from __future__ import annotations

from wsactors.actors import Crash
from wsactors.actors.redact import safe_repr

__all__ = ["cause"]

_MAX_DEPTH = 32


def cause(reason: object, depth: int = _MAX_DEPTH) -> str:
    """The innermost cause of an exit reason, behind the children that passed it up.

    >>> cause(("shutdown", ("failed_to_start_child", "gateway", Crash("GatewayRefused", "no port is free"))))
    'gateway: GatewayRefused: no port is free'
    """
    match reason:
        case ("shutdown", inner) if depth:
            return cause(inner, depth - 1)
        case ("failed_to_start_child", child, inner) if depth:
            return f"{child}: {cause(inner, depth - 1)}"
        case Crash(type=kind, message=message):
            return f"{kind}: {message}" if message else kind
        case str():
            return reason
        case _:
            return safe_repr(reason)
