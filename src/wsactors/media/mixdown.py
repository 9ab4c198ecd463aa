"""The tracks of a session as one coded stream: for clients that want to decode, or can receive, only one.

Takes the frames that everybody gets (those of the few speakers who are heard), decodes each track behind its jitter
buffer, mixes, and codes: once for all who only listen, and once for each speaker who wants to hear the others. Owns
native memory: `close` it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import attrs
import numpy as np

from wsactors.dsp.interpolation import Block
from wsactors.dsp.meter import measure
from wsactors.media.ducking import DuckingOptions
from wsactors.media.mix import Mixer
from wsactors.media.opus import Application, Encoder
from wsactors.media.playout import Playout
from wsactors.media.steps import JitterOptions
from wsactors.wire.audio_frame import FLAG_LAST, FLAG_PRIORITY, FLAG_VOICE, MAX_DATAGRAM, AudioFrame

_HEADER: Final = 64
"""Room that is left in a datagram beside a packet."""


@attrs.frozen
class MixdownOptions:
    """How to mix and code."""

    samples: int = 960
    channels: int = 1
    bitrate: int = 48_000
    inputs: int = 16
    """Most tracks that are decoded at a time."""
    outputs: int = 32
    """Most speakers with a mix of their own: each costs an encoder."""
    idle: float = 5.0
    """Seconds without a frame after which a track is not decoded any more."""
    delay: JitterOptions = JitterOptions()
    ducking: DuckingOptions = DuckingOptions()


@attrs.define(eq=False)
class _Input:
    playout: Playout
    heard_at: float
    priority: bool = False


@attrs.frozen
class Mixed:
    """What one tick gives. Frames have the track number that the mix was given."""

    whole: AudioFrame | None
    """For those who only listen; None: nobody asked for it."""
    own: dict[int, AudioFrame]
    """For the speaker of each track who asked: everybody else."""


class Mixdown:
    """The mix of one session, as track ``track``.

    Raises `wsactors.errors.OpusUnavailable` without libopus.
    """

    def __init__(self, track: int, options: MixdownOptions = MixdownOptions()) -> None:
        self._track = track
        self._options = options
        self._inputs: dict[int, _Input] = {}
        self._mixer: Mixer[int] = Mixer(samples=options.samples, channels=options.channels, ducking=options.ducking)
        self._whole: Encoder | None = None
        self._own: dict[int, Encoder] = {}
        self._gains: dict[int, float] = {}
        self._tick = 0
        self.refused = 0
        """Frames of tracks beyond the most that are decoded."""

    def put(self, frame: AudioFrame, now: float) -> None:
        """A frame that everybody gets."""
        found = self._inputs.get(frame.track)
        if found is None:
            if frame.flags & FLAG_LAST:
                return
            if len(self._inputs) >= self._options.inputs:
                self.refused += 1
                return
            found = _Input(Playout(self._options.channels, self._options.delay), now)
            self._inputs[frame.track] = found
        found.heard_at = now
        found.priority = bool(frame.flags & FLAG_PRIORITY and frame.flags & FLAG_VOICE)
        found.playout.put(frame, now)

    def listen(self, wanted: bool) -> None:
        """Whether anybody wants the mix of all."""
        if wanted and self._whole is None:
            self._whole = self._encoder()
        elif not wanted and self._whole is not None:
            self._whole.close()
            self._whole = None

    def listen_as(self, track: int, wanted: bool) -> bool:
        """Whether the speaker of ``track`` wants the mix of all others. False: too many have one already."""
        if not wanted:
            encoder = self._own.pop(track, None)
            if encoder is not None:
                encoder.close()
            self._mixer.leave(track)
        elif track not in self._own:
            if len(self._own) >= self._options.outputs:
                return False
            self._own[track] = self._encoder()
        return True

    def set_gain(self, track: int, gain: float) -> None:
        """How loud ``track`` is in the mix, 1 being as it comes. Raises `ValueError` for what is no gain."""
        if not 0.0 <= gain <= 4.0:
            raise ValueError(f"a gain is from 0 to 4, got {gain}")
        self._gains[track] = gain
        if gain == 1.0:
            del self._gains[track]

    def add_clip(self, sound: Block, gain: float = 1.0) -> bool:
        """Mix a clip into what follows. False: too many sound already."""
        return self._mixer.add_clip(sound, gain)

    def tick(self, now: float) -> Mixed:
        """The next frame, heard from ``now`` on; to be called once per frame's time."""
        steps = self.steps(now)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                mixed: Mixed = end.value
                return mixed

    def steps(self, now: float) -> Generator[None, None, Mixed]:
        """As `tick`, with a pause for others after each coded stream; whoever is gone after one gets no more."""
        for track in [track for track, each in self._inputs.items() if now - each.heard_at > self._options.idle]:
            self._inputs.pop(track).playout.close()
        blocks = {track: each.playout.pull(self._options.samples, now) for track, each in self._inputs.items()}
        priority = {track for track, each in self._inputs.items() if each.priority and now - each.heard_at < 0.1}
        self._mixer.feed(blocks, priority=priority, gains=self._gains)
        whole = None if self._whole is None else self._coded(self._whole, self._mixer.whole())
        own = {}
        for track, encoder in tuple(self._own.items()):
            yield
            if self._own.get(track) is encoder:
                own[track] = self._coded(encoder, self._mixer.without(track))
        self._tick += 1
        return Mixed(whole, own)

    def close(self) -> None:
        """Free all native memory; the mix is over."""
        self.listen(False)
        for track in tuple(self._own):
            self.listen_as(track, False)
        for each in self._inputs.values():
            each.playout.close()
        self._inputs.clear()

    def _encoder(self) -> Encoder:
        options = self._options
        return Encoder(
            options.channels, application=Application.AUDIO, bitrate=options.bitrate, max_packet=MAX_DATAGRAM - _HEADER
        )

    def _coded(self, encoder: Encoder, block: Block) -> AudioFrame:
        payload = encoder.encode(np.ascontiguousarray(block, dtype=np.float32))
        at = self._tick * self._options.samples
        return AudioFrame(self._track, self._tick & 0xFFFFFFFF, at, payload, measure(block).dbov)
