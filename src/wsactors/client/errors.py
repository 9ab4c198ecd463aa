"""What can go wrong for a client of a node."""

from __future__ import annotations

from wsactors.wire.plain import Plain


class Disconnected(Exception):
    """The connection is gone, or could not be made; the text says why.

    ``code`` is for programs: ``connection_failed`` when nobody answers there or too many attempts have failed, else what
    the node said last (``unauthorized``, ``kicked``, ``version``, …), or empty.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class ClientError(Exception):
    """The node refused a request, or did not answer it; the text says why, ``code`` says it to programs."""

    def __init__(self, message: str, code: str = "", *, after: float = 0.0, details: Plain = None) -> None:
        super().__init__(message)
        self.code = code
        """One of `wsactors.wire.native.ERROR_CODES`; ``no_answer``; or ``push``: the channel's own refusal."""
        self.after = after
        """Seconds to wait before the same is asked again."""
        self.details = details
        """What else the application said."""


class Overflowed(Exception):
    """Messages came faster than they were read, and the reader had asked to be told rather than to lose some."""
