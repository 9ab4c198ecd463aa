"""One deck's sound: the reading heads that follow its truth, and give way to each other where it jumps.

Where a deck is at a frame is computed from its truth alone, so it does not matter in what blocks it is rendered, and a
head that is made afresh sounds like one that has run, from its first fade on; with key-lock from the next epoch of the
grains on at the latest (`wsactors.dsp.keylock`), at once when nobody has touched the deck since the last one began.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import numpy as np
from numpy.typing import NDArray

from wsactors.dj.deck import DeckState
from wsactors.dsp.glide import Glide
from wsactors.dsp.interpolation import Block, Source
from wsactors.dsp.keylock import KeyLock
from wsactors.dsp.tape import SEAM, Region, Tape

JUMP = 240
"""Frames in which one place gives way to another: 5 ms."""
START = 96
"""Frames in which sound begins where there was none: 2 ms, which leaves a drum its edge."""
_MAX_FADING = 4
_SAME_PLACE = 0.5
# A pick-up feels how fast the groove moves, not where it is: a platter that comes to rest falls silent.
_QUIET_SPEED = 0.1

Places = NDArray[np.float64]


def places(deck: DeckState, frame: int, frames: int) -> Places:
    """`DeckState.position_at` for every frame of a block, to the bit."""
    at = np.arange(frame - deck.frame, frame - deck.frame + frames, dtype=np.float64)
    positions: Places = deck.position + at * deck.cruise
    begin = 0
    for leg in deck.legs:
        if at[0] >= begin + leg.frames:
            positions += leg.travelled(float(leg.frames))
        elif at[-1] > begin:
            t = np.clip(at - begin, 0.0, leg.frames)
            positions += leg.begin * t + (leg.end - leg.begin) * t * t / (2 * leg.frames)
        begin += leg.frames
    return positions


def speeds(deck: DeckState, frame: int, frames: int) -> Places:
    """`DeckState.speed_at` for every frame of a block."""
    at = np.arange(frame - deck.frame, frame - deck.frame + frames, dtype=np.float64)
    out: Places = np.full(frames, deck.cruise)
    begin = 0
    for leg in deck.legs:
        here = (at >= begin) & (at < begin + leg.frames)
        out[here] += leg.begin + (leg.end - leg.begin) * (at[here] - begin) / leg.frames
        begin += leg.frames
    return out


def tape_of(source: Source, deck: DeckState) -> Tape:
    """The recording as a deck's truth lets its head see it."""
    if deck.region is None:
        return Tape(source)
    above, below = deck.catches
    return Tape(source, Region(*deck.region, above, below, SEAM if deck.looping else 0.0))


@attrs.define
class _Voice:
    """A reading head, and how loud it is while it comes or goes."""

    deck: DeckState
    tape: Tape
    key: KeyLock | None
    begin: float = 0.0
    end: float = 1.0
    done: int = 0
    length: int = JUMP

    @property
    def level(self) -> float:
        if self.done >= self.length:
            return self.end
        return self.begin + (self.end - self.begin) * (0.5 - 0.5 * math.cos(math.pi * self.done / self.length))

    def aim(self, level: float, length: int) -> None:
        self.begin, self.end, self.done, self.length = self.level, level, 0, length

    def follow(self, deck: DeckState, frame: int) -> None:
        """Go on with another truth that is in the same place."""
        if self.key is not None:
            self.key.moved(self.deck.position_at(frame) - deck.position_at(frame))
        self.deck, self.tape = deck, tape_of(self.tape.source, deck)

    def sound(self, frame: int, frames: int) -> Block:
        if self.key is not None:
            out = self.key.render(self.tape, self.deck.position_at, frames)
        else:
            out = self.tape.at(places(self.deck, frame, frames))
            self._fall_silent(out, frame)
        if self.done < self.length:
            progress = np.minimum(np.arange(self.done + 1, self.done + frames + 1) / self.length, 1.0)
            curve = self.begin + (self.end - self.begin) * (0.5 - 0.5 * np.cos(np.pi * progress))
            out *= curve.astype(np.float32)[:, None]
            self.done = min(self.length, self.done + frames)
        return out

    def _fall_silent(self, out: Block, frame: int) -> None:
        if frame >= self.deck.legs_end and abs(self.deck.cruise) >= _QUIET_SPEED:
            return
        speed = np.abs(speeds(self.deck, frame, len(out)))
        if speed.min() < _QUIET_SPEED:
            out *= np.minimum(speed / _QUIET_SPEED, 1.0).astype(np.float32)[:, None]


