"""A sender, a network that loses, delays and reorders, and a listener with a clock of its own; all in virtual time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Iterator

import attrs

from wsactors.media.jitter import JitterBuffer
from wsactors.media.steps import Do, JitterOptions, Step, Stretch
from wsactors.wire.audio_frame import AudioFrame, Copy

RATE = 48_000
FRAME = 960
PERIOD = 240
"""Samples that a stretch takes out or puts in."""


def packet(number: int, frame: int = FRAME) -> bytes:
    return {480: b"\xf0", 960: b"\xf8", 1_920: b"\xf9", 2_880: b"\xfb\x03"}[frame] + number.to_bytes(8, "big")


def number_in(payload: bytes) -> int:
    return int.from_bytes(payload[-8:], "big")


def talk(
    count: int,
    *,
    distances: tuple[int, ...] = (),
    frame: int = FRAME,
    sequence: int = 0,
    timestamp: int = 0,
    first: int = 0,
) -> Iterator[tuple[float, AudioFrame]]:
    """Frames with the times at which they are sent, with copies where ``distances`` say so."""
    for number in range(first, first + count):
        copies = tuple(
            Copy(packet(number - far, frame), far) for far in distances if number >= first + far
        )  # fmt: skip
        yield (
            number * frame / RATE,
            AudioFrame(
                1, (sequence + number) % 2**32, timestamp + number * frame, packet(number, frame), 30, 0, copies
            ),
        )  # fmt: skip


def gilbert_elliott(chance: random.Random, loss: float, burst: float) -> Callable[[], bool]:
    """Whether the next one is lost: ``loss`` of all, in bursts of ``burst`` on average."""
    leave = 1 / burst
    enter = leave * loss / (1 - loss)
    bad = False

    def is_lost() -> bool:
        nonlocal bad
        bad = chance.random() >= leave if bad else chance.random() < enter
        return bad

    return is_lost


def arrivals(
    sent: Iterable[tuple[float, AudioFrame]],
    *,
    is_lost: Callable[[], bool] = lambda: False,
    way: Callable[[float], float] = lambda _at: 0.02,
) -> list[tuple[float, AudioFrame]]:
    """What comes, in the order in which it comes."""
    found = [(at + way(at), frame) for at, frame in sent if not is_lost()]
    return sorted(found, key=lambda each: each[0])


@attrs.define
class Played:
    """One step, and when it was taken."""

    at: float
    step: Step
    held: float
    target: float

    @property
    def number(self) -> int | None:
        return number_in(self.step.packet) if self.step.do is Do.DECODE else None


@attrs.define
class Listener:
    """Plays a jitter buffer with a device whose clock is ``ppm`` fast."""

    buffer: JitterBuffer = attrs.Factory(JitterBuffer)
    ppm: float = 0.0
    at: float = 0.0
    played: list[Played] = attrs.Factory(list)

    def run(self, coming: Iterable[tuple[float, AudioFrame]], until: float) -> None:
        waiting = list(coming)
        heapq.heapify(waiting_keys := [(at, index) for index, (at, _) in enumerate(waiting)])
        while self.at < until:
            while waiting_keys and waiting_keys[0][0] <= self.at:
                at, index = heapq.heappop(waiting_keys)
                self.buffer.put(waiting[index][1], at)
            self.step()

    def step(self) -> None:
        step = self.buffer.take(self.at)
        samples = step.samples
        if step.stretch is not Stretch.NONE and samples > 2 * PERIOD - 1:
            change = PERIOD * step.stretch.value
            self.buffer.stretched(change)
            samples += change
        self.played.append(Played(self.at, step, self.buffer.held, self.buffer.target))
        self.at += samples / (RATE * (1 + self.ppm / 1e6))

    def after(self, begin: float) -> list[Played]:
        return [each for each in self.played if each.at >= begin]

    @property
    def concealed(self) -> float:
        """The share of what was played."""
        return self.buffer.statistics.concealed / self.buffer.statistics.played

    def residual(self, sent: int) -> float:
        """The share of what was sent that was not heard."""
        statistics = self.buffer.statistics
        return (statistics.lost - statistics.recovered + statistics.skipped) / sent


def listening(options: JitterOptions = JitterOptions(), *, ppm: float = 0.0) -> Listener:  # noqa: B008 - frozen
    return Listener(JitterBuffer(options), ppm)
