"""The jitter buffer: frames in as they come, what to decode out when it is to be played.

`JitterBuffer.put` takes frames in any order, `JitterBuffer.take` says what comes next: a packet, a guess for a lost one,
or silence. Whoever plays calls it whenever the sound at hand is used up, so the rhythm of the calls is the device's
clock, and the frames' timestamps are the sender's. The time that sound waits is steered towards what the arrivals ask for
(`delay`): a step may say that its sound should be made a little shorter or longer (`stretch`), and a pause is cut or
lengthened by itself. That is also what makes up for clocks that drift.

Lost is what has not come when its turn is over. A copy in a later frame (kind 2) or in a later packet (Opus' own
forward error correction) is used when it is there. Pure: no clock, no decoder.
"""

from __future__ import annotations

from typing import Final

import attrs

from wsactors.media.clock_drift import ClockDrift
from wsactors.media.delay import RATE, ArrivalDelay
from wsactors.media.steps import Do, JitterOptions, JitterStatistics, Step, Stretch
from wsactors.wire.audio_frame import FLAG_DISCONTINUITY, FLAG_LAST, FLAG_SILENCE, AudioFrame
from wsactors.wire.errors import ProtocolError
from wsactors.wire.opus_packet import has_fec, packet_samples

BLOCK: Final = 480
"""Samples of a step for which there is no packet: 10 ms."""
_LEAP: Final = 1_500
"""A sequence that is farther away than this many frames belongs to a stream that was begun anew: 30 s."""
_SEEN: Final = 2_048
_NEW_NORMAL: Final = 1.0
"""Seconds for which everything may come too late before the way itself is taken to have become longer."""
_COPIES_FOR: Final = 500
"""Frames: a listener that has lost none for so long does not wait for copies, also when there are some."""
_REACH_FOR: Final = 100
"""Frames for which copies are waited for after the last one that reached so far back."""
_FORGET_AHEAD: Final = 0.998
_BURST: Final = 0.005
"""Seconds in which frames of the past come that somebody gets on joining."""
_TOO_LONG: Final = 0.008
_TOO_SHORT: Final = 0.004
_URGENT: Final = 0.06
"""Seconds by which the time that sound waits may be off until something is done about it, and until it is done at once."""
_BETWEEN_STRETCHES: Final = 0.1


@attrs.define
class _Waiting:
    timestamp: int
    samples: int
    payload: bytes
    flags: int
    is_copy: bool


