"""Server-sent events (HTML standard, §9.2): the lines of a ``text/event-stream``, written and read. Pure."""

from __future__ import annotations

import re
from typing import Final

import attrs

from .errors import ProtocolError

MAX_LINE: Final = 8 * 1024 * 1024
"""Longest line that a reader puts together."""
_LINE_END = re.compile(rb"\r\n|\r|\n")
_POSITION = re.compile(r"([A-Za-z0-9_-]{1,64}):([0-9]{1,15})")


@attrs.frozen
class ServerEvent:
    """One event, as a reader gets it."""

    data: str
    kind: str = "message"
    id: str = ""
    """The last id that was said, with this event or before."""
    retry: int | None = None
    """Milliseconds that the reader should wait before it connects again, if that was said since the event before."""


def encode_event(data: bytes, *, kind: str = "", id: str = "", retry: int | None = None) -> bytes:  # noqa: A002
    """One event whose data is one line of text, such as JSON.

    Example:
        >>> encode_event(b"[1]", kind="joined", id="e1:7")
        b'event: joined\\nid: e1:7\\ndata: [1]\\n\\n'

    Raises:
        ValueError: Something that must be one line is several.
    """
    if b"\n" in data or b"\r" in data or _LINE_END.search((kind + id).encode()):
        raise ValueError("an event's fields are one line each")
    head = b"event: %s\n" % kind.encode() if kind else b""
    if id:
        head += b"id: %s\n" % id.encode()
    if retry is not None:
        head += b"retry: %d\n" % retry
    return b"%sdata: %s\n\n" % (head, data)


COMMENT: Final = b":\n\n"
"""What every reader skips: it keeps proxies from thinking that nobody is there."""


def encode_position(epoch: str, offset: int) -> str:
    """An event's id for a place in a topic's history; empty for a topic that keeps none."""
    return f"{epoch}:{offset}" if epoch else ""


def decode_position(text: str) -> tuple[str, int]:
    """Epoch and offset in an event's id. Raises `ProtocolError` when that is none.

    >>> decode_position("x1Yz8A2b:17")
    ('x1Yz8A2b', 17)
    """
    match = _POSITION.fullmatch(text)
    if match is None:
        raise ProtocolError("expected a position such as x1Yz8A2b:17")
    return match[1], int(match[2])


class EventReader:
    """Puts events together from whatever pieces a stream comes in.

    >>> EventReader().feed(b"retry: 100\\ndata: a\\ndata: b\\n\\n")
    [ServerEvent(data='a\\nb', kind='message', id='', retry=100)]
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._data: list[str] = []
        self._kind = ""
        self._retry: int | None = None
        self.last_id = ""
        """What to send as Last-Event-ID when connecting again."""

    def feed(self, data: bytes) -> list[ServerEvent]:
        """The events that ``data`` completes. Raises `ProtocolError` when a line has no end."""
        *lines, rest = self._lines(self._buffer + data)
        if len(rest) > MAX_LINE:
            raise ProtocolError(f"a line is longer than {MAX_LINE} bytes")
        self._buffer = rest
        events = []
        for line in lines:
            if line:
                self._take(line.decode("utf-8", "replace"))
            elif self._data:
                events.append(ServerEvent("\n".join(self._data), self._kind or "message", self.last_id, self._retry))
                self._data, self._kind, self._retry = [], "", None
            else:
                self._kind = ""
        return events

    def _lines(self, data: bytes) -> list[bytes]:
        # A carriage return at the end may be the first half of a line's end.
        held = b"\r" if data.endswith(b"\r") else b""
        lines = _LINE_END.split(data.removesuffix(held) if held else data)
        lines[-1] += held
        return lines

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._kind = value
            case "id" if "\0" not in value:
                self.last_id = value
            case "retry" if value.isascii() and value.isdigit():
                self._retry = int(value)
