"""Receiver reports, both ends: a listener's counters as a message, and what a node learns from two of them.

What a listener says about itself concerns nobody else, so it is not checked for truth, but for sense: shares are shares,
counters that run backwards begin anew, and what is kept of one listener is bounded.
"""

from __future__ import annotations

from typing import Final

import attrs

from wsactors.media.delay import RATE
from wsactors.media.jitter import JitterBuffer
from wsactors.wire.receiver_report import Probe, ReceiverReport, TrackReport

LEAST_BETWEEN: Final = 0.2
"""Seconds: reports that come faster are not looked at."""
_PROBE_EVERY: Final = 5.0
_MOST_RTT: Final = 10.0


def track_report(track: int, buffer: JitterBuffer) -> TrackReport:
    """What a listener says about ``track``, which it plays by ``buffer``."""
    counted = buffer.statistics
    return TrackReport(
        track=track,
        highest=buffer.highest,
        received=counted.received,
        lost=counted.lost,
        recovered=counted.recovered,
        late=counted.late,
        runs=counted.runs,
        played=counted.played,
        concealed=counted.concealed,
        jitter=buffer.jitter * 1e3,
        buffer=buffer.held * 1e3,
        heard=max(0, buffer.heard),
    )


@attrs.frozen
class Heard:
    """How a track was heard between two reports."""

    track: int
    seconds: float
    """Between the two."""
    frames: int
    """That came or were lost."""
    lost: int
    runs: int
    loss: float
    """Share of the frames that did not come themselves, 0 to 1."""
    residual: float
    """Share of the frames that were not heard at all."""
    concealed: float
    """Share of the played samples that were guessed."""
    jitter: float
    """Milliseconds."""
    buffer: float
    """Milliseconds."""
    delay: float | None
    """Seconds from a sample's timestamp on the node's clock until it is played; None: not known yet."""


class Reports:
    """What one listener reports.

    Example:
        >>> reports = Reports()
        >>> for heard in reports.take(report, now): print(heard.loss)      # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._before: dict[int, TrackReport] = {}
        self._at: float | None = None
        self._nonce = 0
        self._probes: dict[int, float] = {}
        self._probed_at: float | None = None
        self.rtt: float | None = None
        """Seconds to the listener and back, smoothed; None: not measured yet."""

    def probe(self, now: float) -> Probe | None:
        """What to send to a listener that reports; None: nothing now."""
        if self._at is None or (self._probed_at is not None and now - self._probed_at < _PROBE_EVERY):
            return None
        self._probed_at = now
        self._nonce = self._nonce % 0xFFFFFFFF + 1
        # An answer that takes longer than two intervals is as good as none.
        self._probes = {nonce: at for nonce, at in self._probes.items() if now - at < _MOST_RTT}
        self._probes[self._nonce] = now
        return Probe(self._nonce)

    def take(self, report: ReceiverReport, now: float) -> list[Heard]:
        """What ``report`` says about the time since the one before; nothing about tracks that are new in it."""
        if self._at is not None and now - self._at < LEAST_BETWEEN:
            return []
        seconds = 0.0 if self._at is None else now - self._at
        self._at = now
        self._take_probe(report, now)
        found = []
        tracks = {each.track: each for each in report.tracks}
        for track, after in tracks.items():
            before = self._before.get(track)
            if before is not None and after.received >= before.received and after.lost >= before.lost:
                found.append(self._compare(before, after, seconds, now))
        self._before = tracks
        return found

    def _take_probe(self, report: ReceiverReport, now: float) -> None:
        sent = self._probes.pop(report.probe, None)
        if sent is None:
            return
        rtt = min(_MOST_RTT, max(0.0, now - sent - report.held))
        self.rtt = rtt if self.rtt is None else self.rtt + (rtt - self.rtt) / 4

    def _compare(self, before: TrackReport, after: TrackReport, seconds: float, now: float) -> Heard:
        lost = after.lost - before.lost
        frames = after.received - before.received + lost
        recovered = min(lost, max(0, after.recovered - before.recovered))
        delay = None if self.rtt is None else now - self.rtt / 2 - after.heard / RATE
        return Heard(
            track=after.track,
            seconds=seconds,
            frames=frames,
            lost=lost,
            runs=min(lost, max(0, after.runs - before.runs)),
            loss=_share(lost, frames),
            residual=_share(lost - recovered, frames),
            concealed=_share(after.concealed - before.concealed, after.played - before.played),
            jitter=after.jitter,
            buffer=after.buffer,
            delay=None if delay is None or not 0 <= delay < _MOST_RTT else delay,
        )


def _share(part: int, whole: int) -> float:
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0
