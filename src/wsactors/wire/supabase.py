"""Supabase Realtime's messages: Phoenix's (`wsactors.wire.phoenix`) and two binary kinds of its own, both directions.

A broadcast that a user sends is kind 3, one that a client gets is kind 4; both only in version 2.0.0:

* 3, sizes of join_ref, ref, topic, event, metadata (one byte each), encoding, the fields, the user's payload
* 4, sizes of topic, event, metadata, encoding, the fields, the user's payload

Metadata is a JSON object or absent; the encoding is 0 for bytes and 1 for JSON. In text, and here, both are the event
``broadcast`` with the payload ``{"type": "broadcast", "event", "payload", "meta"}``. No client decodes Phoenix's kinds 0, 1
and 2, so none of them is ever sent: bytes anywhere else go out as `plain.textual` says.

The shapes of what users send in (joins, broadcasts, presence, REST) are in `wsactors.wire.supabase_payloads`.
"""

from __future__ import annotations

from typing import Final

from . import phoenix
from .errors import ProtocolError
from .json_door import dumps, loads
from .phoenix import Frame, Message, Version, named, packed, raw_fields, text_of
from .plain import Plain, has_bytes

USER_BROADCAST_PUSH: Final = 3
USER_BROADCAST: Final = 4
BYTES: Final = 0
JSON: Final = 1
BROADCAST_EVENT: Final = "broadcast"


def decode_client(data: str | bytes, version: Version) -> Message:
    """The message of a client in ``data``: a text or a binary WebSocket message.

    Raises:
        ProtocolError: It is none.
    """
    if isinstance(data, str) or version == phoenix.V1 or not data.startswith(b"\3"):
        return phoenix.decode_client(data, version)
    (join_ref, ref, topic, event, metadata), rest = raw_fields(data, 1, 5, gap=1)
    payload = _payload(_lenient(event), metadata, data[6], rest)
    return Message(_lenient(join_ref) or None, _lenient(ref) or None, named(_lenient(topic), "topic"),
                   BROADCAST_EVENT, payload)  # fmt: skip


def encode_client(message: Message, version: Version) -> Frame:
    """``message`` as a client sends it: broadcasts as kind 3, like the JavaScript client.

    Raises:
        ProtocolError: A field does not fit.
    """
    if version == phoenix.V2 and (broadcast := _broadcast(message)) is not None:
        event, metadata, encoding, body = broadcast
        texts = (text_of(message.join_ref), text_of(message.ref), message.topic, event, metadata)
        head = packed(USER_BROADCAST_PUSH, texts)
        if head is not None:
            return Frame(head[:6] + bytes((encoding,)) + head[6:] + body, binary=True)
    return phoenix.encode_client(message, version)


def encode_server(message: Message, version: Version) -> Frame:
    """``message`` as a server sends it: broadcasts as kind 4 where that can be, everything else as JSON.

    Raises:
        ProtocolError: The payload is not plain; here the caller is at fault.
    """
    if version == phoenix.V2 and (broadcast := _broadcast(message)) is not None:
        event, metadata, encoding, body = broadcast
        head = packed(USER_BROADCAST, (message.topic, event, metadata))
        if head is not None:
            return Frame(head[:4] + bytes((encoding,)) + head[4:] + body, binary=True)
    return phoenix.text_message(message, version)


def decode_server(data: str | bytes, version: Version) -> Message:
    """The message of a server in ``data``: what a client does with it.

    Raises:
        ProtocolError: It is none.
    """
    if isinstance(data, str):
        return phoenix.decode_text(data, version)
    if version == phoenix.V1 or not data.startswith(b"\4"):
        raise ProtocolError("binary message: expected kind 4, of version 2.0.0")
    (topic, event, metadata), rest = raw_fields(data, 1, 3, gap=1)
    payload = _payload(_strict(event), metadata, data[4], rest)
    return Message(None, None, named(_strict(topic), "topic"), BROADCAST_EVENT, payload)


def broadcast_payload(event: str, payload: Plain, meta: dict[str, Plain] | None = None) -> dict[str, Plain]:
    """The payload of a ``broadcast``."""
    message: dict[str, Plain] = {"type": "broadcast", "event": event, "payload": payload}
    if meta:
        message["meta"] = meta
    return message


def system_payload(extension: str, status: str, message: str, channel: str) -> dict[str, Plain]:
    """The payload of a ``system`` message: ``status`` is "ok" or "error", ``channel`` the topic without "realtime:"."""
    return {"extension": extension, "status": status, "message": message, "channel": channel}


def _broadcast(message: Message) -> tuple[str, str, int, bytes] | None:
    """Event, metadata, encoding and body of a broadcast that the binary kinds can say; None for everything else."""
    value = message.payload
    if message.event != BROADCAST_EVENT or not isinstance(value, dict) or not value.keys() <= _SAID:
        return None
    event, body, meta = value.get("event"), value.get("payload"), value.get("meta", None)
    if not isinstance(event, str) or not event or "payload" not in value or value.get("type") != "broadcast":
        return None
    if "meta" in value and (not isinstance(meta, dict) or not meta or has_bytes(meta)):
        return None
    metadata = dumps(meta).decode() if meta else ""
    if isinstance(body, bytes):
        return event, metadata, BYTES, body
    return event, metadata, JSON, dumps(body)


_SAID: Final = frozenset({"type", "event", "payload", "meta"})


def _payload(event: str, metadata: bytes, encoding: int, body: bytes) -> dict[str, Plain]:
    if encoding not in (BYTES, JSON):
        raise ProtocolError("binary message: expected encoding 0 (bytes) or 1 (JSON)")
    meta = loads(metadata) if metadata else {}
    if not isinstance(meta, dict):
        raise ProtocolError("binary message: expected metadata that is a JSON object")
    return broadcast_payload(named(event, "event"), body if encoding == BYTES else loads(body), meta)


def _strict(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ProtocolError("binary message: a field is not UTF-8") from None


def _lenient(raw: bytes) -> str:
    """A field as its sender meant it: JavaScript clients before 2.110.4 wrote one byte per character, which is Latin-1."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
