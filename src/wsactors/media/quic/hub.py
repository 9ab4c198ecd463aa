"""One UDP socket and all its connections: what comes is handed to its connection, what they have to say is sent.

No connection has a task. Whoever reads the socket calls `Hub.drain`, somebody calls `Hub.sweep` every 25 ms for everybody's
timers, and what applications write is sent by `Hub.settle`, once for all that was written in a turn of the loop.
"""

from __future__ import annotations

import itertools
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import trio
from aioquic.quic.events import (
    ConnectionIdIssued,
    ConnectionIdRetired,
    ConnectionTerminated,
    DatagramFrameReceived,
    HandshakeCompleted,
    ProtocolNegotiated,
    QuicEvent,
)

from wsactors.actors.log import log
from wsactors.media.gathering import Gathering

from .batches import BATCH, Name, batches_of
from .bounded import BoundedConnection
from .connection import MAX_EARLY, Accept, Connection, Over
from .door import CID_BYTES, Door, Enter, HubOptions, Turned
from .gone import GONE
from .guard import WINDOW_SECONDS, PacketGuard
from .outgoing import Outgoing
from .roster import Past, Roster
from .transport import Address, Backend

if TYPE_CHECKING:
    import socket

    from aioquic.quic.configuration import QuicConfiguration

    from wsactors.actors import Runtime

SWEEP_SECONDS: Final = 0.025
_CID_ENDS: Final = 1 + CID_BYTES
HOLD_SECONDS: Final = 0.002
"""How long the loop is held at most while datagrams wait to be read."""
HANDSHAKE_SECONDS: Final = 5.0
"""In which a handshake must be done."""
MAX_HELLOS: Final = 512
"""First packets that may wait: at 1,200 bytes each, and a millisecond or two of work."""
HELLO_SECONDS: Final = 1.0
"""How long one waits at most. By then its client has sent another."""


