"""Socket.IO packets, revision 5, and revision 4 for old clients: text, placeholders and attachments. Pure.

``<type>[<attachments>-][<namespace>,][<id>][<JSON>]``, each packet in a message of Engine.IO, its attachments in binary
messages behind it.

Example:
    >>> encode(Packet(EVENT, "/", ["hey", b"\\x01"]))
    (b'51-["hey",{"_placeholder":true,"num":0}]', [b'\\x01'])
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from .errors import ProtocolError
from .json_door import dumps, loads
from .plain import MAX_DEPTH, Plain, has_bytes, textual

CONNECT: Final = 0
DISCONNECT: Final = 1
EVENT: Final = 2
ACK: Final = 3
CONNECT_ERROR: Final = 4
BINARY_EVENT: Final = 5
BINARY_ACK: Final = 6

RESERVED_EVENTS: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
"""What no event may be called: both ends' libraries emit these themselves."""
MAX_ATTACHMENTS: Final = 64
MAX_NAMESPACE: Final = 255
"""Longest namespace, in characters, a query included."""
MAX_ID: Final = 2**53 - 1
_PLACEHOLDER: Final = "_placeholder"
_HEAD: Final = re.compile(
    r"([0-6])(?:([0-9]{1,6})-)?(?:(/[^,\x00-\x1f\x7f\ud800-\udfff]*)(?:,|\Z))?([0-9]{1,16})?", re.ASCII
)


class Packet(NamedTuple):
    """One packet, its attachments in their places. The types with "binary" in their names exist on the wire alone."""

    type: int
    namespace: str = "/"
    data: Plain = None
    """None: the packet has none. A map of CONNECT; a list, event and arguments, of EVENT; arguments of ACK."""
    id: int | None = None
    """Asks for an ACK, or says of which it is one."""


def encode(packet: Packet) -> tuple[bytes, list[bytes]]:
    """The text and the attachments of ``packet``.

    Raises:
        ProtocolError: The data is not plain; here the caller is at fault.
    """
    kind, namespace, data, number = packet
    if kind in {EVENT, ACK} and has_bytes(data):
        attachments: list[bytes] = []
        if not _holds_placeholder(data):
            data = _detach(data, attachments)
            kind += BINARY_EVENT - EVENT
        else:
            # What looks like a placeholder of ours would break every receiver: these get bytes as text-only clients do.
            data = textual(data)
        count = f"{len(attachments)}-" if attachments else ""
    else:
        attachments, count = [], ""
    head = f"{kind}{count}{'' if namespace == '/' else namespace + ','}{'' if number is None else number}"
    return head.encode() + (b"" if data is None else dumps(data)), attachments


class Decoder:
    """Puts packets together from the messages of one client.

    Args:
        max_attachments: Most of them in one packet.
        max_bytes: Of the attachments of one packet together.
    """

    __slots__ = ("_attachments", "_max_attachments", "_max_bytes", "_missing", "_packet", "_room")

    def __init__(self, *, max_attachments: int = MAX_ATTACHMENTS, max_bytes: int = 4 * 1024 * 1024) -> None:
        self._max_attachments = max_attachments
        self._max_bytes = max_bytes
        self._packet: Packet | None = None
        self._attachments: list[bytes] = []
        self._missing = self._room = 0

    def feed(self, message: str | bytes) -> Packet | None:
        """The packet that ``message`` completes; None: attachments are still to come.

        Raises:
            ProtocolError: It breaks the protocol, or a limit. The decoder must not be used again.
        """
        if isinstance(message, bytes):
            return self._attach(message)
        if self._packet is not None:
            raise ProtocolError("socket.io: expected an attachment, got text")
        kind, count, packet = decode_text(message)
        if kind < BINARY_EVENT:
            return packet
        if count > self._max_attachments:
            raise ProtocolError(f"socket.io: more than {self._max_attachments} attachments")
        if count == 0:
            return packet._replace(data=_put_back(packet.data, []))
        self._packet, self._missing, self._room = packet, count, self._max_bytes
        return None

    def _attach(self, data: bytes) -> Packet | None:
        packet = self._packet
        if packet is None:
            raise ProtocolError("socket.io: got an attachment without a packet")
        self._room -= len(data)
        if self._room < 0:
            raise ProtocolError(f"socket.io: more than {self._max_bytes} bytes of attachments")
        self._attachments.append(data)
        if len(self._attachments) < self._missing:
            return None
        attachments, self._attachments, self._packet = self._attachments, [], None
        return packet._replace(data=_put_back(packet.data, attachments))


