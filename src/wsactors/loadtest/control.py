"""What the lead process and its workers tell each other over an inherited socket pair: msgpack, each message behind its length.

The other end is always a process of the same run, so a message that does not fit is a fault in the harness and raises.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import attrs
import msgpack
import trio

__all__ = ["Begin", "Done", "Finish", "Link", "LinkClosed", "Plan", "Quiet", "Ready", "Report", "Want"]

_MAX_BYTES: Final = 64 * 1024 * 1024


class LinkClosed(Exception):
    """The other process has ended."""


@attrs.frozen
class Plan:
    """Lead: what this worker is to do; ``settings`` as `wsactors.loadtest.settings.as_document` gives them."""

    KIND: ClassVar[str] = "plan"
    run: int
    index: int
    settings: Mapping[str, Any]
    target: Mapping[str, Any]
    seed: int


@attrs.frozen
class Ready:
    """Worker: up, nothing begun."""

    KIND: ClassVar[str] = "ready"


@attrs.frozen
class Begin:
    """Lead: the run's seconds are counted from ``start`` (monotonic clock)."""

    KIND: ClassVar[str] = "begin"
    start: float


@attrs.frozen
class Want:
    """Lead: so many users of each group, from now on."""

    KIND: ClassVar[str] = "want"
    users: Mapping[str, int]


@attrs.frozen
class Quiet:
    """Lead: from now on nobody speaks, comes or goes."""

    KIND: ClassVar[str] = "quiet"


@attrs.frozen
class Finish:
    """Lead: everybody goes; then send the last report and `Done`."""

    KIND: ClassVar[str] = "finish"


@attrs.frozen
class Report:
    """Worker: what happened in one second of the run."""

    KIND: ClassVar[str] = "report"
    second: int
    groups: Mapping[str, Mapping[str, Any]]
    """What `wsactors.loadtest.tally.Tally.take` gives, by group."""
    seconds: float
    """How long that second really was."""
    cpu: float
    """Processor seconds used."""
    lag: list[int]
    """Histogram of the loop's delays."""
    send_lag: list[int]
    """Histogram of how much too late messages were sent."""
    received: int
    sent: int
    """Bytes."""
    memory: int
    """Resident bytes."""


@attrs.frozen
class Done:
    """Worker: that was all."""

    KIND: ClassVar[str] = "done"


Message = Plan | Ready | Begin | Want | Quiet | Finish | Report | Done
_KINDS: Final[Mapping[str, type[Any]]] = {
    each.KIND: each for each in (Plan, Ready, Begin, Want, Quiet, Finish, Report, Done)
}


class Link:
    """One end of the pair."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._data = bytearray()
        self._sending = trio.Lock()

    async def send(self, message: Message) -> None:
        """Tell the other process.

        Raises:
            LinkClosed: it has ended.
        """
        fields = {field.name: getattr(message, field.name) for field in attrs.fields(type(message))}
        body = msgpack.packb([message.KIND, fields])
        try:
            async with self._sending:
                await self._stream.send_all(struct.pack(">I", len(body)) + body)
        except trio.BrokenResourceError:
            raise LinkClosed from None

    async def receive(self) -> Message:
        """The next message.

        Raises:
            LinkClosed: the other process has ended.
        """
        size = int.from_bytes(await self._take(4), "big")
        if size > _MAX_BYTES:
            raise ValueError(f"a message of {size} bytes between our own processes")
        kind, fields = msgpack.unpackb(await self._take(size), strict_map_key=False)
        message: Message = _KINDS[kind](**fields)
        return message

    async def _take(self, size: int) -> bytes:
        while len(self._data) < size:
            try:
                piece = await self._stream.receive_some(65_536)
            except trio.BrokenResourceError:
                raise LinkClosed from None
            if not piece:
                raise LinkClosed
            self._data += piece
        taken = bytes(self._data[:size])
        del self._data[:size]
        return taken
