"""The actor that owns a render process: spawns it, tells it the truth, and hands on what it renders, in time.

The host keeps no truth of its own. When the process dies, hangs or breaks its protocol, the host crashes; its supervisor
starts a new one with a new process, it announces itself (`HostUp`), and its owner sends the whole truth again. The
samples are still in their memfds, so nothing is decoded twice, and the timeline says where every deck is by now.

Packets come from the process up to 80 ms early and are handed on when the timeline reaches them: a process that wakes
up late, or this one, is made good before anybody hears it.
"""

from __future__ import annotations

import array
import socket
import time
from collections import deque

import attrs
import trio

from wsactors.actors import Pid, ProcessActor, Request
from wsactors.dj.child import Child, describe_exit, run_child
from wsactors.dj.clock import AHEAD_MS
from wsactors.dj.render_protocol import (
    MAX_DATAGRAM,
    VERSION,
    Drop,
    Load,
    Order,
    Packet,
    Ready,
    RenderProtocolError,
    SetState,
    SetTiers,
    Unload,
    decode_report,
    encode,
)
from wsactors.dj.song import Pcm
from wsactors.dj.state import BattleState
from wsactors.dj.timeline import frame_at, time_of
from wsactors.errors import RenderFault

MODULE = "wsactors.dj.render"
"""What the process runs."""
STALL = 0.25
"""Seconds without a packet after which the process counts as hung."""
STARVED = 2.0
"""The same for a process that would run, but gets less than half of a processor: a new one would get no more."""
START = 5.0
"""Seconds it may take to start, and to render its first packet."""
MAX_QUEUED = 100
"""Packets that may wait for their time: two seconds; more means that its clock is not ours."""
KEPT_SONGS = 8
"""Songs the process keeps mapped; it refuses to hold more than twice as many."""
_SECOND_LOOK = 0.02


@attrs.frozen
class Samples:
    """A song's samples, as part of a truth."""

    song: str
    pcm: Pcm = attrs.field(eq=False)


@attrs.frozen
class Render:
    """Cast to the host: from timeline frame `frame` on, this is the truth about `battle`; sound goes to `to`."""

    battle: str
    frame: int
    state: BattleState
    samples: tuple[Samples, ...]
    """Of every song in `state`; those the process has already are not sent again."""
    to: Pid


@attrs.frozen
class Tiers:
    """Cast to the host: code a battle's sound at these lower bit rates, too, and at no others. Forgotten with the battle."""

    battle: str
    bitrates: tuple[int, ...]


@attrs.frozen
class StopRendering:
    """Cast to the host: the battle is over."""

    battle: str


@attrs.frozen
class HostUp:
    """Cast by the host to its owner when it has started: it knows nothing yet."""

    host: Pid
    process: int
    """The render process's id, for those who watch it."""


@attrs.frozen
class Rendering:
    """Cast by the host to a `Render.to` that it did not know: your sound comes from here."""

    host: Pid
    process: int


@attrs.frozen
class Sound:
    """Cast by the host to whoever renders to it: 20 ms of sound, when its time has come."""

    packet: Packet


@attrs.define
class _Line:
    """What waits for one battle's listeners."""

    to: Pid | None = None
    packets: deque[Packet] = attrs.field(factory=deque)
    songs: frozenset[str] = frozenset()


