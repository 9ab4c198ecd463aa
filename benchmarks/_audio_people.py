"""People who take part in a session by QUIC, each with a client and a jitter buffer as a program would have them.

    python _audio_people.py PORT CERTIFICATE_SHA256 SESSION

It answers each line on stdin with one line; times are the machine's clock in µs, KEY is the CRC-32 of a frame's payload:

    join NUMBER               ok 0
    speak FRAME_MS SECONDS    ok (KEY BEGIN CAPTURED ENCODED SENT)...      (by the first who joined)
    hear SECONDS              ok (LISTENER KEY TIMESTAMP RECEIVED LEFT)... (by all)
    first RATE SECONDS        ok (CONNECTED JOINED RECEIVED LEFT)...       (by new ones, so many a second; ms since each began)

A frame is captured when its last sample is, FRAME_MS after BEGIN. It has left the jitter buffer when a device that asks for
10 ms at a time, and has no latency of its own, plays its first sample; -1: it never has.
"""

from __future__ import annotations

import os
import random
import sys
import time
import zlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import numpy as np
import trio

from wsactors.client import Client, ClientError, Disconnected, Listening, Rhythm, Stage, connect
from wsactors.client.hearing import BLOCK, MOST_BEHIND, RATE
from wsactors.client.speaking import BITRATE, level_of
from wsactors.media.opus import Application, Encoder
from wsactors.media.playout import Playout
from wsactors.wire.native import AudioFrame

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUIET: Final = Rhythm(latency=None)
"""Nobody measures round trips meanwhile."""
LONGEST: Final = 5.0
"""Seconds after which somebody who has heard nothing gives up."""


class Listener:
    """Plays what comes to a device that exists in name only, and notes when."""

    def __init__(self) -> None:
        self.rows: list[list[float]] = []
        self.playout: Playout | None = None
        self._offset = time.monotonic() - trio.current_time()
        self._track = 0
        self._waiting: list[list[float]] = []

    def feed(self, frame: AudioFrame, now: float) -> None:
        """A frame came."""
        if self.playout is None:
            self.playout, self._track = Playout(1), frame.track
        if frame.track == self._track:
            row = [zlib.crc32(frame.payload), frame.timestamp, now + self._offset, -1.0]
            self.rows.append(row)
            self._waiting.append(row)
            self.playout.put(frame, now)

    def pull(self, at: float) -> bool:
        """The device plays a block from ``at`` on; whether a frame has begun in it."""
        if self.playout is None:
            return False
        self.playout.pull(BLOCK, at)
        now = trio.current_time()
        end = self.playout.buffer.heard - self.playout.waiting
        begun = [row for row in self._waiting if row[1] < end]
        for row in begun:
            inside = (BLOCK - (end - row[1])) / RATE
            # Never before it was there: a device would have to wait for what was made late.
            row[3] = self._offset + max(now, at + min(BLOCK / RATE, max(0.0, inside)))
        if begun:
            self._waiting = [row for row in self._waiting if row[1] >= end]
        return bool(begun)

    async def play(self, until: float) -> None:
        """Blocks at the pace of the clock, out of step with everybody else's."""
        at = trio.current_time() + random.random() * BLOCK / RATE
        while at < until:
            await trio.sleep_until(at)
            at = max(at, trio.current_time() - MOST_BEHIND)
            self.pull(at)
            at += BLOCK / RATE

    def close(self) -> None:
        """Free the decoder."""
        if self.playout is not None:
            self.playout.close()


