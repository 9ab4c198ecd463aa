"""The render process: ``python -m wsactors.dj.render PARENT SOCKET AHEAD BITRATE``.

It keeps nothing that matters: songs come by descriptor, the truth by message, the time from the machine's clock. Kill
it and start another, and the sound goes on where the timeline is. It runs AHEAD milliseconds ahead of the timeline,
so that a late wake-up is made good before anybody hears it; when it falls far behind the timeline itself (it was
stopped, the machine slept) it skips to now rather than play late. It ends when the socket closes, and with its parent.
"""

from __future__ import annotations

import array
import mmap
import os
import select
import socket
import sys
import time

import numpy as np
from numpy.typing import NDArray

from wsactors.dj.confine import Limits, die_with_parent, limit
from wsactors.dj.engine import Engine
from wsactors.dj.render_protocol import (
    MAX_DATAGRAM,
    VERSION,
    Drop,
    Load,
    Packet,
    Ready,
    RenderProtocolError,
    SetState,
    SetTiers,
    Unload,
    decode_order,
    encode,
)
from wsactors.dj.song import BYTES_PER_FRAME
from wsactors.dj.timeline import PACKET, SAMPLE_RATE, frame_at, packet_from, time_of
from wsactors.dsp.meter import measure
from wsactors.media.opus import Encoder

MAX_BATTLES = 12
"""Battles one process carries: what a core renders with room to spare."""
MAX_LATE = SAMPLE_RATE // 4
"""Frames it may be behind the timeline and still render everything, which takes a twentieth of the time; beyond, it skips."""
MAX_SONGS = 16
"""Songs it keeps mapped."""
_COMPLEXITY = 9
_LOWER_COMPLEXITY = 5
_WARM = 3
"""Packets after which a new encoder sounds like one that has always been there; these are not sent."""
_ORDERS_PER_TURN = 64


class _Lower:
    """One of the lower bit rates."""

    def __init__(self, bitrate: int) -> None:
        self._encoder = Encoder(channels=2, bitrate=bitrate, complexity=_LOWER_COMPLEXITY)
        self._cold = _WARM
        self.close = self._encoder.close

    def encode(self, block: NDArray[np.float32]) -> bytes:
        """The packet; empty while the encoder is new."""
        data = self._encoder.encode(block)
        if self._cold:
            self._cold -= 1
            return b""
        return data


class _Battle:
    """One battle being rendered: its engine and its encoder.

    The engine runs early by what the limiter and the encoder hold back, so that the sound a listener decodes from the
    packet of timeline frame F *is* frame F: to the sample, as if nothing were in between.
    """

    def __init__(self, songs: dict[str, NDArray[np.int16]], frame: int, order: SetState, bitrate: int) -> None:
        self.encoder = Encoder(channels=2, bitrate=bitrate, complexity=_COMPLEXITY)
        self._lower: dict[int, _Lower] = {}
        self.engine = Engine(songs, frame, order.state)
        self._early = self.engine.delay + self.encoder.lookahead
        self.skip_to(frame)

    @property
    def frame(self) -> int:
        """The timeline frame at which the next packet starts."""
        return self.engine.frame - self._early

    def skip_to(self, frame: int) -> None:
        self.engine.skip_to(frame + self._early)

    def packet(self, battle: str) -> Packet:
        frame = self.frame
        block = self.engine.render(PACKET)
        level = measure(block)
        coded = ((rate, tier.encode(block)) for rate, tier in self._lower.items())
        lower = tuple((rate, data) for rate, data in coded if data)
        return Packet(battle, frame, level.rms, level.peak, self.encoder.encode(block), lower)

    def set_tiers(self, bitrates: tuple[int, ...]) -> None:
        """Code at these rates, too, and at no others."""
        for rate in self._lower.keys() - set(bitrates):
            self._lower.pop(rate).close()
        for rate in bitrates:
            if rate not in self._lower:
                self._lower[rate] = _Lower(rate)

    def close(self) -> None:
        """Free the encoders."""
        self.set_tiers(())
        self.encoder.close()


