"""Phoenix Channels, protocol versions 1.0.0 and 2.0.0: text and binary messages, both directions.

Version 1 is one JSON object ``{"topic", "event", "payload", "ref"}`` per message and has no binary form. Version 2 is one JSON
array ``[join_ref, ref, topic, event, payload]``, or, when the payload is bytes, a binary message: a kind, the sizes of the
fields (one byte each), the fields, then the payload:

====  =========  =========================================
kind  direction  fields
====  =========  =========================================
0     to server  join_ref, ref, topic, event
0     to client  join_ref, topic, event
1     to client  join_ref, ref, topic, status (a reply)
2     to client  topic, event (a broadcast)
====  =========  =========================================

Bytes that have no binary form (version 1, inside a map or list, a field above 255 bytes) go out as `plain.textual` says.

Example:
    >>> encode_server(Message("1", "2", "room:a", "phx_reply", {"status": "ok", "response": {}}), V2).data
    b'["1","2","room:a","phx_reply",{"status":"ok","response":{}}]'
    >>> encode_server(Message(None, None, "room:a", "photo", b"data"), V2).data
    b'\\x02\\x06\\x05room:aphotodata'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

import attrs

from .errors import ProtocolError
from .json_door import dumps, loads
from .plain import MAX_EXACT_INT, Plain

Version: TypeAlias = Literal[1, 2]
V1: Final[Version] = 1
V2: Final[Version] = 2
Ref: TypeAlias = str | int | None
"""What a client calls a message or a join by: a text; some clients count in numbers, and get numbers back."""

MAX_FIELD: Final = 255
"""Longest topic, event and ref, in bytes of UTF-8: a binary message has one byte for each size."""
PUSH: Final = 0
REPLY: Final = 1
BROADCAST: Final = 2

JOIN: Final = "phx_join"
LEAVE: Final = "phx_leave"
REPLY_EVENT: Final = "phx_reply"
CLOSE: Final = "phx_close"
ERROR: Final = "phx_error"
PRESENCE_STATE: Final = "presence_state"
PRESENCE_DIFF: Final = "presence_diff"
SOCKET_TOPIC: Final = "phoenix"
"""The topic of messages about the connection itself; the only one is the heartbeat."""
HEARTBEAT: Final = "heartbeat"


@attrs.frozen
class Message:
    """One message of either direction."""

    join_ref: Ref
    """The ref of the join that the message belongs to."""
    ref: Ref
    """What a reply to the message will be called by; in a reply, what it answers."""
    topic: str
    event: str
    payload: Plain
    """From a client a map or bytes. In a reply the map of ``status`` and ``response``."""


class Frame(NamedTuple):
    """What goes into one WebSocket message."""

    data: bytes
    binary: bool
    """False: ``data`` is UTF-8 and the message a text one."""


def version_of(vsn: str | None) -> Version:
    """The version that the ``vsn`` of a connection asks for; without one it is 1.0.0.

    Raises:
        ProtocolError: It is not spoken here.
    """
    if vsn is None:
        return V1
    major, _, rest = vsn.partition(".")
    minor, _, patch = rest.partition(".")
    if minor != "0" or not (patch.isdecimal() and patch.isascii()) or major not in {"1", "2"}:
        raise ProtocolError("vsn: expected 1.0.0 or 2.0.0")
    return V1 if major == "1" else V2


# -- from clients -------------------------------------------------------------------------------------------------------


def decode_client(data: str | bytes, version: Version) -> Message:
    """The message of a client in ``data``: a text or a binary WebSocket message.

    Raises:
        ProtocolError: It is none.
    """
    if isinstance(data, str):
        return decode_text(data, version)
    if version == V1:
        raise ProtocolError("version 1.0.0 has no binary messages")
    if not data.startswith(b"\0"):
        raise ProtocolError("binary message: expected kind 0")
    (join_ref, ref, topic, event), rest = fields(data, 1, 4)
    return Message(join_ref or None, ref or None, named(topic, "topic"), named(event, "event"), rest)


def decode_text(data: str | bytes, version: Version) -> Message:
    """The message of a client in the JSON text ``data``. Raises `ProtocolError` as `decode_client` does."""
    value = loads(data)
    if version == V1:
        if not isinstance(value, dict):
            raise ProtocolError("expected an object of topic, event, payload and ref")
        parts = [value.get(key) for key in ("join_ref", "ref", "topic", "event", "payload")]
    elif isinstance(value, list) and len(value) >= 5:
        parts = value[:5]
    else:
        raise ProtocolError("expected an array of join_ref, ref, topic, event and payload")
    join_ref, ref, topic, event, payload = parts
    if payload is None:
        payload = {}
    if not isinstance(payload, dict):
        raise ProtocolError("payload: expected an object")
    return Message(_ref(join_ref, "join_ref"), _ref(ref, "ref"), named(topic, "topic"), named(event, "event"), payload)


def encode_client(message: Message, version: Version) -> Frame:
    """``message`` as a client sends it. Raises `ProtocolError` when a field does not fit."""
    join_ref, ref = _ref(message.join_ref, "join_ref"), _ref(message.ref, "ref")
    topic, event = named(message.topic, "topic"), named(message.event, "event")
    if isinstance(message.payload, bytes) and version == V2:
        head = packed(PUSH, (text_of(join_ref), text_of(ref), topic, event))
        if head is not None:
            return Frame(head + message.payload, binary=True)
    return text_message(attrs.evolve(message, join_ref=join_ref, ref=ref), version)


# -- to clients ---------------------------------------------------------------------------------------------------------


def encode_server(message: Message, version: Version) -> Frame:
    """``message`` as a server sends it.

    Bytes as the payload become a binary message of version 2: a broadcast when ``join_ref`` is None, else a push; bytes as
    the ``response`` of a reply, a binary reply.

    Raises:
        ProtocolError: The payload is not plain; here the caller is at fault.
    """
    payload = message.payload
    if version == V2:
        head: bytes | None = None
        if isinstance(payload, bytes):
            head = binary_head(message)
        elif message.event == REPLY_EVENT and isinstance(payload, dict):
            status, response = payload.get("status"), payload.get("response")
            if isinstance(response, bytes) and isinstance(status, str):
                payload = response
                head = packed(REPLY, (text_of(message.join_ref), text_of(message.ref), message.topic, status))
        if head is not None and isinstance(payload, bytes):
            return Frame(head + payload, binary=True)
    return text_message(message, version)


def binary_head(message: Message) -> bytes | None:
    """What stands before the bytes of a push or broadcast; None when a field is too long for it."""
    if message.join_ref is None:
        return packed(BROADCAST, (message.topic, message.event))
    return packed(PUSH, (text_of(message.join_ref), message.topic, message.event))


def text_message(message: Message, version: Version) -> Frame:
    """``message`` as JSON; bytes in it become what text-only clients get. Raises `ProtocolError` as `encode_server`."""
    topic, event, payload = message.topic, message.event, message.payload
    value: Plain
    if version == V1:
        value = {"topic": topic, "event": event, "payload": payload, "ref": message.ref}
    else:
        value = [message.join_ref, message.ref, topic, event, payload]
    return Frame(dumps(value), binary=False)


def decode_server(data: str | bytes, version: Version) -> Message:
    """The message of a server in ``data``: what a client does with it.

    Raises:
        ProtocolError: It is none.
    """
    if isinstance(data, str):
        return decode_text(data, version)
    if version == V1:
        raise ProtocolError("version 1.0.0 has no binary messages")
    match data[:1]:
        case b"\0":
            (join_ref, topic, event), rest = fields(data, 1, 3)
            return Message(join_ref or None, None, named(topic, "topic"), named(event, "event"), rest)
        case b"\1":
            (join_ref, ref, topic, status), rest = fields(data, 1, 4)
            reply: dict[str, Plain] = {"status": status, "response": rest}
            return Message(join_ref or None, ref or None, named(topic, "topic"), REPLY_EVENT, reply)
        case b"\2":
            (topic, event), rest = fields(data, 1, 2)
            return Message(None, None, named(topic, "topic"), named(event, "event"), rest)
    raise ProtocolError("binary message: expected kind 0, 1 or 2")


# -- payloads -----------------------------------------------------------------------------------------------------------


def presence_payload(presences: Mapping[str, Sequence[Mapping[str, Plain]]]) -> dict[str, Plain]:
    """``presences``, the metas of each key, as the payload of ``presence_state`` (and each half of a diff)."""
    return {key: {"metas": [dict(meta) for meta in metas]} for key, metas in presences.items()}


# -- fields, which Supabase's messages share ------------------------------------------------------------------------------


def named(value: object, field: str) -> str:
    """``value`` if it is a topic or event: a text of 1 to 255 bytes. Raises `ProtocolError`."""
    if isinstance(value, str) and 0 < utf8_size(value) <= MAX_FIELD:
        return value
    raise ProtocolError(f"{field}: expected a text of 1 to {MAX_FIELD} bytes")


def _ref(value: object, field: str) -> Ref:
    if value is None or value == "":
        return None
    if isinstance(value, str) and utf8_size(value) <= MAX_FIELD:
        return value
    if type(value) is int and -MAX_EXACT_INT <= value <= MAX_EXACT_INT:
        return value
    raise ProtocolError(f"{field}: expected null, an integer or a text of at most {MAX_FIELD} bytes")


def utf8_size(text: str) -> int:
    """Bytes of ``text`` in UTF-8. Raises `ProtocolError` when it has lone surrogates."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise ProtocolError("texts must not hold lone surrogates") from None


