"""Messages of the native protocol about topics: members, publications, presence, identity and hints. Version 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, Literal, TypeAlias

import attrs

from .native_schema import (
    boolean,
    integer,
    message_field,
    one_of,
    optional,
    payload,
    payload_map,
    seconds,
    text,
)
from .native_sessions import MAX_TOKEN, Position, position, topic_text, u32, words
from .plain import MAX_EXACT_INT, Plain

MAX_EVENT: Final = 255
"""Longest name of an event on a topic, in characters."""
HINTS: Final = ("reconnect", "drain", "slow_down")

Hints: TypeAlias = Literal["reconnect", "drain", "slow_down"]

_event = text(MAX_EVENT, empty=False)
_offset = integer(0, MAX_EXACT_INT)


# -- client -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class JoinTopic:
    """Client: make me a member of ``topic``. Answered by `TopicJoined` or `Error`. A second join replaces the first."""

    KIND: ClassVar[str] = "join_topic"
    DATA: ClassVar[bool] = True
    ref: int = message_field(u32, since=2)
    topic: str = message_field(topic_text, since=2)
    params: Plain = message_field(payload, None, since=2)
    """For the application, which decides."""
    since: Position | None = message_field(optional(position), None, since=2)
    """Send what was published after this."""
    presence: bool = message_field(boolean, True, since=2)
    """Tell me who is there, and who comes and goes."""
    echo: bool = message_field(boolean, False, since=2)
    """Send me what I publish, too."""
    private: bool = message_field(boolean, False, since=2)


@attrs.frozen
class LeaveTopic:
    """Client: let me go. Answered by `TopicLeft`, also when it was no member."""

    KIND: ClassVar[str] = "leave_topic"
    ref: int = message_field(u32, since=2)
    topic: str = message_field(topic_text, since=2)


@attrs.frozen
class Push:
    """Client: a request to my channel. Server: something for this member alone. With a ``ref``, answered by `Reply`."""

    KIND: ClassVar[str] = "push"
    DATA: ClassVar[bool] = True
    topic: str = message_field(topic_text, since=2)
    event: str = message_field(_event, since=2)
    payload: Plain = message_field(payload, None, since=2)
    ref: int = message_field(u32, 0, since=2)


@attrs.frozen
class Publish:
    """Client: send this to everybody on ``topic``. With a ``ref``, answered by `Published` or `Error`."""

    KIND: ClassVar[str] = "publish"
    DATA: ClassVar[bool] = True
    topic: str = message_field(topic_text, since=2)
    event: str = message_field(_event, since=2)
    payload: Plain = message_field(payload, None, since=2)
    ref: int = message_field(u32, 0, since=2)
    echo: bool | None = message_field(optional(boolean), None, since=2)
    """Whether I get it, too; None: as I said when I joined."""
    id: str = message_field(text(64), "", since=2)
    """What it is called, for those who get it."""


@attrs.frozen
class Track:
    """Client: show me as present on ``topic`` with ``meta``; again: show this instead. With a ``ref``, answered by `Reply`."""

    KIND: ClassVar[str] = "track"
    DATA: ClassVar[bool] = True
    topic: str = message_field(topic_text, since=2)
    meta: Mapping[str, Plain] = message_field(payload_map, attrs.Factory(dict), since=2)
    ref: int = message_field(u32, 0, since=2)


@attrs.frozen
class Untrack:
    """Client: show me no more. With a ``ref``, answered by `Reply`."""

    KIND: ClassVar[str] = "untrack"
    topic: str = message_field(topic_text, since=2)
    ref: int = message_field(u32, 0, since=2)


@attrs.frozen
class Authenticate:
    """Client: a new token, before the old one expires. Answered by `Authenticated` or `Error`."""

    KIND: ClassVar[str] = "auth"
    ref: int = message_field(u32, since=2)
    token: str = message_field(text(MAX_TOKEN, empty=False), since=2, secret=True)


# -- server -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class TopicJoined:
    """Server: you are a member. `PresenceState` follows if it was asked for, then the ``missed`` messages, then the rest."""

    KIND: ClassVar[str] = "topic_joined"
    DATA: ClassVar[bool] = True
    ref: int = message_field(u32, since=2)
    """Of the request; 0 after `Welcome.resumed`."""
    topic: str = message_field(topic_text, since=2)
    epoch: str = message_field(text(64), "", since=2)
    offset: int = message_field(_offset, 0, since=2)
    """Where the history is after the missed messages."""
    recovered: bool | None = message_field(optional(boolean), None, since=2)
    """Whether the missed messages are all that was missed; None: nobody asked."""
    missed: int = message_field(u32, 0, since=2)
    response: Plain = message_field(payload, None, since=2)
    """What the application said."""


@attrs.frozen
class TopicLeft:
    """Server: you are no member any more."""

    KIND: ClassVar[str] = "topic_left"
    topic: str = message_field(topic_text, since=2)
    ref: int = message_field(u32, 0, since=2)
    code: str = message_field(one_of("left", "ended", "crash"), "left", since=2)
    """``left``: you asked; ``ended``: somebody did it on purpose; ``crash``: the channel died, join again."""
    reason: str = message_field(words, "", since=2)


@attrs.frozen
class Message:
    """Server: what somebody published on a topic."""

    KIND: ClassVar[str] = "message"
    DATA: ClassVar[bool] = True
    topic: str = message_field(topic_text, since=2)
    event: str = message_field(_event, since=2)
    payload: Plain = message_field(payload, None, since=2)
    epoch: str = message_field(text(64), "", since=2)
    offset: int = message_field(_offset, 0, since=2)
    """Its place in the topic's history; 0: it was not kept."""
    id: str = message_field(text(MAX_EVENT), "", since=2)
    at: float = message_field(seconds, 0.0, since=2)
    """Unix time of its publication."""
    meta: Mapping[str, Plain] | None = message_field(optional(payload_map), None, since=2)


