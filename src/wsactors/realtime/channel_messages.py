"""What channels are told on behalf of their clients, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from wsactors.wire.plain import Plain

from .identity import User


@attrs.frozen
class Answer:
    """What a push is answered with; ``status`` is "ok" or "error"."""

    status: str
    response: Plain = None


@attrs.frozen(eq=False)
class Push:
    """Cast to a channel: its client says something."""

    __is_value__ = True

    event: str
    payload: Plain
    ref: Any = None
    """What the answer names; None: the client wants none."""


@attrs.frozen
class Leave:
    """Cast to a channel: its client leaves, or is made to."""

    reason: str = "left"


@attrs.frozen(eq=False)
class SetPresence:
    """Cast to a channel: its client is present, with ``meta``; None: not any more."""

    __is_value__ = True

    meta: Mapping[str, Any] | None
    key: str | None = None
    ref: Any = None


@attrs.frozen(eq=False)
class Renew:
    """Cast to a channel: its client has shown a new token."""

    user: User
