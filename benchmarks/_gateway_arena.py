"""One server with its crowd of clients, both processes of their own, and what the server costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Final

import attrs
from _harness import LinePeer, PeerUnavailable, resident_bytes

TEXT: Final = "0123456789" * 12
"""The message: 120 bytes of text."""
FIRST: Final = 32
"""Connections before which memory is not counted: what a server makes once is not a connection's."""
MOST_MESSAGES: Final = 10
LEAD_IN: Final = 2
"""Messages of a round that come first and are not counted, on any side."""
ROUND_SECONDS: Final = 20.0
"""That a round may take."""
QUIET: Final = 0.15
"""Seconds without a byte after which nothing more is coming."""


@attrs.frozen
class Contender:
    """How a server is started, and what its clients speak."""

    command: tuple[str, ...]
    dialect: str
    polls: bool = False
    """Whether clients ask again after each delivery: what that costs the server belongs to it."""


def cpu_seconds(pid: int) -> float:
    """What process ``pid`` has used so far, all its threads, user and system, in nanosecond steps (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


class Arena:
    """A server and its clients. Methods raise `PeerUnavailable` when either fails, and then go on doing so."""

    def __init__(self, name: str, contender: Contender, crowd: Sequence[str]) -> None:
        self.name = name
        self.members = 0
        self.idle_kib: dict[int, float] = {}
        """KiB per idle connection, by how many there were; `members` of them joined."""
        self.connected_kib = 0.0
        """The same before anybody had joined, at the first count."""
        self.rounds: dict[int, list[float]] = {}
        """CPU µs per delivered message, one figure per round, by number of members."""
        self._polls = contender.polls
        self._server = LinePeer(name, contender.command)
        self._crowd: LinePeer | None = None
        try:
            port = int(self._server.answer()[0])
            self._crowd = LinePeer(f"{name}'s clients", [*crowd, contender.dialect, str(port)])
        except PeerUnavailable:
            self.close()
            raise
        self._pause = 0.0
        self._is_new = True
        """Whether the pause for so many members is not known yet."""
        self._size = 0.0

    def warm_up(self) -> None:
        """A few connections and a message, so that the server has loaded what it loads late; then its memory is the base."""
        self._connect(FIRST)
        self._clients.ask("join")
        self._say(1)
        self._quiet()
        self._base = resident_bytes(self._server.pid)

    def grow(self, members: int) -> None:
        """Connect and join until there are so many, and note what an idle connection costs."""
        first = not self.rounds
        before = self.members
        self._connect(members)
        self._quiet()
        if first:
            self.connected_kib = (resident_bytes(self._server.pid) - self._base) / (members - before) / 1024
        self._clients.ask("join")
        self._quiet()
        self.idle_kib[members] = (resident_bytes(self._server.pid) - self._base) / (members - FIRST) / 1024
        self._say(1)
        self._size = self._quiet() / members
        if not self._size:
            raise PeerUnavailable(f"{self.name} delivered nothing")
        self._is_new = True
        self.rounds[members] = []

    def measure(self, seconds: float) -> None:
        """One round: as many messages as take about so long, each after the last one has reached everybody.

        The first one also finds out how long that is, while nobody else is busy.
        """
        if self._is_new:
            self._pause = 0.002 + 1.2 * self._deliver(1)[1]
            self._is_new = False
        if not self._polls:
            # While the others had their rounds, this server's code and sockets have left the caches: that is the
            # benchmark's doing, and no server's that has something to say all the time.
            self._deliver(LEAD_IN)
        messages = max(2, min(MOST_MESSAGES, round(seconds / self._pause)))
        if self._polls:
            cpu = sum(self._deliver(1)[0] for _ in range(messages))
        else:
            cpu, _ = self._deliver(messages)
        self.rounds[self.members].append(cpu * 1e6 / messages / self.members)

    def median(self, members: int) -> float | None:
        """The median CPU µs per delivery to so many; None when it was not measured."""
        found = self.rounds.get(members)
        return statistics.median(found) if found else None

    def close(self) -> None:
        """End both processes, without their tidying up after thousands of connections."""
        for peer in (self._crowd, self._server):
            if peer is not None:
                peer.close(kill=True)

    @property
    def _clients(self) -> LinePeer:
        assert self._crowd is not None
        return self._crowd

    def _connect(self, members: int) -> None:
        self._clients.ask("connect", members - self.members)
        self.members = members

    def _quiet(self) -> float:
        """Wait until nothing is on its way any more; the bytes that came meanwhile."""
        size = self._clients.ask("settle", QUIET)[0]
        if self._polls:
            self._rest()
            size += self._clients.ask("settle", QUIET)[0]
        return size

    def _say(self, messages: int) -> None:
        self._server.ask("broadcast", messages, self._pause, TEXT)

    def _deliver(self, messages: int) -> tuple[float, float]:
        """The server's CPU seconds, and the clients' seconds from the first byte to the last."""
        # Messages of some protocols, and heads of answers, differ by a byte or two. What then is still on its way arrives while
        # the clients wait for silence.
        wanted = int(messages * self.members * self._size * 0.97)
        before = cpu_seconds(self._server.pid)
        self._clients.tell("expect", wanted, ROUND_SECONDS)
        self._say(messages)
        wall, received = self._clients.answer("expect")
        if self._polls:
            self._rest()
        cpu = cpu_seconds(self._server.pid) - before
        if received < wanted:
            raise PeerUnavailable(f"{self.name} delivered {received:.0f} of {wanted} bytes in {ROUND_SECONDS:g} s")
        return cpu, wall

    def _rest(self) -> None:
        """Wait until the server has nothing to do."""
        used = cpu_seconds(self._server.pid)
        while True:
            time.sleep(0.05)
            before, used = used, cpu_seconds(self._server.pid)
            if used - before < 0.005:
                return
