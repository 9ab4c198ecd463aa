"""Messages of the native protocol about the connection itself and about sessions: all of version 1, and what it grew into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Final

import attrs

from .native_schema import (
    MAX_CONTROL_BYTES,
    MAX_NAME,
    event_payload,
    integer,
    map_of,
    message_field,
    one_of,
    optional,
    payload,
    payload_map,
    record_of,
    refuse,
    seconds,
    text,
    tuple_of,
)
from .plain import MAX_EXACT_INT, Plain

VERSIONS: Final = (2, 1)
"""The versions this package speaks, best first."""
VERSION: Final = VERSIONS[0]
MAX_TEXT: Final = 512
"""Longest title, reason or explanation, in characters; longer ones are cut by `clip` before they are sent."""
MAX_SESSIONS: Final = 100
"""Most sessions in one `Sessions` message."""
MAX_TOPIC: Final = 255
"""Longest topic, in bytes of UTF-8."""
MAX_TOPICS: Final = 100
"""Most topics in one `Hello`: as many as one connection may be a member of."""
MAX_TOKEN: Final = 8_192
"""Longest token, in characters."""

ERROR_CODES: Final = (
    "version", "protocol", "no_session", "too_many", "unauthorized", "expired", "unmatched_topic", "not_joined",
    "refused", "rate", "overloaded", "too_large", "timeout", "crash", "not_found", "internal",
)  # fmt: skip
"""Every code of an `Error`; the first four came with version 1."""

name_text = text(MAX_NAME, empty=False)
words = text(MAX_TEXT)
u32 = integer(0, 2**32 - 1)
_version = integer(1, 255)


def topic_text(value: object, path: str) -> str:
    """A topic: 1 to `MAX_TOPIC` bytes of UTF-8."""
    if not isinstance(value, str) or not 0 < len(value.encode("utf-8", "replace")) <= MAX_TOPIC:
        raise refuse(path, f"a topic of 1 to {MAX_TOPIC} bytes")
    return value


@attrs.frozen
class Position:
    """A place in a topic's history: everything up to ``offset`` in the history ``epoch`` has been seen."""

    epoch: str = message_field(text(64))
    offset: int = message_field(integer(0, MAX_EXACT_INT))


position = record_of(Position)


# -- greeting ---------------------------------------------------------------------------------------------------------


@attrs.frozen
class Hello:
    """Client: the first message; the protocol versions it speaks, best first, and a name for the logs."""

    KIND: ClassVar[str] = "hello"
    versions: tuple[int, ...] = message_field(tuple_of(_version, 16), VERSIONS)
    client: str = message_field(text(MAX_NAME), "")
    token: str = message_field(text(MAX_TOKEN), "", since=2, secret=True)
    """Who it is: a JSON Web Token."""
    api_key: str = message_field(text(MAX_TEXT), "", since=2, secret=True)
    resume: str = message_field(text(256), "", since=2, secret=True)
    """What the `Welcome` of the connection before gave."""
    topics: Mapping[str, Position] = message_field(
        map_of(topic_text, position, MAX_TOPICS), attrs.Factory(dict), since=2
    )
    """With ``resume``: the topics to be a member of again, and what of each has been seen."""


@attrs.frozen
class Welcome:
    """Server: the answer to `Hello`: the version both will speak from here on, and the node's name."""

    KIND: ClassVar[str] = "welcome"
    version: int = message_field(_version)
    node: str = message_field(text(MAX_NAME))
    subject: str = message_field(words, "", since=2)
    """Who the client is; empty: anybody."""
    expires: float | None = message_field(optional(seconds), None, since=2)
    """Seconds until the token expires."""
    quiet: float = message_field(seconds, 0.0, since=2)
    """Seconds of silence after which the node asks whether the client is there."""
    limit: int = message_field(integer(0, MAX_EXACT_INT), 0, since=2)
    """Largest message that the node takes, in bytes."""
    resume: str = message_field(text(256), "", since=2, secret=True)
    """For `Hello.resume`, should this connection break; empty: cannot be resumed."""
    resume_for: float = message_field(seconds, 0.0, since=2)
    """Seconds after the break in which it can be used."""
    resumed: tuple[str, ...] | None = message_field(optional(tuple_of(topic_text, MAX_TOPICS)), None, since=2)
    """The topics that the node joins again by itself; None: the token that was shown is not valid any more."""


# -- sessions ---------------------------------------------------------------------------------------------------------


@attrs.frozen
class ListSessions:
    """Client: which sessions are there? Answered by `Sessions`."""

    KIND: ClassVar[str] = "list"