class Head:
    """Renders one deck.

    `songs` maps song ids to samples, shape (frames, 2), int16 or float32; it is kept, not copied, and a song that is not
    there yet is silent. Blocks follow each other, but frames may be left out between two of them.
    """

    def __init__(self, songs: Mapping[str, Source], frame: int, deck: DeckState) -> None:
        self._songs = songs
        self._deck = deck
        self._voice: _Voice | None = None
        self._fading: list[_Voice] = []
        self._gain = Glide(deck.gain)
        self._frame = frame

    @property
    def deck(self) -> DeckState:
        """The truth that it follows."""
        return self._deck

    def change(self, frame: int, deck: DeckState) -> None:
        """Follow another truth from timeline frame `frame` on, which is the next to be rendered."""
        old, self._deck = self._deck, deck
        self._gain.aim(deck.gain)
        if self._voice is None:
            return
        if _continues(old, deck, frame):
            self._voice.follow(deck, frame)
        else:
            self._leave()

    def render(self, frame: int, frames: int) -> Block:
        """The sound of `frames` frames from timeline frame `frame` on, float32 of shape (frames, 2)."""
        if frame != self._frame and self._voice is not None and self._voice.key is not None:
            self._leave()  # frames were left out: its grains are elsewhere
        self._frame = frame + frames
        pieces = []
        done = 0
        while done < frames:
            self._settle(frame + done)
            upto = min(frames, self._next_change(frame + done) - frame)
            pieces.append(self._mix(frame + done, upto - done))
            done = upto
        out = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        gains = self._gain.take(frames)
        if gains is None and self._gain.target == 1.0:
            return out
        # In double precision, as a glide ends, so that it does not matter in which block it ended.
        return np.multiply(out, self._gain.target if gains is None else gains, dtype=np.float64).astype(np.float32)

    def _settle(self, frame: int) -> None:
        """Have the voice that the truth asks for at this frame."""
        mode, voice = _mode(self._deck, frame), self._voice
        if voice is not None and (voice.key is not None) is not mode:
            if mode is None:
                self._voice = None  # it has come to rest, and so is silent
                return
            self._leave()
            voice = None
        if voice is None and mode is not None:
            self._begin(frame, locked=mode)

    def _begin(self, frame: int, *, locked: bool) -> None:
        deck = self._deck
        source = self._songs.get(deck.song) if deck.song is not None else None
        if source is None:
            return
        tape = tape_of(source, deck)
        key = KeyLock(tape, deck.position_at, frame, deck.frame) if locked else None
        self._voice = _Voice(deck, tape, key, length=JUMP if self._fading else START)

    def _leave(self) -> None:
        if self._voice is not None:
            self._voice.aim(0.0, JUMP)
            self._fading = [*self._fading[1 - _MAX_FADING :], self._voice]
            self._voice = None

    def _next_change(self, frame: int) -> int:
        """The next frame at which the truth's way of moving changes by itself."""
        changes = [at for at in (self._deck.still_from(), self._deck.lock_from()) if at is not None and at > frame]
        return min(changes, default=frame + (1 << 30))

    def _mix(self, frame: int, frames: int) -> Block:
        if self._voice is None:
            out: Block = np.zeros((frames, 2), np.float32)
        else:
            out = self._voice.sound(frame, frames)
        for voice in self._fading:
            out += voice.sound(frame, frames)
        self._fading = [voice for voice in self._fading if voice.done < voice.length]
        return out


def _mode(deck: DeckState, frame: int) -> bool | None:
    """Whether the key is kept at a frame; None when nothing moves."""
    still = deck.still_from()
    if deck.song is None or (still is not None and frame >= still):
        return None
    locked = deck.lock_from()
    return locked is not None and frame >= locked


def _continues(old: DeckState, new: DeckState, frame: int) -> bool:
    """Whether `new` goes on from where `old` is at `frame`, so that one voice can follow both."""
    if old.song != new.song or _mode(old, frame) != _mode(new, frame):
        return False
    if abs(old.heard_at(frame) - new.heard_at(frame)) >= _SAME_PLACE:
        return False
    # In a seam two places are heard at once, and the new truth may not know of one of them.
    return old.region is None or not (_in_seam(old, frame) or _in_seam(new, frame))


def _in_seam(deck: DeckState, frame: int) -> bool:
    region = deck.region
    if region is None or not deck.looping:
        return False
    place = deck.position_at(frame)
    folded = deck.folded(place)
    return folded != place and (folded - region[0] if place > folded else region[1] - folded) < SEAM
