"""Two loops of synthesised music, so that a fresh machine has something to play: one tempo, one key, one bar line.

Everything is additive or enveloped noise, drawn with the seed that is passed in: the same seed gives the same samples.
Notes wrap around the end of the loop, so it has no seam; both loops have the same length and can be mixed at any
crossfader position. Drums keep the time, a bass and a chord carry the harmony (a minor: Am, F, C, G; two bars each).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from wsactors.dsp.bounds import LOOP_BPM
from wsactors.dsp.gain import db_to_gain

SAMPLE_RATE = 48_000
"""Hz."""
BPM = LOOP_BPM
"""Beats per minute."""
BEAT = 23_040
"""Frames per beat."""
BARS = 8
"""Bars of four beats in a loop: 15.36 s."""
FRAMES = BARS * 4 * BEAT
"""Frames in a loop."""
PEAK = -7.0
"""dBFS of the loudest sample: two loops mixed at equal power stay below full scale."""

Mono: TypeAlias = NDArray[np.float64]
_CHORDS = ((57, 60, 64), (53, 57, 60), (48, 55, 64), (55, 59, 62))  # MIDI notes; each chord lasts two bars
_ROOTS = (33, 29, 36, 31)
_TAU = 2 * math.pi


def demo_loops(seed: int = 1) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Both loops, int16 stereo of shape (`FRAMES`, 2): a four-to-the-floor groove and its broken-beat answer."""
    return _groove(np.random.default_rng(seed)), _answer(np.random.default_rng(seed + 1))


