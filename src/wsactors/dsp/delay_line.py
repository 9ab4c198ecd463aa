"""What was a while ago: a ring of frames, read and written in blocks."""

from __future__ import annotations

import numpy as np

from wsactors.dsp.interpolation import Block


class DelayLine:
    """Keeps the last `frames` frames of a stream; silence before it began."""

    __slots__ = ("_at", "_ring")

    def __init__(self, frames: int, channels: int = 2) -> None:
        self._ring = np.zeros((frames, channels), np.float32)
        self._at = 0

    def read(self, delay: int, frames: int) -> Block:
        """`frames` frames, the first of which is `delay` before the one to be written next; so `frames` <= `delay`."""
        size = len(self._ring)
        if not 0 < frames <= delay <= size:
            raise ValueError(f"cannot read {frames} frames {delay} ago from a line of {size}")
        begin = (self._at - delay) % size
        if begin + frames <= size:
            return self._ring[begin : begin + frames].copy()
        return np.concatenate((self._ring[begin:], self._ring[: begin + frames - size]))

    def write(self, block: Block) -> None:
        """The stream's next frames, at most as many as the line keeps."""
        size, end = len(self._ring), self._at + len(block)
        if end <= size:
            self._ring[self._at : end] = block
        else:
            self._ring[self._at :] = block[: size - self._at]
            self._ring[: end - size] = block[size - self._at :]
        self._at = end % size
