"""One Engine.IO session without its connections: bytes and the time go in, events come out. Pure.

The session begins on polling or on a WebSocket; from polling it may move to a WebSocket once::

    poll, post ──► POLLING ──"2probe" on a WebSocket──► PROBED ──"5" on it──► WEBSOCKET

While it polls, what is sent waits here, bounded, for the client's next GET; a WebSocket is written to directly.
Whoever holds a session calls `EngineCore.tick` at `EngineCore.deadline` and takes the events after every call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from wsactors.realtime.send_queue import SendQueue
from wsactors.wire import engineio as eio
from wsactors.wire.engineio import Packet, Piece, Version
from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import dumps
from wsactors.wire.ws_frame import binary_frame, text_frame

from .engineio_events import (
    PARSE_ERROR,
    PING_TIMEOUT,
    TOO_SLOW,
    TRANSPORT_CLOSE,
    TRANSPORT_ERROR,
    Answer,
    Closed,
    CloseSocket,
    Event,
    Received,
    ToSocket,
    Upgraded,
)
from .engineio_options import EngineOptions

LINGER_SECONDS: Final = 30.0
"""How long a session that was ended from here waits for the GET that fetches its last words."""
NOOP_SECONDS: Final = 0.1
"""Between two answers that make a client pause its polling, while it moves to a WebSocket."""
AUDIO_AGE: Final = 0.5
_NOOP: Final = Piece(is_text=True, data=b"6")
_CLOSE: Final = Piece(is_text=True, data=b"1")
_NEVER: Final = float("inf")


class EngineCore:
    """One session.

    Args:
        sid: Its id, which is a secret.
        socket: The WebSocket it begins on; None: it polls.
        octets: Whether a client of revision 3 takes octet streams.
    """

    __slots__ = (
        "_is_probed", "_linger_due", "_noop_due", "_octets", "_options", "_pieces", "_ping_due", "_poll", "_pong_due", "_post",
        "_probe", "_probe_due", "_queue", "events", "is_closed", "sid", "socket", "version",
    )  # fmt: skip

    def __init__(
        self,
        sid: str,
        options: EngineOptions,
        *,
        now: float,
        version: Version = 4,
        socket: int | None = None,
        octets: bool = False,
    ) -> None:
        self.sid = sid
        self.version = version
        self.socket = socket
        """The WebSocket that is the transport; None: it polls."""
        self.events: list[Event] = []
        self._options = options
        self._octets = octets
        self._queue: SendQueue | None = None
        """While something waits for a GET: sessions on WebSockets are many, and need none."""
        self._pieces: deque[Piece] | None = None
        """The rest of a message that did not fit one answer."""
        self._poll: int | None = None
        self._post: int | None = None
        self._probe: int | None = None
        self._is_probed = False
        self._noop_due = self._probe_due = self._linger_due = _NEVER
        self._ping_due = now + options.ping_interval if version == 4 else _NEVER
        self._pong_due = _NEVER if version == 4 else now + options.ping_interval + options.ping_timeout
        self.is_closed = False
        """The client is gone, or told to go."""

    def __repr__(self) -> str:
        transport = "polling" if self.socket is None else "websocket"
        state = "closed" if self.is_closed else "probing" if self._probe is not None else "open"
        return f"<EngineCore {transport} {state} {'with something waiting' if self._waiting else ''}>"

    @property
    def deadline(self) -> float:
        """When `tick` is due."""
        return min(self._ping_due, self._pong_due, self._probe_due, self._linger_due, self._noop_at)

    @property
    def is_over(self) -> bool:
        """Whether nothing more can come of it."""
        return self.is_closed and self._linger_due == _NEVER

    @property
    def can_write(self) -> bool:
        """Whether a polling client waits for something, and nothing waits for it."""
        return self._poll is not None and not self._waiting

    def handshake(self) -> bytes:
        """The packet that opens the session."""
        options = self._options
        upgrades = ["websocket"] if self.socket is None and options.websocket else []
        return b"0" + dumps(
            {
                "sid": self.sid,
                "upgrades": list(upgrades),
                "pingInterval": round(options.ping_interval * 1000),
                "pingTimeout": round(options.ping_timeout * 1000),
                "maxPayload": options.max_payload,
            }
        )

    # -- polling --

    def poll(self, ticket: int, now: float) -> None:
        """The client asks what there is."""
        self.tick(now)
        if self.is_over or self.socket is not None:
            self.events.append(Answer(ticket, None))
        elif self._poll is not None:
            # The specification's rule: of two at a time the first is told that it is over, the second is refused.
            self._answer(_CLOSE)
            self.events.append(Answer(ticket, None))
            self._close(TRANSPORT_ERROR)
        else:
            self._poll = ticket
            self.flush(now)

    def poll_lost(self, ticket: int) -> None:
        """The client has given the GET up, or its connection broke: an answer would be lost."""
        if self._poll == ticket:
            self._poll = None
            self._close(TRANSPORT_ERROR)

    def begin_post(self, ticket: int, now: float) -> bool:
        """The client says something; False: it may not, and is answered."""
        self.tick(now)
        overlaps = self._post is not None
        if self.is_closed or self.socket is not None or overlaps:
            self.events.append(Answer(ticket, None))
            if overlaps:
                self._close(TRANSPORT_ERROR)
            return False
        self._post = ticket
        return True

    def take(self, packets: Iterable[Packet], now: float) -> None:
        """Some of the packets of the POST in progress."""
        for packet in packets:
            if self.is_closed:
                return
            if packet.type == eio.CLOSE:
                self._hang_up()
                self._close(TRANSPORT_CLOSE)
            else:
                self._handle(packet, now)

    def end_post(self, *, is_valid: bool = True) -> None:
        """That was all of it; ``is_valid``: it could be read to its end."""
        ticket, self._post = self._post, None
        if ticket is None:
            return
        if not is_valid:
            self._hang_up()
            self._close(PARSE_ERROR)
        self.events.append(Answer(ticket, b"ok" if is_valid else None))

    # -- WebSockets --

    def attach(self, socket: int, now: float) -> None:
        """The client has opened a WebSocket for this session, to move to."""
        self.tick(now)
        if self.is_closed or self.socket is not None or self._probe is not None or not self._options.websocket:
            self.events.append(CloseSocket(socket))
            return
        self._probe = socket
        self._is_probed = False
        self._probe_due = now + self._options.upgrade_timeout

    def message(self, socket: int, data: str | bytes, now: float) -> None:
        """A message on a WebSocket."""
        if socket not in {self.socket, self._probe} or (self.is_closed and socket != self._probe):
            return
        try:
            packet = eio.decode_packet(data, self.version)
        except ProtocolError:
            packet = None
        if socket == self._probe:
            self._move(packet, now)
        elif packet is None:
            self.close(PARSE_ERROR, now)
        elif packet.type == eio.CLOSE:
            self._close(TRANSPORT_CLOSE)
        else:
            self._handle(packet, now)

    def socket_lost(self, socket: int, reason: str = TRANSPORT_CLOSE) -> None:
        """A WebSocket has ended; ``reason``: of the session's end, if that was what carried it."""
        if socket == self._probe:
            self._end_probe()
        elif socket == self.socket:
            self.socket = None
            self._close(reason)

    # -- both --

    def send(self, frames: bytes, key: object, now: float) -> bool:
        """Keep ``frames``, whole WebSocket frames, for a client that polls; False: they will not arrive.

        Call `flush` when there is nothing more to send for the moment.
        """
        if self.is_closed or self.socket is not None:
            return False
        if self._queue is None:
            self._queue = SendQueue(self._options.buffer_bytes, AUDIO_AGE)
        if self._queue.add(frames, key, now):
            return True
        if key is None:
            self._close(TOO_SLOW)
        return False

    def flush(self, now: float) -> None:
        """Answer the GET that waits, if there is something to answer."""
        if self._poll is None:
            return
        pieces = self._take(now)
        if pieces:
            self._answer(*pieces)
        elif self.is_closed:
            # By itself: JavaScript's client ends the connection before it looks at what came in the same answer.
            self._linger_due = _NEVER
            self._answer(_CLOSE)
        elif self._is_probed and self._noop_at <= now:
            self._noop_due = now + NOOP_SECONDS
            self._answer(_NOOP)

    def close(self, reason: str, now: float, *, linger: float = LINGER_SECONDS) -> None:
        """End the session from here. A client that polls within ``linger`` seconds gets what waits for it, and is told.

        So does one that has stopped polling to move: closing the WebSocket that it moves to would leave it with nothing to read.
        """
        if self.is_closed:
            return
        is_polling = self.socket is None
        self._close(reason, may_move=is_polling and self._is_probed)
        if is_polling:
            self._linger_due = now + linger
            self.flush(now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if now >= self._linger_due:
            self._linger_due = _NEVER
        if self.is_closed:
            return
        if now >= self._ping_due:
            # From when it was due, not from when somebody looked: the client counts with the same numbers.
            self._pong_due = self._ping_due + self._options.ping_timeout
            self._ping_due = _NEVER
            self._put(b"2", now)
        if now >= self._pong_due:
            self._hang_up()
            self._close(PING_TIMEOUT)
        elif now >= self._probe_due and self._probe is not None:
            self.events.append(CloseSocket(self._probe))
            self._end_probe()
        elif now >= self._noop_at:
            self.flush(now)

    # -- inside --

    @property
    def _waiting(self) -> bool:
        return bool(self._pieces) or (self._queue is not None and self._queue.size > 0)

    @property
    def _noop_at(self) -> float:
        """When a GET that waits is answered with nothing; only while the client moves."""
        return self._noop_due if self._poll is not None and self._is_probed else _NEVER

    def _handle(self, packet: Packet, now: float) -> None:
        match packet.type:
            case eio.MESSAGE:
                self.events.append(Received(packet.data))
            case eio.PONG if self.version == 4:
                self._pong_due = _NEVER
                self._ping_due = now + self._options.ping_interval
            case eio.PING if self.version == 3:
                self._pong_due = now + self._options.ping_interval + self._options.ping_timeout
                data = packet.data
                self._put(b"3" + (data.encode() if isinstance(data, str) else data), now)
            case eio.NOOP:
                pass
            case _:
                self.close(TRANSPORT_ERROR, now)

    def _put(self, packet: bytes, now: float) -> None:
        frame = text_frame(packet)
        if self.socket is not None:
            self.events.append(ToSocket(self.socket, frame))
        else:
            self.send(frame, None, now)
            self.flush(now)

    def _take(self, now: float) -> list[Piece]:
        """What goes into one answer."""
        taken: list[Piece] = []
        size = 0
        while len(taken) < eio.MAX_PACKETS_OUT and size < self._options.max_payload:
            if not self._pieces:
                message = self._queue.take(now) if self._queue is not None else None
                if message is None:
                    self._queue = self._pieces = None
                    break
                self._pieces = deque(eio.pieces_of(message[0]))
            taken.append(self._pieces.popleft())
            size += len(taken[-1].data)
        return taken

    def _answer(self, *pieces: Piece) -> None:
        assert self._poll is not None
        try:
            body = eio.join_pieces(pieces, self.version, octets=self._octets)
        except ProtocolError:  # an application has sent a text that cannot be polled
            body = None
            self._close(TRANSPORT_ERROR)
        self.events.append(Answer(self._poll, body, len(pieces)))
        self._poll = None

    def _hang_up(self) -> None:
        """Let the GET that waits, if any, end in order."""
        if self._poll is not None:
            self._answer(_NOOP)

    def _move(self, packet: Packet | None, now: float) -> None:
        """What a client says on the WebSocket that it wants to move to."""
        socket = self._probe
        assert socket is not None
        match packet:
            case Packet(eio.PING, "probe") if not self._is_probed:
                self._is_probed = True
                self._noop_due = now
                self.events.append(ToSocket(socket, text_frame(b"3probe")))
                self.flush(now)
            case Packet(eio.UPGRADE, "") if self._is_probed:
                self._hang_up()
                self._end_probe()
                self.socket = socket
                self.events.append(Upgraded(socket))
                self._write_out(now)
                if self.is_closed:  # while it moved
                    self._linger_due = _NEVER
                    self.events.append(CloseSocket(socket))
            case _:
                self.events.append(CloseSocket(socket))
                self._end_probe()

    def _write_out(self, now: float) -> None:
        """Write to the WebSocket what has waited for a GET."""
        for is_text, data in self._pieces or ():
            self._to_socket(text_frame(data) if is_text else binary_frame(data))
        while self._queue is not None and (message := self._queue.take(now)) is not None:
            self._to_socket(message[0])
        self._queue = self._pieces = None

    def _to_socket(self, frames: bytes) -> None:
        assert self.socket is not None
        self.events.append(ToSocket(self.socket, frames if self.version == 4 else eio.reframe3(frames)))

    def _end_probe(self) -> None:
        self._probe = None
        self._is_probed = False
        self._probe_due = self._noop_due = _NEVER

    def _close(self, reason: str, *, may_move: bool = False) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._ping_due = self._pong_due = self._probe_due = self._noop_due = _NEVER
        self.events.append(Closed(reason))
        if may_move:
            return
        self.events += [CloseSocket(socket) for socket in (self._probe, self.socket) if socket is not None]
        self._end_probe()