class JitterBuffer:
    """The frames of one track, as one listener hears them."""

    def __init__(self, options: JitterOptions = JitterOptions()) -> None:  # noqa: B008 - frozen
        self._options = options
        self.statistics = JitterStatistics()
        self._restart()

    def _restart(self) -> None:
        self._delay = ArrivalDelay(self._options.delay)
        self._drift = ClockDrift()
        self._waiting: dict[int, _Waiting] = {}
        self._sequence = 0
        self._top: int | None = None
        self._seen = 0
        self._began = 0.0
        self._next: int | None = None
        self._clock = 0
        self._samples = 960
        self._is_pause = True
        self._was_lost = False
        self._fresh = True
        self._starved = 0
        self._guessed = 0
        self._stale_since: float | None = None
        self._reach = self._reach_for = 0
        self._since_loss = 0
        self._held: float | None = None
        self._stretched_at = self._ahead = 0.0

    # -- how it is --

    @property
    def target(self) -> float:
        """Seconds that sound should wait, from the earliest moment at which it could have come."""
        waits = self._reach if self._since_loss < _COPIES_FOR else 0
        return self._delay.target + self._ahead + waits / RATE

    @property
    def held(self) -> float:
        """Seconds that sound does wait, smoothed; 0 before there was any."""
        return max(0.0, self._held or 0.0)

    @property
    def jitter(self) -> float:
        """Seconds by which the frames' ways differ (RFC 3550)."""
        return self._delay.jitter

    @property
    def drift(self) -> float | None:
        """Parts per million by which the sender's clock is faster than ours; None: not known yet."""
        return self._drift.ppm

    @property
    def heard(self) -> int:
        """The timestamp of what is played next."""
        return self._clock

    @property
    def highest(self) -> int:
        """The highest sequence that has come, modulo 2**32; 0 before there was any."""
        return self._sequence

    def __len__(self) -> int:
        return len(self._waiting)

    # -- in --

    def put(self, frame: AudioFrame, now: float) -> None:
        """A frame came."""
        try:
            samples = packet_samples(frame.payload)
            copied = [(copy, packet_samples(copy.payload)) for copy in frame.copies]
        except ProtocolError:
            self.statistics.malformed += 1
            return
        number = self._number(frame, now)
        if number is None:
            return
        # What a listener gets at once on joining, and the frame before somebody speaks, were sent later than their time.
        counts = not frame.flags & FLAG_DISCONTINUITY and now - self._began > _BURST
        self._delay.arrived(frame.timestamp, now, counts=counts)
        if counts:
            self._drift.arrived(frame.timestamp, now)
        self._keep(number, _Waiting(frame.timestamp, samples, frame.payload, frame.flags, False))
        reach = samples if not copied and has_fec(frame.payload) else 0
        for copy, lasts in copied:
            reach = max(reach, copy.distance * lasts)
            timestamp = frame.timestamp - copy.distance * lasts
            self._keep(number - copy.distance, _Waiting(timestamp, lasts, copy.payload, 0, True))
        self._wait_for_copies(reach)

    def _wait_for_copies(self, reach: int) -> None:
        """Copies come ``reach`` samples after what they are of; 0: this frame brings none."""
        self._reach_for -= 1
        if reach >= self._reach or self._reach_for <= 0:
            self._reach = reach
        if reach == self._reach:
            self._reach_for = _REACH_FOR

    def _number(self, frame: AudioFrame, now: float) -> int | None:
        """The place of ``frame`` in an order that does not wrap; None: it is not taken."""
        step = _signed(frame.sequence - self._sequence) if self._top is not None else 0
        if self._top is None or abs(step) > _LEAP or self._is_another_time(frame, now):
            self._restart()
            self._top, self._sequence, self._began, self._seen = 0, frame.sequence, now, 0
            step = 0
        elif self._is_stale(frame, now):
            self.statistics.stale += 1
            return None
        if step > 0:
            self._seen = self._seen << step & (1 << _SEEN) - 1
            self._top += step
            self._sequence = frame.sequence
            step = 0
        bit = 1 << -step
        if self._seen & bit:
            self.statistics.duplicates += 1
            return None
        self._seen |= bit
        self.statistics.received += 1
        return self._top + step

    def _is_another_time(self, frame: AudioFrame, now: float) -> bool:
        """Whether its timestamp is far ahead of all that came, or everything has been too late for a while."""
        lateness = self._delay.lateness(frame.timestamp, now)
        if lateness <= self._options.stale:
            self._stale_since = None
            return lateness < -_NEW_NORMAL
        if self._stale_since is None:
            self._stale_since = now
        return now - self._stale_since > _NEW_NORMAL

    def _is_stale(self, frame: AudioFrame, now: float) -> bool:
        lateness = self._delay.lateness(frame.timestamp, now)
        if lateness > self.target + self._options.skip / 2 and self._delay.is_of_hole(frame.timestamp, now):
            return True
        return lateness > self._options.stale

    def _keep(self, number: int, waiting: _Waiting) -> None:
        if self._next is not None and number < self._next:
            if not waiting.is_copy:
                self.statistics.received -= 1
                self.statistics.late += 1
            return
        known = self._waiting.get(number)
        if known is not None and (waiting.is_copy or not known.is_copy):
            return
        self._waiting[number] = waiting
        if len(self._waiting) > self._options.capacity:
            self._skip_to(sorted(self._waiting)[1])

    # -- out --

    def take(self, now: float, ahead: float = 0.0) -> Step:
        """What to play from ``now`` on, once all that was taken before has been played.

        ``ahead``: seconds by which it is taken before that moment, because a device asks for sound in blocks; sound
        then waits so much longer.
        """
        self._ahead = max(ahead, self._ahead * _FORGET_AHEAD)
        if self._next is None:
            return self._begin(now)
        waiting = self._waiting.get(self._next)
        if waiting is not None:
            return self._reach_packet(waiting, now)
        if not self._waiting:
            return self._run_dry()
        return self._cross_gap(min(self._waiting), now)

    def stretched(self, samples: int) -> None:
        """The sound of the last step was made longer by ``samples`` (shorter, where negative)."""
        if samples > 0:
            self.statistics.lengthened += samples
        else:
            self.statistics.shortened -= samples
        if self._held is not None:
            self._held += samples / RATE

    def _begin(self, now: float) -> Step:
        """Nothing has been played yet: begin with the frame whose time it is, without those before it."""
        if not self._waiting:
            return self._silence(BLOCK)
        first, *others = sorted(self._waiting)
        for each in others:
            if self._lateness(each, now) < self.target:
                break
            first = each
        early = self.target - self._lateness(first, now)
        if early > 0:
            return self._silence(round(early * RATE))
        self._skip_to(first, count=False)
        self._clock = self._waiting[first].timestamp
        return self._reach_packet(self._waiting[first], now)

    def _reach_packet(self, waiting: _Waiting, now: float) -> Step:
        """The next packet is here; whether its time has come."""
        if waiting.timestamp != self._clock:
            # Nothing lies between two packets but a pause: the second one waits as long as any.
            early = self.target - (now - waiting.timestamp / RATE - self._delay.base)
            if early > 0 and waiting.timestamp > self._clock:
                return self._silence(round(early * RATE))
            self._clock, self._held = waiting.timestamp, None
        lateness = now - self._clock / RATE - self._delay.base
        if lateness > self.target + self._options.skip and self._skip_some(now):
            return self.take(now)
        if lateness > self.target + self._options.stale:
            # Whoever plays was held up for long, and what has come since is yet to be put: none of this is played.
            self._skip_to(max(self._waiting) + 1)
            return self._run_dry()
        return self._decode(waiting, lateness, now)

    def _decode(self, waiting: _Waiting, lateness: float, now: float) -> Step:
        self._waiting.pop(self._pass(lost=waiting.is_copy), None)
        self.statistics.recovered += waiting.is_copy
        if self._starved:
            self._starved, self._held = 0, None
        self._held = lateness if self._held is None else self._held + (lateness - self._held) * 0.2
        self._is_pause = bool(waiting.flags & (FLAG_SILENCE | FLAG_LAST))
        fresh = self._fresh or bool(waiting.flags & FLAG_DISCONTINUITY)
        self._fresh, self._guessed = False, 0
        self._samples = waiting.samples
        self._clock += waiting.samples
        self.statistics.played += waiting.samples
        return Step(Do.DECODE, waiting.samples, waiting.payload, fresh, self._stretch(now))

    def _cross_gap(self, later: int, now: float) -> Step:
        """The next frame has not come, but one behind it."""
        waiting, following = self._waiting[later], self._next or 0
        while self._starved >= self._samples and following < later:
            # It has been guessed already, while it was not known to be lost.
            following = self._pass(lost=True) + 1
            self._clock += self._samples
            self._starved -= self._samples
        missing, span = later - following, waiting.timestamp - self._clock
        is_pause = self._is_pause or bool(waiting.flags & FLAG_DISCONTINUITY)
        if missing == 0 or is_pause or span <= 0 or span > missing * 2_880 or span / RATE > self._options.concealed * 2:
            early = 0.0 if missing == 0 else self.target - self._lateness(later, now)
            if early > 0:  # until then they may still come
                return self._silence(round(early * RATE))
            for _ in range(missing):
                self._pass(lost=True)
            return self._reach_packet(waiting, now)
        self._pass(lost=True)
        samples = min(2_880, max(120, span // missing // 120 * 120))
        self._clock += samples
        if self._starved and samples > self._starved:
            # The beginning of it has been guessed already.
            samples, self._starved = samples - self._starved // 120 * 120, 0
        elif missing == 1 and has_fec(waiting.payload) and samples == self._samples:
            self.statistics.recovered += 1
            self.statistics.played += samples
            self._guessed = 0
            return Step(Do.FEC, samples, waiting.payload)
        return self._conceal(samples)

    def _run_dry(self) -> Step:
        """There is nothing: a pause, or frames that are late."""
        if self._is_pause:
            return self._silence(BLOCK)
        self.statistics.underruns += self._starved == 0
        self._starved += BLOCK
        if self._starved / RATE > self._options.concealed:
            return self._silence(BLOCK)
        return self._conceal(BLOCK)

    def _conceal(self, samples: int) -> Step:
        self._guessed += samples
        self.statistics.played += samples
        self.statistics.concealed += samples
        self.statistics.longest_concealed = max(self.statistics.longest_concealed, self._guessed)
        return Step(Do.CONCEAL, samples)

    def _silence(self, samples: int) -> Step:
        self._guessed = 0
        return Step(Do.SILENCE, max(1, min(BLOCK, samples)))

    def _pass(self, *, lost: bool) -> int:
        """The turn of the next frame is over; its number."""
        number = self._next or 0
        self._next = number + 1
        if lost:
            self.statistics.lost += 1
            self.statistics.runs += not self._was_lost
        self._was_lost = lost
        self._since_loss = 0 if lost else self._since_loss + 1
        return number

    def _lateness(self, number: int, now: float) -> float:
        return self._delay.lateness(self._waiting[number].timestamp, now)

    def _skip_some(self, now: float) -> bool:
        """Leave out what is too old, if behind it there is something that is not; whether there was."""
        numbers = sorted(self._waiting)
        live = next((each for each in numbers[1:] if self._lateness(each, now) <= self.target + BLOCK / RATE), None)
        if live is None:
            return False
        self._skip_to(live)
        self._clock, self._held = self._waiting[live].timestamp, None
        return True

    def _skip_to(self, number: int, *, count: bool = True) -> None:
        for each in [each for each in self._waiting if each < number]:
            del self._waiting[each]
            self.statistics.skipped += count
        self._next = number
        self._fresh = True

    def _stretch(self, now: float) -> Stretch:
        """Whether the time that sound waits should be changed, now."""
        off = (self._held or 0.0) - self.target
        urgent = abs(off) > _URGENT
        if now - self._stretched_at < (0.0 if urgent else _BETWEEN_STRETCHES):
            return Stretch.NONE
        if off > _TOO_LONG:
            self._stretched_at = now
            return Stretch.SHORTER
        if off < -_TOO_SHORT:
            self._stretched_at = now
            return Stretch.LONGER
        return Stretch.NONE


def _signed(difference: int) -> int:
    return ((difference + 2**31) & 0xFFFFFFFF) - 2**31
