"""A battle of tones that a test makes up at run time, and what to look for in what a browser plays of it.

Each deck plays its own random tone sequence, another one left than right, over and over; a crossfader decides which deck is
heard. Below them lies one steady pilot tone per channel, by whose phase a lost or doubled sample shows.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 48_000
STEP = RATE * 4 // 10
"""Samples of one tone of a sequence."""
STEPS = 6
# Pilots: 128 samples, 10, 20 or 40 ms are all a third of a period away from a whole number of periods, so that the loss of
# any block shows as a jump of the phase.
BANDS = {("a", 0): (500, 900), ("a", 1): (1_030, 1_430), ("b", 0): (1_610, 2_010), ("b", 1): (2_300, 2_700)}
PILOTS = (233.6, 166.3)
_WINDOW = 2_400
_HOP = 480


@attrs.frozen
class ToneBattle:
    """The sequences: for each deck and channel the frequencies in Hz, in order."""

    sequences: dict[tuple[str, int], tuple[float, ...]]

    @classmethod
    def make(cls, seed: int) -> ToneBattle:
        chance = random.Random(seed)
        found = {}
        for place, (low, high) in BANDS.items():
            steps = [low + 40 * number for number in range((high - low) // 40 + 1)]
            found[place] = tuple(float(each) for each in chance.sample(steps, STEPS))
        return cls(found)


def deck_song(battle: ToneBattle, deck: str, seconds: int) -> NDArray[np.int16]:
    """What one deck plays, as a song: its tones and the pilots, shape (samples, 2). Both decks' pilots are the same."""
    source = ToneSource(battle)
    source.fade(0.0 if deck == "a" else 1.0, 1 / RATE)
    source.block(0, 2)
    sound = source.block(0, seconds * RATE)
    return np.round(sound * 32_767).astype(np.int16)


class ToneSource:
    """Plays a `ToneBattle`, one block after the other; ``fade`` moves the crossfader while it plays."""

    def __init__(self, battle: ToneBattle, *, pilot: float = 0.08, level: float = 0.2) -> None:
        self._battle = battle
        self._pilot = pilot
        self._level = level
        self._phases = dict.fromkeys(battle.sequences, 0.0)
        self._position = 0.0
        self._goal = 0.0
        self._per_sample = 0.0

    def fade(self, goal: float, seconds: float) -> None:
        """Move the crossfader to ``goal`` (0 is deck a, 1 is deck b)."""
        self._goal = goal
        self._per_sample = abs(goal - self._position) / (seconds * RATE)

    def block(self, first: int, size: int = 960) -> NDArray[np.float64]:
        """The next ``size`` samples, which begin at sample ``first``."""
        at = first + np.arange(size)
        away = self._goal - self._position
        moved = np.minimum(np.arange(1, size + 1) * self._per_sample, abs(away)) * np.sign(away)
        position = self._position + moved
        self._position = float(position[-1])
        gains = {"a": np.cos(position * np.pi / 2), "b": np.sin(position * np.pi / 2)}
        sound = np.stack([self._pilot * np.sin(2 * np.pi * pilot * at / RATE) for pilot in PILOTS], axis=1)
        for (deck, channel), sequence in self._battle.sequences.items():
            frequencies = np.array(sequence)[at // STEP % STEPS]
            phase = self._phases[deck, channel] + np.cumsum(frequencies) * 2 * np.pi / RATE
            self._phases[deck, channel] = float(phase[-1] % (2 * np.pi))
            sound[:, channel] += self._level * gains[deck] * np.sin(phase)
        return sound


@attrs.frozen
class Heard:
    """What one band of one channel holds, every 10 ms."""

    frequency: NDArray[np.float64]
    level: NDArray[np.float64]
    """Amplitude of the strongest tone."""


def listen(sound: NDArray[np.float64], deck: str, channel: int) -> Heard:
    """Find the strongest tone of a band in 50 ms windows, 10 ms apart."""
    low, high = BANDS[deck, channel]
    windows = np.lib.stride_tricks.sliding_window_view(sound[:, channel], _WINDOW)[::_HOP]
    size = 16 * 1024
    spectrum = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW), size, axis=1)) * 4 / _WINDOW
    bins = np.fft.rfftfreq(size, 1 / RATE)
    inside = (bins >= low - 60) & (bins <= high + 60)
    best = spectrum[:, inside].argmax(axis=1)
    return Heard(bins[inside][best], spectrum[:, inside].max(axis=1))


def order_of(heard: Heard, sequence: Sequence[float], *, level: float = 0.05) -> list[int]:
    """The tones of ``sequence`` that were heard, by index, in the order heard; -1 for a clear tone that is none of them."""
    found: list[int] = []
    nearest = np.abs(heard.frequency[:, None] - np.array(sequence)[None, :])
    index = np.where(nearest.min(axis=1) < 15, nearest.argmin(axis=1), -1)
    index[heard.level < level] = -2
    start = 0
    for at in range(1, len(index) + 1):
        if at == len(index) or index[at] != index[start]:
            # Windows that hold two tones say little; a tone lasts 40 windows.
            if at - start >= 20 and index[start] != -2:
                found.append(int(index[start]))
            start = at
    return [each for number, each in enumerate(found) if number == 0 or each != found[number - 1]]


def is_cyclic(order: Sequence[int], size: int = STEPS) -> bool:
    """Whether ``order`` is a stretch of 0, 1, … size-1, 0, 1, … of at least one whole round."""
    return len(order) >= size and all((b - a) % size == 1 for a, b in itertools.pairwise(order)) and -1 not in order


def phase_jumps(sound: NDArray[np.float64], channel: int) -> NDArray[np.float64]:
    """The places, in seconds, where the phase of the channel's pilot leaves its line by more than a quarter of a turn.

    The phase is taken over 100 ms windows and compared across 200 ms with the pace of the surrounding second, so a clock that
    is steadily a little fast or slow is no jump.
    """
    at = np.arange(len(sound))
    base = sound[:, channel] * np.exp(-2j * np.pi * PILOTS[channel] * at / RATE)
    window = np.hanning(RATE // 10)
    size = 1 << (len(base) + len(window)).bit_length()
    smooth = np.fft.ifft(np.fft.fft(base, size) * np.fft.fft(window / window.sum(), size))[len(window) - 1 : len(base)]
    phase = np.unwrap(np.angle(smooth[:: RATE // 100]))
    step = phase[20:] - phase[:-20]
    pace = np.array([np.median(step[max(0, i - 50) : i + 50]) for i in range(len(step))])
    off = np.flatnonzero(np.abs(step - pace) > np.pi / 2)
    # One jump is seen by every comparison that spans it.
    return off[np.diff(off, prepend=-20) > 10] / 100


if __name__ == "__main__":
    # Samples on stdin (stereo, 32-bit floats), the jumps of each channel on stdout, as JSON.
    recorded = np.frombuffer(sys.stdin.buffer.read(), "<f4").astype(np.float64).reshape(-1, 2)
    print(json.dumps([phase_jumps(recorded, channel).tolist() for channel in (0, 1)]))