def text_of(ref: Ref) -> str:
    """``ref`` in a binary message."""
    return "" if ref is None else str(ref)


def packed(kind: int, texts: Sequence[str]) -> bytes | None:
    """A kind, the sizes of ``texts``, ``texts``; None when one is too long."""
    raw = [text.encode("utf-8", "replace") for text in texts]
    if any(len(each) > MAX_FIELD for each in raw):
        return None
    return b"".join((bytes((kind, *map(len, raw))), *raw))


def fields(data: bytes, start: int, count: int) -> tuple[list[str], bytes]:
    """The ``count`` texts whose sizes begin at ``start``, and what follows them. Raises `ProtocolError`."""
    raw, rest = raw_fields(data, start, count, gap=0)
    return [_utf8(each) for each in raw], rest


def raw_fields(data: bytes, start: int, count: int, *, gap: int) -> tuple[list[bytes], bytes]:
    """The ``count`` fields whose sizes begin at ``start``, with ``gap`` bytes between the sizes and them; and the rest."""
    sizes = data[start : start + count]
    at = start + count + gap
    if len(sizes) < count or at + sum(sizes) > len(data):
        raise ProtocolError("binary message: shorter than its sizes say")
    found = []
    for size in sizes:
        found.append(data[at : at + size])
        at += size
    return found, data[at:]


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ProtocolError("binary message: a field is not UTF-8") from None
