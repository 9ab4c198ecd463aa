"""Music with known beats and known harmony, made when a test needs it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

RATE = 48_000
MAJOR = {
    "I V vi IV": ((0, False), (7, False), (9, True), (5, False)),
    "I IV V I": ((0, False), (5, False), (7, False), (0, False)),
    "ii V I": ((2, True), (7, False), (0, False), (0, False)),
    "I vi IV V": ((0, False), (9, True), (5, False), (7, False)),
}
MINOR = {
    "i VI III VII": ((0, True), (8, False), (3, False), (10, False)),
    "i iv v i": ((0, True), (5, True), (7, True), (0, True)),
    "i iv V i": ((0, True), (5, True), (7, False), (0, True)),
    "i VII VI VII": ((0, True), (10, False), (8, False), (10, False)),
}
"""Progressions by name: semitones from the tonic to the root, and whether the chord is minor."""


def stereo(sound: Any, peak: float = 0.9) -> Any:
    """Int16 with two equal channels."""
    loudest = max(float(np.abs(sound).max()), 1e-9)
    return np.repeat(np.round(sound / loudest * peak * 32_767).astype(np.int16)[:, None], 2, axis=1)


def clicks(bpm: float, *, begin: float = 0.217, seconds: float = 30.0) -> Any:
    """A metronome, its ones higher, the first at second ``begin``."""
    t = np.arange(960) / RATE
    high, low = (np.sin(2 * np.pi * hertz * t) * np.exp(-150 * t) for hertz in (1_500, 1_000))
    out = _Tape(seconds)
    for number, second in enumerate(beats(bpm, begin, seconds)):
        out.add(second, high if number % 4 == 0 else low, 0.8)
    return stereo(out.sound)


def drums(bpm: float, *, hat: float, begin: float = 0.217, seconds: float = 30.0, chords: bool = True) -> Any:
    """Kick on every beat, snare on two and four, hats between (``hat`` is how loud), a chord on every bar."""
    rng = np.random.default_rng(7)
    t = np.arange(9_600) / RATE
    kick = np.sin(2 * np.pi * np.cumsum(50 + 100 * np.exp(-40 * t)) / RATE) * np.exp(-18 * t)
    snare = (0.5 * np.sin(2 * np.pi * 190 * t) + 0.5 * rng.standard_normal(len(t))) * np.exp(-25 * t)
    out = _Tape(seconds)
    for number, second in enumerate(beats(bpm, begin, seconds)):
        out.add(second, kick, 0.8)
        out.add(second, snare, 0.4 * (number % 2))
        noise = np.diff(rng.standard_normal(len(t) + 1)) * np.exp(-90 * t)
        out.add(second + 30 / bpm, noise, hat)
        if chords and number % 4 == 0:
            out.add(second, chord((57, 53, 60, 55)[number // 4 % 4], 240 / bpm), 0.08)
    return stereo(out.sound)


def progression(chords: Sequence[tuple[int, bool]], *, cents: float = 0.0, drums_too: bool = False) -> Any:
    """Chords (root as a MIDI note, minor?) of two seconds each, with a bass, played twice."""
    out = _Tape(4.0 * len(chords))
    for index, (root, minor) in enumerate([*chords, *chords]):
        out.add(2.0 * index, chord(root, 2.0, minor=minor, cents=cents) + 1.5 * note(root - 24, 2.0, cents), 1.0)
    sound = out.sound
    if drums_too:
        beat = drums(120.0, hat=0.2, begin=0.0, seconds=len(sound) / RATE, chords=False)[:, 0] / 32_767
        sound = sound / np.abs(sound).max() + beat
    return stereo(sound)


def in_key(tonic: int, steps: Sequence[tuple[int, bool]], *, cents: float = 0.0, drums_too: bool = False) -> Any:
    """One of the progressions above in a key, 0 being C."""
    chords = [(60 + (tonic + step) % 12, minor) for step, minor in steps]
    return progression(chords, cents=cents, drums_too=drums_too)


def chord(root: int, seconds: float, *, minor: bool = True, cents: float = 0.0) -> Any:
    return sum(note(root + step, seconds, cents) for step in (0, 3 if minor else 4, 7))


@functools.lru_cache(256)
def note(number: int, seconds: float, cents: float = 0.0) -> Any:
    t = np.arange(int(seconds * RATE)) / RATE
    hertz = 440 * 2 ** ((number - 69 + cents / 100) / 12)
    tone = sum(np.sin(2 * np.pi * hertz * k * t + k) / k**1.4 for k in range(1, 6))
    return tone * np.exp(-0.6 * t) * np.minimum(1.0, 100 * t)


def beats(bpm: float, begin: float, seconds: float) -> Any:
    return np.arange(begin, seconds, 60 / bpm)


class _Tape:
    def __init__(self, seconds: float) -> None:
        self.sound = np.zeros(int(seconds * RATE))

    def add(self, second: float, sound: Any, gain: float) -> None:
        start = round(second * RATE)
        room = max(0, len(self.sound) - start)
        self.sound[start : start + len(sound)] += gain * sound[:room]