def _groove(rng: np.random.Generator) -> NDArray[np.int16]:
    mix = np.zeros((FRAMES, 2))
    kick, clap, hat = _kick(), _clap(rng), _hat(rng, 90.0)
    for beat in range(BARS * 4):
        _add(mix, beat * BEAT, kick, 0.9)
        _add(mix, beat * BEAT + BEAT // 2, hat, 0.13, pan=0.25)
        if beat % 2:
            _add(mix, beat * BEAT, clap, 0.19, pan=-0.1)
    for bar in range(BARS):
        root, chord = _ROOTS[bar // 2], _CHORDS[bar // 2]
        for eighth in (1, 3, 5, 7):  # the bass answers the kick between the beats
            _add(mix, _at(bar, eighth * 2), _bass(root + (12 if eighth == 7 else 0), BEAT * 2 // 5), 0.34)
        if bar % 2 == 0:
            for index, note in enumerate(chord):
                _add(mix, _at(bar, 0), _pad(note, 8 * BEAT + BEAT), 0.21, pan=0.5 * (index - 1))
    return _finish(_pump(mix))


def _answer(rng: np.random.Generator) -> NDArray[np.int16]:
    mix = np.zeros((FRAMES, 2))
    kick, snare, hat = _kick(), _snare(rng), _hat(rng, 160.0)
    for bar in range(BARS):
        root, chord = _ROOTS[bar // 2], _CHORDS[bar // 2]
        for sixteenth in (0, 6, 10) if bar % 2 else (0, 7, 10):
            _add(mix, _at(bar, sixteenth), kick, 0.85)
        for sixteenth in (4, 12):
            _add(mix, _at(bar, sixteenth), snare, 0.30, pan=0.1)
        for sixteenth in range(16):
            accent = (0.10, 0.035, 0.07, 0.04)[sixteenth % 4]
            _add(mix, _at(bar, sixteenth), hat, accent, pan=-0.3)
        for sixteenth in (0, 3, 6, 11):
            _add(mix, _at(bar, sixteenth), _bass(root, BEAT * 3 // 5), 0.33)
        _arpeggio(mix, bar, chord)
    return _finish(mix)


def _arpeggio(mix: Mono, bar: int, chord: Sequence[int]) -> None:
    steps = (0, 1, 2, 1, 2, 0, 1, 2)
    for step, degree in enumerate(steps):
        note = chord[degree] + (24 if step == 4 else 12)
        _add(mix, _at(bar, step * 2), _pluck(note), 0.30, pan=0.4 if step % 2 else -0.4)
        # A dotted-eighth echo, quieter and on the other side.
        _add(mix, _at(bar, step * 2 + 3), _pluck(note), 0.10, pan=-0.6 if step % 2 else 0.6)


def _at(bar: int, sixteenth: int) -> int:
    return bar * 4 * BEAT + sixteenth * (BEAT // 4)


def _add(mix: Mono, start: int, sound: Mono, gain: float, pan: float = 0.0) -> None:
    """Mix a mono sound in at `start`, wrapping around the end; `pan` is −1 (left) to +1 (right), equal power."""
    angle = (pan + 1) * math.pi / 4
    stereo = sound[:, None] * (gain * math.sqrt(2) * np.array([math.cos(angle), math.sin(angle)]))
    start %= len(mix)
    head = min(len(sound), len(mix) - start)
    mix[start : start + head] += stereo[:head]
    mix[: len(sound) - head] += stereo[head:]


def _time(frames: int) -> Mono:
    return np.arange(frames) / SAMPLE_RATE


def _hz(note: float) -> float:
    return 440.0 * float(2.0 ** ((note - 69) / 12))


def _envelope(frames: int, attack: float, release: float) -> Mono:
    """Rise and fall as half cosines (seconds): no edge, hence no click."""
    shape = np.ones(frames)
    rise, fall = round(attack * SAMPLE_RATE), round(release * SAMPLE_RATE)
    shape[:rise] *= 0.5 - 0.5 * np.cos(np.linspace(0, math.pi, rise, endpoint=False))
    shape[-fall:] *= 0.5 + 0.5 * np.cos(np.linspace(0, math.pi, fall))
    return shape


def _harmonics(note: float, frames: int, level: Callable[[int], float], highest: float, detune: float = 0.0) -> Mono:
    """A sum of sines below `highest` Hz: band-limited by construction, so it needs no filter."""
    base = _hz(note + detune)
    turn = np.exp(1j * _TAU * base * _time(frames))
    harmonic = turn.copy()
    sound = np.zeros(frames)
    for k in range(1, int(highest / base) + 1):
        # sin(k·θ + φ) from powers of exp(iθ): a multiplication where a sine would cost five times as much.
        phase = 0.7 * k * k
        sound += (level(k) * math.cos(phase)) * harmonic.imag + (level(k) * math.sin(phase)) * harmonic.real
        harmonic *= turn
    return sound


def _kick() -> Mono:
    t = _time(14_400)
    body = np.sin(_TAU * np.cumsum(47 + 110 * np.exp(-t * 38)) / SAMPLE_RATE) * np.exp(-t * 11)
    return body * _envelope(len(t), 0.001, 0.05)


def _hat(rng: np.random.Generator, decay: float) -> Mono:
    t = _time(4_800)
    bright: Mono = (
        np.diff(rng.standard_normal(len(t) + 2), n=2) / 2.4
    )  # two differences: 12 dB per octave towards the treble
    return bright * np.exp(-t * decay) * _envelope(len(t), 0.0005, 0.02)


def _clap(rng: np.random.Generator) -> Mono:
    t = _time(9_600)
    noise: Mono = np.diff(rng.standard_normal(len(t) + 1)) * 0.7
    bursts = sum(np.where(t >= delay, np.exp(-(t - delay) * 140), 0.0) for delay in (0.0, 0.011, 0.023))
    return noise * (0.6 * bursts + 0.4 * np.exp(-t * 22)) * _envelope(len(t), 0.0005, 0.05)


def _snare(rng: np.random.Generator) -> Mono:
    t = _time(9_600)
    tone: Mono = np.sin(_TAU * 185 * t) + 0.5 * np.sin(_TAU * 330 * t)
    noise = np.diff(rng.standard_normal(len(t) + 1)) * 0.7
    return (0.6 * tone * np.exp(-t * 30) + noise * np.exp(-t * 20)) * _envelope(len(t), 0.0005, 0.05)


@functools.lru_cache(64)
def _bass(note: float, frames: int) -> Mono:
    return _harmonics(note, frames, lambda k: 0.8 / k**1.5, 900.0) * _envelope(frames, 0.006, 0.05)


def _pad(note: float, frames: int) -> Mono:
    voices = [_harmonics(note, frames, lambda k: 0.7 / k**1.7, 1_600.0, detune) for detune in (-0.05, 0.04)]
    return (voices[0] + voices[1]) * _envelope(frames, 0.25, 0.5)


@functools.lru_cache(64)
def _pluck(note: float) -> Mono:
    frames = BEAT * 3 // 4
    t = _time(frames)
    sound = np.zeros(frames)
    for k in range(1, 8):  # high partials die first, as on a string
        sound += np.sin(_TAU * k * _hz(note) * t + 0.4 * k) / k**1.3 * np.exp(-t * (5 + 3 * k))
    return sound * _envelope(frames, 0.002, 0.05)


def _pump(mix: Mono) -> Mono:
    """Duck everything a little on each beat and let it swell back: the breathing of dance music."""
    within = np.arange(BEAT) / BEAT
    swell = 0.72 + 0.28 * (0.5 - 0.5 * np.cos(np.pi * np.minimum(1.0, within * 1.8)))
    kick = np.minimum(1.0, within * 5)  # let the kick itself through
    gain: Mono = np.tile(np.maximum(swell, 1.0 - kick), BARS * 4)[:, None]
    return np.multiply(mix, gain)


def _finish(mix: Mono) -> NDArray[np.int16]:
    """Round the peaks, set the level, remove any offset, and quantise."""
    mix = mix - mix.mean(axis=0)
    mix = np.tanh(mix / np.abs(mix).max() * 1.6)
    mix *= db_to_gain(PEAK) / np.abs(mix).max()
    return np.round(mix * 32767).astype(np.int16)
