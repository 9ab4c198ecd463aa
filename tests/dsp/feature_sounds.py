"""Sounds that librosa has measured: made from sines and a generator whose stream numpy never changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_TIME = np.arange(8192) / 48_000


def chord() -> Any:
    """A minor, with overtones."""
    sound: Any = sum(
        np.sin(2 * np.pi * pitch * overtone * _TIME) / overtone
        for pitch in (220.0, 261.626, 329.628)
        for overtone in range(1, 9)
    )
    return (0.1 * sound).astype(np.float32)


def noise() -> Any:
    return (0.3 * (np.random.RandomState(5).random_sample(8192) - 0.5)).astype(np.float32)


def quiet() -> Any:
    """A tone of −80 dBFS."""
    return (1e-4 * np.sin(2 * np.pi * 997.0 * _TIME)).astype(np.float32)


def loud() -> Any:
    """A chord that is clipped, with noise."""
    return np.clip(12 * chord() + noise(), -1.0, 1.0)


def drum() -> Any:
    """A bass drum and a hiss."""
    tone = np.sin(2 * np.pi * (50 * _TIME + 2.5 * (1 - np.exp(-40 * _TIME)))) * np.exp(-18 * _TIME)
    return (0.8 * tone + noise() * np.exp(-60 * _TIME)).astype(np.float32)


def swept() -> Any:
    return (0.5 * np.sin(2 * np.pi * (100 * _TIME + 40_000 * _TIME**2))).astype(np.float32)


SOUNDS: dict[str, Callable[[], Any]] = {each.__name__: each for each in (chord, noise, quiet, loud, drum, swept)}
