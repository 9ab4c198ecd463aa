"""Native clients that hear one melody side by side, each behind its own bad way, and what came of it."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import numpy as np
import trio

from tests.client.lossy_link import LossyLink, Way, open_link
from tests.client.melody import RATE, Melody, Stretch, ages
from tests.gateway.harness import TestSession
from tests.gateway.quic_harness import QuicGateway
from wsactors.client import Client, Rhythm, connect
from wsactors.client.hearing import Hearing, Quality, hear
from wsactors.media.opus import Encoder
from wsactors.media.steps import JitterStatistics
from wsactors.wire.native import AudioFrame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wsactors.gateway.datagram_sink import DatagramSink

FRAME: Final = 960
LOUD: Final = 0.05
SETTLED: Final = 5.0
"""Seconds after which a listener has reported, and gets copies if it needs any."""
MOST_MELODY: Final = 3_600.0

Trouble = Callable[[LossyLink], Awaitable[None]]


async def no_trouble(_link: LossyLink) -> None:
    """The way stays as it is."""
    await trio.lowlevel.checkpoint()


@attrs.frozen
class Case:
    """One listener."""

    name: str
    way: Way = Way()
    trouble: Trouble = no_trouble
    """What happens to its way once it has settled."""


class Ear(Hearing):
    """Plays, and keeps what is heard and how much ever waited."""

    def __init__(self) -> None:
        super().__init__(channels=1)
        self.blocks: list[NDArray[np.float32]] = []
        self.began: float | None = None
        self.copied_at: float | None = None
        """When the first frame with a copy came."""
        self.most_waiting = 0

    def feed(self, frame: AudioFrame, now: float) -> None:
        super().feed(frame, now)
        if frame.copies and self.copied_at is None:
            self.copied_at = now
        self.most_waiting = max(self.most_waiting, *(len(each.playout.buffer) for each in self._tracks.values()))

    def pull(self, samples: int, now: float) -> Any:
        if self.began is None:
            self.began = now
        sound = super().pull(samples, now)
        self.blocks.append(sound[:, 0].copy())
        return sound

    def statistics(self) -> JitterStatistics:
        """Of the one track, now."""
        [quality] = self.quality.values()
        return quality.statistics


@attrs.define(slots=False)
class Outcome:
    """What one listener has heard. Times are seconds since the melody began."""

    name: str
    link: LossyLink
    quality: Quality
    settled: JitterStatistics
    """At the time from which on is judged."""
    settled_at: float
    melody: Melody
    sound: NDArray[np.float32]
    """All of it, in one piece."""
    began: float
    """When it begins."""
    loud_at: NDArray[np.float64]
    """When blocks of 10 ms were heard that are not silent."""
    copied_at: float | None
    most_waiting: int
    connections: int
    distances: tuple[int, ...]
    """Of the copies at the end."""
    dropped: int
    """Frames that the node has not sent."""
    most_in_flight: int
    """Bytes that the node had sent without an acknowledgement."""

    @functools.cached_property
    def stretches(self) -> list[Stretch]:
        """How old what was heard was. Worked out when asked for: nobody may be kept from listening by it."""
        return ages(self.melody, self.sound, self.began)

    def _since(self, name: str) -> int:
        return int(getattr(self.quality.statistics, name)) - int(getattr(self.settled, name))

    @property
    def frames(self) -> int:
        return self._since("received") + self._since("lost")

    @property
    def lost(self) -> float:
        """Share of the frames that did not come themselves, or not in time."""
        return self._since("lost") / self.frames

    @property
    def residual(self) -> float:
        """Share of the frames that were not heard, neither themselves nor from a copy."""
        return (self._since("lost") - self._since("recovered") + self._since("skipped")) / self.frames

    @property
    def concealed(self) -> float:
        """Share of the samples that were guessed."""
        return self._since("concealed") / self._since("played")

    @property
    def longest(self) -> float:
        """Seconds guessed in a row."""
        return self.quality.statistics.longest_concealed / RATE

    def between(self, begin: float, end: float) -> list[Stretch]:
        return [each for each in self.stretches if begin <= each.at < end]

    def first_sound(self, after: float) -> float:
        """Seconds from ``after`` to the first sound that is heard then."""
        return float(self.loud_at[self.loud_at >= after].min() - after)

    def row(self) -> str:
        """For people."""
        heard = [each.age for each in self.between(self.settled_at, 1e9) if each.age is not None]
        return (
            f"{self.name:10} frames {self.frames:6} lost {self.lost:7.2%} residual {self.residual:7.3%} "
            f"concealed {self.concealed:7.3%} longest {self.longest * 1e3:4.0f} ms buffer {self.quality.buffer * 1e3:4.0f} ms "
            f"jitter {self.quality.jitter * 1e3:5.1f} ms age {np.mean(heard):.3f}/{max(heard):.3f} s copies {self.distances} "
            f"at {self.copied_at and round(self.copied_at, 2)} dropped {self.dropped} in flight {self.most_in_flight} "
            f"waiting {self.most_waiting} largest {self.link.largest} too large {self.link.too_large}"
        )


class Stage:
    """The melody, in a session for each listener."""

    def __init__(self, gateway: QuicGateway, *, seed: int = 1, bitrate: int = 128_000) -> None:
        self.gateway = gateway
        self.melody = Melody(seed, MOST_MELODY)
        self.began = trio.current_time()
        self._bitrate = bitrate

    async def play(self) -> None:
        """Play until cancelled. A frame is sent when its last sample has been made."""
        encoder = Encoder(1, bitrate=self._bitrate, complexity=3)
        position = 0
        while True:
            packet = encoder.encode(self.melody.block(position, FRAME))
            position += FRAME
            await trio.sleep_until(self.began + position / RATE)
            for session in self.gateway.directory.by_name.values():
                session.offer_frame(packet)

    async def listen_all(self, cases: Sequence[tuple[Case, float]]) -> dict[str, Outcome]:
        """Let all of these listen side by side, each for so many seconds."""
        found: dict[str, Outcome] = {}

        async def one(case: Case, seconds: float, seed: int) -> None:
            found[case.name] = await self.listen(case, seconds, seed)

        async with trio.open_nursery() as playing:
            playing.start_soon(self.play)
            async with trio.open_nursery() as listening:
                for seed, (case, seconds) in enumerate(cases):
                    listening.start_soon(one, case, seconds, seed)
            playing.cancel_scope.cancel()
        for each in found.values():
            print(each.row())
        return found

    async def listen(self, case: Case, seconds: float, seed: int) -> Outcome:
        """One listener, from its connecting to its going."""
        session = self.gateway.directory.add(TestSession(case.name))
        target = ("127.0.0.1", self.gateway.port)
        ear = Ear()
        async with (
            open_link(target, case.way, seed=seed) as link,
            connect(
                f"quic://127.0.0.1:{link.port}",
                certificate_sha256=self.gateway.offer.hashes()[0],
                rhythm=Rhythm(latency=None),
                timeout=60,
            ) as client,
        ):
            listening = await client.join(case.name)
            [member] = session.members
            sink: DatagramSink = member.sink  # type: ignore[assignment]
            found: list[Any] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._settle, ear, case, link, found)
                watch = _Watch(sink)
                nursery.start_soon(watch.run)
                qualities = await hear(client, listening, lambda _: None, hearing=ear, seconds=seconds)
                nursery.cancel_scope.cancel()
            return self._outcome(case, link, ear, client, sink, watch, found, qualities)

    async def _settle(self, ear: Ear, case: Case, link: LossyLink, found: list[Any]) -> None:
        await trio.sleep(SETTLED)
        found += [ear.statistics(), trio.current_time() - self.began]
        await case.trouble(link)

    def _outcome(
        self,
        case: Case,
        link: LossyLink,
        ear: Ear,
        client: Client,
        sink: DatagramSink,
        watch: _Watch,
        found: list[Any],
        qualities: Mapping[int, Quality],
    ) -> Outcome:
        [quality] = qualities.values()
        assert ear.began is not None
        began = ear.began - self.began
        loud = np.array([np.abs(block).max() > LOUD for block in ear.blocks])
        return Outcome(
            name=case.name,
            link=link,
            quality=quality,
            settled=found[0],
            settled_at=found[1],
            melody=self.melody,
            sound=np.concatenate(ear.blocks),
            began=began,
            loud_at=began + np.flatnonzero(loud) / 100,
            copied_at=None if ear.copied_at is None else ear.copied_at - self.began,
            most_waiting=ear.most_waiting,
            connections=client.connections,
            distances=() if sink.copies is None else sink.copies.distances,
            dropped=sink.dropped,
            most_in_flight=watch.most,
        )


class _Watch:
    """What the node keeps for a listener that acknowledges nothing."""

    def __init__(self, sink: DatagramSink) -> None:
        self._sink = sink
        self.most = 0

    async def run(self) -> None:
        while True:
            self.most = max(self.most, self._sink._connection.transport.statistics().bytes_in_flight)
            await trio.sleep(0.25)
