"""Users: actors that connect, join and behave. They own no task; the poller and timers move them."""

from __future__ import annotations

import time
from typing import Any, Final

import attrs

from wsactors.actors import UNHANDLED, Actor, Stop
from wsactors.actors.pid import Pid
from wsactors.loadtest.conversations import Manners
from wsactors.loadtest.scenario import Schedule, topic_of
from wsactors.loadtest.settings import GroupSettings
from wsactors.loadtest.stamp import Template, stamp
from wsactors.loadtest.visit import Dropped, Ended, Joined, Visit, World

__all__ = ["GO", "USERS", "Chatter", "Churner", "Joiner", "Staller", "User"]

GO: Final = "go"
"""Sent to a user: say goodbye and end."""
_COME: Final = "come"
_SPEAK: Final = "speak"
_CUT: Final = "cut"
_LONGEST_PAUSE: Final = 10.0
"""Seconds between two attempts at most; they begin with half a second and double."""
_GOODBYE_SECONDS: Final = 2.0


@attrs.frozen(eq=False)
class _Do:
    """A timer's message: do something with this visit, if it is still the one."""

    what: str
    visit: Visit


class User(Actor):
    """Joins and listens; comes again when it is thrown out. The behaviour `listen`.

    Args:
        number: counts the group's users, over all processes.
    """

    def init(self, world: World, group_name: str, number: int) -> None:
        self._world = world
        self._group: GroupSettings = world.settings.users[group_name]
        self._tally = world.tallies[group_name]
        token = self._group.token.reveal() if self._group.token else ""
        self._manners = Manners(
            topic_of(self._group, number), token, self._group.audio, self._group.presence, f"{group_name}-{number}"
        )
        self._visit: Visit | None = None
        self._settled: Visit | None = None
        self._setbacks = 0
        self._lost = False
        self._tally.users += 1
        self.at_death("line", self._die)
        self.send_after(0.0, self.pid, _COME)

    def _die(self, _: Pid) -> None:
        self._tally.users -= 1
        self._hang_up()

    # -- coming --

    def handle_info(self, message: Any) -> Any:
        match message:
            case Joined() | Dropped() | Ended() | _Do():
                if message.visit is self._visit:
                    self._on_visit(message.visit, message)
                elif isinstance(message, _Do) and message.what == _CUT:
                    message.visit.cut()
            case "come":
                self._come()
            case "connect":
                if self._visit is None:
                    self._connect()
            case "go":
                if self._visit is not None:
                    self._visit.say_goodbye()
                return Stop("normal")
            case _:
                return UNHANDLED
        return None

    def _on_visit(self, visit: Visit, message: Joined | Dropped | Ended | _Do) -> None:
        match message:
            case Joined():
                self._on_joined(visit)
            case Dropped():
                self._do_after(self._pause(), "rejoin", visit)
            case Ended():
                self._on_ended(visit)
            case _Do(what):
                self._do(what, visit)

    def _come(self) -> None:
        wait = self._world.pacer.reserve(time.monotonic())
        if self._world.quiet or self._visit is not None:
            return
        if wait > 0:
            self.send_after(wait, self.pid, "connect")
        else:
            self._connect()

    def _connect(self) -> None:
        world, me, node = self._world, self.pid, self.node
        self._tally.attempts += 1
        try:
            visit = Visit(world, self._group, self._tally, self._manners, lambda message: node.send(me, message))
        except OSError as error:
            self._tally.failures += 1
            self._tally.because(f"cannot connect: {error.strerror or error}")
            self.send_after(self._pause(), self.pid, _COME)
            return
        self._visit = visit
        self._do_after(world.settings.harness.connect_timeout, "give up", visit)

    def _on_joined(self, visit: Visit) -> None:
        self._setbacks = 0
        if self._lost:
            self._lost = False
            self._tally.reconnects += 1
        if visit is not self._settled:
            self._settled = visit
            if visit.beat_seconds:
                self._do_after(visit.beat_seconds, "beat", visit)
            self.settle(visit)
        self.joined(visit)

    def _on_ended(self, visit: Visit) -> None:
        if visit.was_joined:
            self._tally.disconnects += 1
            self._lost = True
        else:
            self._tally.failures += 1
        self._hang_up()
        self.send_after(self._pause(), self.pid, _COME)

    def _pause(self) -> float:
        """Seconds until the next attempt: doubled each time, and different for everybody."""
        pause = min(_LONGEST_PAUSE, 0.5 * 2.0**self._setbacks)
        self._setbacks = min(self._setbacks + 1, 10)
        return pause * self._world.chance.uniform(0.5, 1.0)

    def _hang_up(self, *, reset: bool = False) -> None:
        visit, self._visit = self._visit, None
        if visit is not None:
            visit.cut(reset=reset)

    # -- behaving --

    def _do_after(self, seconds: float, what: str, visit: Visit) -> None:
        self.send_after(seconds, self.pid, _Do(what, visit))

    def _do(self, what: str, visit: Visit) -> None:
        match what:
            case "give up":
                if not visit.was_joined:
                    visit.ended("no answer in time")
            case "rejoin":
                visit.join()
            case "beat":
                visit.beat()
                self._do_after(visit.beat_seconds or 30.0, "beat", visit)
            case _:
                self.behave(what, visit)

    def settle(self, visit: Visit) -> None:
        """It has joined on a new connection."""

    def joined(self, visit: Visit) -> None:
        """It has joined, perhaps again on the same connection."""

    def behave(self, what: str, visit: Visit) -> None:
        """What `settle` asked for comes due."""


