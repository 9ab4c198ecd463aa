"""Sound by which a listener's recording tells when each part of it was made: a long melody that never repeats within it.

A tone of one of `TONES` lasts `STEP` samples, and which one it is is random. Any half second of a recording is found again in
the melody, so it shows how old the sound is that is heard: also of sound that should not be heard any more.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import attrs
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE: Final = 48_000
STEP: Final = RATE // 10
TONES: Final = tuple(400.0 + 200.0 * number for number in range(16))
_WINDOW: Final = 1_920
_HOP: Final = 960
_STRETCH: Final = 30
"""Windows that are looked for together: 0.6 s."""
_LOUD: Final = 0.05
_AT_ONCE: Final = 256
"""Windows: more of them at once are hundreds of megabytes, and threads of the matrix library that wait for each other."""
_ALIKE: Final = 0.7
"""Share of a stretch's windows that must be where they should: those between two tones say little."""


class Melody:
    """Plays it.

    Args:
        seed: Which melody.
        seconds: How long it is.
    """

    def __init__(self, seed: int, seconds: float) -> None:
        chance = random.Random(seed)
        self.tones = np.array([chance.randrange(len(TONES)) for _ in range(int(seconds * RATE) // STEP + 2)])
        self._phase = 0.0

    def block(self, first: int, samples: int) -> NDArray[np.float32]:
        """The samples from ``first`` on, which must follow those asked for before: float32, shape (samples, 1)."""
        frequency = np.array(TONES)[self.tones[(first + np.arange(samples)) // STEP]]
        phase = self._phase + np.cumsum(frequency) * 2 * np.pi / RATE
        self._phase = float(phase[-1] % (2 * np.pi))
        return (0.3 * np.sin(phase)).astype(np.float32)[:, None]


@attrs.frozen
class Stretch:
    """0.6 s of what was heard."""

    at: float
    """When its middle was heard, in seconds since the melody began."""
    age: float | None
    """How old it was then, in seconds; None: silence, or nothing of the melody."""
    loud: float
    """Share of it that is not silent."""


def ages(melody: Melody, sound: NDArray[np.float32], began: float, *, oldest: float = 12.0) -> list[Stretch]:
    """How old what was heard was, every 0.3 s.

    Args:
        melody: What was played.
        sound: What was heard, in one piece, shape (samples,).
        began: When the first sample was heard, in seconds since the melody began.
        oldest: How far back it is looked for.
    """
    windows = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_HOP]
    heard, loud = _tones(windows)
    at = began + (np.arange(len(windows)) * _HOP + _WINDOW / 2) / RATE
    delays = np.arange(0, int(oldest * 50)) / 50
    found = []
    for first in range(0, len(windows) - _STRETCH, _STRETCH // 2):
        part = slice(first, first + _STRETCH)
        share = float(loud[part].mean())
        middle = float(at[part].mean())
        age = _age(melody, at[part], heard[part], loud[part], delays) if share >= 0.5 else None
        found.append(Stretch(middle, age, share))
    return found


def _age(
    melody: Melody,
    at: NDArray[np.float64],
    heard: NDArray[np.int64],
    loud: NDArray[np.bool_],
    delays: NDArray[np.float64],
) -> float | None:
    step = np.floor((at[loud][None, :] - delays[:, None]) * RATE / STEP).astype(int)
    inside = (step >= 0) & (step < len(melody.tones))
    alike = ((melody.tones[np.clip(step, 0, len(melody.tones) - 1)] == heard[loud]) & inside).mean(axis=1)
    best = float(alike.max())
    # The middle of all delays that are as good: windows are coarser than what is looked for.
    return float(delays[alike == best].mean()) if best >= _ALIKE else None


def _tones(windows: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which tone is loudest in each window, and whether it is loud."""
    angles = np.outer(np.arange(_WINDOW), 2 * np.pi * np.array(TONES) / RATE)
    shape = (np.hanning(_WINDOW) * 4 / _WINDOW)[:, None]
    waves = [(wave * shape).astype(np.float32) for wave in (np.cos(angles), np.sin(angles))]
    parts = []
    for first in range(0, len(windows), _AT_ONCE):
        part = np.ascontiguousarray(windows[first : first + _AT_ONCE])
        parts.append(np.hypot(*(part @ wave for wave in waves)))
    level = np.concatenate(parts)
    return level.argmax(axis=1), level.max(axis=1) > _LOUD
