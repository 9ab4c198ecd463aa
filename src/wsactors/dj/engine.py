"""Two decks, a crossfader and a master, rendered in blocks of samples: pure, and deterministic.

`Engine` holds the truth (a `BattleState` and the changes to come), the songs' samples, and what smooths the sound
across changes: gain ramps of 10 ms and the limiter's memory. Only the truth says where a deck plays, so an engine made
afresh at frame F from the same truth sounds the same as one that has run for hours, from F + 10 ms on.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np

from wsactors.dj.state import BattleState, DeckState
from wsactors.dj.timeline import BLOCK
from wsactors.dsp.gain import equal_power, ramp, ramp_at
from wsactors.dsp.interpolation import Block, Source, cubic_read
from wsactors.dsp.limiter import Limiter

RAMP = 480
"""Frames over which any gain changes: 10 ms, too slow to click and too fast to hear as a fade."""
MAX_PENDING = 256
"""Changes of state that may wait for their frame; more are refused."""
_MAX_FADING = 4
_JUMP = 0.5


@attrs.define
class _Voice:
    """One reading head: a deck's state as it was last told, and its gain on the way from one value to another."""

    state: DeckState
    begin: float = 0.0
    end: float = 0.0
    done: int = RAMP

    @property
    def level(self) -> float:
        return ramp_at(self.begin, self.end, self.done, RAMP)

    def aim(self, gain: float) -> None:
        """Lead the gain to `gain` in the next `RAMP` frames."""
        self.begin, self.end, self.done = self.level, gain, 0

    def mix_into(self, out: Block, source: Source | None, frame: int) -> None:
        state, frames = self.state, len(out)
        if source is not None and state.playing and (self.level > 0.0 or self.end > 0.0):
            loop = (0, len(source)) if state.loop else None
            sound = cubic_read(source, state.position_at(frame), state.rate, frames, loop)
            sound *= ramp(self.begin, self.end, frames, self.done, RAMP)
            out += sound
        self.done = min(RAMP, self.done + frames)


class Engine:
    """Renders one battle.

    >>> engine = Engine(songs={"loop-a": samples}, frame=0, state=BattleState(a=deck))
    >>> block = engine.render()        # frames 0 to 479, float32 (480, 2), never above -1 dBFS

    `songs` maps song ids to samples, shape (frames, 2), int16 or float32; it is kept, not copied, so songs may be added
    while the engine runs. A deck whose song is missing is silent.
    """

    def __init__(self, songs: Mapping[str, Source], frame: int, state: BattleState) -> None:
        self._songs = songs
        self._state = state
        self._pending: list[tuple[int, BattleState]] = []
        self._voices = {"a": _Voice(state.a), "b": _Voice(state.b)}
        self._fading: list[_Voice] = []
        self._limiter = Limiter()
        self.frame = frame
        """The timeline frame that is rendered next."""

    @property
    def state(self) -> BattleState:
        """The truth in force at `frame`."""
        return self._state

    @property
    def delay(self) -> int:
        """Frames by which the rendered sound lags the timeline (the limiter's look-ahead)."""
        return self._limiter.delay

    def set_state(self, frame: int, state: BattleState) -> bool:
        """Let `state` be the truth from `frame` on, to the sample; at once when `frame` is already past.

        A later call for the same or an earlier frame overrides what was to come after it: the caller's truth is whole.
        False when `MAX_PENDING` changes are already waiting.
        """
        at = max(frame, self.frame)
        self._pending = [change for change in self._pending if change[0] < at]
        if len(self._pending) >= MAX_PENDING:
            return False
        self._pending.append((at, state))
        return True

    def skip_to(self, frame: int) -> None:
        """Leave out everything up to `frame`: for a process that was held up and must not play late."""
        self.frame = max(self.frame, frame)

    def render(self, frames: int = BLOCK) -> Block:
        """The next `frames` frames, float32 of shape (frames, 2)."""
        out: Block = np.zeros((frames, 2), np.float32)
        done = 0
        while done < frames:
            self._apply_due()
            upto = frames
            if self._pending:
                upto = min(frames, done + self._pending[0][0] - self.frame)
            # Pieces of at most one ramp, so that a swinging crossfader is followed closely.
            upto = min(upto, done + RAMP)
            self._mix(out[done:upto])
            self.frame += upto - done
            done = upto
        return self._limiter.process(out)

    def _apply_due(self) -> None:
        while self._pending and self._pending[0][0] <= self.frame:
            _at, self._state = self._pending.pop(0)
            for name, deck in (("a", self._state.a), ("b", self._state.b)):
                self._change(name, deck)

    def _change(self, name: str, deck: DeckState) -> None:
        voice = self._voices[name]
        if _continues(voice.state, deck, self.frame):
            voice.state = deck
            return
        # A jump: the old head fades out where it was while the new one fades in where it is.
        voice.aim(0.0)
        self._fading = [*self._fading[1 - _MAX_FADING :], voice]
        self._voices[name] = _Voice(deck)

    def _mix(self, out: Block) -> None:
        state = self._state
        gains = equal_power(state.crossfader.at(self.frame + len(out)))
        for (name, voice), side in zip(self._voices.items(), gains, strict=True):
            target = voice.state.gain * side * state.master if voice.state.playing else 0.0
            if target != voice.end:
                voice.aim(target)
            voice.mix_into(out, self._source(voice), self.frame)
            self._voices[name] = voice
        for voice in self._fading:
            voice.mix_into(out, self._source(voice), self.frame)
        self._fading = [voice for voice in self._fading if voice.done < RAMP]

    def _source(self, voice: _Voice) -> Source | None:
        return None if voice.state.song is None else self._songs.get(voice.state.song)


def _continues(old: DeckState, new: DeckState, frame: int) -> bool:
    """Whether `new` goes on from where `old` is at `frame`, so that one head can play both."""
    if (old.song, old.playing, old.loop) != (new.song, new.playing, new.loop):
        return False
    return abs(old.heard_at(frame) - new.heard_at(frame)) < _JUMP
