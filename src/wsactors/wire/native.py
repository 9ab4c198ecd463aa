"""The native protocol, version 1: msgpack control messages and binary audio frames, one per WebSocket binary message.

The first byte tells the two apart: a control message is a msgpack map (0x80–0x8f), an audio frame begins with 0x01.
Control messages are closed: an unknown kind, an unknown or missing field, a duplicate key, a wrong type, an extension
type, a non-finite number or a nested value too deep is a `ProtocolError` that names the field. ``docs/protocol.md``
lists every message with example bytes.

Two tables at the end of the classes, `CLIENT_MESSAGES` and `SERVER_MESSAGES`, say who may send what.

Example:
    >>> encode(Ping(nonce=7)).hex(" ")
    '82 a1 74 a4 70 69 6e 67 a5 6e 6f 6e 63 65 07'
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final, TypeAlias

import attrs
import msgpack

from .audio_frame import (
    AUDIO_HEADER_BYTES,
    AUDIO_KIND,
    FLAG_DISCONTINUITY,
    FLAG_LAST,
    FLAG_SILENCE,
    MAX_AUDIO_PAYLOAD,
    QUIETEST,
    AudioFrame,
    decode_audio,
    encode_audio,
)
from .errors import ProtocolError
from .plain import MAX_EXACT_INT, Plain

__all__ = [
    "AUDIO_HEADER_BYTES", "AUDIO_KIND", "CLIENT_MESSAGES", "FLAG_DISCONTINUITY", "FLAG_LAST", "FLAG_SILENCE",
    "MAX_AUDIO_PAYLOAD", "MAX_CONTROL_BYTES", "MAX_DEPTH", "MAX_EXACT_INT", "MAX_NAME", "MAX_SESSIONS", "MAX_TEXT",
    "QUIETEST", "SERVER_MESSAGES", "VERSION", "AudioFrame", "ClientMessage", "Error", "Event", "Hello", "Join",
    "Joined", "Leave", "Left", "ListSessions", "Message", "Ping", "Plain", "Pong", "ServerMessage", "SessionInfo",
    "Sessions", "Welcome", "clip", "decode_audio", "decode_client", "decode_server", "encode", "encode_audio",
    "sessions_that_fit",
]  # fmt: skip

VERSION: Final = 1
MAX_CONTROL_BYTES: Final = 16 * 1024
"""Largest control message in either direction, in bytes."""
MAX_DEPTH: Final = 4
"""How deep the payload of an `Event` may nest."""
MAX_NAME: Final = 128
"""Longest session name, in characters."""
MAX_TEXT: Final = 512
"""Longest title, reason or explanation, in characters; longer ones are cut by `clip` before they are sent."""
MAX_SESSIONS: Final = 100
"""Most sessions in one `Sessions` message."""

_Check: TypeAlias = Callable[[Any, str], Any]


# -- field checks: (value, path) -> value, or ProtocolError ---------------------------------------------------------


def _refuse(path: str, expected: str) -> ProtocolError:
    return ProtocolError(f"{path}: expected {expected}")


def _integer(low: int, high: int) -> _Check:
    def check(value: Any, path: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise _refuse(path, f"an integer from {low} to {high}")
        return value

    return check


def _text(limit: int, *, empty: bool = True) -> _Check:
    low = 0 if empty else 1

    def check(value: Any, path: str) -> str:
        if not isinstance(value, str) or not low <= len(value) <= limit:
            raise _refuse(path, f"a text of {low} to {limit} characters")
        return value

    return check


def _tuple_of(item: _Check, limit: int) -> _Check:
    def check(value: Any, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or len(value) > limit:
            raise _refuse(path, f"a list of at most {limit}")
        return tuple(item(each, f"{path}[{index}]") for index, each in enumerate(value))

    return check


def _plain(value: Any, path: str, depth: int = MAX_DEPTH) -> Any:
    match value:
        case None | bool() | str() | bytes():
            return value
        case int():
            if abs(value) > MAX_EXACT_INT:
                raise _refuse(path, "an integer that a double holds exactly")
            return value
        case float():
            if not math.isfinite(value):
                raise _refuse(path, "a finite number")
            return value
        case list() | tuple() if depth:
            return [_plain(each, f"{path}[{index}]", depth - 1) for index, each in enumerate(value)]
        case dict() if depth:
            return {_key(key, path): _plain(each, f"{path}.{key}", depth - 1) for key, each in value.items()}
        case list() | tuple() | dict():
            raise _refuse(path, f"at most {MAX_DEPTH} levels of nesting")
    raise _refuse(path, "plain data")


def _key(value: Any, path: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise _refuse(path, f"keys that are texts of at most {MAX_NAME} characters")
    return value


def _record(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refuse(path, "a map")
    plain: dict[str, Any] = _plain(value, path)
    return plain


_ID = _text(MAX_NAME, empty=False)
_WORDS = _text(MAX_TEXT)
_U32 = _integer(0, 2**32 - 1)


def _field(check: _Check, default: Any = attrs.NOTHING) -> Any:
    return attrs.field(default=default, metadata={"check": check})


# -- messages ---------------------------------------------------------------------------------------------------------


@attrs.frozen
class Hello:
    """Client: the first message; the protocol versions it speaks, best first, and a name for the logs."""

    KIND: ClassVar[str] = "hello"
    versions: tuple[int, ...] = _field(_tuple_of(_integer(1, 255), 16), (VERSION,))
    client: str = _field(_text(MAX_NAME), "")


@attrs.frozen
class Welcome:
    """Server: the answer to `Hello`: the version both will speak from here on, and the node's name."""

    KIND: ClassVar[str] = "welcome"
    version: int = _field(_integer(1, 255))
    node: str = _field(_text(MAX_NAME))


