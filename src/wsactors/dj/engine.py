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
from wsactors.dj.mixer import Channel, CueBus, MasterBus, Sent
from wsactors.dj.state import BattleState
from wsactors.dj.timeline import BLOCK
from wsactors.dsp.glide import GLIDE, Glide
from wsactors.dsp.interpolation import Block, Source

RAMP = GLIDE
"""Frames over which any gain changes, and after which a moving crossfader is looked at again: 10 ms."""
MAX_PENDING = 256
"""Changes of state that may wait for their frame; more are refused."""
_SETTLING = 2 * GLIDE


@attrs.frozen
class Rendered:
    """Some frames of a battle's sound. All blocks are float32 of shape (frames, 2), and lag alike."""

    out: Block
    """What everybody hears."""
    phones: tuple[Block, ...]
    """What deck a's DJ and deck b's have in their headphones; empty when that was not wanted."""


class Engine:
    """Renders one battle.

    >>> engine = Engine(songs={"loop-a": samples}, frame=0, state=BattleState(a=deck))
    >>> block = engine.render()        # frames 0 to 479, float32 (480, 2), never above -1 dBFS

    `songs` maps song ids to samples, shape (frames, 2), int16 or float32; it is kept, not copied, so songs may be added
    while the engine runs. A deck whose song is missing is silent. With `phones` both DJs' headphones are rendered, too.
    In blocks of any size the sound is the same to the bit.
    """

    def __init__(self, songs: Mapping[str, Source], frame: int, state: BattleState, *, phones: bool = False) -> None:
        self._state = state
        self._pending: list[tuple[int, BattleState]] = []
        self._heads = (Head(songs, frame, state.a), Head(songs, frame, state.b))
        self._channels = (Channel(), Channel())
        self._gain = Glide(state.master)
        self._master = MasterBus()
        self._phones = (CueBus(), CueBus()) if phones else ()
        self._sides = self._sides_at(frame)
        self.frame = frame
        """The timeline frame that is rendered next."""
        # Knobs start where they are, and are not heard on their way there.
        silence: Block = np.zeros((_SETTLING, 2), np.float32)
        self._mix(frame - _SETTLING, (silence, silence))

    @property
    def state(self) -> BattleState:
        """The truth in force at `frame`."""
        return self._state

    @property
    def delay(self) -> int:
        """Frames by which the rendered sound lags the timeline (the limiter's look-ahead)."""
        return self._master.delay

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
        """The next `frames` frames of what everybody hears, float32 of shape (frames, 2)."""
        return self.render_all(frames).out

    def render_all(self, frames: int = BLOCK) -> Rendered:
        """The next `frames` frames."""
        pieces = []
        done = 0
        while done < frames:
            self._apply_due()
            # Pieces end on a grid of the timeline's, so that a moving crossfader is looked at in the same places always.
            upto = min(frames, done + RAMP - self.frame % RAMP)
            if self._pending:
                upto = min(upto, done + self._pending[0][0] - self.frame)
            if self.frame % RAMP == 0:
                self._sides = self._sides_at(self.frame)
            first, second = (head.render(self.frame, upto - done) for head in self._heads)
            pieces.append(self._mix(self.frame, (first, second)))
            self.frame += upto - done
            done = upto
        if len(pieces) == 1:
            return pieces[0]
        phones = zip(*(piece.phones for piece in pieces), strict=True)
        return Rendered(np.concatenate([piece.out for piece in pieces]), tuple(np.concatenate(each) for each in phones))

    def _apply_due(self) -> None:
        while self._pending and self._pending[0][0] <= self.frame:
            _at, self._state = self._pending.pop(0)
            self._sides = self._sides_at(self.frame)
            for head, deck in zip(self._heads, (self._state.a, self._state.b), strict=True):
                head.change(self.frame, deck)

    def _sides_at(self, frame: int) -> tuple[float, float]:
        """What the crossfader leaves of each deck; where it is on its way, what it will when the glide has got there."""
        return self._state.crossing.gains(self._state.crossfader.at(frame + RAMP))

    def _mix(self, frame: int, sound: tuple[Block, Block]) -> Rendered:
        state = self._state
        self._gain.aim(state.master)
        strips = (state.strip_a, state.strip_b)
        first, second = (
            channel.process(block, strip, side)
            for channel, block, strip, side in zip(self._channels, sound, strips, self._sides, strict=True)
        )
        mixed = self._master.process(self._sum(first, second), state.bus, frame)
        phones = zip(self._phones, (first, second), (state.phones_a, state.phones_b), strict=False)
        return Rendered(mixed.out, tuple(bus.process((sent.pfl,), mixed.mix, knobs) for bus, sent, knobs in phones))

    def _sum(self, first: Sent, second: Sent) -> Block:
        both: Block = first.mix + second.mix
        gains = self._gain.take(len(both))
        if gains is None and self._gain.target == 1.0:
            return both
        return np.multiply(both, self._gain.target if gains is None else gains, dtype=np.float64).astype(np.float32)