def decode_text(text: str) -> tuple[int, int, Packet]:
    """The type on the wire, the number of attachments, and the packet with placeholders where these belong.

    Raises:
        ProtocolError: Anything else than one well-formed packet.
    """
    head = _HEAD.match(text)
    if head is None:
        raise ProtocolError("socket.io: a packet begins with its type, 0 to 6")
    kind = int(head[1])
    if (head[2] is not None) != (kind >= BINARY_EVENT):
        raise ProtocolError("socket.io: only binary packets have attachments, and they say how many")
    namespace = head[3] or "/"
    if len(namespace) > MAX_NAMESPACE:
        raise ProtocolError(f"socket.io: a namespace has at most {MAX_NAMESPACE} characters")
    number = None if head[4] is None else int(head[4])
    if number is not None and number > MAX_ID:
        raise ProtocolError("socket.io: the id is too large")
    rest = text[head.end() :]
    data = loads(rest, max_depth=MAX_DEPTH) if rest else None
    if rest and data is None:
        raise ProtocolError("socket.io: null is no data")
    plain_kind = kind if kind < BINARY_EVENT else kind - (BINARY_EVENT - EVENT)
    _check(plain_kind, data, number)
    return kind, int(head[2] or 0), Packet(plain_kind, namespace, data, number)


def _check(kind: int, data: Plain, number: int | None) -> None:
    """Raise unless a packet of this kind may have this data and id."""
    match kind:
        case _ if number is not None and kind not in {EVENT, ACK}:
            raise ProtocolError("socket.io: only events and acknowledgements have ids")
        case 0:
            fits = data is None or isinstance(data, dict)
        case 1:
            fits = data is None
        case 2:
            fits = isinstance(data, list) and bool(data) and _is_event(data[0])
        case 3:
            fits = isinstance(data, list) and number is not None
        case _:
            fits = isinstance(data, dict | str)
    if not fits:
        raise ProtocolError("socket.io: invalid payload for this type of packet")


def _is_event(name: Plain) -> bool:
    """JavaScript's events may be numbers, too."""
    if isinstance(name, str):
        return name not in RESERVED_EVENTS
    return isinstance(name, int | float) and not isinstance(name, bool)


def _holds_placeholder(data: Plain) -> bool:
    if isinstance(data, dict):
        return data.get(_PLACEHOLDER) is True or any(map(_holds_placeholder, data.values()))
    return isinstance(data, list) and any(map(_holds_placeholder, data))


def _detach(data: Plain, attachments: list[bytes]) -> Plain:
    if isinstance(data, bytes):
        attachments.append(data)
        return {_PLACEHOLDER: True, "num": len(attachments) - 1}
    if isinstance(data, dict):
        return {key: _detach(value, attachments) for key, value in data.items()}
    return [_detach(each, attachments) for each in data] if isinstance(data, list) else data


def _put_back(data: Plain, attachments: list[bytes]) -> Plain:
    if isinstance(data, dict):
        if data.get(_PLACEHOLDER) is True:
            number = data.get("num")
            if type(number) is not int or not 0 <= number < len(attachments):
                raise ProtocolError("socket.io: a placeholder without its attachment")
            return attachments[number]
        return {key: _put_back(value, attachments) for key, value in data.items()}
    return [_put_back(each, attachments) for each in data] if isinstance(data, list) else data
