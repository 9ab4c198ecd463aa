"""One connection of an endpoint: what its actor and its application see of it, and the actor itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from wsactors.actors import UNHANDLED, Actor, Mailbox, Pid, Stop

from .batches import Name
from .transport import Address, Transport

if TYPE_CHECKING:
    from aioquic.quic.events import QuicEvent

    from .hub import Hub
    from .outgoing import Offerer

INTERNAL_ERROR: Final = 0x102
"""What a peer is told whose connection has failed here: H3_INTERNAL_ERROR (RFC 9114 §8.1)."""
MAILBOX: Final = 256
"""Messages that may wait for a connection's actor."""
MAX_EARLY: Final = 64
"""Events that wait until the actor has started."""


class Application(Protocol):
    """What is spoken on one connection. Nothing but `handle` may wait; what it raises ends this connection alone."""

    def event(self, event: QuicEvent, /) -> None:
        """Something has come. Events about the connection itself (its ids, its handshake, its end) are not told."""
        ...

    def progress(self) -> None:
        """After `Connection.await_progress`: time has passed, and the peer may have acknowledged something. Asked again and
        again, until the application calls `Connection.stop_awaiting`."""
        ...

    async def handle(self, message: Any, /) -> None:
        """What `Connection.tell` was given, in the connection's actor, one message after the other."""
        ...

    def closed(self, reason: str, /) -> None:
        """The connection has ended. Called once; nothing is told afterwards."""
        ...


Accept: TypeAlias = Callable[["Connection"], Application]
"""Makes the application of a connection whose handshake is done. Called in its actor, whose pid the connection has."""


class Connection:
    """A connection, from its first packet on."""

    __slots__ = (
        "alpn",
        "application",
        "born",
        "came_as",
        "came_from",
        "cids",
        "crash_code",
        "early",
        "hub",
        "is_established",
        "is_over",
        "is_validated",
        "outgoing",
        "packets",
        "peer",
        "pid",
        "transport",
        "window_ends",
    )

    def __init__(self, hub: Hub, transport: Transport, peer: str, now: float, *, is_validated: bool) -> None:
        self.hub = hub
        self.outgoing = hub.outgoing
        self.transport = transport
        self.peer = peer
        """Whom it counts as belonging to: see `EndpointOptions.block`."""
        self.born = now
        self.is_validated = is_validated
        """Whether the peer's address had been validated before it began."""
        self.is_established = False
        """Whether the handshake is done."""
        self.is_over = False
        self.alpn: str | None = None
        """What is to be spoken, once the handshake is done."""
        self.pid: Pid | None = None
        self.application: Application | None = None
        self.early: list[QuicEvent] = []
        self.cids: set[bytes] = set()
        self.crash_code = INTERNAL_ERROR
        """What the peer is told if this fails; the application may set another."""
        self.came_as: Name = b""
        """What the kernel calls the address from which the last packet came, if the connection is established."""
        self.came_from: Address = ("", 0)
        """That address."""
        self.packets = 0
        self.window_ends = 0.0

    def __repr__(self) -> str:
        state = "over" if self.is_over else "established" if self.is_established else "new"
        return f"<Connection {state} {self.alpn or ''}>"

    @property
    def is_orphan(self) -> bool:
        """Whether its actor has been started and nobody speaks for it any more."""
        return self.pid is not None and self.application is None

    @property
    def address(self) -> str:
        """The peer's address now, without port."""
        return self.transport.address[0]

    def send_datagram(self, frame: bytes, offerer: Offerer | None = None) -> bool:
        """Send a frame of `datagram_frame`, or drop it. Costs microseconds, never waits.

        Whether the kernel has it; or is to have it, while somebody gathers (`Gathering`): then ``offerer`` hears if it does not
        take it after all.
        """
        outgoing = self.outgoing
        if outgoing.gathering.is_on:
            packet = self.transport.datagram(frame, outgoing.now or outgoing.begin())
            if packet is None:
                return False
            outgoing.gather((packet, self, frame, offerer))
            return True
        packet = self.transport.datagram(frame, self.hub.clock())
        return packet is not None and outgoing.send(self, packet)

    def flush(self) -> None:
        """Have what was written sent, together with what else is, as soon as this turn is over."""
        self.hub.touch(self)

    def await_progress(self) -> None:
        """Have the application asked about `Application.progress` every 25 ms."""
        self.hub.waiting[self] = None

    def stop_awaiting(self) -> None:
        """Undo `await_progress`. May be called without need."""
        self.hub.waiting.pop(self, None)

    def tell(self, message: object) -> bool:
        """Give the connection's actor something to `Application.handle`; False: too much waits there already."""
        return self.pid is not None and self.hub.runtime.cast(self.pid, _Told(message))

    def close(self, code: int = 0, reason: str = "") -> None:
        """End it with an application's code. May be called again: the first counts."""
        self.transport.close(code, reason)
        self.hub.touch(self)

    def fail(self, error: BaseException) -> None:
        """Something about it has gone wrong here: end it, and nothing else."""
        self.hub.failed(self, error)


class _Told:
    """A message for the application."""

    __slots__ = ("message",)
    __is_value__ = True

    def __init__(self, message: object) -> None:
        self.message = message


class Over:
    """The connection has ended, and its actor is to end with it."""

    __slots__ = ()
    __is_value__ = True


class ConnectionActor(Actor):
    """The actor of an established connection: listeners and channels end with it, and it ends with the connection."""

    mailbox = Mailbox(capacity=MAILBOX)

    def init(self, hub: Callable[[], Hub | None], number: int) -> object:
        """``number``: under which the connection waits in ``arriving`` of what ``hub`` gives."""
        found = hub()
        connection = None if found is None else found.arriving.pop(number, None)
        if found is None or connection is None or connection.is_over:
            return Stop("normal")
        self._connection = connection
        connection.pid = self.pid
        # Also when it is killed: nobody is left then to speak for the connection.
        self.at_death("connection", lambda _: found.orphaned(connection))
        connection.application = found.accept(connection)
        found.arrived(connection)
        return None

    async def handle_cast(self, message: Any) -> Any:
        match message:
            case _Told():
                application = self._connection.application
                if application is not None:
                    await application.handle(message.message)
            case Over():
                return Stop("normal")
            case _:
                return UNHANDLED
        return None