@attrs.frozen
class PresenceState:
    """Server: everybody who is on a topic: key → the metas of their connections."""

    KIND: ClassVar[str] = "presence_state"
    DATA: ClassVar[bool] = True
    topic: str = message_field(topic_text, since=2)
    state: Mapping[str, list[dict[str, Plain]]] = message_field(payload_map, attrs.Factory(dict), since=2)


@attrs.frozen
class PresenceDiff:
    """Server: who came and who went since. Metas are told apart by their ``phx_ref``."""

    KIND: ClassVar[str] = "presence_diff"
    DATA: ClassVar[bool] = True
    topic: str = message_field(topic_text, since=2)
    joins: Mapping[str, list[dict[str, Plain]]] = message_field(payload_map, attrs.Factory(dict), since=2)
    leaves: Mapping[str, list[dict[str, Plain]]] = message_field(payload_map, attrs.Factory(dict), since=2)


@attrs.frozen
class Reply:
    """Server: the channel's answer to a `Push`, or the node's to a `Track`."""

    KIND: ClassVar[str] = "reply"
    DATA: ClassVar[bool] = True
    ref: int = message_field(u32, since=2)
    status: str = message_field(one_of("ok", "error"), "ok", since=2)
    response: Plain = message_field(payload, None, since=2)


@attrs.frozen
class Published:
    """Server: it has been given to everybody on the topic."""

    KIND: ClassVar[str] = "published"
    ref: int = message_field(u32, since=2)
    epoch: str = message_field(text(64), "", since=2)
    offset: int = message_field(_offset, 0, since=2)


@attrs.frozen
class Authenticated:
    """Server: the new token holds."""

    KIND: ClassVar[str] = "authenticated"
    ref: int = message_field(u32, since=2)
    subject: str = message_field(words, "", since=2)
    expires: float | None = message_field(optional(seconds), None, since=2)


@attrs.frozen
class Expiring:
    """Server: the token expires soon; `Authenticate` with a new one, or the connection ends with close 4401."""

    KIND: ClassVar[str] = "expiring"
    seconds: float = message_field(seconds, since=2)


@attrs.frozen
class Hint:
    """Server: what a good client does now.

    ``reconnect``: should this connection end, wait ``after`` seconds and a random part of ``within``. ``drain``: the node
    stops; go elsewhere, at a random moment between ``after`` and ``after`` + ``within``. ``slow_down``: send nothing for
    ``after`` seconds, and less from then on.
    """

    KIND: ClassVar[str] = "hint"
    hint: Hints = message_field(one_of(*HINTS), since=2)
    after: float = message_field(seconds, 0.0, since=2)
    within: float = message_field(seconds, 0.0, since=2)
    message: str = message_field(words, "", since=2)
