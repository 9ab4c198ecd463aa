"""What a channel needs of the protocol in which its client speaks, and the messages between channels and topics."""

from __future__ import annotations

from typing import Any, Final, Protocol

import attrs

from wsactors.actors import Pid
from wsactors.wire.plain import Plain

from .publication import Format, PresenceState, Publication
from .sinks import Sink

STOPPED: Final = "the node stops"
"""The reason with which channels end that nobody has ended: whoever was on them will want to join again elsewhere."""


@attrs.frozen(eq=False)
class Joined:
    """A channel has joined its topic."""

    topic: str
    response: Plain
    """What the channel's ``join`` returned."""
    channel: Pid
    epoch: str
    offset: int
    """Of the newest publication: what follows is sent live."""
    recovered: bool | None = None
    """Whether ``missed`` is everything since the position asked for; None when none was."""
    missed: tuple[Publication, ...] = ()
    presence: PresenceState | None = None


class Outlet(Protocol):
    """A protocol's receiving end of one channel. Nothing here waits; called on the loop, in the order things happened."""

    @property
    def format(self) -> Format:
        """How it is sent what many get alike."""
        ...

    @property
    def sink(self) -> Sink:
        """Where that goes."""
        ...

    def joined(self, joined: Joined, /) -> None:
        """Write the answer to the join, then the presence state, then what was missed, in order."""
        ...

    def reply(self, ref: Any, status: str, response: Plain, /) -> None:
        """Answer the push ``ref``; ``status`` is "ok" or "error"."""
        ...

    def push(self, event: str, payload: Plain, /) -> None:
        """Write a message for this client alone."""
        ...

    def closed(self, reason: str, /, *, crashed: bool) -> None:
        """The channel has ended: it was left, ended for ``reason`` (for people), or it has ``crashed``."""
        ...
