"""The selective forwarder of a session: which frames of which speaker everybody gets, and with which numbers.

Speakers' packets are forwarded as they are, never transcoded. What is decided here: who is heard (`speakers`), that
silence is not sent (`vad`), and the numbers, so that a listener sees no loss where nothing was lost: sequence numbers of
a track count what is sent, timestamps tell the truth about time. A stretch of speech begins with the frame before the
first loud one, marked `FLAG_DISCONTINUITY`, and ends with frames marked `FLAG_SILENCE`, after which nothing may follow
for a while. What the speaker's own way has lost stays visible as a gap. Music is neither suppressed nor chosen from.

Pure: frames and ``now`` in, frames out, each coded once for everybody.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterator
from typing import Final

import attrs

from wsactors.media.speakers import Speakers, SpeakersOptions
from wsactors.media.uplink import Placed, Uplink
from wsactors.media.vad import VoiceDetector, VoiceOptions
from wsactors.wire.audio_frame import (
    FLAG_DISCONTINUITY,
    FLAG_LAST,
    FLAG_PRIORITY,
    FLAG_SILENCE,
    FLAG_VOICE,
    MAX_UPLINK_SAMPLES,
    QUIETEST,
    ROLE_SHIFT,
    ROLE_SPEAKER,
    AudioFrame,
    encode_audio,
)
from wsactors.wire.errors import ProtocolError
from wsactors.wire.opus_packet import packet_samples

RATE: Final = 48_000
SILENT_PACKET: Final = b"\xf8\xff\xfe"
"""20 ms of digital silence, mono, as libopus codes it."""
_SILENT_SAMPLES: Final = 960
_RECENT: Final = 8
"""Frames that are kept for who joins late: 80 ms at 10 ms each."""
_SHORTEST: Final = 480
"""Samples in the shortest packet that is forwarded: 10 ms, or a speaker would cost everybody 400 packets a second."""


@attrs.frozen
class ForwarderOptions:
    """What a session forwards."""

    speakers: SpeakersOptions = SpeakersOptions()
    voice: VoiceOptions = VoiceOptions()
    trail: int = 3
    """Frames marked as silence at the end of a stretch of speech: one of them will arrive."""
    starved: float = 0.4
    """Seconds without a frame of somebody who was speaking, after which the stretch is ended here."""
    history: float = 0.08
    """Seconds of sound that somebody who joins late gets at once: what fills a jitter buffer."""
    tracks: int = 2_000
    """Most tracks."""


@attrs.define(eq=False)
class Forwarded:
    """A frame for everybody, coded once, when its bytes are first needed."""

    frame: AudioFrame
    _coded: bytes = b""

    def coded(self) -> bytes:
        """Its bytes; the same object each time."""
        if not self._coded:
            frame = self.frame
            self._coded = encode_audio(
                frame.track, frame.sequence, frame.timestamp, frame.payload, level=frame.level, flags=frame.flags
            )
        return self._coded


@attrs.frozen
class Speaking:
    """How a track is, for level meters and lists of speakers."""

    track: int
    speaker: Hashable
    level: int
    """−dBov of the latest frame."""
    voiced: bool
    priority: bool


@attrs.define(eq=False)
class _Track:
    number: int
    speaker: Hashable
    is_music: bool
    role: int
    priority: bool
    detector: VoiceDetector
    next_sequence: int
    uplink: Uplink = attrs.Factory(Uplink)
    shift: int | None = None
    """What turns an index into a sequence, while a stretch is being sent."""
    first: int = 0
    """The index with which the stretch began."""
    trailing: int = 0
    """Frames marked as silence that have been sent at the end of the stretch."""
    held: Placed | None = None
    """The latest frame that was not sent."""
    heard_at: float = 0.0
    sent_at: float = 0.0
    level: int = QUIETEST
    is_new: bool = True
    sent: deque[tuple[Forwarded, int]] = attrs.Factory(lambda: deque(maxlen=_RECENT))


class Forwarder:
    """The tracks of one session.

    Example:
        >>> forwarder = Forwarder()
        >>> track = forwarder.add_track("ann")
        >>> data = [each.coded() for each in forwarder.put(track, frame, now)]     # doctest: +SKIP
    """

    def __init__(
        self, options: ForwarderOptions = ForwarderOptions(), *, first_track: int = 1, first_sequence: int = 0
    ) -> None:
        self._options = options
        self._places = Speakers(options.speakers)
        self._tracks: dict[int, _Track] = {}
        self._open: dict[int, _Track] = {}
        self._next_track = first_track
        self._first_sequence = first_sequence
        self.drops: Counter[str] = Counter()
        """Frames of speakers that were not forwarded, by reason; ``silence`` and ``place`` are as it should be."""
        self.forwarded = 0
        """Frames that were."""

    @property
    def switches(self) -> int:
        """How many times a speaker had to give way to a louder one."""
        return self._places.switches

    def add_track(
        self, speaker: Hashable, kind: str = "voice", role: int = ROLE_SPEAKER, priority: bool = False
    ) -> int:
        """A track for ``speaker``, who sends ``"voice"`` or ``"music"``; its number, never given twice.

        Raises:
            ValueError: Another kind, or as many tracks as may be.
        """
        if kind not in {"voice", "music"}:
            raise ValueError(f'a track is "voice" or "music", got {kind!r}')
        if len(self._tracks) >= self._options.tracks:
            raise ValueError(f"a session has at most {self._options.tracks} tracks")
        number = self._next_track
        self._next_track += 1
        detector = VoiceDetector(self._options.voice)
        self._tracks[number] = _Track(number, speaker, kind == "music", role, priority, detector, self._first_sequence)
        return number

    def remove_track(self, track: int, now: float) -> list[Forwarded]:
        """The speaker has left. What listeners are to be told, maybe nothing."""
        found = self._tracks.pop(track, None)
        if found is None:
            return []
        self._count_drops(found)
        farewell = [] if found.is_new else [self._silence(found, now, FLAG_LAST)]
        self._close(found)
        return farewell

    def set_role(self, track: int, role: int, *, priority: bool) -> None:
        """What the frames of ``track`` say about its speaker from now on."""
        found = self._tracks[track]
        found.role, found.priority = role, priority

    def hush(self, track: int, now: float) -> list[Forwarded]:
        """The speaker is muted: end what is being said. What listeners are to be told."""
        found = self._tracks[track]
        found.detector.silence()
        found.held = None
        return self._end(found, now) if found.shift is not None else []

    def put(self, track: int, frame: AudioFrame, now: float) -> list[Forwarded]:
        """What everybody gets because ``frame`` has come from the speaker of ``track`` (`decode_uplink`); maybe nothing."""
        found = self._tracks.get(track)
        try:
            samples = packet_samples(frame.payload)
        except ProtocolError:
            samples = 0
        if found is None or not _SHORTEST <= samples <= MAX_UPLINK_SAMPLES:
            self.drops["unknown" if found is None else "malformed"] += 1
            return []
        placed = found.uplink.place(frame, samples, now)
        if placed is None:
            return []
        if placed.reordered:
            return self._send_reordered(found, placed)
        found.heard_at, found.level = now, frame.level
        if self._is_wanted(found, placed, now):
            return self._send(found, placed)
        return self._send_end(found, placed)

    def tick(self, now: float) -> list[Forwarded]:
        """What everybody gets because time has passed: the end of stretches whose speaker fell silent without a word."""
        starved = [each for each in self._open.values() if now - each.heard_at >= self._options.starved]
        found = []
        for each in starved:
            each.detector.silence()
            found += self._end(each, now)
        return found

    def late_join(self, now: float) -> list[Forwarded]:
        """What somebody who joins now gets at once: of each track that is being heard the latest, oldest first."""
        found: list[Forwarded] = []
        for track in self._open.values():
            if now - track.heard_at < self._options.history:
                found += self._recent(track)
        return found

    def speaking(self) -> Iterator[Speaking]:
        """Those that are being forwarded, in the order in which they began."""
        for each in self._open.values():
            yield Speaking(each.number, each.speaker, each.level, each.detector.voiced, each.priority)

    @property
    def priority(self) -> bool:
        """Whether a priority speaker is speaking, so that the others are to be heard more quietly."""
        return any(each.priority for each in self._open.values())

    def level(self, track: int) -> int:
        """−dBov of the latest frame that came for ``track``, forwarded or not."""
        return self._tracks[track].level

    def all_drops(self) -> Counter[str]:
        """`drops`, with those of the tracks that are still there."""
        return sum((each.uplink.drops for each in self._tracks.values()), Counter(self.drops))

    # -- whether --

    def _is_wanted(self, track: _Track, placed: Placed, now: float) -> bool:
        if track.is_music:
            return True
        frame = placed.frame
        if frame.flags & FLAG_SILENCE:
            track.detector.silence()
        else:
            track.detector.hear(frame.level, placed.samples, says=bool(frame.flags & FLAG_VOICE))
        if not track.detector.active:
            self._places.rest(track.number)
            return False
        return self._places.hear(
            track.number, frame.level, now=now, voiced=track.detector.voiced, priority=track.priority
        )

    # -- with which numbers --

    def _send(self, track: _Track, placed: Placed) -> list[Forwarded]:
        sending = []
        if track.shift is None:
            before = track.held if _is_just_before(track.held, placed) else None
            self._begin(track, before or placed)
            if before is not None:
                sending.append(self._emit(track, before, FLAG_DISCONTINUITY | FLAG_SILENCE))
        flags = FLAG_VOICE if track.detector.voiced else 0
        if placed.jumped or (not sending and placed.index == track.first):
            flags |= FLAG_DISCONTINUITY
        track.trailing = 0
        sending.append(self._emit(track, placed, flags))
        return sending

    def _send_end(self, track: _Track, placed: Placed) -> list[Forwarded]:
        """A frame that is not wanted: one of the last of a stretch, or kept in case that speech begins behind it."""
        track.held = placed
        if track.shift is None:
            self.drops["place" if track.detector.active else "silence"] += 1
            return []
        if placed.jumped:  # the stretch ended before the jump, and what is after it is silence
            return self._end(track, track.heard_at)
        track.trailing += 1
        ending = [self._emit(track, placed, FLAG_SILENCE)]
        if track.trailing >= self._options.trail:
            self._close(track)
            track.held = None
        return ending

    def _send_reordered(self, track: _Track, placed: Placed) -> list[Forwarded]:
        if track.shift is None or placed.index <= track.first:
            self.drops["late"] += 1
            return []
        return [self._emit(track, placed, FLAG_VOICE if track.detector.voiced else 0)]

    def _begin(self, track: _Track, placed: Placed) -> None:
        track.shift = track.next_sequence - placed.index
        track.first = placed.index
        track.trailing = 0
        self._open[track.number] = track

    def _close(self, track: _Track) -> None:
        track.shift = None
        self._open.pop(track.number, None)
        self._places.rest(track.number)

    def _emit(self, track: _Track, placed: Placed, flags: int) -> Forwarded:
        frame = placed.frame
        track.sent_at = track.heard_at
        sequence = placed.index + (track.shift or 0)
        return self._out(track, sequence, placed.timestamp, frame.payload, placed.samples, frame.level, flags)

    def _end(self, track: _Track, now: float) -> list[Forwarded]:
        """End a stretch with silent frames of our own, unless its last frames have said that it ends."""
        ending = [self._silence(track, now), self._silence(track, now)] if track.trailing < 2 else []
        self._close(track)
        return ending

    def _silence(self, track: _Track, now: float, flags: int = 0) -> Forwarded:
        """A silent frame of our own behind the newest; at the present, where that is long past."""
        last, samples = track.sent[-1]
        timestamp = last.frame.timestamp + samples
        passed = int((now - track.sent_at) * RATE)
        if passed > 2 * _SILENT_SAMPLES:
            timestamp += passed
            flags |= FLAG_DISCONTINUITY
        track.sent_at = now
        track.uplink.fill(timestamp + _SILENT_SAMPLES)
        return self._out(
            track, track.next_sequence, timestamp, SILENT_PACKET, _SILENT_SAMPLES, QUIETEST, flags | FLAG_SILENCE
        )

    def _out(
        self, track: _Track, sequence: int, timestamp: int, payload: bytes, samples: int, level: int, flags: int
    ) -> Forwarded:
        flags |= track.role << ROLE_SHIFT | (FLAG_PRIORITY if track.priority else 0)
        frame = AudioFrame(track.number, sequence & 0xFFFFFFFF, timestamp, payload, level, flags)
        sending = Forwarded(frame)
        track.next_sequence = max(track.next_sequence, sequence + 1)
        track.is_new = False
        track.sent.append((sending, samples))
        self.forwarded += 1
        return sending

    def _recent(self, track: _Track) -> list[Forwarded]:
        room = round(self._options.history * RATE)
        found: list[Forwarded] = []
        end: int | None = None
        for sent, samples in reversed(track.sent):
            room -= samples
            frame = sent.frame
            if room < 0 or (end is not None and frame.timestamp + samples != end):
                break
            found.append(sent)
            end = frame.timestamp
        return found[::-1]

    def _count_drops(self, track: _Track) -> None:
        self.drops += track.uplink.drops


def _is_just_before(held: Placed | None, placed: Placed) -> bool:
    return held is not None and held.index == placed.index - 1 and held.timestamp + held.samples == placed.timestamp
