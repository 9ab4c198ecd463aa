"""The client's side of the native protocol without a socket or a clock: bytes and ``now`` in, bytes and events out.

Whoever owns a `Core` tells it what happens to its connection (`connected`, `receive`, `disconnected`), calls `tick` when
`deadline` has come, sends what `take_outgoing` gives, and acts on what `take_events` gives. Requests may be made at any
time: they wait for a connection, and for their topic to be joined, at most until their own deadline.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, TypeAlias

import attrs

from wsactors.wire import native

from .backoff import Backoff, Retry
from .errors import ClientError, Disconnected
from .latency import Latency
from .member_core import MemberCore, TopicChanged

UNAUTHORIZED: Final = 4401
GIVEN_UP: Final = {1002: "protocol", 4403: "kicked", 4409: "replaced", 4426: "version"}
"""Close codes after which coming back is of no use, and why in a word."""
MOST_AUDIO: Final = 25
"""Messages that may wait for the socket before audio is dropped: half a second of it, which nobody wants any more."""
HELLO_BYTES: Final = 12 * 1024
"""What the positions in a hello may take; topics that do not fit are joined afterwards."""


@attrs.frozen
class Plan:
    """What to do after a connection has ended."""

    wait: float | None
    """Seconds until the next attempt; None: there will be none."""
    code: str
    """Why, for programs: see `Disconnected`."""
    reason: str


# -- events -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Online:
    """The node has welcomed the client."""

    welcome: native.Welcome


@attrs.frozen
class Offline:
    """There is no connection any more, or an attempt has failed."""

    plan: Plan


@attrs.frozen
class Reconnect:
    """End this connection and make another, now: the node said so, or does not answer."""

    reason: str


@attrs.frozen
class Measured:
    """A round of pings is over."""

    seconds: float


CoreEvent: TypeAlias = (
    Online | Offline | Measured | TopicChanged | Reconnect
    | native.AudioFrame | native.Joined | native.Left | native.Event | native.Expiring | native.Hint | native.Probe
)  # fmt: skip


@attrs.frozen
class Rhythm:
    """When a client gives signs of life, and expects them, in seconds."""

    heartbeat: float = 20.0
    """Silence of the node after which it is asked whether it is there."""
    patience: float = 10.0
    """In which it must answer that, or a greeting."""
    latency: float | None = 60.0
    """Between two rounds of measuring; None: only when asked."""


class Core(MemberCore):
    """One client, over all its connections.

    Args:
        name: For the node's logs.
        retry: How to come back; None: not at all.
        rhythm: Signs of life.
        can_renew: Whether another token can be had when the present one is not good any more.
        random: Gives a number from 0 to 1.
    """

    def __init__(
        self,
        *,
        name: str = "",
        retry: Retry | None = None,
        rhythm: Rhythm = Rhythm(),
        can_renew: bool = False,
        random: Callable[[], float],
    ) -> None:
        super().__init__(random)
        self.name = name
        self.latency = Latency()
        self.welcome: native.Welcome | None = None
        """Of the present connection, else of the latest."""
        self._retry = retry
        self._rhythm = rhythm
        self._can_renew = can_renew
        self._backoff = Backoff(retry or Retry(), random)
        self._since = self._heard = 0.0
        self._asked: float | None = None
        self._nonce = 0
        self._round_at: float | None = None
        self._drain_at: float | None = None
        self._is_planned = False
        self._hinted: native.Hint | None = None
        self._resume_until = 0.0
        self.last_error: native.Error | None = None
        """What the node has complained about on the present connection, else on the latest."""

    # -- the connection --

    def connected(self, now: float, *, token: str = "", api_key: str = "") -> None:
        """A WebSocket to a node is open: greet it."""
        self.phase, self.version = "greeting", native.VERSION
        self._since = self._heard = now
        self._asked = self._drain_at = self.last_error = None
        self._is_planned = False
        resume = self.welcome.resume if self.welcome is not None and now < self._resume_until else ""
        topics = self.positions(HELLO_BYTES) if resume else {}
        self._send(native.Hello(native.VERSIONS, self.name, token, api_key, resume, topics))

    def receive(self, data: bytes, now: float) -> None:
        """Take a message from the node. Raises `ProtocolError`: end the connection with 1002."""
        self._heard, self._asked = now, None
        message = native.decode_server(data)
        match message:
            case native.Welcome():
                self._take_welcome(message, now)
            case native.Ping(nonce):
                self._send(native.Pong(nonce))
            case native.Pong(nonce):
                if self.latency.answered(nonce, now):
                    self.events.append(Measured(self.latency.history[-1]))
                    self._round_at = now + self._rhythm.latency if self._rhythm.latency is not None else None
                self.requests.resolve(("pong", nonce), message)
                self._ping_for_latency(now)
            case native.Error():
                self._take_error(message, now)
            case native.Hint():
                self._take_hint(message, now)
            case native.AudioFrame() | native.Event() | native.Expiring() | native.Probe():
                self.events.append(message)
            case native.Sessions():
                self.requests.resolve(("sessions", ""), message)
            case _:
                self.take(message, now)

    def disconnected(self, code: int | None, reason: str, now: float) -> Plan:
        """The connection has ended with a close code (None: it broke, or was not made). What to do then."""
        if self.phase == "online":
            self._backoff.lasted(now - self._since)
            self._resume_until = now + (self.welcome.resume_for if self.welcome is not None else 0.0)
        self.phase = "offline"
        self.outgoing.clear()
        self.latency.stop()
        self._round_at = None
        plan = self._plan(code, reason, now)
        self._drain_at = self._hinted = None
        self._is_planned = False
        error = Disconnected(plan.reason, plan.code)
        self.events.append(Offline(plan))
        if plan.wait is None:
            self.phase = "ended"
            self.give_up(error)
        else:
            self.lose_connection(error)
        return plan

    def tick(self, now: float) -> None:
        """Do what time asks for."""
        for request in self.requests.expired(now):
            self.expire(request)
        if self.phase == "greeting" and now >= self._since + self._rhythm.patience:
            self._leave("the node does not greet")
        if self.phase != "online":
            return
        if self._asked is not None and now >= self._asked + self._rhythm.patience:
            self._leave("the node does not answer")
        elif self._asked is None and now >= self._heard + self._rhythm.heartbeat:
            self._asked = now
            self._send(native.Ping(self.next_nonce()))
        if self._drain_at is not None and now >= self._drain_at:
            self._drain_at = None
            self._is_planned = True
            self._leave("the node stops")
        if self._round_at is not None and now >= self._round_at:
            self.measure(now)
        self.flush(now)

    @property
    def deadline(self) -> float | None:
        """When `tick` is to be called at the latest; None: not before something else happens."""
        found = [self.requests.deadline]
        if self.phase == "greeting":
            found.append(self._since + self._rhythm.patience)
        elif self.phase == "online":
            asked = self._asked
            found.append(self._heard + self._rhythm.heartbeat if asked is None else asked + self._rhythm.patience)
            found += [self._drain_at, self._round_at, self.next_flush]
        return min((each for each in found if each is not None), default=None)

    def measure(self, now: float) -> None:
        """Begin to measure the latency, unless that is going on."""
        if self.phase == "online":
            self._round_at = None
            self.latency.start()
            self._ping_for_latency(now)

    def report(self, report: native.ReceiverReport) -> None:
        """Tell the node how sound is heard. Raises `Disconnected` when there is no connection at the moment."""
        if self.phase != "online":
            raise Disconnected("there is no connection at the moment")
        self._send(report)

    def send_audio(self, frame: bytes) -> bool:
        """Send an audio frame now or never; whether it will be."""
        taken = self.phase == "online" and len(self.outgoing) < MOST_AUDIO
        if taken:
            self.outgoing.append(frame)
        return taken

    def next_nonce(self) -> int:
        """For a ping."""
        self._nonce = self._nonce % 0xFFFF_FFFF + 1
        return self._nonce

    # -- inside --

    def _take_welcome(self, welcome: native.Welcome, now: float) -> None:
        self.phase, self.version, self._since = "online", welcome.version, now
        self.welcome = welcome
        self.events.append(Online(welcome))
        self.restored(welcome.resumed or ())
        self.flush(now)
        if self._rhythm.latency is not None:
            self.measure(now)

    def _take_error(self, error: native.Error, now: float) -> None:
        if self.phase != "online" or not self.take_error(error, now):
            self.last_error = error
            said = ClientError(f"{error.code}: {error.message}", error.code, after=error.after, details=error.details)
            self.requests.fail(said, of=lambda request: _is_about(request.key, error))

    def _take_hint(self, hint: native.Hint, now: float) -> None:
        self.events.append(hint)
        match hint.hint:
            case "drain":
                self._drain_at = now + hint.after + self.random() * hint.within
            case "reconnect":
                self._hinted = hint
            case "slow_down":
                self.pause(now + hint.after)

    def _ping_for_latency(self, now: float) -> None:
        if self.latency.wants_ping:
            nonce = self.next_nonce()
            self.latency.sent(nonce, now)
            self._send(native.Ping(nonce))

    def _leave(self, reason: str) -> None:
        self.events.append(Reconnect(reason))

    def _plan(self, code: int | None, reason: str, now: float) -> Plan:
        said = self.last_error
        if said is not None:
            reason = said.message
        word = GIVEN_UP.get(code or 0, "") or (said.code if said is not None else "")
        if code in GIVEN_UP or (code == UNAUTHORIZED and not self._can_renew) or self._retry is None:
            return Plan(None, word, reason)
        if self._is_planned or self._drain_at is not None:
            return Plan(max(0.0, (self._drain_at or now) - now), word, reason)
        wait = self._backoff.failed()
        if wait is None:
            return Plan(None, "connection_failed", f"gave up after {self._backoff.failures} attempts: {reason}")
        if self._hinted is not None:
            wait = self._hinted.after + self.random() * self._hinted.within
        return Plan(wait, word, reason)


def _is_about(key: Hashable, error: native.Error) -> bool:
    """Whether an error without a ref is the answer to the request with ``key``: version 1 names at most the session."""
    if isinstance(key, tuple):
        subject: Any = key[1]
        return not error.session or subject == error.session
    return False
