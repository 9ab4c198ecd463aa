"""What the connections of a port count: plain integers where bytes pass, summed up when somebody looks.

What leaves is counted by the sinks themselves, one per connection; those of connections that have ended are added to what
their protocol has had so far. Protocols are a closed set: a path that a client asks for chooses among them, and is no label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import trio

from wsactors.realtime.metrics import Metrics, Reading
from wsactors.realtime.sinks import SinkClosed, SinkStatistics, SlowReader

if TYPE_CHECKING:
    from wsactors.actors import Pid

    from .hearing import Hearing

HTTP: Final = "http"
HTTP2: Final = "http2"
PROTOCOLS: Final = (
    HTTP, HTTP2, "native", "phoenix", "supabase", "socketio", "engineio", "echo", "websocket", "sse", "poll",
    "webtransport", "quic",
)  # fmt: skip
"""``websocket`` is one whose path is none of ours. ``sse``, ``poll`` and clients of ``phoenix``, ``socketio`` and ``engineio``
that poll come on connections that count as HTTP, too. So do their requests, responses and bytes on the wire; what is in them, in
messages of their protocol and bytes of these, counts as that protocol's besides."""
_ON_HTTP: Final = frozenset({"sse"})
"""What is sent past the sinks of connections that count as HTTP."""
_BY_PATH: Final = {
    "/ws": "native",
    "/socket/websocket": "phoenix",
    "/realtime/v1/websocket": "supabase",
    "/socket.io": "socketio",
    "/engine.io": "engineio",
    "/echo": "echo",
}
_AT_ONCE: Final = 250
"""Sinks that are summed up before other tasks run: about a millisecond's worth."""


class CountedSink(Protocol):
    """What is counted of a connection's sink."""

    def __hash__(self) -> int: ...

    @property
    def closed(self) -> SinkClosed | None:
        """Why it takes no more; None while it is open."""
        ...

    def statistics(self) -> SinkStatistics:
        """What happened so far."""
        ...


class Meter:
    """What one protocol has had."""

    __slots__ = (
        "aged_out", "bytes_in", "bytes_out", "dropped", "label", "messages_in", "messages_out", "open", "opened",
        "refused", "replaced", "slow",
    )  # fmt: skip

    def __init__(self, label: str) -> None:
        self.label = label
        self.open = self.opened = 0
        self.messages_in = self.bytes_in = 0
        self.messages_out = self.bytes_out = 0
        self.aged_out = self.dropped = self.replaced = self.refused = self.slow = 0

    def enter(self) -> None:
        """Something has begun to speak it."""
        self.open += 1
        self.opened += 1

    def leave(self) -> None:
        """It has ended."""
        self.open -= 1

    def took(self, messages: int, size: int) -> None:
        """So much has come that no WebSocket has counted."""
        self.messages_in += messages
        self.bytes_in += size

    def gave(self, messages: int, size: int) -> None:
        """So much is sent that no sink of this protocol counts."""
        self.messages_out += messages
        self.bytes_out += size

    def add(self, sink: CountedSink) -> None:
        """What was sent on ``sink``."""
        counts = sink.statistics()
        self.messages_out += counts.offered - counts.refused
        self.bytes_out += counts.bytes_sent
        self.aged_out += counts.aged_out
        self.dropped += counts.dropped
        self.replaced += counts.replaced
        self.refused += counts.refused


@attrs.define(eq=False, weakref_slot=False)
class Counted:
    """A connection that is open: there are many, so this keeps little."""

    meter: Meter
    """That of what it speaks."""
    owner: Pid
    """Its actor."""
    address: str
    """The client's, as far as it is known: that of a proxy in front of many when it carries their requests."""
    since: float
    """When it came, on trio's clock."""
    subject: str = ""
    """The user's, if it has said who it is."""
    hearing: Hearing | None = None
    """How it hears, if it has said so."""
    carried: tuple[str, ...] = ()
    """What requests on it are waited for, newest last; on HTTP alone."""

    @property
    def label(self) -> str:
        """As what it counts, or what it carries counts."""
        return self.carried[-1] if self.carried else self.meter.label


