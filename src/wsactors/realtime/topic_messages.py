"""What channels and publishers tell a topic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from wsactors.actors import Pid
from wsactors.wire.plain import Plain

from .publication import Position


@attrs.frozen(eq=False)
class Subscribe:
    """Call: let a channel have everything from now on. Answered with None, or the code of a refusal."""

    __is_value__ = True

    channel: Pid
    response: Plain = None
    since: Position | None = None
    limit: int | None = None
    presence: bool = True
    """Whether the client wants to know who is present."""
    again: bool = False
    """Whether the client has joined already: the topic is a new one, after a crash."""


@attrs.frozen(eq=False)
class Publish:
    """Cast or call: one message for everybody. The call is answered with its `Position`, or None: its readers do not keep up."""

    __is_value__ = True

    event: str
    payload: Plain
    sender: Pid | None = None
    exclude: Pid | None = None
    size: int = 0
    """About how many bytes the payload takes."""
    id: str = ""
    meta: Mapping[str, Any] | None = None


@attrs.frozen(eq=False)
class Track:
    """Cast: the channel is present under ``key``, with ``meta``; a second one is an update."""

    __is_value__ = True

    channel: Pid
    key: str
    meta: Mapping[str, Any]


@attrs.frozen
class Untrack:
    """Cast: the channel is not present any more."""

    channel: Pid


@attrs.frozen
class GetHistory:
    """Call: a `Gap` since a position, or the newest ``limit``."""

    since: Position | None = None
    limit: int | None = None


@attrs.frozen
class GetPresence:
    """Call: presences by key, as of now."""


@attrs.frozen
class GetTopic:
    """Call: a `TopicInfo`."""


@attrs.frozen
class TopicInfo:
    """How a topic is doing."""

    topic: str
    members: int
    present: int
    """Keys."""
    position: Position
    kept: int
    """Publications in the history."""
    published: int
