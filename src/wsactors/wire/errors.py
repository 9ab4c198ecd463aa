"""What a codec says about bytes it cannot accept. The peer is at fault, never the caller."""

from __future__ import annotations


class ProtocolError(ValueError):
    """A peer sent bytes that break the protocol: what was wrong, where, and what was expected.

    The text is safe to send back to that peer: it names fields and limits, never values from the inside.
    """


class HeadError(ProtocolError):
    """An HTTP request whose head, or the framing of whose body, is refused, with the status that says why.

    ``status`` is 400 (malformed), 408 (too slow), 413 (body too large), 414 (target too long), 431 (head too large, too
    many headers) or 505 (not HTTP/1.x).
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
