"""An echo in time with the music: repeats that get quieter and, if wanted, darker."""

from __future__ import annotations

import math

import numpy as np

from wsactors.dsp.biquad import Chain, lowpass
from wsactors.dsp.delay_line import DelayLine
from wsactors.dsp.effects import Setting
from wsactors.dsp.effects.tail import Tail, joined
from wsactors.dsp.glide import Crossfade, Gains, Glide, Sound, blend
from wsactors.dsp.interpolation import Block

MIN_DELAY = 480
"""Frames of the shortest delay: 10 ms."""
MAX_DELAY = 144_000
"""Frames of the longest delay: 3 s."""
MAX_FEEDBACK = 0.9
"""What is left of each repeat in the next one, with the knob turned up all the way."""
DARK = 1_800.0
"""Hz above which repeats lose what they have, with the tone turned down all the way."""
_GONE = math.log(1e-4)


class Echo:
    """`frames` is the delay, `feedback` what is left from repeat to repeat, `tone` how bright the repeats are.

    Switched off, it takes nothing in any more, and what has been taken in is repeated until it is 80 dB down.
    """

    __slots__ = ("_dark", "_delay", "_feedback", "_line", "_tail", "_tone", "_wet")

    def __init__(self) -> None:
        self._tail = Tail()
        self._wet, self._feedback, self._tone = Glide(0.0), Glide(0.0), Glide(0.0)
        self._delay: Crossfade[int] = Crossfade(MIN_DELAY)
        self._line: DelayLine | None = None
        self._dark = Chain([lowpass(DARK)])

    @property
    def asleep(self) -> bool:
        """Whether it is off and has died away."""
        return self._tail.asleep

    def process(self, block: Block, setting: Setting, frame: int) -> Block:
        """The next frames."""
        if self.asleep:
            self._line = None
            if not setting.on:
                return block
        delay = min(MAX_DELAY, max(MIN_DELAY, setting.frames))
        if self._line is None:
            self._line = DelayLine(MAX_DELAY)
            self._dark = Chain([lowpass(DARK)])
            self._wet, self._tone = Glide(setting.wet), Glide(setting.tone)
            self._feedback = Glide(setting.feedback * MAX_FEEDBACK)
            self._delay.jump(delay)
        self._aim(setting, delay)
        pieces, at = [], 0
        while at < len(block):
            self._tail.aim(setting.on, self._rings(setting, delay))
            end = at + self._tail.until_change(len(block) - at)
            for stretch in self._delay.take(end - at):
                begin, stop = at + stretch.begin, at + stretch.end
                step = min(stretch.old, stretch.new)
                for first in range(begin, stop, step):
                    last = min(stop, first + step)
                    share = None if stretch.share is None else stretch.share[first - begin : last - begin]
                    ago = (stretch.old, stretch.new)
                    pieces.append(self._repeat(self._line, block[first:last], ago, share))
            self._tail.passed(end - at)
            at = end
        return joined(pieces)

    def _aim(self, setting: Setting, delay: int) -> None:
        self._wet.aim(setting.wet)
        self._tone.aim(setting.tone)
        self._feedback.aim(setting.feedback * MAX_FEEDBACK)
        self._delay.aim(delay)

    def _rings(self, setting: Setting, delay: int) -> int:
        kept = max(0.01, setting.feedback * MAX_FEEDBACK)
        return delay * (1 + math.ceil(_GONE / math.log(kept)))

    def _repeat(self, line: DelayLine, piece: Block, ago: tuple[int, int], share: Gains | None) -> Block:
        frames = len(piece)
        past: Sound = line.read(ago[0], frames)
        if share is not None:
            past = blend(past, line.read(ago[1], frames), share)
        dark = self._dark.process(past)
        repeat = dark + (past - dark) * self._tone.factor(frames)
        line.write((piece * self._tail.send.factor(frames) + repeat * self._feedback.factor(frames)).astype(np.float32))
        out: Block = (piece + repeat * (self._wet.factor(frames) * self._tail.back.factor(frames))).astype(np.float32)
        return out
