"""How one connection's user hears, from the reports of its client: for the node's metrics, and for whoever looks at it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from wsactors.media.reports import Heard, Reports
from wsactors.realtime.sinks import Sink
from wsactors.sessions.listener_metrics import ListenerMetrics
from wsactors.wire.native import Probe, ReceiverReport, encode

if TYPE_CHECKING:
    from .metrics import Counted, CountedSink
    from .port import Port


@attrs.frozen
class Hearing:
    """What the newest report of a connection says, all its tracks together: the worst of them. Times in seconds."""

    loss: float
    """Share of the frames that did not come."""
    concealed: float
    """Share of what was played that was guessed."""
    jitter: float
    buffer: float
    delay: float | None
    """From a sample's time on the node until it is played; None: not known."""
    rtt: float | None


class HearingWatch:
    """Takes what one connection reports.

    Args:
        metrics: Of the node.
        counted: The connection, which shows it.
    """

    __slots__ = ("_counted", "_metrics")

    def __init__(self, metrics: ListenerMetrics, counted: Counted | None) -> None:
        self._metrics = metrics
        self._counted = counted

    @classmethod
    def of(cls, port: Port, sink: CountedSink) -> HearingWatch | None:
        """That of the connection with this sink; None: the port belongs to no node, so nobody looks."""
        if port.runtime is None:
            return None
        return cls(ListenerMetrics.of(port.runtime), port.meters.connections.get(sink))

    def take(self, heard: Sequence[Heard], rtt: float | None) -> list[Heard]:
        """What two reports say; that of it which can be true."""
        taken = self._metrics.hear(heard, rtt)
        sounding = [each for each in taken if each.frames]
        if sounding and self._counted is not None:
            self._counted.hearing = Hearing(
                loss=max(each.loss for each in sounding),
                concealed=max(each.concealed for each in sounding),
                jitter=max(each.jitter for each in sounding) / 1e3,
                buffer=max(each.buffer for each in sounding) / 1e3,
                delay=max((each.delay for each in sounding if each.delay is not None), default=None),
                rtt=rtt,
            )
        return taken


class WebSocketHearing:
    """The reports of a client on a WebSocket. TCP brings everything, so there is nothing to choose; but it may come late.

    Args:
        watch: What takes them.
        sink: The connection's, for messages.
    """

    __slots__ = ("_reports", "_sink", "_watch")

    def __init__(self, watch: HearingWatch | None, sink: Sink) -> None:
        self._watch = watch
        self._sink = sink
        self._reports: Reports | None = None  # most report nothing

    def hear(self, report: ReceiverReport) -> None:
        """The client reports."""
        if self._watch is None:
            return
        now = trio.current_time()
        if self._reports is None:
            self._reports = Reports()
        self._watch.take(self._reports.take(report, now), self._reports.rtt)
        probe = self._reports.probe(now)
        if probe is not None:
            self._sink.offer(encode(probe), Probe)
