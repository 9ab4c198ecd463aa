"""Copies of earlier frames for a listener that loses some, added on the way out, whatever session the frames come from.

A session offers everybody the same bytes. A listener whose reports tell of loss has each frame turned into one of kind 2
here, with payloads that were sent a few frames before; how far back depends on how long its losses are. Listeners
that lose the same way share what is made. Whoever loses nothing costs nothing.
"""

from __future__ import annotations

import struct
from collections import deque
from functools import lru_cache
from typing import Final

import attrs

from wsactors.media.reports import Heard, Reports
from wsactors.wire.audio_frame import (
    AUDIO_HEADER_BYTES,
    AUDIO_KIND,
    FLAG_DISCONTINUITY,
    MAX_DATAGRAM,
    Copy,
    decode_audio,
    encode_redundant,
)
from wsactors.wire.errors import ProtocolError
from wsactors.wire.opus_packet import packet_samples
from wsactors.wire.receiver_report import MAX_REPORTED_TRACKS, Probe, ReceiverReport

LEVELS: Final = ((), (1,), (1, 2), (2, 5), (4, 8))
"""How many frames back the copies reach: against nothing, few single losses, many, short bursts, long bursts. Two at
different distances are both lost far less often than one; the farthest is what a listener has to wait for."""
_FARTHEST: Final = max(map(max, LEVELS[1:]))
_HEAD: Final = struct.Struct(">BBIIQ")


@attrs.frozen
class CopyOptions:
    """When a listener gets copies, and of which frames."""

    begin: float = 0.005
    """Share of frames lost from which on there are copies."""
    end: float = 0.002
    """And up to which there are none any more, after `calm` seconds."""
    calm: float = 15.0
    many: float = 0.01
    """Share of frames lost from which on there are two."""
    single: float = 1.4
    """Mean length of the losses in a row up to which the copies of the frames just before are enough."""
    short: float = 2.0
    """And up to which those a little farther back are."""


class CopyChooser:
    """Which copies one listener gets: an index of `LEVELS`."""

    _MEMORY: Final = 0.9
    _ENOUGH_RUNS: Final = 4
    """Losses before their length means anything."""

    def __init__(self, options: CopyOptions = CopyOptions()) -> None:
        self._options = options
        self._frames = self._lost = self._runs = 0.0
        self._needed_at = 0.0
        self.level = 0

    def hear(self, frames: int, lost: int, runs: int, *, now: float) -> int:
        """The level after a report: ``lost`` of ``frames``, in ``runs`` runs."""
        if frames <= 0:
            return self.level
        self._frames = self._frames * self._MEMORY + frames
        self._lost = self._lost * self._MEMORY + lost
        self._runs = self._runs * self._MEMORY + runs
        wanted = self._wanted()
        # Farther at once, nearer only after a while: what reaches too far costs delay, too near costs sound.
        if wanted >= self.level or now - self._needed_at >= self._options.calm:
            self.level, self._needed_at = wanted, now
        return self.level

    def _wanted(self) -> int:
        options = self._options
        loss = self._lost / self._frames
        if loss < (options.end if self.level else options.begin):
            return 0
        length = self._lost / max(self._runs, 1e-9)
        if length <= options.single or self._runs < self._ENOUGH_RUNS:
            return 2 if loss >= options.many else 1
        return 3 if length <= options.short else 4


@attrs.frozen
class _Sent:
    sequence: int
    timestamp: int
    samples: int
    payload: bytes


class FrameCopies:
    """The frames that go to one listener.

    Example:
        >>> copies = FrameCopies()
        >>> copies.hear(report, now)                       # doctest: +SKIP
        >>> sink.offer(copies.add(data), AUDIO)            # doctest: +SKIP
    """

    __slots__ = ("_chooser", "_dropped", "_reports", "_sent")

    def __init__(self, options: CopyOptions = CopyOptions()) -> None:
        self._chooser = CopyChooser(options)
        self._reports = Reports()
        self._sent: dict[int, deque[_Sent]] = {}
        self._dropped: int | None = None

    @property
    def distances(self) -> tuple[int, ...]:
        """How many frames back the copies reach now."""
        return LEVELS[self._chooser.level]

    @property
    def rtt(self) -> float | None:
        """Seconds to the listener and back; None: not measured yet."""
        return self._reports.rtt

    def hear(self, report: ReceiverReport, now: float, *, dropped: int = 0) -> list[Heard]:
        """The listener reports; what that says, by track.

        ``dropped``: frames that have not been sent to it at all so far. The listener counts them as lost, but where there
        is no room for frames, copies would only take more of it.
        """
        heard = self._reports.take(report, now)
        if self._dropped is None:
            self._dropped = dropped
        if not heard:
            return heard
        frames, lost, runs = (sum(getattr(each, name) for each in heard) for name in ("frames", "lost", "runs"))
        lost = max(0, lost - (dropped - self._dropped))
        self._dropped = dropped
        if not self._chooser.hear(frames, lost, min(runs, lost), now=now):
            self._sent.clear()
        return heard

    def probe(self, now: float) -> Probe | None:
        """What to send to measure the way; None: nothing now."""
        return self._reports.probe(now)

    def add(self, data: bytes) -> bytes:
        """What to send instead of the audio frame ``data``: the same, or the same with copies."""
        distances = self.distances
        if not distances or data[0] != AUDIO_KIND or len(data) <= AUDIO_HEADER_BYTES:
            return data
        _, flags, track, sequence, timestamp = _HEAD.unpack_from(data)
        payload = data[AUDIO_HEADER_BYTES:]
        try:
            samples = packet_samples(payload)
        except ProtocolError:
            return data
        sent = self._sent_on(track)
        if flags & FLAG_DISCONTINUITY:
            sent.clear()
        found = []
        for each in sent:
            # Only where the listener can tell where it belongs: frames of one length, and no jump between.
            distance, back = (sequence - each.sequence) & 0xFFFFFFFF, timestamp - each.timestamp
            if distance in distances and back == distance * samples == distance * each.samples:
                found.append(Copy(each.payload, distance))
        sent.append(_Sent(sequence, timestamp, samples, payload))
        return _with_copies(data, tuple(found)) if found else data

    def _sent_on(self, track: int) -> deque[_Sent]:
        sent = self._sent.get(track)
        if sent is None:
            if len(self._sent) >= MAX_REPORTED_TRACKS:
                del self._sent[next(iter(self._sent))]
            sent = self._sent[track] = deque(maxlen=_FARTHEST)
        return sent


@lru_cache(maxsize=256)
def _with_copies(data: bytes, copies: tuple[Copy, ...]) -> bytes:
    """Made once for all listeners that lose alike. As many, farthest first, as fit a datagram."""
    room = MAX_DATAGRAM - len(data)
    fitting = []
    for copy in copies:
        room -= len(copy.payload) + 2
        if room < 0:
            break
        fitting.append(copy)
    if not fitting:
        return data
    first, *more = fitting
    return encode_redundant(decode_audio(data), first.payload, first.distance, *more)
