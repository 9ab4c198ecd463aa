"""permessage-deflate (RFC 7692), server side: what is agreed, and inflating that is bounded while it inflates.

wsproto's extension does the framing rules. Taken from it are three things it does otherwise: it inflates 16 KiB to 16.9 MB
in one call; it takes any parameters; and a ping between two fragments makes it read the rest of a message as plain.

What is agreed always has ``server_no_context_takeover`` and ``client_no_context_takeover``: a server may ask for both
(§7.1.1). So a message is deflated once for all who get it, and an idle connection keeps no window of 32 KiB.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import attrs
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from .framing import DeflatedFraming, deflated

if TYPE_CHECKING:
    from wsactors.wire.http_head import RequestHead

NAME: Final = "permessage-deflate"
MAX_OFFERS: Final = 8
"""A client may list alternatives; nobody needs more than three."""
_TAIL: Final = b"\x00\x00\xff\xff"
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - of HTTP's grammar
_OFFER = re.compile(rf'\s*({_TOKEN})\s*((?:;\s*{_TOKEN}\s*(?:=\s*(?:{_TOKEN}|"{_TOKEN}")\s*)?)*)')
_PARAMETER = re.compile(rf';\s*({_TOKEN})\s*(?:=\s*(?:({_TOKEN})|"({_TOKEN})")\s*)?')
_BITS = re.compile(r"[89]|1[0-5]")


@attrs.frozen
class Agreement:
    """What client and server have agreed on."""

    server_window_bits: int | None = None
    """9 to 15, where the client asked for a limit."""

    @property
    def header(self) -> str:
        """The value of Sec-WebSocket-Extensions that says so."""
        answer = f"{NAME}; server_no_context_takeover; client_no_context_takeover"
        bits = self.server_window_bits
        return answer if bits is None else f"{answer}; server_max_window_bits={bits}"

    @property
    def framing(self) -> DeflatedFraming:
        """How messages go out."""
        return deflated(self.server_window_bits or 15)


def agree(head: RequestHead) -> Agreement | None:
    """The first of the client's offers that can be kept; None when there is none."""
    offers = (value.decode("latin-1") for name, value in head.headers if name == b"sec-websocket-extensions")
    for count, (name, parameters) in enumerate(_offers(",".join(offers))):
        if count >= MAX_OFFERS:
            return None
        if name == NAME and (agreement := _accept(parameters)) is not None:
            return agreement
    return None


def _offers(header: str) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """The extensions in ``header`` with their parameters, up to what is malformed (RFC 6455 §9.1)."""
    at = 0
    while at < len(header):
        match = _OFFER.match(header, at)
        if match is None or (match.end() < len(header) and header[match.end()] != ","):
            return
        found = [(name, plain or quoted or None) for name, plain, quoted in _PARAMETER.findall(match[2])]
        yield match[1], found
        at = match.end() + 1


def _accept(parameters: list[tuple[str, str | None]]) -> Agreement | None:
    """The answer to an offer; None where it must be declined: something unknown, repeated or out of range (§7.1)."""
    names = [name for name, _ in parameters]
    if len(set(names)) < len(names):
        return None
    server_bits = None
    for name, value in parameters:
        match name:
            case "server_no_context_takeover" | "client_no_context_takeover" if value is None:
                continue
            case "client_max_window_bits" if value is None or _BITS.fullmatch(value):
                continue  # a smaller window inflates with ours
            case "server_max_window_bits" if value is not None and _BITS.fullmatch(value) and value != "8":
                server_bits = int(value)  # zlib cannot keep to a window of 8 bits
            case _:
                return None
    return Agreement(server_bits)


class BoundedDeflate(PerMessageDeflate):
    """wsproto's extension for what one client sends.

    Args:
        max_bytes: Of an inflated message. Beyond it inflating stops, and the connection is closed with 1009.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__(client_no_context_takeover=True, server_no_context_takeover=True)
        self._enabled = True
        self._max_bytes = max_bytes
        self._left = max_bytes

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """May be called again for the same header, when that came in two pieces."""
        if opcode in {Opcode.TEXT, Opcode.BINARY}:
            self._inbound_compressed = rsv.rsv1
            self._decompressor = None
            self._left = self._max_bytes
        elif rsv.rsv1:
            return CloseReason.PROTOCOL_ERROR
        self._inbound_is_compressible = not opcode.iscontrol()
        return RsvBits(True, False, False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        """``data`` inflated, if it is part of a deflated message."""
        if not self._inbound_compressed or not self._inbound_is_compressible:
            return data
        return self._inflate(data)

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> bytes | CloseReason | None:
        """What was still missing of a message that has ended."""
        if not fin or not self._inbound_is_compressible or not self._inbound_compressed:
            return None
        self._inbound_compressed = False
        rest = self._inflate(_TAIL)
        self._decompressor = None
        return rest

    def _inflate(self, data: bytes) -> bytes | CloseReason:
        inflated = b""
        while data:
            if self._decompressor is None:
                self._decompressor = zlib.decompressobj(-15)
            try:
                piece = self._decompressor.decompress(data, self._left + 1)
            except zlib.error:
                return CloseReason.INVALID_FRAME_PAYLOAD_DATA
            self._left -= len(piece)
            if self._left < 0:
                return CloseReason.MESSAGE_TOO_BIG
            inflated += piece
            # A message may consist of several deflate streams (§7.2.3.5): what follows the end of one begins the next.
            data = self._decompressor.unused_data
            if self._decompressor.eof:
                self._decompressor = None
        return inflated