class RenderHost(ProcessActor):
    """Runs a render process.

    `owner` is the registered name that gets `HostUp`; `bitrate` in bits per second. Casts it understands: `Render`,
    `Tiers`, `StopRendering`. Ends with `RenderFault` when the process dies, hangs or misbehaves.
    """

    def init(self, owner: str = "battle", bitrate: int = 128_000) -> None:
        self._owner = owner
        self._bitrate = bitrate
        self._lines: dict[str, _Line] = {}
        self._loaded: dict[str, Pcm] = {}
        self._ready = trio.Event()
        self._process_id = 0
        self._heard = trio.current_time()
        self._arrived = trio.Event()

    async def run(self) -> None:
        """The host's life: the process's life."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            arguments = [str(theirs.fileno()), str(AHEAD_MS), str(self._bitrate)]
            async with run_child(MODULE, arguments, [theirs.fileno()]) as child:
                theirs.close()
                ours.setblocking(False)
                self._process_id = child.pid
                link = trio.socket.from_stdlib_socket(ours)
                await self._serve(link, child)

    async def _serve(self, link: trio.socket.SocketType, child: Child) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._take_packets, link, child)
                nursery.start_soon(self._end_with, child)
                nursery.start_soon(self._hand_on)
                nursery.start_soon(self._watch_for_stalls, child)
                self.node.cast(self._owner, HostUp(self.pid, child.pid))
                await self._take_orders(link)
        except BaseExceptionGroup as group:
            # One death is often seen by two tasks at once; it is one reason all the same.
            faults, others = group.split(RenderFault)
            if faults is None or others is not None:
                raise
            raise RenderFault(str(_leaf(faults))) from None

    # -- orders --

    async def _take_orders(self, link: trio.socket.SocketType) -> None:
        while True:
            match await self.receive():
                case Render() as order:
                    await self._render(link, order)
                case Tiers(battle, bitrates):
                    if battle in self._lines:
                        await self._order(link, SetTiers(battle, bitrates))
                case StopRendering(battle):
                    if self._lines.pop(battle, None) is not None:
                        await self._order(link, Drop(battle))
                case Request() as request:
                    raise TypeError(f"RenderHost answers no calls, got {request.message!r}")

    async def _render(self, link: trio.socket.SocketType, order: Render) -> None:
        line = self._lines.get(order.battle)
        if line is None:
            line = self._lines[order.battle] = _Line()
            self._heard = trio.current_time() + START
        if line.to != order.to:
            self.node.cast(order.to, Rendering(self.pid, self._process_id))
        line.to, line.songs = order.to, order.state.songs()
        for samples in order.samples:
            if self._loaded.get(samples.song) is not samples.pcm:
                await self._order(link, Load(samples.song, samples.pcm.frames), samples.pcm.descriptor)
                self._loaded[samples.song] = samples.pcm
        await self._order(link, SetState(order.battle, order.frame, order.state))
        await self._forget_songs(link)

    async def _forget_songs(self, link: trio.socket.SocketType) -> None:
        """Unload the songs longest unused, but keep a few: what a new truth drops is heard until its frame comes."""
        needed = frozenset().union(*(line.songs for line in self._lines.values()))
        idle = [song for song in self._loaded if song not in needed]
        for song in idle[: max(0, len(self._loaded) - KEPT_SONGS)]:
            del self._loaded[song]
            await self._order(link, Unload(song))

    async def _order(self, link: trio.socket.SocketType, order: Order, descriptor: int | None = None) -> None:
        extra = []
        if descriptor is not None:
            extra = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        try:
            await link.sendmsg([encode(order)], extra)
        except OSError as error:
            raise RenderFault(f"the render process does not listen any more: {error.strerror}") from None

    # -- sound --

    async def _take_packets(self, link: trio.socket.SocketType, child: Child) -> None:
        while True:
            try:
                data = await link.recv(MAX_DATAGRAM + 1)
            except OSError:
                data = b""
            if not data:
                await trio.sleep(_SECOND_LOOK)  # if it has ended, whoever waits for that can say how
                raise RenderFault(f"the render process hung up: {child.last_words() or 'it said nothing'}")
            try:
                report = decode_report(data)
            except RenderProtocolError as error:
                raise RenderFault(f"the render process broke its protocol: {error}") from None
            match report:
                case Ready(version):
                    self._check_version(version)
                case Packet() as packet:
                    self._queue(packet)

    def _check_version(self, version: int) -> None:
        if version != VERSION or self._ready.is_set():
            raise RenderFault(
                f"the render process speaks protocol {version}, twice or wrongly; this host speaks {VERSION}"
            )
        self._ready.set()

    def _queue(self, packet: Packet) -> None:
        line = self._lines.get(packet.battle)
        if line is None or not self._ready.is_set():
            return  # it was rendered before the process read that the battle is over
        self._heard = trio.current_time()
        line.packets.append(packet)
        if len(line.packets) > MAX_QUEUED:
            raise RenderFault("the render process sends faster than time passes")
        self._arrived.set()

    async def _hand_on(self) -> None:
        """Cast every packet when the timeline has reached it."""
        while True:
            now = frame_at(time.monotonic_ns())
            waiting = [due for line in self._lines.values() if (due := self._hand_on_until(line, now)) is not None]
            self._arrived = trio.Event()
            seconds = (time_of(min(waiting)) - time.monotonic_ns()) / 1e9 if waiting else float("inf")
            with trio.move_on_after(max(0.0, seconds)):
                await self._arrived.wait()

    def _hand_on_until(self, line: _Line, now: int) -> int | None:
        """Hand on what is due; the frame at which the next packet is."""
        while line.packets and line.packets[0].frame <= now:
            packet = line.packets.popleft()
            if line.to is not None:
                self.node.cast(line.to, Sound(packet))
        return line.packets[0].frame if line.packets else None

    # -- health --

    async def _end_with(self, child: Child) -> None:
        status = await child.wait()
        words = child.last_words()
        raise RenderFault(f"the render process ended with {describe_exit(status)}{f': {words}' if words else ''}")

    async def _watch_for_stalls(self, child: Child) -> None:
        with trio.move_on_after(START):
            await self._ready.wait()
        if not self._ready.is_set():
            raise RenderFault(f"the render process did not start within {START:g} seconds")
        while True:
            began, (_, used) = trio.current_time(), child.activity()
            await trio.sleep(min(STALL, max(STALL - self._quiet(), _SECOND_LOOK)))
            if self._quiet() > STALL:
                # It may be this process that was held up, with packets lying in the socket: look again after reading.
                await trio.sleep(_SECOND_LOOK)
                runs, used_now = child.activity()
                is_starved = runs and used_now - used < (trio.current_time() - began) / 2
                if (quiet := self._quiet()) > (STARVED if is_starved else STALL):
                    raise RenderFault(f"the render process sent nothing for {quiet * 1000:.0f} ms")

    def _quiet(self) -> float:
        """Seconds since the process sent a packet; nothing while it has nothing to render."""
        return trio.current_time() - self._heard if self._lines else 0.0

    def __repr__(self) -> str:
        return f"<RenderHost {len(self._lines)} battles, {len(self._loaded)} songs>"


def _leaf(group: BaseExceptionGroup[RenderFault]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
