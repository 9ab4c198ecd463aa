"""A client of a node, over all its connections: sessions to hear, topics to talk on."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeAlias

import trio

from wsactors.wire import native

from .carrier import Carrier
from .core import CoreEvent, Online
from .errors import ClientError, Disconnected
from .latency import Latency
from .link import Link
from .listening import BACKLOG_FRAMES, Listening
from .member_core import TopicChanged
from .membership import BUFFER, Membership, Overflow
from .topic import Topic

__all__ = ["BACKLOG_FRAMES", "REPLY_SECONDS", "Client"]

REPLY_SECONDS = 10.0
"""In which the node must answer a request, if nothing else is said."""
MOST_UNSENT = 64
"""Messages without an answer that may wait for the socket, before their senders do."""
MOST_EARLY = 20
"""Events of a session that may come before it is joined, and as many frames."""
EARLY_SECONDS = 1.0
"""How long such frames are kept."""
UPPER_BITS = 0xFFFF_0000
"""Of a track's number: all tracks of a session in which people speak have those of the one that `Joined` names."""

_Resolve: TypeAlias = Callable[[Any], None]


class Client:
    """A client of a node; made by `connect`. One request of a kind and session at a time."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._core = link.core
        self._listening: dict[str, Listening] = {}
        self._by_track: dict[int, Listening] = {}
        self._topics: dict[Membership, Topic] = {}
        self._early: dict[str, deque[native.Event]] = {}
        self._early_sound: deque[tuple[native.AudioFrame, float]] = deque(maxlen=MOST_EARLY)
        self._renewing = trio.lowlevel.ParkingLot()
        self._changed = trio.lowlevel.ParkingLot()
        self.events: deque[native.Event] = deque(maxlen=1000)
        """The events of joined sessions, newest last."""
        self.hints: deque[native.Hint] = deque(maxlen=100)
        """What the node has advised, newest last; it has been followed."""
        self.connections = 0
        """How often a node has welcomed this client."""
        self.on_probe: Callable[[int, float], object] | None = None
        """Is given the nonces with which the node measures how long sound takes, and the time (`wsactors.client.hearing`)."""
        link.on_event = self._take
        link.on_end = self._ended

    def __repr__(self) -> str:
        return f"<Client {self._core.phase} {self._link.server}>"

    @property
    def node(self) -> str:
        """The name of the node that has welcomed this client last."""
        return self._core.welcome.node if self._core.welcome is not None else ""

    @property
    def is_online(self) -> bool:
        """Whether there is a connection at this moment."""
        return self._core.phase == "online"

    @property
    def closed_with(self) -> int | None:
        """The WebSocket close code with which the node ended the latest connection; 1006 when that broke."""
        return self._link.closed_with

    @property
    def attempts(self) -> int:
        """How often this client has tried to connect."""
        return self._link.attempts

    @property
    def failure(self) -> Disconnected | None:
        """Why there will be no further connection; None while there is one, or may be."""
        return self._link.failure

    @property
    def latency(self) -> Latency:
        """How long messages take to the node and back; measured when connected, and now and then."""
        return self._core.latency

    async def changed(self) -> None:
        """Wait until the client goes online or offline, measures a latency or gets a hint."""
        if self.failure is None:
            await self._changed.park()
        else:
            await trio.lowlevel.checkpoint()

    async def wait_online(self) -> None:
        """Wait until there is a connection. Raises `Disconnected` when there will be none."""
        await trio.lowlevel.checkpoint()
        while not self.is_online:
            if self.failure is not None:
                raise copy.copy(self.failure)
            await self._changed.park()

    # -- sessions --

    async def sessions(self) -> tuple[native.SessionInfo, ...]:
        """The sessions that can be joined. Raises `ClientError`, or `Disconnected` when the node is gone."""
        reply: native.Sessions = await self._ask(("sessions", ""), native.ListSessions())
        return reply.sessions

    async def join(self, session: str) -> Listening:
        """Hear ``session``. Raises `ClientError` when there is no such session, or too many are joined."""
        self._check_free(("joined", session))
        try:
            await self._answer(
                lambda resolve: self._core.join_session(
                    session, now=trio.current_time(), timeout=REPLY_SECONDS, resolve=resolve
                )
            )
        finally:
            self._early.pop(session, None)
        return self._listening[session]

    async def leave(self, session: str) -> None:
        """Stop hearing ``session``. Raises `Disconnected` when the node is gone."""
        self._check_free(("left", session))
        await self._answer(
            lambda resolve: self._core.leave_session(
                session, now=trio.current_time(), timeout=REPLY_SECONDS, resolve=resolve
            )
        )

    async def act(
        self, session: str, action: str, args: Mapping[str, native.Plain] | None = None, *, timeout: float | None = None
    ) -> native.Plain:
        """Do something in a joined session (``docs/stage.md``); its answer. Raises `ClientError`, `Disconnected`."""
        return await self.request(lambda ref: native.Act(ref, session, action, dict(args or {})), timeout=timeout)  # type: ignore[no-any-return]

    def send_audio(self, frame: bytes) -> bool:
        """Send an uplink frame: what this user says. False: there is no connection, or too much waits for it already."""
        taken = self._core.send_audio(frame)
        self._link.settle()
        return taken

    # -- topics --

    async def join_topic(
        self,
        topic: str,
        params: native.Plain = None,
        *,
        since: native.Position | None = None,
        presence: bool = True,
        echo: bool = False,
        private: bool = False,
        buffer: int = BUFFER,
        overflow: Overflow = "drop_oldest",
        timeout: float | None = None,
    ) -> Topic:
        """Be a member of ``topic``, on this connection and all that follow.

        Args:
            topic: Its name.
            params: What the application wants to know.
            since: What has been seen in an earlier life; what came after it is sent first, if the node still has it.
            presence: Whether to be told who is there.
            echo: Whether own publications come back.
            private: Whether the topic is private.
            buffer: Most messages that wait to be read.
            overflow: What happens to those for which there is no room.
            timeout: Seconds in which the node must have decided, also while the client is offline.

        Raises:
            ClientError: It refused, or there was no answer.
            Disconnected: The node is gone, and the client does not come back by itself.
        """
        if topic in self._core.topics:
            raise ClientError(f"{topic!r} is joined already, or will be")
        membership = Membership(topic, params, presence, echo, private, buffer, overflow, since)
        found = self._topics[membership] = Topic(self, membership)
        await self._answer(
            lambda resolve: self._core.join_topic(
                membership, now=trio.current_time(), timeout=_or_default(timeout), resolve=resolve
            )
        )
        return found

    async def leave_topic(self, topic: str) -> None:
        """Be a member no more. Raises `Disconnected` when the node is gone."""
        if topic in self._core.topics:
            await self._answer(
                lambda resolve: self._core.leave_topic(
                    topic, now=trio.current_time(), timeout=REPLY_SECONDS, resolve=resolve
                )
            )

    async def track(self, topic: str, meta: dict[str, native.Plain] | None, *, timeout: float | None = None) -> None:
        """See `Topic.track`; None: `Topic.untrack`."""
        if topic not in self._core.topics:
            raise ClientError(f"not_joined: {topic!r} is not joined", "not_joined")
        await self._answer(
            lambda resolve: self._core.track(
                topic, meta, now=trio.current_time(), timeout=_or_default(timeout), resolve=resolve
            )
        )

    async def request(
        self, make: Callable[[int], native.ClientMessage], *, topic: str = "", timeout: float | None = None
    ) -> Any:
        """Make a request that carries a ref, which ``make`` gets; its answer. Raises `ClientError`, `Disconnected`."""
        if topic and topic not in self._core.topics:
            raise ClientError(f"not_joined: {topic!r} is not joined", "not_joined")
        ref = self._core.next_ref()
        return await self._ask(ref, make(ref), topic=topic, timeout=timeout)

    async def tell(self, message: native.Push | native.Publish) -> None:
        """Send something on a topic that wants no answer. Raises `ClientError` when the topic is not joined now."""
        await trio.lowlevel.checkpoint()
        self._core.tell(message)
        self._link.settle()
        await self._link.drained(MOST_UNSENT)

    def report(self, report: native.ReceiverReport) -> None:
        """Tell the node how sound is heard. Raises `Disconnected` when there is no connection at the moment."""
        self._core.report(report)
        self._link.settle()

    # -- the connection --

    async def ping(self) -> float:
        """The time a ping and its answer take, in seconds. Raises `Disconnected` when the node is gone."""
        nonce = self._core.next_nonce()
        before = trio.current_time()
        await self._ask(("pong", nonce), native.Ping(nonce))
        return trio.current_time() - before

    async def measure_latency(self) -> float:
        """Five pings, one after the other; the mean without the slowest and the fastest, in seconds.

        Raises:
            Disconnected: The node is gone, and the client does not come back by itself.
        """
        rounds = self.latency.rounds
        while self.latency.rounds == rounds:
            await self.wait_online()
            self._core.measure(trio.current_time())
            self._link.settle()
            await self.changed()
        return self.latency.history[-1]

    async def authenticate(self, token: str) -> native.Authenticated:
        """Show a new token on the present connection. Raises `ClientError` when it is not good enough."""
        answer: native.Authenticated = await self.request(lambda ref: native.Authenticate(ref, token))
        return answer

    # -- inside --

    @property
    def _carrier(self) -> Carrier:
        if self._link.carrier is None:
            raise Disconnected("there is no connection at the moment")
        return self._link.carrier

    async def _ask(
        self, key: Hashable, message: native.ClientMessage, *, topic: str = "", timeout: float | None = None
    ) -> Any:
        self._check_free(key)
        return await self._answer(
            lambda resolve: self._core.ask(
                key, message, now=trio.current_time(), timeout=_or_default(timeout), resolve=resolve, topic=topic
            )
        )

    async def _answer(self, start: Callable[[_Resolve], None]) -> Any:
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise copy.copy(self.failure)
        came, answers = trio.Event(), list[Any]()

        def resolve(answer: Any) -> None:
            answers.append(answer)
            came.set()

        start(resolve)
        self._link.settle()
        await came.wait()
        if isinstance(answers[0], Exception):
            raise copy.copy(answers[0])
        return answers[0]

    def _check_free(self, key: Hashable) -> None:
        if key in self._core.requests:
            raise ClientError(f"{key!r} is already waiting for its answer")

    def _take(self, event: CoreEvent) -> None:
        match event:
            case native.AudioFrame():
                listening = self._heard_as(event.track)
                if listening is not None:
                    listening.feed(event, trio.current_time())
                else:
                    self._early_sound.append((event, trio.current_time()))
            case TopicChanged(membership):
                self._wake_topic(membership)
            case native.Hint():
                self.hints.append(event)
            case native.Expiring():
                self._renewing.unpark_all()
            case Online():
                self.connections += 1
            case _:
                self._take_session(event)
        if not isinstance(event, native.AudioFrame | TopicChanged | native.Event | native.Probe):
            self._changed.unpark_all()

    def _heard_as(self, track: int) -> Listening | None:
        return self._by_track.get(track) or self._by_track.get(track & UPPER_BITS)

    def _take_session(self, event: CoreEvent) -> None:
        match event:
            case native.Probe(nonce):
                if self.on_probe is not None:
                    self.on_probe(nonce, trio.current_time())
            case native.Joined():
                self._joined(event)
            case native.Left(session, reason):
                self._left(session, reason)
            case native.Event():
                self._event(event)

    def _wake_topic(self, membership: Membership) -> None:
        topic = self._topics.get(membership)
        if topic is not None:
            topic.wake()
            if membership.phase == "ended":
                del self._topics[membership]

    def _joined(self, joined: native.Joined) -> None:
        listening = self._listening.get(joined.session)
        if listening is None:
            listening = self._listening[joined.session] = Listening(joined)
        else:
            self._by_track.pop(listening.joined.track, None)
            listening.rejoin(joined)
        self._by_track[joined.track] = listening
        for event in self._early.pop(joined.session, ()):
            listening.tell(event)
        # Datagrams wait for nothing: what a session begins with may be there before the word that it has been joined.
        now, early = trio.current_time(), tuple(self._early_sound)
        self._early_sound.clear()
        for frame, came in early:
            if self._heard_as(frame.track) is listening and now - came < EARLY_SECONDS:
                listening.feed(frame, came)

    def _left(self, session: str, reason: str) -> None:
        listening = self._listening.pop(session, None)
        if listening is not None:
            self._by_track.pop(listening.joined.track, None)
            listening.end(reason)

    def _event(self, event: native.Event) -> None:
        self.events.append(event)
        listening = self._listening.get(event.session)
        if listening is not None:
            listening.tell(event)
        elif ("joined", event.session) in self._core.requests:
            self._early.setdefault(event.session, deque(maxlen=MOST_EARLY)).append(event)

    def _ended(self, failure: Disconnected) -> None:
        for session in tuple(self._listening):
            self._left(session, str(failure))
        self._changed.unpark_all()

    async def renew_tokens(self) -> None:
        """Show the node a new token whenever it says that the present one expires; `connect` runs it."""
        while True:
            await self._renewing.park()
            try:
                await self.authenticate(await self._link.new_token())
            except (ClientError, Disconnected):
                continue  # the node ends the connection when the token has expired, and says so


def _or_default(timeout: float | None) -> float:
    return REPLY_SECONDS if timeout is None else timeout
