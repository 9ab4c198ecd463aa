"""Effects for a stereo mix. They share one interface, `Insert`, and may be put in any order.

An effect that is off, and has died away, hands on the very block that it was given.
"""

from __future__ import annotations

from typing import Protocol

import attrs

from wsactors.dsp.interpolation import Block


@attrs.frozen
class Setting:
    """Where an effect's knobs stand, all at 0 to 1; what they mean is said by each effect."""

    on: bool = False
    wet: float = 0.5
    frames: int = 18_000
    """The musical length that `time` stands at, in frames: what keeps time uses it instead of `time`."""
    time: float = 0.5
    feedback: float = 0.5
    depth: float = 0.5
    tone: float = 0.5


class Insert(Protocol):
    """One effect, with what it remembers of the stream."""

    @property
    def asleep(self) -> bool:
        """Whether it is off and has died away, so that it does nothing."""
        ...

    def process(self, block: Block, setting: Setting, frame: int) -> Block:
        """The next frames, of which `frame` is the timeline's number of the first. May be `block` itself."""
        ...