@attrs.frozen
class ListSessions:
    """Client: which sessions are there? Answered by `Sessions`."""

    KIND: ClassVar[str] = "list"


@attrs.frozen
class SessionInfo:
    """One line of `Sessions`."""

    name: str = _field(_ID)
    title: str = _field(_WORDS, "")
    kind: str = _field(_text(32), "battle")
    listeners: int = _field(_U32, 0)


def _session_info(value: Any, path: str) -> SessionInfo:
    if isinstance(value, SessionInfo):
        value = attrs.asdict(value)
    info: SessionInfo = _build(SessionInfo, value, path)
    return info


@attrs.frozen
class Sessions:
    """Server: the sessions one can join, at most `MAX_SESSIONS`."""

    KIND: ClassVar[str] = "sessions"
    sessions: tuple[SessionInfo, ...] = _field(_tuple_of(_session_info, MAX_SESSIONS))


@attrs.frozen
class Join:
    """Client: let me hear this session. Answered by `Joined` (then audio frames follow) or by `Error`."""

    KIND: ClassVar[str] = "join"
    session: str = _field(_ID)


@attrs.frozen
class Joined:
    """Server: you hear this session from now on, as audio frames of track ``track``."""

    KIND: ClassVar[str] = "joined"
    session: str = _field(_ID)
    track: int = _field(_U32)
    title: str = _field(_WORDS, "")
    codec: str = _field(_text(32), "opus")
    rate: int = _field(_integer(8_000, 192_000), 48_000)
    """Samples per second; the unit of an audio frame's timestamp."""
    channels: int = _field(_integer(1, 2), 2)
    frame: int = _field(_integer(1, 5_760), 960)
    """Samples per channel in one audio frame."""


@attrs.frozen
class Leave:
    """Client: stop this session's audio. Answered by `Left`, also when it was not joined."""

    KIND: ClassVar[str] = "leave"
    session: str = _field(_ID)


@attrs.frozen
class Left:
    """Server: no more audio of this session, because you asked (``"left"``) or for the reason given."""

    KIND: ClassVar[str] = "left"
    session: str = _field(_ID)
    reason: str = _field(_WORDS, "left")


@attrs.frozen
class Ping:
    """Either side: answer with a `Pong` of the same nonce."""

    KIND: ClassVar[str] = "ping"
    nonce: int = _field(_U32)


@attrs.frozen
class Pong:
    """The answer to a `Ping`."""

    KIND: ClassVar[str] = "pong"
    nonce: int = _field(_U32)


@attrs.frozen
class Error:
    """Server: a request failed. ``code`` is for programs, ``message`` says to a person what to do."""

    KIND: ClassVar[str] = "error"
    code: str = _field(_text(64, empty=False))
    message: str = _field(_WORDS)
    session: str = _field(_text(MAX_NAME), "")


@attrs.frozen
class Event:
    """Server: something happened in a session, for instance ``"state"`` with what the decks play."""

    KIND: ClassVar[str] = "event"
    session: str = _field(_ID)
    name: str = _field(_text(64, empty=False))
    payload: Mapping[str, Plain] = _field(_record, attrs.Factory(dict))


ClientMessage: TypeAlias = Hello | ListSessions | Join | Leave | Ping | Pong
ServerMessage: TypeAlias = Welcome | Sessions | Joined | Left | Ping | Pong | Error | Event
Message: TypeAlias = ClientMessage | ServerMessage

