"""Renders a battle again from its log, and says of each second whether it is the one that was heard, to the bit.

That can be asked of the same build on the same class of processor; elsewhere sums of floats may differ in their last bits.
It takes as long as it takes: there is no clock. What was not hashed (the last moments of a render process that died) was heard
by others, but is not rendered, since nobody can say exactly what it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import attrs
import numpy as np

from wsactors.dsp.interpolation import Block, Source

from .command_log import DIGEST, Ended, Entry, Hashed, Known, LogError, Rebuilt, Shed
from .engine import Engine
from .replay import Step, replay
from .state import BattleState
from .timeline import BLOCK, SAMPLE_RATE

MAX_HASHED: Final = 60 * SAMPLE_RATE
"""Frames of the longest stretch under one hash; a log's are seconds."""
MAX_SONGS: Final = 1_000
"""Songs of one battle."""


@attrs.frozen
class Second:
    """A stretch of sound, rendered again."""

    frame: int
    """Of the timeline."""
    sound: Block = attrs.field(eq=False, repr=False)
    """Float32 of shape (frames, 2)."""
    is_equal: bool
    """Whether it is what the log's hash says."""


class _Again:
    """The render process of a battle that is over."""

    def __init__(self, samples: Callable[[Known], Source], block: int) -> None:
        self._samples = samples
        self._block = block
        self._songs: dict[str, Source] = {}
        self._state: BattleState | None = None
        self._engine: Engine | None = None

    def know(self, song: Known) -> None:
        if len(self._songs) >= MAX_SONGS:
            raise LogError(f"a battle has at most {MAX_SONGS} songs")
        self._songs[song.song] = self._samples(song)

    def step(self, step: Step) -> None:
        self._state = step.state
        if self._engine is None:
            self._engine = Engine(self._songs, step.frame, step.state)
        elif not self._engine.set_state(step.frame, step.state):
            # So many changes within what one hash covers; none of them is heard before it.
            raise LogError(f"at frame {step.frame} the log has more changes at once than are ever made")

    def rebuild(self, frame: int) -> None:
        if self._state is not None:
            self._engine = Engine(self._songs, frame, self._state)

    def second(self, hashed: Hashed) -> Second:
        engine = self._engine
        if engine is None or not 0 < hashed.frames <= MAX_HASHED or hashed.frame < engine.frame:
            raise LogError(f"at frame {hashed.frame} the log has a hash of no sound that there was")
        engine.skip_to(hashed.frame)
        blocks = [engine.render(min(self._block, left)) for left in range(hashed.frames, 0, -self._block)]
        sound = np.concatenate(blocks)
        digest = hashlib.blake2b(np.ascontiguousarray(sound).data, digest_size=DIGEST).digest()
        return Second(hashed.frame, sound, digest == hashed.digest)


def rerender(entries: Iterable[Entry], samples: Callable[[Known], Source], *, block: int = BLOCK) -> Iterator[Second]:
    """The sound of a battle's log (`wsactors.dj.command_log.read_log`), hash by hash.

    ``samples`` finds a song's samples by the hash that the log has of them: shape (frames, 2), int16 or float32.

    Raises:
        LogError: The log is none of a battle that was played, or effects were left out for want of time, which cannot be
            done again yet.
    """
    again = _Again(samples, block)
    for told in replay(entries):
        match told:
            case Step():
                again.step(told)
            case Known():
                again.know(told)
            case Rebuilt(frame):
                again.rebuild(frame)
            case Hashed():
                yield again.second(told)
            case Shed(frame, without):
                if set(without) - {"analysis"}:
                    raise LogError(f"at frame {frame} {', '.join(without)} were left out, and that cannot be rendered")
            case Ended():
                return