class Hub:
    """The connections of one socket.

    Args:
        sock: Bound, non-blocking; whoever made it closes it.
        options: The bounds.
        backend: Makes the connections.
        configuration: What the next connection is made with: a certificate is replaced by giving another.
        accept: Makes the applications.
        runtime: Where the connections' actors live.
        reset_key: From which the tokens of stateless resets are made.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        sock: socket.socket,
        options: HubOptions,
        *,
        backend: Backend,
        configuration: Callable[[], QuicConfiguration],
        accept: Accept,
        runtime: Runtime,
        reset_key: bytes = b"",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.accept = accept
        self.runtime = runtime
        self._sendto = sock.sendto
        self._batches = batches_of(sock)
        self.outgoing = Outgoing(sock, self._batches, Gathering.of(runtime), clock)
        self._options = options
        self._backend = backend
        self._configuration = configuration
        self.door = Door(options.door, reset_key)
        self.roster = Roster(options.connections, options.connections_per_address)
        self.connections = self.roster.connections
        self.guard = PacketGuard(
            per_address=options.packets_per_address,
            per_connection=options.packets_per_connection,
            connections=self.roster.peers,
        )
        self._most_packets = options.packets_per_connection * WINDOW_SECONDS
        self._by_cid = self.roster.by_cid
        self.waiting: dict[Connection, None] = {}
        """Those whose applications wait for progress."""
        self._hellos: deque[tuple[bytes, Address, float]] = deque()
        """First packets that wait until handshakes may have the processor again, and when they came."""
        self._touched: OrderedDict[Connection, None] = OrderedDict()
        self.wake = trio.Event()
        """Set when there is something to settle."""
        self.arriving: dict[int, Connection] = {}
        """Established connections that wait for their actor, by number."""
        self._numbers = itertools.count(1)
        self.arrivals, self.to_start = trio.open_memory_channel[int](options.connections)
        self._count_from_zero()

    def _count_from_zero(self) -> None:
        self.turned = dict.fromkeys(Turned, 0)
        self.past = Past()
        self.opened = self.handshakes = self.failures = 0
        self.packets_in = self.bytes_in = self.datagrams_in = 0
        self.packets_out = 0

    @property
    def half_open(self) -> int:
        """Handshakes under way."""
        return self.roster.half_open

    # --- reading -------------------------------------------------------------------------------------------------------

    def drain(self) -> bool:
        """Read until nothing waits, or for `HOLD_SECONDS`, and settle; whether all was read."""
        receive, clock, find, touched = self._batches.receive, self.clock, self._by_cid.get, self._touched
        most, packets, size = self._most_packets, 0, 0
        now = clock()
        until = now + HOLD_SECONDS
        is_empty = False
        while not is_empty and now < until:
            found = receive()
            is_empty = len(found) < BATCH
            packets += len(found)
            for data, name in found:
                size += len(data)
                # Nearly all that comes is of somebody who is in: it counts as theirs, and nobody else's.
                connection = find(data[1:_CID_ENDS])
                if connection is None or not connection.is_established or data[0] & 0x80:
                    self._take(data, self._batches.address(name), now)
                    continue
                connection.packets += 1
                if connection.packets > most and not self._is_new_window(connection, now):
                    self.turned[Turned.CONNECTION_RATE] += 1
                    continue
                if name != connection.came_as:
                    self._note_origin(connection, name)
                if connection.transport.receive(data, connection.came_from, now):
                    touched[connection] = None
            now = clock()
        self.packets_in += packets
        self.bytes_in += size
        self._let_in(now)
        self.settle()
        return is_empty

    def _note_origin(self, connection: Connection, name: Name) -> None:
        """What has come of ``connection`` now comes from elsewhere than before. Whether it may is its transport's to say."""
        address, known = self._batches.address(name), connection.transport.address
        # To compare an address with itself costs nothing: where it is the one that the transport has, let it be the same object.
        connection.came_as, connection.came_from = name, known if known == address else address

    def _is_new_window(self, connection: Connection, now: float) -> bool:
        """Whether the packets of ``connection`` took long enough to count anew."""
        if now < connection.window_ends:
            return False
        connection.window_ends, connection.packets = now + WINDOW_SECONDS, 1
        return True

    def _take(self, data: bytes, address: Address, now: float) -> None:
        if len(data) <= CID_BYTES:
            self.turned[Turned.MALFORMED] += 1
            return
        peer = self._options.block(address[0])
        if not self.guard.admit(peer, now):
            self.turned[Turned.RATE] += 1
            return
        self._deliver(data, address, peer, now)

    def _deliver(self, data: bytes, address: Address, peer: str, now: float) -> None:
        """To its connection, or to the door."""
        cid = data[6 : 6 + data[5]] if data[0] & 0x80 else data[1 : 1 + CID_BYTES]
        connection = self._by_cid.get(cid)
        if connection is None:
            connection = self._knock(data, address, peer, now)
            if connection is None:
                return
        connection.packets += 1
        if connection.packets > self._most_packets and not self._is_new_window(connection, now):
            self.turned[Turned.CONNECTION_RATE] += 1
        elif connection.is_established:
            if connection.transport.receive(data, address, now):
                self._touched[connection] = None
        else:
            self._shake_hands(connection, data, address, now)

    def _knock(self, data: bytes, address: Address, peer: str, now: float) -> Connection | None:
        match found := self.door.knock(data, address, now, self.roster.unvalidated):
            case Turned.BUSY if len(self._hellos) < MAX_HELLOS:
                self._hellos.append((data, address, now))
            case Enter():
                if self.roster.has_room(peer):
                    return self._begin(found, data, peer, now)
                self.turned[Turned.FULL] += 1
            case Turned():
                self.turned[found] += 1
            case _:
                self._send(found, address)
        return None

    def _let_in(self, now: float) -> None:
        """Go on with those who have waited because others were being let in: in order, and none that has given up."""
        while self._hellos and (self.door.has_time(now) or now - self._hellos[0][2] > HELLO_SECONDS):
            data, address, came = self._hellos.popleft()
            if now - came > HELLO_SECONDS:
                self.turned[Turned.BUSY] += 1
            else:
                self._deliver(data, address, self._options.block(address[0]), now)

    def _begin(self, enter: Enter, data: bytes, peer: str, now: float) -> Connection:
        transport = self._backend.accept(
            self._configuration(),
            original_destination_cid=enter.original_destination_cid,
            retry_source_cid=enter.retry_source_cid,
        )
        is_validated = enter.retry_source_cid is not None
        connection = Connection(self, transport, peer, now, is_validated=is_validated)
        self.roster.add(connection, data[6 : 6 + data[5]], transport.host_cid)
        self.opened += 1
        return connection

    def _shake_hands(self, connection: Connection, data: bytes, address: Address, now: float) -> None:
        """As any packet of an established connection, but at once and on the handshakes' account."""
        started = time.thread_time()
        if connection.transport.receive(data, address, now):
            self._hear(connection)
            # Who is in now is told so together with the first answer, or by the next sweep: a packet less for each who comes.
            if not connection.is_established:
                self._settle(connection, now)
        self.door.spent(time.thread_time() - started, now)

    # --- writing -------------------------------------------------------------------------------------------------------

    def touch(self, connection: Connection) -> None:
        """``connection`` has something to say: settle soon."""
        self._touched[connection] = None
        self.wake.set()

    def settle(self) -> bool:
        """Tell applications what has come, and send what there is to send, for `HOLD_SECONDS`; whether that was all."""
        touched, now = self._touched, self.clock()
        until = now + HOLD_SECONDS
        while touched:
            self._settle(touched.popitem(last=False)[0], now)
            if touched and self.clock() > until:
                self.wake.set()
                return False
        return True

    def _settle(self, connection: Connection, now: float) -> None:
        if connection.is_over:
            return
        self._hear(connection)
        for data, address in connection.transport.transmit(now):
            self._send(data, address)

    def _hear(self, connection: Connection) -> None:
        transport = connection.transport
        while (event := transport.next_event()) is not None:
            self._tell(connection, event)

    def _send(self, data: bytes, address: Address) -> None:
        try:
            self._sendto(data, address)
        except OSError:
            return  # to QUIC it is a packet lost on the way
        self.packets_out += 1
        self.outgoing.bytes_out += len(data)

    def sweep(self) -> Iterator[None]:
        """Everybody's timers, and those who wait for progress. It yields when others should run."""
        now = self.clock()
        half_open, until = self.half_open, now + HOLD_SECONDS
        for connection in list(self.connections):
            due = connection.transport.timer()
            if due is not None and due <= now and not connection.is_over:
                connection.transport.handle_timer(now)
                self._settle(connection, now)
                if self.clock() > until:
                    yield
                    until = self.clock() + HOLD_SECONDS
            if half_open and not connection.is_established and now - connection.born > HANDSHAKE_SECONDS:
                self._remove(connection, "the handshake took too long")
        self._let_in(now)
        self._touched.update(dict.fromkeys(self.arriving.values()))
        for connection in list(self.waiting):
            self._guarded(connection, lambda application: application.progress())
        while not self.settle():
            yield

    # --- events --------------------------------------------------------------------------------------------------------

    def _tell(self, connection: Connection, event: QuicEvent) -> None:
        match event:
            case ConnectionIdIssued(connection_id=cid):
                self.roster.name(connection, cid)
            case ConnectionIdRetired(connection_id=cid):
                self.roster.retire(connection, cid)
            case ProtocolNegotiated(alpn_protocol=alpn):
                connection.alpn = alpn
            case HandshakeCompleted():
                self._established(connection)
            case ConnectionTerminated(reason_phrase=reason):
                self._remove(connection, reason)
            case _ if connection.application is not None:
                self.datagrams_in += isinstance(event, DatagramFrameReceived)
                self._guarded(connection, lambda application: application.event(event))
            case _ if connection.is_orphan:
                pass
            case _ if len(connection.early) < MAX_EARLY:
                connection.early.append(event)
            case _:
                connection.close(connection.crash_code, "too much before you were let in")

    def _guarded(self, connection: Connection, do: Callable[..., object]) -> None:
        """What an application raises costs its connection, and no other."""
        if connection.application is None or connection.is_over:
            return
        try:
            do(connection.application)
        except Exception as error:
            self.failed(connection, error)

    def _established(self, connection: Connection) -> None:
        self.roster.establish(connection)
        self.handshakes += 1
        number = next(self._numbers)
        self.arriving[number] = connection
        try:
            self.arrivals.send_nowait(number)
        except trio.WouldBlock:
            del self.arriving[number]
            connection.close(connection.crash_code, "too many arrive at once")

    def arrived(self, connection: Connection) -> None:
        """The connection has its actor and its application."""
        if connection.is_over:
            return
        early, connection.early = connection.early, []
        for event in early:
            self._tell(connection, event)
        self.touch(connection)

    # --- ends ----------------------------------------------------------------------------------------------------------

    def failed(self, connection: Connection, error: BaseException) -> None:
        """The application of ``connection`` has raised ``error``: it ends, and its actor."""
        self.failures += 1
        log(__name__, "error", "quic_connection_failed", type=type(error).__name__, message=str(error)[:200])
        if connection.pid is not None:
            self.runtime.exit(connection.pid, ("quic application", type(error).__name__))
        self.orphaned(connection)

    def orphaned(self, connection: Connection) -> None:
        """Nobody speaks for ``connection`` any more."""
        if not connection.is_over:
            self.waiting.pop(connection, None)
            self._tell_closed(connection, "the connection has ended here")
            connection.close(connection.crash_code, "the connection has ended here")

    def _remove(self, connection: Connection, reason: str) -> None:
        if connection.is_over:
            return
        connection.is_over = True
        self.roster.remove(connection)
        self.waiting.pop(connection, None)
        self.past.add(connection.transport.statistics())
        self._tell_closed(connection, reason)
        if connection.pid is not None:
            self.runtime.cast(connection.pid, Over())
        quic, connection.transport = connection.transport.quic, GONE
        if isinstance(quic, BoundedConnection):
            quic.dispose()

    def _tell_closed(self, connection: Connection, reason: str) -> None:
        application, connection.application = connection.application, None
        try:
            if application is not None:
                application.closed(reason)
        except Exception as error:
            log(__name__, "error", "quic_end_failed", type=type(error).__name__, message=str(error)[:200])

    def forget_all(self) -> None:
        """The socket is about to be closed: end every connection, and say so while it can be said."""
        for connection in list(self.connections):
            connection.transport.close(connection.crash_code, "the endpoint stops")
            for data, address in connection.transport.transmit(self.clock()):
                self._send(data, address)
            self._remove(connection, "the endpoint stops")