@attrs.frozen
class SessionInfo:
    """One line of `Sessions`."""

    name: str = message_field(name_text)
    title: str = message_field(words, "")
    kind: str = message_field(text(32), "battle")
    listeners: int = message_field(u32, 0)


@attrs.frozen
class Sessions:
    """Server: the sessions one can join, at most `MAX_SESSIONS`."""

    KIND: ClassVar[str] = "sessions"
    sessions: tuple[SessionInfo, ...] = message_field(tuple_of(record_of(SessionInfo), MAX_SESSIONS))


@attrs.frozen
class Join:
    """Client: let me hear this session. Answered by `Joined` (then audio frames follow) or by `Error`."""

    KIND: ClassVar[str] = "join"
    session: str = message_field(name_text)


@attrs.frozen
class Joined:
    """Server: you hear this session from now on, as audio frames of track ``track``."""

    KIND: ClassVar[str] = "joined"
    session: str = message_field(name_text)
    track: int = message_field(u32)
    title: str = message_field(words, "")
    codec: str = message_field(text(32), "opus")
    rate: int = message_field(integer(8_000, 192_000), 48_000)
    """Samples per second; the unit of an audio frame's timestamp."""
    channels: int = message_field(integer(1, 2), 2)
    frame: int = message_field(integer(1, 5_760), 960)
    """Samples per channel in one audio frame."""


@attrs.frozen
class Leave:
    """Client: stop this session's audio. Answered by `Left`, also when it was not joined."""

    KIND: ClassVar[str] = "leave"
    session: str = message_field(name_text)


@attrs.frozen
class Left:
    """Server: no more audio of this session, because you asked (``"left"``) or for the reason given."""

    KIND: ClassVar[str] = "left"
    session: str = message_field(name_text)
    reason: str = message_field(words, "left")


@attrs.frozen
class Act:
    """Client: do something in a joined session, such as raising a hand. Answered by `Reply` or by `Error`."""

    KIND: ClassVar[str] = "act"
    DATA: ClassVar[bool] = True
    ref: int = message_field(integer(1, 2**32 - 1))
    session: str = message_field(name_text)
    action: str = message_field(text(32, empty=False))
    """What the kinds of sessions know: ``docs/stage.md``."""
    args: Mapping[str, Plain] = message_field(payload_map, attrs.Factory(dict), since=2)


@attrs.frozen
class Event:
    """Server: something happened in a session, for instance ``"state"`` with what the decks play."""

    KIND: ClassVar[str] = "event"
    session: str = message_field(name_text)
    name: str = message_field(text(64, empty=False))
    payload: Mapping[str, Plain] = message_field(event_payload, attrs.Factory(dict))


# -- signs of life, and of trouble ------------------------------------------------------------------------------------


@attrs.frozen
class Ping:
    """Either side: answer with a `Pong` of the same nonce."""

    KIND: ClassVar[str] = "ping"
    nonce: int = message_field(u32)


@attrs.frozen
class Pong:
    """The answer to a `Ping`."""

    KIND: ClassVar[str] = "pong"
    nonce: int = message_field(u32)


@attrs.frozen
class Error:
    """Server: a request failed. ``code`` is for programs, ``message`` says to a person what to do."""

    KIND: ClassVar[str] = "error"
    code: str = message_field(one_of(*ERROR_CODES))
    message: str = message_field(words)
    session: str = message_field(text(MAX_NAME), "")
    ref: int = message_field(u32, 0, since=2)
    """Of the request that failed."""
    topic: str = message_field(text(MAX_TOPIC), "", since=2)
    after: float = message_field(seconds, 0.0, since=2)
    """Seconds to wait before the same is asked again."""
    details: Plain = message_field(payload, None, since=2)
    """What else the application said when it refused."""


def clip(words: str, limit: int = MAX_TEXT) -> str:
    """Cut ``words`` to ``limit`` characters and replace what UTF-8 cannot carry, so that any text can be sent.

    Example:
        >>> clip("x" * 600)[-3:], clip("a\\ud800")
        ('xx…', 'a?')
    """
    clean = words.encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def sessions_that_fit(infos: Iterable[SessionInfo]) -> Sessions:
    """As many of ``infos``, in order, as one `Sessions` message carries."""
    fitting: list[SessionInfo] = []
    room = MAX_CONTROL_BYTES - 64
    for info in infos:
        room -= 64 + sum(len(each.encode("utf-8", "replace")) for each in (info.name, info.title, info.kind))
        if room < 0 or len(fitting) == MAX_SESSIONS:
            break
        fitting.append(info)
    return Sessions(tuple(fitting))
