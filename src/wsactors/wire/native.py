"""The native protocol: msgpack control messages and binary audio frames, one per WebSocket binary message.

The first byte tells the two apart: a control message is a msgpack map (0x80–0x8f), an audio frame begins with 0x01 or,
with a copy of an earlier frame in it, with 0x02.
Control messages are closed: an unknown kind, an unknown or missing field, a duplicate key, a wrong type, an extension
type, a non-finite number or a nested value too deep is a `ProtocolError` that names the field. ``docs/protocol.md``
lists every message with example bytes.

Two tables, `CLIENT_MESSAGES` and `SERVER_MESSAGES`, say who may send what. Version 1 knows sessions; version 2 adds
topics. `Hello` is decoded as the newest version, everything after it as the version that `Welcome` names.

Example:
    >>> encode(Ping(nonce=7)).hex(" ")
    '82 a1 74 a4 70 69 6e 67 a5 6e 6f 6e 63 65 07'
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from .audio_frame import (
    AUDIO_HEADER_BYTES,
    AUDIO_KIND,
    AUDIO_KINDS,
    FLAG_DISCONTINUITY,
    FLAG_LAST,
    FLAG_PRIORITY,
    FLAG_SILENCE,
    FLAG_VOICE,
    MAX_AUDIO_PAYLOAD,
    MAX_DATAGRAM,
    QUIETEST,
    AudioFrame,
    Copy,
    decode_audio,
    decode_uplink,
    encode_audio,
    encode_redundant,
)
from .errors import ProtocolError
from .native_schema import (
    MAX_CONTAINERS,
    MAX_CONTROL_BYTES,
    MAX_EVENT_DEPTH,
    MAX_MESSAGE_BYTES,
    MAX_NAME,
    body_of,
    build,
    pack,
    unpack,
)
from .native_sessions import (
    ERROR_CODES,
    MAX_SESSIONS,
    MAX_TEXT,
    MAX_TOKEN,
    MAX_TOPIC,
    MAX_TOPICS,
    VERSION,
    VERSIONS,
    Act,
    Error,
    Event,
    Hello,
    Join,
    Joined,
    Leave,
    Left,
    ListSessions,
    Ping,
    Pong,
    Position,
    SessionInfo,
    Sessions,
    Welcome,
    clip,
    sessions_that_fit,
)
from .native_topics import (
    HINTS,
    MAX_EVENT,
    Authenticate,
    Authenticated,
    Expiring,
    Hint,
    JoinTopic,
    LeaveTopic,
    Message,
    PresenceDiff,
    PresenceState,
    Publish,
    Published,
    Push,
    Reply,
    TopicJoined,
    TopicLeft,
    Track,
    Untrack,
)
from .plain import MAX_EXACT_INT, Plain
from .receiver_report import MAX_REPORTED_TRACKS, Probe, ReceiverReport, TrackReport

__all__ = [
    "AUDIO_HEADER_BYTES", "AUDIO_KIND", "AUDIO_KINDS", "CLIENT_MESSAGES", "ERROR_CODES", "FLAG_DISCONTINUITY",
    "FLAG_LAST", "FLAG_PRIORITY", "FLAG_SILENCE", "FLAG_VOICE", "HINTS", "MAX_AUDIO_PAYLOAD", "MAX_CONTAINERS",
    "MAX_CONTROL_BYTES", "MAX_DATAGRAM", "MAX_EVENT", "MAX_EVENT_DEPTH", "MAX_EXACT_INT", "MAX_MESSAGE_BYTES",
    "MAX_NAME", "MAX_REPORTED_TRACKS", "MAX_SESSIONS", "MAX_TEXT", "MAX_TOKEN", "MAX_TOPIC", "MAX_TOPICS", "QUIETEST",
    "SERVER_MESSAGES", "VERSION", "VERSIONS", "Act", "AudioFrame", "Authenticate", "Authenticated", "ClientMessage",
    "Copy", "Error", "Event", "Expiring", "Hello", "Hint", "Join", "JoinTopic", "Joined", "Leave", "LeaveTopic",
    "Left", "ListSessions", "Message", "Ping", "Plain", "Pong", "Position", "PresenceDiff", "PresenceState", "Probe",
    "Publish", "Published", "Push", "ReceiverReport", "Reply", "ServerMessage", "SessionInfo", "Sessions",
    "TopicJoined", "TopicLeft", "Track", "TrackReport", "Untrack", "Welcome", "clip", "common_version",
    "decode_audio", "decode_client", "decode_server", "decode_uplink", "encode", "encode_audio", "encode_redundant",
    "sessions_that_fit",
]  # fmt: skip

ClientMessage: TypeAlias = (
    Hello | ListSessions | Join | Leave | Ping | Pong
    | JoinTopic | LeaveTopic | Push | Publish | Track | Untrack | Authenticate
    | ReceiverReport | Act
)  # fmt: skip
ServerMessage: TypeAlias = (
    Welcome | Sessions | Joined | Left | Ping | Pong | Error | Event
    | TopicJoined | TopicLeft | Message | Push | PresenceState | PresenceDiff | Reply | Published | Authenticated
    | Expiring | Hint | Probe
)  # fmt: skip

_CLIENT_OF_VERSION: Final[Mapping[int, Sequence[type[ClientMessage]]]] = {
    1: (Hello, ListSessions, Join, Leave, Ping, Pong),
    2: (JoinTopic, LeaveTopic, Push, Publish, Track, Untrack, Authenticate, ReceiverReport, Act),
}
_SERVER_OF_VERSION: Final[Mapping[int, Sequence[type[ServerMessage]]]] = {
    1: (Welcome, Sessions, Joined, Left, Ping, Pong, Error, Event),
    2: (
        TopicJoined, TopicLeft, Message, Push, PresenceState, PresenceDiff, Reply, Published, Authenticated, Expiring,
        Hint, Probe,
    ),
}  # fmt: skip
_LARGE_ERROR: Final = 64 * 1024
"""An `Error` may carry details of the application, but not many."""


@functools.cache
def _client_kinds(version: int) -> Mapping[str, type[ClientMessage]]:
    return {cls.KIND: cls for since, group in _CLIENT_OF_VERSION.items() if since <= version for cls in group}


@functools.cache
def _server_kinds(version: int) -> Mapping[str, type[ServerMessage]]:
    return {cls.KIND: cls for since, group in _SERVER_OF_VERSION.items() if since <= version for cls in group}


CLIENT_MESSAGES: Final = _client_kinds(VERSION)
SERVER_MESSAGES: Final = _server_kinds(VERSION)


def common_version(offered: Sequence[int]) -> int | None:
    """The best version that is in ``offered`` and spoken here; None: there is none."""
    return next((version for version in VERSIONS if version in offered), None)


def encode(message: ClientMessage | ServerMessage, version: int = VERSION) -> bytes:
    """The bytes of a control message. Fields that ``version`` does not know are left out.

    Raises:
        ProtocolError: A field breaks the schema, or the message is too large; here the caller is at fault (`clip` texts
            that come from outside).
    """
    data = pack(body_of(message, version))
    _check_size(len(data), type(message), MAX_MESSAGE_BYTES)
    return data


def decode_client(data: bytes, version: int = VERSION, *, max_bytes: int = MAX_MESSAGE_BYTES) -> ClientMessage:
    """What a client sent. Raises `ProtocolError` for anything a client may not send in ``version``."""
    message: ClientMessage = _decode(data, _client_kinds(version), version, max_bytes)
    return message


def decode_server(
    data: bytes, version: int = VERSION, *, max_bytes: int = MAX_MESSAGE_BYTES
) -> ServerMessage | AudioFrame:
    """What a server sent: a control message or an audio frame. Raises `ProtocolError` for anything else."""
    if data and data[0] in AUDIO_KINDS:
        return decode_audio(data)
    message: ServerMessage = _decode(data, _server_kinds(version), version, max_bytes)
    return message


def _decode(data: bytes, kinds: Mapping[str, type[Any]], version: int, max_bytes: int) -> Any:
    if len(data) > max_bytes:
        raise ProtocolError(f"{len(data)} bytes, more than the {max_bytes} of a message")
    body = unpack(data)
    kind = body.pop("t", None)
    cls = kinds.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise ProtocolError(f"t: expected one of {', '.join(sorted(kinds))}")
    _check_size(len(data), cls, max_bytes)
    return build(cls, body, cls.KIND, version)


def _check_size(size: int, cls: type[Any], max_bytes: int) -> None:
    limit = max_bytes if getattr(cls, "DATA", False) else _LARGE_ERROR if cls is Error else MAX_CONTROL_BYTES
    if size > limit:
        raise ProtocolError(f"{cls.KIND}: {size} bytes, more than the {limit} of such a message")