class Renderer:
    """The process's state and its one loop."""

    def __init__(self, link: socket.socket, ahead: int, bitrate: int) -> None:
        self._link = link
        self._ahead = ahead
        self._bitrate = bitrate
        self._songs: dict[str, NDArray[np.int16]] = {}
        self._battles: dict[str, _Battle] = {}

    def run(self) -> None:
        """Serve until the host hangs up."""
        self._link.setblocking(False)
        with Encoder(channels=2, bitrate=self._bitrate) as encoder:
            self._send(encode(Ready(VERSION, self._ahead, encoder.lookahead)))
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        while True:
            if poll.poll(self._milliseconds_to_wait()) and not self._take_orders():
                return
            self._render_due()

    def _milliseconds_to_wait(self) -> int | None:
        if not self._battles:
            return None
        due = min(battle.frame for battle in self._battles.values()) - self._ahead
        return max(0, -(-(time_of(due) - time.monotonic_ns()) // 1_000_000))

    # -- orders --

    def _take_orders(self) -> bool:
        """Carry out what has arrived, a bounded number at a time; False when the host has hung up."""
        for _ in range(_ORDERS_PER_TURN):
            try:
                data, descriptors = _receive(self._link)
            except BlockingIOError:
                return True
            if not data:
                return False
            try:
                self._carry_out(data, descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
        return True

    def _carry_out(self, data: bytes, descriptors: list[int]) -> None:
        match decode_order(data):
            case Load(song, frames):
                if len(descriptors) != 1 or len(self._songs) >= MAX_SONGS:
                    raise RenderProtocolError(f"a load carries one descriptor, and at most {MAX_SONGS} songs are kept")
                self._songs[song] = _map_song(descriptors[0], frames)
            case Unload(song):
                self._songs.pop(song, None)
            case SetState() as order:
                self._set_state(order)
            case SetTiers(battle, bitrates):
                found = self._battles.get(battle)
                if found is not None:
                    found.set_tiers(bitrates)
            case Drop(battle):
                dropped = self._battles.pop(battle, None)
                if dropped is not None:
                    dropped.close()

    def _set_state(self, order: SetState) -> None:
        battle = self._battles.get(order.battle)
        if battle is not None:
            battle.engine.set_state(order.frame, order.state)
            return
        if len(self._battles) >= MAX_BATTLES:
            raise RenderProtocolError(f"one process carries at most {MAX_BATTLES} battles")
        start = packet_from(frame_at(time.monotonic_ns()))
        self._battles[order.battle] = _Battle(self._songs, start, order, self._bitrate)

    # -- sound --

    def _render_due(self) -> None:
        """Render what is due, the battle that is furthest behind first, one packet each in turn."""
        while True:
            now = frame_at(time.monotonic_ns())
            due = [item for item in self._battles.items() if item[1].frame <= now + self._ahead]
            if not due:
                return
            for name, battle in due:
                if battle.frame + MAX_LATE < now:
                    battle.skip_to(packet_from(now))
                self._send(encode(battle.packet(name)))

    def _send(self, data: bytes) -> None:
        try:
            self._link.send(data)
        except BlockingIOError:
            return  # the host does not read; sound that cannot be delivered now is worth nothing later
        except (BrokenPipeError, ConnectionResetError):
            sys.exit(0)


def _receive(link: socket.socket) -> tuple[bytes, list[int]]:
    """One datagram and the descriptors that came with it."""
    data, extra, flags, _address = link.recvmsg(MAX_DATAGRAM, socket.CMSG_SPACE(array.array("i").itemsize))
    descriptors = array.array("i")
    for level, kind, payload in extra:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(payload[: len(payload) - len(payload) % descriptors.itemsize])
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        raise RenderProtocolError("a datagram was cut: it was longer than the protocol allows")
    return data, list(descriptors)


def _map_song(descriptor: int, frames: int) -> NDArray[np.int16]:
    """The samples of a song, mapped read-only; the mapping outlives the descriptor."""
    mapped = mmap.mmap(descriptor, frames * BYTES_PER_FRAME, prot=mmap.PROT_READ)
    return np.frombuffer(mapped, np.int16).reshape(frames, 2)


def main(arguments: list[str]) -> None:
    """Confine this process and serve the inherited socket."""
    parent, descriptor, milliseconds, bitrate = (int(each) for each in arguments)
    die_with_parent(parent)
    link = socket.socket(fileno=descriptor)
    renderer = Renderer(link, milliseconds * SAMPLE_RATE // 1000, bitrate)
    # Room for sixteen songs of half an hour and the libraries; for its last words; for a descriptor or two in flight.
    limit(Limits(address_space=8 << 30, cpu_seconds=None, file_bytes=1 << 16, open_files=64))
    renderer.run()


if __name__ == "__main__":
    main(sys.argv[1:])