class Chatter(User):
    """Listens, and sends messages at a fixed rate, whether the last one came through or not."""

    def init(self, world: World, group_name: str, number: int) -> None:
        super().init(world, group_name, number)
        self._sender = world.new_sender()
        self._sequence = 0
        self._schedule: Schedule | None = None
        self._template: Template | None = None
        self._timer: Any = None

    def joined(self, visit: Visit) -> None:
        """Begin to speak at a random moment; after a reconnect, first of all what became due meanwhile."""
        self._template = visit.template(self._group.message_bytes)
        if self._schedule is None:
            start = time.monotonic() + self._world.chance.random() / self._group.rate
            self._schedule = Schedule(start, self._group.rate)
        self._speak_later(visit)

    def _speak_later(self, visit: Visit) -> None:
        assert self._schedule is not None
        if self._timer is not None:
            self.cancel_timer(self._timer)
        delay = self._schedule.next_time - time.monotonic()
        self._timer = self.send_after(max(0.0, delay), self.pid, _Do(_SPEAK, visit))

    def behave(self, what: str, visit: Visit) -> None:
        """Send everything that is due."""
        if self._world.quiet or not visit.is_joined or self._schedule is None:
            return
        now = time.monotonic()
        too_old = now - self._world.settings.harness.connect_timeout
        while (intended := self._schedule.due(now)) is not None:
            if intended < too_old or not self._send(visit, intended):
                self._tally.unsent += 1
        self._speak_later(visit)

    def _send(self, visit: Visit, intended: float) -> bool:
        assert self._template is not None
        mark = stamp(self._world.run, self._sender, self._sequence, intended)
        if not visit.say(self._template.fill(mark)):
            return False
        self._sequence += 1
        self._tally.sent += 1
        self._world.send_lag.record(time.monotonic() - intended)
        return True


class Joiner(User):
    """Joins, leaves at once, and comes again."""

    def settle(self, visit: Visit) -> None:
        """That was it."""
        self.part(visit, cut=False)

    def part(self, visit: Visit, *, cut: bool) -> None:
        """Go, and come again after a random while."""
        world, away = self._world, self._group.away_seconds
        self._tally.partings += 1
        if cut:
            self._hang_up(reset=True)
        else:
            self._visit = None
            visit.say_goodbye()
            self._do_after(_GOODBYE_SECONDS, _CUT, visit)
        self.send_after(world.chance.expovariate(1 / away) if away else 0.0, self.pid, _COME)


class Churner(Joiner):
    """Listens for a while, goes, and comes again; sometimes the line just breaks."""

    def settle(self, visit: Visit) -> None:
        """Stay for a random while."""
        self._do_after(self._world.chance.expovariate(1 / self._group.stay_seconds), "part", visit)

    def behave(self, what: str, visit: Visit) -> None:
        """Part; at the end of the run, stay."""
        if not self._world.quiet:
            self.part(visit, cut=self._world.chance.random() < self._group.cut_share)


class Staller(User):
    """Listens, but stops reading now and then."""

    def settle(self, visit: Visit) -> None:
        """Read for a while first."""
        self._do_after(self._group.stall_every, "stall", visit)

    def behave(self, what: str, visit: Visit) -> None:
        """Stop reading, or read on."""
        if what == "stall":
            self._tally.stalls += 1
            visit.line.stall()
            self._do_after(self._group.stall_seconds, "read on", visit)
        else:
            visit.line.resume()
            self._do_after(self._group.stall_every, "stall", visit)


USERS: Final[dict[str, type[User]]] = {
    "join": Joiner, "listen": User, "chat": Chatter, "churn": Churner, "stall": Staller,
}  # fmt: skip
"""Who behaves how."""