class Meters:
    """The meters of one port, and which connection counts on which."""

    def __init__(self) -> None:
        self._meters = {label: Meter(label) for label in PROTOCOLS}
        self.connections: dict[CountedSink, Counted] = {}
        """Those that are open."""
        self._silent = Meter(HTTP)
        """Of connections of which it is not known yet what they speak: they are open as HTTP, but have not come as anything."""
        self._totals = list(self._meters.values())
        self.waiting = self.waiting_most = 0
        """Bytes that wait to be sent: on all connections, and on the one with most. As of the last `refresh`."""

    def __getitem__(self, protocol: str) -> Meter:
        return self._meters[protocol]

    def opened(self, sink: CountedSink, owner: Pid, address: str = "") -> Counted:
        """A connection has come; until it is known to speak something else it is open as HTTP."""
        self._meters[HTTP].open += 1
        found = self.connections[sink] = Counted(self._silent, owner, address, trio.current_time())
        return found

    def speaks(self, sink: CountedSink, protocol: str, address: str | None = None) -> Meter:
        """The connection is known to speak ``protocol``. Counted anew: a counter that goes back looks like a restart.

        ``address``: the client's, if it is known now that it is not whoever connected.
        """
        found = self.connections[sink]
        meter = self._meters[protocol]
        self._meters[found.meter.label].leave()
        meter.enter()
        found.meter = meter
        if address is not None:
            found.address = address
        return meter

    def belongs_to(self, sink: CountedSink, subject: str) -> None:
        """The connection is that of the user ``subject``; "": of nobody in particular. Does nothing when it has ended."""
        found = self.connections.get(sink)
        if found is not None:
            found.subject = subject

    def closed(self, sink: CountedSink) -> None:
        """The connection has ended."""
        before = self.connections.pop(sink).meter
        meter = self._meters[before.label]
        meter.opened += before is self._silent
        meter.leave()
        meter.slow += isinstance(sink.closed, SlowReader)
        meter.add(sink)

    @contextmanager
    def visiting(self, protocol: str) -> Iterator[None]:
        """Count something that lasts and is no connection of its own."""
        meter = self._meters[protocol]
        meter.enter()
        try:
            yield
        finally:
            meter.leave()

    async def refresh(self, direct: Mapping[str, tuple[int, int]] = MappingProxyType({})) -> None:
        """Sum up what is open now. Lets others run in between.

        ``direct``: messages and bytes that never met a sink, by protocol (`wsactors.cluster.Relay.sent`).
        """
        totals = {label: _copied(meter) for label, meter in self._meters.items()}
        for label, (count, size) in direct.items():
            for each in {label, HTTP} if label in _ON_HTTP else {label} & totals.keys():
                totals[each].messages_out += count
                totals[each].bytes_out += size
        waiting = most = 0
        for number, (sink, counted) in enumerate(list(self.connections.items()), 1):
            if sink in self.connections:
                totals[counted.meter.label].add(sink)
                here = sink.statistics().buffered_bytes
                waiting += here
                most = max(most, here)
            if not number % _AT_ONCE:
                await trio.lowlevel.checkpoint()
        self._totals = list(totals.values())
        self.waiting, self.waiting_most = waiting, most

    def register(self, metrics: Metrics) -> None:
        """Show all this among ``metrics``."""
        protocol = "protocol"
        metrics.gauge("wsactors_connections", "Open connections.", lambda: self.read("open"), protocol)
        for name, field, meaning in (
            ("connections_opened", "opened", "Connections that came."),
            ("messages_in", "messages_in", "Messages, or requests, from clients."),
            ("bytes_in", "bytes_in", "Bytes from clients."),
            ("messages_out", "messages_out", "Messages handed to sockets."),
            ("bytes_out", "bytes_out", "Bytes that the kernel took."),
        ):
            metrics.total(f"wsactors_{name}_total", meaning, _reader(self, field), protocol)
        metrics.total("wsactors_drops_total", "Messages that were not sent, by why.", self._drops, "reason")
        metrics.gauge("wsactors_send_queue_bytes", "Bytes that wait to be sent.", lambda: self.waiting)
        metrics.gauge(
            "wsactors_send_queue_bytes_most", "The same, on the connection with most.", lambda: self.waiting_most
        )

    def read(self, field: str) -> Reading:
        """One number of every protocol, as of the last `refresh`."""
        return {meter.label: getattr(meter, field) for meter in self._totals}

    def _drops(self) -> Reading:
        meters = self._totals
        return {
            "aged_out": sum(meter.aged_out for meter in meters),
            "oldest": sum(meter.dropped for meter in meters),
            "replaced": sum(meter.replaced for meter in meters),
            "refused": sum(meter.refused for meter in meters),
            "slow_reader": sum(meter.slow for meter in meters),
        }


@contextmanager
def carrying(scope: Mapping[str, Any], protocol: str, subject: str = "") -> Iterator[None]:
    """Show the connection of a request, by its ASGI ``scope``, as what the request is waited for as, and as its user's."""
    found: Counted | None = scope.get("state", {}).get("counted")
    if found is None:  # served by nobody who counts
        yield
        return
    found.subject = subject or found.subject
    found.carried += (protocol,)
    try:
        yield
    finally:
        carried = list(found.carried)
        carried.remove(protocol)
        found.carried = tuple(carried)
        if not carried:
            found.subject = ""


def protocol_of(path: str) -> str:
    """What is spoken on WebSockets at ``path``, as a label.

    >>> protocol_of("/socket.io/"), protocol_of("/a-strangers-wish")
    ('socketio', 'websocket')
    """
    return _BY_PATH.get(path.rstrip("/"), "websocket")


def _reader(meters: Meters, field: str) -> Callable[[], Reading]:
    return lambda: meters.read(field)


def _copied(meter: Meter) -> Meter:
    copy = Meter(meter.label)
    for field in Meter.__slots__:
        setattr(copy, field, getattr(meter, field))
    return copy
