"""A session made audible at this end: a jitter buffer and a decoder for each of its tracks, mixed, and reported on.

`Hearing` is frames and ``now`` in, samples out; `hear` drives one at the pace of the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import attrs
import numpy as np
import trio

from wsactors.media.playout import Playout
from wsactors.media.reports import track_report
from wsactors.media.steps import JitterOptions, JitterStatistics
from wsactors.wire import native

from .errors import Disconnected

if TYPE_CHECKING:
    from wsactors.client.connection import Client
    from wsactors.client.listening import Listening
    from wsactors.media.opus import Pcm

RATE: Final = 48_000
BLOCK: Final = 480
"""Samples that are made at a time: 10 ms."""
MOST_TRACKS: Final = native.MAX_REPORTED_TRACKS
"""Tracks heard at a time; a further one replaces the one that has been silent longest."""
REPORT_SECONDS: Final = 1.0
MOST_BEHIND: Final = 0.25
"""Seconds by which making sound may lag; what is later is left out, to be live again."""


@attrs.frozen
class Quality:
    """How well a track has been heard so far."""

    loss: float
    """Share of the frames that did not come, or too late, 0 to 1."""
    concealed: float
    """Share of the samples that had to be guessed, 0 to 1."""
    jitter: float
    """Seconds by which the frames' ways differ (RFC 3550)."""
    buffer: float
    """Seconds that a frame waits before it is played."""
    statistics: JitterStatistics


class _Track:
    __slots__ = ("fed", "playout", "volume")

    def __init__(self, channels: int, options: JitterOptions) -> None:
        self.playout = Playout(channels, options)
        self.volume = 1.0
        self.fed = 0.0


class Hearing:
    """All tracks of a session as one listener hears them. Free it with `close`.

    Args:
        channels: 1 or 2.
        options: Of each track's jitter buffer.

    Example:
        >>> hearing = Hearing()                                             # doctest: +SKIP
        >>> hearing.feed(frame, now)
        >>> sound = hearing.pull(480, now)      # float32, shape (480, 2), 10 ms
    """

    def __init__(self, channels: int = 2, options: JitterOptions | None = None) -> None:
        self.channels = channels
        self._options = options or JitterOptions()
        self._tracks: dict[int, _Track] = {}
        self._probe: tuple[int, float] | None = None

    @property
    def quality(self) -> Mapping[int, Quality]:
        """How well each track is heard, by its number."""
        return {number: _quality(track.playout) for number, track in self._tracks.items()}

    def feed(self, frame: native.AudioFrame, now: float) -> None:
        """A frame came."""
        track = self._tracks.get(frame.track)
        if track is None:
            if len(self._tracks) >= MOST_TRACKS:
                self._drop(min(self._tracks, key=lambda number: self._tracks[number].fed))
            track = self._tracks[frame.track] = _Track(self.channels, self._options)
        track.fed = now
        track.playout.put(frame, now)

    def pull(self, samples: int, now: float) -> Pcm:
        """The next ``samples`` of all tracks together, the first of which is heard ``now``: float32, (samples, channels)."""
        mixed = np.zeros((samples, self.channels), np.float32)
        for track in self._tracks.values():
            sound = track.playout.pull(samples, now)
            if track.volume:
                mixed += sound * np.float32(track.volume)
        return mixed

    def set_volume(self, track: int, volume: float) -> None:
        """How loud ``track`` is for this listener alone: 0 is mute, 1 as it comes, 2 at most. Nothing for one not heard yet."""
        if not 0.0 <= volume <= 2.0:
            raise ValueError(f"a volume is 0 to 2, not {volume}")
        if track in self._tracks:
            self._tracks[track].volume = volume

    def probe(self, nonce: int, now: float) -> None:
        """The node measures how long the way is."""
        self._probe = nonce, now

    def report(self, now: float) -> native.ReceiverReport | None:
        """What to tell the node, every `REPORT_SECONDS`; None while nothing is heard."""
        if not self._tracks:
            return None
        nonce, came = self._probe or (0, now)
        tracks = tuple(track_report(number, track.playout.buffer) for number, track in self._tracks.items())
        return native.ReceiverReport(tracks, nonce, now - came)

    def close(self) -> None:
        """Free the decoders."""
        for number in tuple(self._tracks):
            self._drop(number)

    def _drop(self, number: int) -> None:
        self._tracks.pop(number).playout.close()


async def hear(
    client: Client,
    listening: Listening,
    write: Callable[[Pcm], object],
    *,
    hearing: Hearing | None = None,
    seconds: float | None = None,
) -> Mapping[int, Quality]:
    """Play a joined session: give ``write`` 10 ms of sound at a time, at the pace of the clock; how well it was heard.

    The node is told every second, and may then send copies of what gets lost, or fewer bits. Returns when the session
    has ended, or after ``seconds``. ``write`` must not block for long.
    """
    heard = hearing or Hearing()
    begun = trio.current_time()
    client.on_probe = heard.probe
    listening.hand_to(heard.feed, begun)
    block, reported = 0, begun
    try:
        while listening.ended is None and (seconds is None or block * BLOCK < seconds * RATE):
            block += 1
            # A block is heard at its time, also when this task was late to make it: a busy moment is made up for.
            at = begun + block * BLOCK / RATE
            await trio.sleep_until(at)
            now = trio.current_time()
            if now - at > MOST_BEHIND:
                begun, at = begun + now - at, now
            write(heard.pull(BLOCK, at))
            if now - reported >= REPORT_SECONDS:
                reported = now
                _report(client, heard, now)
        return heard.quality
    finally:
        listening.on_frame = client.on_probe = None
        heard.close()


def _report(client: Client, heard: Hearing, now: float) -> None:
    report = heard.report(now)
    if report is not None:
        try:
            client.report(report)
        except Disconnected:
            return  # between two connections there is nobody to tell


def _quality(playout: Playout) -> Quality:
    counted = playout.buffer.statistics
    return Quality(
        loss=counted.lost / max(1, counted.lost + counted.received),
        concealed=counted.concealed / max(1, counted.played),
        jitter=playout.buffer.jitter,
        buffer=playout.buffer.held,
        statistics=attrs.evolve(counted),
    )
