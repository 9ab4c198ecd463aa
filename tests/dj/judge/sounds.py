"""Sound whose beats are where they are, to a part of a frame."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

RATE = 48_000
SECONDS = 12.0


@functools.cache
def metronome(bpm: float, begin: float) -> Any:
    """Clicks, the first at second `begin`."""
    sound = np.zeros(int((SECONDS + 1) * RATE))
    for number in range(int((SECONDS - begin) * bpm / 60)):
        place = (begin + number * 60 / bpm) * RATE
        first = int(np.ceil(place))
        time = (np.arange(960) + first - place) / RATE
        sound[first : first + 960] += np.sin(2 * np.pi * (1000 if number % 4 else 1500) * time) * np.exp(-150 * time)
    return _stereo(sound)


@functools.cache
def band(bpm: float, begin: float, hat: float, seed: int) -> Any:
    """Kick, snare, hats off the beat (`hat` is how loud) and elsewhere, chords and noise: another sound for every seed."""
    draw = np.random.RandomState(seed)
    beat = 60 / bpm * RATE
    sound = np.zeros(int((SECONDS + 4) * RATE))

    def add(place: float, what: Any) -> None:
        first = round(place)
        sound[first : first + len(what)] += what

    time = np.arange(9600) / RATE
    low, drop = 45 + 15 * draw.random_sample(), 80 + 60 * draw.random_sample()
    kick = np.sin(2 * np.pi * np.cumsum(low + drop * np.exp(-40 * time)) / RATE) * np.exp(-18 * time)
    for number in range(int((SECONDS - begin) * RATE / beat)):
        place = begin * RATE + number * beat
        add(place, 0.8 * kick)
        if number % 2:
            add(place, (draw.random_sample(9600) - 0.5) * np.exp(-25 * time))
        add(place + beat / 2, hat * np.diff(draw.random_sample(9601)) * np.exp(-90 * time))
        if draw.random_sample() < 0.4:
            add(
                place + beat / 4 * draw.randint(1, 4),
                0.6 * hat * np.diff(draw.random_sample(9601)) * np.exp(-120 * time),
            )
        if number % 4 == 0:
            long = np.arange(int(4 * beat)) / RATE
            root = 220 * 2 ** ((0, 8, 3, 10)[number // 4 % 4] / 12)
            chord: Any = sum(np.sin(2 * np.pi * root * 2 ** (step / 12) * long) for step in (0, 4, 7))
            add(place, 0.08 * chord * np.exp(-0.8 * long))
    return _stereo(sound + 0.02 * draw.standard_normal(len(sound)))


def _stereo(sound: Any) -> Any:
    return np.repeat(np.round(sound / np.abs(sound).max() * 29_000).astype(np.int16)[:, None], 2, axis=1)
