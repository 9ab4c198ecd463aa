"""One sound out of many speakers, for clients that want a single stream: everybody but oneself (N−1).

The sum is made once; a speaker's own mix is the sum without what that speaker added to it. Whoever only listens gets the
sum, so it is coded once for all of them. Priority speakers are made room for, short clips are mixed in, and a limiter for
each result keeps the loudest moment below full scale.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Final, Generic, TypeVar

import attrs
import numpy as np

from wsactors.dsp.interpolation import Block
from wsactors.dsp.limiter import Limiter
from wsactors.media.ducking import Ducker, DuckingOptions

Key = TypeVar("Key", bound=Hashable)

MAX_CLIPS: Final = 8
"""Most clips that sound at a time."""


@attrs.define
class _Clip:
    sound: Block
    gain: float
    at: int = 0


class Mixer(Generic[Key]):
    """Mixes block by block, each of ``samples`` samples.

    Example:
        >>> mixer = Mixer[str](channels=1)
        >>> mixer.feed({"ann": block, "bob": other})                     # doctest: +SKIP
        >>> for_ann, for_all = mixer.without("ann"), mixer.whole()       # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        samples: int = 960,
        channels: int = 1,
        ducking: DuckingOptions = DuckingOptions(),  # noqa: B008 - frozen
    ) -> None:
        self._shape = (samples, channels)
        self._ducker = Ducker(ducking)
        self._clips: list[_Clip] = []
        self._sum: Block = np.zeros(self._shape, np.float32)
        self._parts: dict[Key, Block] = {}
        self._limiters: dict[Key, Limiter] = {}
        self._whole = Limiter(channels=channels, true_peak=False)

    def add_clip(self, sound: Block, gain: float = 1.0) -> bool:
        """Mix ``sound``, shape (any, 1 or 2), into what follows. False: too many clips sound already."""
        if sound.ndim != 2 or sound.shape[1] not in {1, 2}:
            raise ValueError(f"a clip has the shape (samples, 1 or 2), got {sound.shape}")
        if len(self._clips) >= MAX_CLIPS:
            return False
        self._clips.append(_Clip(self._fitted(sound), gain))
        return True

    def feed(
        self,
        blocks: Mapping[Key, Block],
        *,
        priority: Collection[Key] = (),
        gains: Mapping[Key, float] | None = None,
    ) -> None:
        """The next block of everybody who is heard, shape (samples, 1 or 2).

        ``priority``: those of them for whom the others are lowered. ``gains``: factors other than 1.
        Raises `ValueError` for a block of another length.
        """
        room = self._ducker.gains(any(key in priority for key in blocks), self._shape[0])
        is_lowered = bool(room.min() < 1.0)
        self._parts = {}
        total = self._next_of_clips()
        for key, block in blocks.items():
            if block.ndim != 2 or len(block) != self._shape[0]:
                raise ValueError(f"a block has {self._shape[0]} samples, got shape {block.shape}")
            part = self._fitted(block)
            factor = 1.0 if gains is None else gains.get(key, 1.0)
            if factor != 1.0:
                part = part * np.float32(factor)
            if is_lowered and key not in priority:
                part = part * room
            self._parts[key] = part
            total += part
        self._sum = total

    def whole(self) -> Block:
        """The block for those who are not in it. To be taken once per block."""
        return self._whole.process(self._sum)

    def without(self, key: Key) -> Block:
        """The block for ``key``: without what it has added. To be taken once per block by everybody who ever takes it."""
        limiter = self._limiters.get(key)
        if limiter is None:
            limiter = self._limiters[key] = Limiter(channels=self._shape[1], true_peak=False)
        own = self._parts.get(key)
        return limiter.process(self._sum if own is None else self._sum - own)

    def leave(self, key: Key) -> None:
        """``key`` takes no mix of its own any more."""
        self._limiters.pop(key, None)
        self._parts.pop(key, None)

    def _next_of_clips(self) -> Block:
        total = np.zeros(self._shape, np.float32)
        for clip in self._clips:
            piece = clip.sound[clip.at : clip.at + self._shape[0]]
            total[: len(piece)] += piece * np.float32(clip.gain)
            clip.at += len(piece)
        self._clips = [clip for clip in self._clips if clip.at < len(clip.sound)]
        return total

    def _fitted(self, sound: Block) -> Block:
        """With as many channels as the mix."""
        channels = self._shape[1]
        if sound.shape[1] == channels:
            return sound
        if channels == 1:
            mono: Block = sound.mean(axis=1, keepdims=True, dtype=np.float32)
            return mono
        return np.repeat(sound, channels, axis=1)
