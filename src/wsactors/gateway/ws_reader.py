"""What a client says on a WebSocket, from bytes to whole messages. No input or output: bytes come in, events come out.

wsproto reads the frames, and checks what RFC 6455 says about them: masks, reserved bits and opcodes, lengths, fragments,
control frames, close codes, UTF-8 as it comes. Here fragments become messages of bounded size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from wsproto.frame_protocol import CloseReason, Frame, FrameProtocol, Opcode, ParseFailed

from .deflate import BoundedDeflate

TOO_BIG: Final = 1009
_REASONS: Final = {
    CloseReason.INVALID_FRAME_PAYLOAD_DATA: "malformed data",
    CloseReason.MESSAGE_TOO_BIG: "message too big",
}

Said: TypeAlias = tuple[Opcode, Any]
"""TEXT with a str, BINARY with bytes, PING and PONG with bytes, CLOSE with a tuple of code and reason (1005 where there was
none); CONTINUATION with None: a part of a message that has not ended."""


class ProtocolBroken(Exception):
    """The client broke the protocol, or sent too much; nothing that follows can be understood."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        """The close code that says so."""
        self.reason = reason


class MessageReader:
    """Reads one client.

    Args:
        max_message: Most bytes of a message, inflated.
        deflates: Whether permessage-deflate was agreed on.
    """

    __slots__ = ("_deflates", "_frames", "_max_message", "_parser", "_pieces", "_size")

    def __init__(self, max_message: int, *, deflates: bool = False) -> None:
        self._max_message = max_message
        self._deflates = deflates
        self._parser = FrameProtocol(client=False, extensions=[BoundedDeflate(max_message)] if deflates else [])
        self._frames: Iterator[Frame] | None = None
        self._pieces: list[Any] | None = None
        self._size = 0

    @classmethod
    def take(cls, max_message: int, *, deflates: bool) -> MessageReader:
        """A reader that knows nothing, perhaps one that was given back."""
        if not _spare or deflates:
            return cls(max_message, deflates=deflates)
        reader = _spare.pop()
        reader._max_message = max_message
        return reader

    def give_back(self) -> bool:
        """Whether it can be done without: between two messages a reader knows nothing that the next would need."""
        decoder = self._parser._frame_decoder
        # wsproto keeps these facts in attributes of its own; tests/gateway/test_ws_reader.py fails if a release renames them.
        in_the_middle = decoder.header is not None or len(decoder.buffer) > 0
        if in_the_middle or self._pieces is not None or self._parser._message_decoder.opcode is not None:
            return False
        if not self._deflates and len(_spare) < _MOST_SPARE:
            _spare.append(self)
        return True

    def feed(self, data: bytes) -> None:
        """Take what came, for `next`."""
        self._parser.receive_bytes(data)
        if self._frames is None:
            self._frames = self._parser.received_frames()

    def next(self) -> Said | None:
        """What came next, in a step that costs as much as a frame; None when it is not all here.

        Raises:
            ProtocolBroken: And again at each further call.
        """
        if self._frames is None:
            return None
        try:
            frame = next(self._frames, None)
        except ParseFailed as error:
            raise ProtocolBroken(int(error.code), _REASONS.get(error.code, "protocol error")) from None
        if frame is None:
            self._frames = None
            return None
        if frame.opcode.iscontrol():
            return frame.opcode, frame.payload
        return self._collect(frame)

    def _collect(self, frame: Frame) -> Said:
        piece: Any = frame.payload
        self._size += len(piece) if isinstance(piece, bytes) or piece.isascii() else len(piece.encode())
        if self._size > self._max_message:
            raise ProtocolBroken(TOO_BIG, f"at most {self._max_message} bytes are taken")
        pieces = self._pieces
        if not frame.message_finished:
            if pieces is None:
                self._pieces = [piece]
            elif piece:
                pieces.append(piece)
            return Opcode.CONTINUATION, None
        self._pieces, self._size = None, 0
        if not pieces:
            return frame.opcode, piece
        pieces.append(piece)
        return frame.opcode, "".join(pieces) if isinstance(piece, str) else b"".join(pieces)


_MOST_SPARE: Final = 64
_spare: Final[list[MessageReader]] = []
