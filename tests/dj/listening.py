"""Ears for tests: collect packets, decode them, and hold the sound against what the truth says it has to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import numpy as np

from wsactors.dj.engine import Engine
from wsactors.dj.state import BattleState
from wsactors.dj.timeline import PACKET
from wsactors.media.opus import Decoder

SETTLE = 6
"""Packets a new decoder, or a new encoder, needs to be true: 80 ms of pre-roll (RFC 7845 §4.6) and a ramp of 10 ms."""


@attrs.frozen
class Heard:
    """One stretch of sound without a gap."""

    frame: int
    """Timeline frame of the first sample."""
    sound: Any

    @property
    def end(self) -> int:
        return self.frame + len(self.sound)


def decode(packets: Iterable[tuple[int, bytes]]) -> list[Heard]:
    """Decode (frame, packet) pairs; a jump of the timeline starts a new stretch, with a new decoder."""
    stretches: list[Heard] = []
    begin, expected = 0, -1
    blocks: list[Any] = []
    decoder = Decoder()
    for frame, data in packets:
        if frame != expected:
            if blocks:
                stretches.append(Heard(begin, np.concatenate(blocks)))
            decoder.close()
            begin, blocks, decoder = frame, [], Decoder()
        blocks.append(decoder.decode(data))
        expected = frame + PACKET
    decoder.close()
    if blocks:
        stretches.append(Heard(begin, np.concatenate(blocks)))
    return stretches


def settled(heard: Heard) -> Heard:
    """The stretch without its first packets, which a fresh decoder does not get right."""
    return Heard(heard.frame + SETTLE * PACKET, heard.sound[SETTLE * PACKET :])


def expected_sound(songs: Mapping[str, Any], state: BattleState, frame: int, frames: int) -> Any:
    """What the truth says is heard from timeline frame `frame` on."""
    run_up = 2 * PACKET
    engine = Engine(songs, frame - run_up, state)
    engine.skip_to(frame - run_up + engine.delay)
    out = [engine.render(PACKET) for _ in range((frames + run_up) // PACKET + 1)]
    return np.concatenate(out)[run_up : run_up + frames]


def lag_and_likeness(heard: Any, wanted: Any, reach: int = 2_400) -> tuple[int, float]:
    """By how many frames `heard` is late (negative: early), and how alike they are then (1.0 is the same sound).

    For the lag the steps from sample to sample count, not the samples: Opus's high-pass filter moves the lowest bass a
    little ahead, and where there is hardly anything else (the beginning of many a song) that would pass for early.
    """
    a, b = heard[:, 0].astype(np.float64), wanted[:, 0].astype(np.float64)
    best = int(np.argmax(_correlation(np.diff(a), np.diff(b), reach)))
    return best - reach, float(_correlation(a, b, reach)[best] / np.sqrt(np.sum(a**2) * np.sum(b**2)))


def _correlation(a: Any, b: Any, reach: int) -> Any:
    size = 1 << (len(a) + len(b)).bit_length()
    cross = np.fft.irfft(np.fft.rfft(a, size) * np.conj(np.fft.rfft(b, size)), size)
    return np.concatenate((cross[-reach:], cross[: reach + 1]))


def strongest(sound: Any) -> float:
    """The frequency with the most energy, in Hz."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.argmax(spectrum) * 48_000 / len(sound))
