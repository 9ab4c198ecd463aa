"""What Engine.IO's requests say, and what they are refused with. Pure, but for reading a body."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import attrs

from wsactors.wire import engineio as eio
from wsactors.wire.engineio import Packet, Version
from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import dumps

PACKETS_AT_ONCE: Final = 64
"""Packets that a session takes before others have their turn."""
MAX_FIELDS: Final = 32
"""Of a query."""


@attrs.frozen
class Fault:
    """What an endpoint says no with; the reference's numbers and texts."""

    code: int
    message: str
    status: int = 400

    @property
    def body(self) -> bytes:
        """As JSON."""
        return dumps({"code": self.code, "message": self.message})


UNKNOWN_TRANSPORT: Final = Fault(0, "Transport unknown")
UNKNOWN_SID: Final = Fault(1, "Session ID unknown")
BAD_METHOD: Final = Fault(2, "Bad handshake method")
BAD_REQUEST: Final = Fault(3, "Bad request")
FORBIDDEN: Final = Fault(4, "Forbidden", 403)
BAD_VERSION: Final = Fault(5, "Unsupported protocol version")
TOO_MANY: Final = Fault(4, "Too many sessions, try again later", 503)


class Refused(Exception):
    """The request is answered with ``fault``."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


_OWN_FIELDS: Final = frozenset({"EIO", "transport", "sid", "t", "b64"})
_NOTHING_SAID: Final[Mapping[str, str]] = {}


def query_of(query: bytes) -> dict[str, str]:
    """The fields of a query, of one that comes twice the last. Raises `Refused`."""
    try:
        fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Refused(BAD_REQUEST) from None
    return dict(fields)


def said_in(query: Mapping[str, str]) -> Mapping[str, str]:
    """What is in a query beside the protocol's own fields: for most sessions nothing, so nothing is kept."""
    said = {key: value for key, value in query.items() if key not in _OWN_FIELDS}
    return said or _NOTHING_SAID


async def body_of(receive: Any, limit: int) -> bytes | None:
    """The request's body; None when it is too large, or broke off."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        if not message.get("more_body"):
            return bytes(body)


def parts_of(packets: list[Packet]) -> Iterator[list[Packet]]:
    """``packets`` in portions."""
    return (packets[at : at + PACKETS_AT_ONCE] for at in range(0, len(packets), PACKETS_AT_ONCE))


def packets_of(version: Version, body: bytes, content_type: bytes) -> list[Packet] | None:
    """What a client posts; None when it cannot be read."""
    is_octets = content_type.partition(b";")[0].strip().lower() == b"application/octet-stream"
    try:
        if version == 3:
            return eio.decode_payload3(body, is_octets=is_octets)
        return None if is_octets else eio.decode_payload(body)
    except ProtocolError:
        return None