class People:
    """All of this process."""

    def __init__(self, stack: AsyncExitStack, port: str, digest: str, session: str) -> None:
        self._url = f"quic://127.0.0.1:{port}"
        self._digest = digest
        self._session = session
        self._stack = stack
        self._joined: list[tuple[Client, Listening]] = []
        self._stage: Stage | None = None
        self._silent_since = 0.0

    async def answer(self, words: list[str]) -> str:
        """What is said to one command."""
        match words:
            case ["join", number]:
                for _ in range(int(number)):
                    await self._join()
                return "0"
            case ["speak", frame_ms, seconds]:
                return _told(await self._speak(float(frame_ms), float(seconds)))
            case ["hear", seconds]:
                return _told(await self._hear(float(seconds)))
            case ["first", rate, seconds]:
                return _told(await self._first(float(rate), float(seconds)))
        raise ValueError(f"no such command: {words}")

    async def _join(self) -> None:
        client = await self._stack.enter_async_context(
            connect(self._url, certificate_sha256=self._digest, rhythm=QUIET)
        )
        self._joined.append((client, await client.join(self._session)))

    # -- speaking --

    async def _speak(self, frame_ms: float, seconds: float) -> list[list[float]]:
        """Speak for so long."""
        stage = self._stage = self._stage or Stage(*self._joined[0])
        await stage.wait(lambda: stage.on_stage)
        size = round(frame_ms * RATE / 1e3)
        voice = _voice(seconds)
        rows: list[list[float]] = []
        with Encoder(1, application=Application.VOIP, bitrate=BITRATE, fec=True) as encoder:
            offset = time.monotonic() - trio.current_time()
            begun = trio.current_time()
            if self._silent_since:
                stage.pause(round((begun - self._silent_since) * RATE))
            self._silent_since = begun + seconds
            for number in range(round(seconds * 1e3 / frame_ms)):
                begin = begun + number * size / RATE
                await trio.sleep_until(begin + size / RATE)
                captured = time.monotonic()
                sound = voice[number * size : (number + 1) * size]
                packet = encoder.encode(sound)
                encoded = time.monotonic()
                stage.speak(packet, samples=size, level=level_of(sound), voice=True)
                rows.append([zlib.crc32(packet), begin + offset, captured, encoded, time.monotonic()])
        return [[row[0], *(at * 1e6 for at in row[1:])] for row in rows]

    # -- hearing --

    async def _hear(self, seconds: float) -> list[list[float]]:
        listeners = [Listener() for _ in self._joined]
        until = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            for (_, listening), listener in zip(self._joined, listeners, strict=True):
                listening.on_frame = listener.feed
                nursery.start_soon(listener.play, until)
        for (_, listening), listener in zip(self._joined, listeners, strict=True):
            listening.on_frame = None
            listener.close()
        return [
            [number, key, timestamp, received * 1e6, left if left < 0 else left * 1e6]
            for number, listener in enumerate(listeners)
            for key, timestamp, received, left in listener.rows
        ]

    async def _first(self, rate: float, seconds: float) -> list[list[float]]:
        rows: list[list[float]] = []
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number in range(round(rate * seconds)):
                await trio.sleep_until(begun + number / rate)
                nursery.start_soon(self._come, rows)
        return rows

    async def _come(self, rows: list[list[float]]) -> None:
        """Come, and stay until something is heard."""
        begun, listener = time.monotonic(), Listener()
        row = [-1.0] * 4
        rows.append(row)
        try:
            with trio.move_on_after(LONGEST):
                async with connect(self._url, certificate_sha256=self._digest, rhythm=QUIET) as client:
                    row[0] = time.monotonic() - begun
                    listening = await client.join(self._session)
                    row[1] = time.monotonic() - begun
                    at = trio.current_time()
                    listening.hand_to(listener.feed, at)
                    while not listener.pull(at):
                        at += BLOCK / RATE
                        await trio.sleep_until(at)
                    row[2:] = [at - begun for at in min(each[2:] for each in listener.rows if each[3] > 0)]
        except (ClientError, Disconnected) as error:
            print(error, file=sys.stderr)
        finally:
            listener.close()
            row[:] = [value if value < 0 else value * 1e3 for value in row]


def _voice(seconds: float) -> NDArray[np.float32]:
    """What sounds as a voice does to a codec: a pitch that wanders, its overtones, and breath, so that no packet comes twice."""
    at = np.arange(round(seconds * RATE) + RATE) / RATE
    phase = 2 * np.pi * (140 * at - 4 * np.cos(3 * at))
    tone = sum(np.sin(phase * overtone) / overtone for overtone in range(1, 9))
    breath = np.random.default_rng(1).standard_normal(len(at)) * 0.01
    return np.ascontiguousarray(0.1 * tone + breath, np.float32).reshape(-1, 1)


def _told(rows: list[list[float]]) -> str:
    return " ".join(f"{value:.3f}" if value % 1 else f"{value:.0f}" for row in rows for value in row)


async def main(*arguments: str) -> None:
    """Serve until stdin ends."""
    async with AsyncExitStack() as stack:
        people = People(stack, *arguments)
        print("ok 0", flush=True)
        buffer = b""
        while True:
            await trio.lowlevel.wait_readable(0)
            data = os.read(0, 4096)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                print("ok", await people.answer(line.decode().split()), flush=True)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