CLIENT_MESSAGES: Final[Mapping[str, type[ClientMessage]]] = {
    each.KIND: each for each in (Hello, ListSessions, Join, Leave, Ping, Pong)
}
SERVER_MESSAGES: Final[Mapping[str, type[ServerMessage]]] = {
    each.KIND: each for each in (Welcome, Sessions, Joined, Left, Ping, Pong, Error, Event)
}


# -- control messages to bytes and back -------------------------------------------------------------------------------


def clip(text: str, limit: int = MAX_TEXT) -> str:
    """Cut ``text`` to ``limit`` characters and replace what UTF-8 cannot carry, so that any text can be sent.

    Example:
        >>> clip("x" * 600)[-3:], clip("a\\ud800")
        ('xx…', 'a?')
    """
    clean = text.encode("utf-8", "replace").decode("utf-8")
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def sessions_that_fit(infos: Iterable[SessionInfo]) -> Sessions:
    """As many of ``infos``, in order, as one `Sessions` message carries."""
    fitting: list[SessionInfo] = []
    room = MAX_CONTROL_BYTES - 64
    for info in infos:
        room -= 64 + sum(len(text.encode("utf-8", "replace")) for text in (info.name, info.title, info.kind))
        if room < 0 or len(fitting) == MAX_SESSIONS:
            break
        fitting.append(info)
    return Sessions(tuple(fitting))


def encode(message: Message) -> bytes:
    """The bytes of a control message.

    Raises:
        ProtocolError: A field breaks the schema; here the caller is at fault (`clip` texts that come from outside).
    """
    body: dict[str, Any] = {"t": message.KIND}
    for field in attrs.fields(type(message)):
        value = field.metadata["check"](getattr(message, field.name), f"{message.KIND}.{field.name}")
        body[field.name] = value
    try:
        data = msgpack.packb(body, default=_pack_record)
    except UnicodeEncodeError:
        raise _refuse(message.KIND, "texts that UTF-8 can carry") from None
    if len(data) > MAX_CONTROL_BYTES:
        raise ProtocolError(
            f"{message.KIND}: {len(data)} bytes, more than the {MAX_CONTROL_BYTES} of a control message"
        )
    encoded: bytes = data
    return encoded


def decode_client(data: bytes) -> ClientMessage:
    """What a client sent. Raises `ProtocolError` for anything a client may not send."""
    message: ClientMessage = _decode(data, CLIENT_MESSAGES)
    return message


def decode_server(data: bytes) -> ServerMessage | AudioFrame:
    """What a server sent: a control message or an audio frame. Raises `ProtocolError` for anything else."""
    if data[:1] == bytes((AUDIO_KIND,)):
        return decode_audio(data)
    message: ServerMessage = _decode(data, SERVER_MESSAGES)
    return message


def _pack_record(value: object) -> object:
    if isinstance(value, SessionInfo):
        return attrs.asdict(value)
    raise TypeError(f"cannot send a {type(value).__name__}")


def _decode(data: bytes, kinds: Mapping[str, type[Any]]) -> Any:
    if len(data) > MAX_CONTROL_BYTES:
        raise ProtocolError(f"{len(data)} bytes, more than the {MAX_CONTROL_BYTES} of a control message")
    if not data or not 0x80 <= data[0] <= 0x8F:
        raise ProtocolError("expected a msgpack map of at most 15 entries")
    try:
        body = msgpack.unpackb(data, raw=False, strict_map_key=True, object_pairs_hook=_unique, ext_hook=_no_extension)
    except ProtocolError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException):
        raise ProtocolError("not one well-formed msgpack value") from None
    kind = body.pop("t", None)
    cls = kinds.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise ProtocolError(f"t: expected one of {', '.join(sorted(kinds))}")
    return _build(cls, body, cls.KIND)


def _build(cls: type[Any], body: Any, path: str) -> Any:
    if not isinstance(body, dict):
        raise _refuse(path, "a map")
    fields = {field.name: field for field in attrs.fields(cls)}
    if not body.keys() <= fields.keys():
        raise ProtocolError(f"{path}: unknown field; it has {', '.join(fields) or 'none'}")
    values = {}
    for name, field in fields.items():
        if name in body:
            values[name] = field.metadata["check"](body[name], f"{path}.{name}")
        elif field.default is attrs.NOTHING:
            raise ProtocolError(f"{path}.{name}: missing")
    return cls(**values)


def _unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ProtocolError("a key appears twice in one map")
    return found


def _no_extension(_code: int, _data: bytes) -> object:
    raise ProtocolError("msgpack extension types are not part of the protocol")
