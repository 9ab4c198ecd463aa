"""Copies of earlier frames for a listener that loses some, added on the way out, whatever session the frames come from.

A session offers everybody the same bytes. A listener whose reports tell of loss has each frame turned into one of kind 2
here, with the payload that was sent a few frames before; how far back depends on how long its losses are. Listeners
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
    decode_audio,
    encode_redundant,
)
from wsactors.wire.errors import ProtocolError
from wsactors.wire.opus_packet import packet_samples
from wsactors.wire.receiver_report import MAX_REPORTED_TRACKS, Probe, ReceiverReport

COPY_DISTANCES: Final = (1, 3, 8)
"""How far back a copy reaches, in frames: against single losses, short bursts and long ones."""
_HEAD: Final = struct.Struct(">BBIIQ")


@attrs.frozen
class CopyOptions:
    """When a listener gets copies, and of which frames."""

    begin: float = 0.005
    """Share of frames lost from which on there are copies."""
    end: float = 0.002
    """And up to which there are none any more, after `calm` seconds."""
    calm: float = 15.0
    single: float = 1.4
    """Mean length of the losses in a row up to which the copy of the frame before is enough."""
    short: float = 2.0
    """And up to which the one a little farther back is."""


class CopyChooser:
    """How far back the copies reach that one listener gets: 0 for none, else one of `COPY_DISTANCES`."""

    _MEMORY: Final = 0.9

    def __init__(self, options: CopyOptions = CopyOptions()) -> None:
        self._options = options
        self._frames = self._lost = self._runs = 0.0
        self._lossy_at = 0.0
        self.distance = 0

    def hear(self, frames: int, lost: int, runs: int, *, now: float) -> int:
        """The distance after a report: ``lost`` of ``frames``, in ``runs`` runs."""
        if frames <= 0:
            return self.distance
        self._frames = self._frames * self._MEMORY + frames
        self._lost = self._lost * self._MEMORY + lost
        self._runs = self._runs * self._MEMORY + runs
        loss = self._lost / self._frames
        if loss >= self._options.end:
            self._lossy_at = now
        if loss >= self._options.begin:
            # Farther at once, nearer only when it gets quiet: what reaches too far costs delay, too near costs sound.
            self.distance = max(self.distance, self._wanted())
        elif now - self._lossy_at >= self._options.calm:
            self.distance = 0
        return self.distance

    def _wanted(self) -> int:
        near, middle, far = COPY_DISTANCES
        length = self._lost / max(self._runs, 1e-9)
        if length <= self._options.single or self._runs < 2:
            return near
        return middle if length <= self._options.short else far


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

    __slots__ = ("_chooser", "_reports", "_sent")

    def __init__(self, options: CopyOptions = CopyOptions()) -> None:
        self._chooser = CopyChooser(options)
        self._reports = Reports()
        self._sent: dict[int, deque[_Sent]] = {}

    @property
    def distance(self) -> int:
        """How far back the copies reach now; 0: there are none."""
        return self._chooser.distance

    @property
    def rtt(self) -> float | None:
        """Seconds to the listener and back; None: not measured yet."""
        return self._reports.rtt

    def hear(self, report: ReceiverReport, now: float) -> list[Heard]:
        """The listener reports; what that says, by track."""
        heard = self._reports.take(report, now)
        frames, lost, runs = (sum(getattr(each, name) for each in heard) for name in ("frames", "lost", "runs"))
        if not self._chooser.hear(frames, lost, runs, now=now):
            self._sent.clear()
        return heard

    def probe(self, now: float) -> Probe | None:
        """What to send to measure the way; None: nothing now."""
        return self._reports.probe(now)

    def add(self, data: bytes) -> bytes:
        """What to send instead of the audio frame ``data``: the same, or the same with a copy."""
        distance = self._chooser.distance
        if not distance or data[0] != AUDIO_KIND or len(data) <= AUDIO_HEADER_BYTES:
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
        found = data
        for each in sent:
            # Only where the listener can tell where it belongs: frames of one length, and no jump between.
            back = timestamp - each.timestamp
            if (
                sequence - each.sequence
            ) & 0xFFFFFFFF == distance and back == distance * samples == distance * each.samples:
                found = _with_copy(data, each.payload, distance)
        sent.append(_Sent(sequence, timestamp, samples, payload))
        return found

    def _sent_on(self, track: int) -> deque[_Sent]:
        sent = self._sent.get(track)
        if sent is None:
            if len(self._sent) >= MAX_REPORTED_TRACKS:
                del self._sent[next(iter(self._sent))]
            sent = self._sent[track] = deque(maxlen=COPY_DISTANCES[-1])
        return sent


@lru_cache(maxsize=256)
def _with_copy(data: bytes, copy: bytes, distance: int) -> bytes:
    """Made once for all listeners that lose alike; the plain frame where both do not fit a datagram."""
    if len(data) + 2 + len(copy) > MAX_DATAGRAM:
        return data
    return encode_redundant(decode_audio(data), copy, distance)
