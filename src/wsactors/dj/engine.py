"""Two decks, their strips, a crossfader and the master, rendered in blocks of samples: pure, and deterministic.

`Engine` holds the truth (a `BattleState` and the changes to come), the songs' samples, and what smooths the sound
across changes: fades, glides, and the memories of filters, effects and the limiter. Only the truth says where a deck
plays, so an engine made afresh at frame F from the same truth sounds the same as one that has run for hours, once the
fades of 10 ms and what still rings are over.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import numpy as np

from wsactors.dj.head import Head
from wsactors.dj.state import BattleState
from wsactors.dj.timeline import BLOCK
from wsactors.dsp.gain import ramp, ramp_at
from wsactors.dsp.interpolation import Block, Source
from wsactors.dsp.limiter import Limiter

RAMP = 480
"""Frames over which any gain changes: 10 ms, too slow to click and too fast to hear as a fade."""
MAX_PENDING = 256
"""Changes of state that may wait for their frame; more are refused."""


@attrs.define
class _Gain:
    """A gain on the way from one value to another."""

    begin: float
    end: float
    done: int = RAMP

    def apply(self, block: Block, target: float) -> None:
        if target != self.end:
            self.begin, self.end, self.done = ramp_at(self.begin, self.end, self.done, RAMP), target, 0
        block *= ramp(self.begin, self.end, len(block), self.done, RAMP)
        self.done = min(RAMP, self.done + len(block))


class Engine:
    """Renders one battle.

    >>> engine = Engine(songs={"loop-a": samples}, frame=0, state=BattleState(a=deck))
    >>> block = engine.render()        # frames 0 to 479, float32 (480, 2), never above -1 dBFS

    `songs` maps song ids to samples, shape (frames, 2), int16 or float32; it is kept, not copied, so songs may be added
    while the engine runs. A deck whose song is missing is silent.
    """

    def __init__(self, songs: Mapping[str, Source], frame: int, state: BattleState) -> None:
        self._state = state
        self._pending: list[tuple[int, BattleState]] = []
        self._heads = (Head(songs, frame, state.a), Head(songs, frame, state.b))
        self._gains = tuple(_Gain(gain, gain) for gain in self._targets(frame))
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
        pieces = []
        done = 0
        while done < frames:
            self._apply_due()
            # Pieces of at most one ramp, so that a swinging crossfader is followed closely.
            upto = min(frames, done + RAMP)
            if self._pending:
                upto = min(upto, done + self._pending[0][0] - self.frame)
            pieces.append(self._mix(upto - done))
            self.frame += upto - done
            done = upto
        return self._limiter.process(np.concatenate(pieces))

    def _apply_due(self) -> None:
        while self._pending and self._pending[0][0] <= self.frame:
            _at, self._state = self._pending.pop(0)
            for head, deck in zip(self._heads, (self._state.a, self._state.b), strict=True):
                head.change(self.frame, deck)

    def _targets(self, frame: int) -> tuple[float, float]:
        first, second = self._state.crossing.gains(self._state.crossfader.at(frame))
        return first * self._state.master, second * self._state.master

    def _mix(self, frames: int) -> Block:
        first, second = (head.render(self.frame, frames) for head in self._heads)
        for block, gain, target in zip((first, second), self._gains, self._targets(self.frame + frames), strict=True):
            gain.apply(block, target)
        first += second
        return first
