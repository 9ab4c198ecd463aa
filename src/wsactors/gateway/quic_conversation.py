"""The native protocol on a QUIC connection, with WebTransport or without: control on one stream, sound in datagrams.

What is spoken is what is spoken on a WebSocket (`native`): messages, each behind its length as a varint, on the first stream
that the client opens for both directions; audio frames as datagrams. Clients that are no browsers may speak it on QUIC
itself (ALPN ``wsactors``), without HTTP/3 around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio
from aioquic.quic.events import DatagramFrameReceived, QuicEvent, StopSendingReceived, StreamDataReceived, StreamReset

from wsactors.media.quic.connection import Connection
from wsactors.media.quic.guard import Allowance
from wsactors.media.quic.h3 import H3_NO_ERROR, Http3, Session
from wsactors.realtime.sinks import SinkClosed, SlowReader
from wsactors.realtime.watch import Deadline, SocketWatch
from wsactors.wire.errors import ProtocolError
from wsactors.wire.length_prefix import LengthPrefixed
from wsactors.wire.native import ReceiverReport

from .datagram_sink import ControlStream, DatagramSink
from .framing import BY_LENGTH
from .hearing import HearingWatch
from .native import NativeConversation, realtime_of
from .native_topics import NativeTopics
from .tickets import Ticket
from .ws import CLOSE_IDLE, INTERNAL_ERROR, NORMAL, PROTOCOL_ERROR, TRY_AGAIN_LATER

if TYPE_CHECKING:
    from wsactors.actors import Pid

    from .metrics import Meter
    from .port import Port

ALPN: Final = "wsactors"
HELLO_SECONDS: Final = 3.0
"""In which the first message must have come."""
ASK_SECONDS: Final = 10.0
"""Without a word from the client, after which it is asked whether it is still there: QUIC lets go after 30."""
LAST_WORDS_SECONDS: Final = 1.0
"""In which a client should have acknowledged what it was told at last; then it is closed anyway."""
FRAME_COST: Final = 128
"""Bytes of a client's allowance that a message costs beside its own."""
SPEECH_RATE: Final = 250.0
"""Datagrams a second of one client that are looked at: frames of 10 ms are 100, and some come in bunches."""


class QuicConversation:
    """The native protocol with one client; what carries it ends with it.

    Args:
        connection: The connection.
        port: What it is a client of.
        protocol: As what it counts.
        prefix: With what each of its datagrams begins.
        session: The WebTransport session that it is, if it is one.
        origin: Of the page that it is, if it is one.
        ticket: With what it has come in already.
    """

    def __init__(
        self,
        connection: Connection,
        port: Port,
        *,
        protocol: str,
        prefix: bytes = b"",
        session: Session | None = None,
        origin: str = "",
        ticket: Ticket | None = None,
    ) -> None:
        assert connection.pid is not None
        limits = port.options.limits
        self._connection = connection
        self._port = port
        self._session = session
        self.stream = ControlStream(connection, limit=limits.buffer_bytes, stall_seconds=limits.stall_seconds)
        self.sink = DatagramSink(connection, self.stream, prefix)
        self._splitter = LengthPrefixed(limits.message_bytes)
        rate = max(limits.input_rate, limits.message_bytes / 2)
        self._allowance = Allowance(rate=rate, burst=rate + 2 * limits.message_bytes)
        self._speech = Allowance(rate=SPEECH_RATE, burst=SPEECH_RATE / 4)
        self.talk = NativeConversation(
            self.sink,
            port,
            connection.pid,
            self.close,
            NativeTopics(realtime_of(port), self.stream, connection.pid, BY_LENGTH),
            address=connection.address,
            origin=origin,
            on_report=self._hear,
            ticket=ticket,
            transport=protocol,
        )
        self._greeted = self._has_ended = False
        self._closing: tuple[int, str] | None = None
        self._closes_at = 0.0
        self._heard_at = trio.current_time()
        self._alarm: Deadline = SocketWatch.current().at(self._heard_at + HELLO_SECONDS, self._no_hello)
        self._enter(connection.pid, protocol)

    def _enter(self, pid: Pid, protocol: str) -> None:
        """Be counted, shown and told when the node stops."""
        self._port.meters.opened(self.sink, pid, self._connection.address)
        self._hearing = HearingWatch.of(self._port, self.sink)
        self._meter: Meter = self._port.meters.speaks(self.sink, protocol)
        self._port.quic.add(self)
        self._port.drain.enter(self)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or is about to."""
        return self._closing is not None

    # --- what comes ----------------------------------------------------------------------------------------------------

    def stream_data(self, stream_id: int, data: bytes, *, end: bool) -> bool:
        """Take bytes of a stream of the client's; whether it is the one for messages. Another is not read."""
        if self.stream.id is None and not stream_id & 3:
            self.stream.id = stream_id
            self.stream.progress()
        if stream_id != self.stream.id:
            return False
        if self.is_over:
            return True
        self._meter.bytes_in += len(data)
        self._heard_at = trio.current_time()
        try:
            self._take(data)
        except ProtocolError as error:
            self._refuse(error)
        if end and not self.is_over:
            self.close(NORMAL, "")
        return True

    def _take(self, data: bytes) -> None:
        messages = self._splitter.feed(data)
        if not self._allowance.take(self._heard_at, len(data) + FRAME_COST * len(messages)):
            return self.close(TRY_AGAIN_LATER, "you send too much")
        for message in messages:
            self._meter.messages_in += 1
            if not self.is_over and not self._connection.tell(message):
                self.close(TRY_AGAIN_LATER, "you send too much")
        return None

    def datagram(self, data: bytes) -> None:
        """Take an audio frame of the client."""
        self._meter.bytes_in += len(data)
        now = trio.current_time()
        if self._greeted and not self.is_over and self._speech.take(now):
            self._meter.messages_in += 1
            self._heard_at = now
            self.talk.speak(data)

    def _hear(self, report: ReceiverReport) -> None:
        now = trio.current_time()
        heard = self.sink.hear(report, now)
        if self._hearing is not None:
            heard = self._hearing.take(heard, self.sink.rtt)
        self.talk.hear(heard, now)

    def lost(self, stream_id: int) -> None:
        """The client has given up a stream; without the one for messages there is nothing to be said."""
        if stream_id == self.stream.id:
            self.close(NORMAL, "")

    async def handle(self, message: bytes) -> None:
        """Do what a message asks for, in the connection's actor."""
        if self.is_over:
            return
        try:
            if self._greeted:
                await self.talk.receive(message)
            else:
                await self._greet(message)
        except ProtocolError as error:
            self._refuse(error)

    async def _greet(self, message: bytes) -> None:
        self._greeted = True
        await self.talk.greet(message)
        self._port.meters.belongs_to(self.sink, self.talk.subject)
        if not self.is_over:
            self._set_alarm(trio.current_time() + ASK_SECONDS)

    def _refuse(self, error: ProtocolError) -> None:
        if not self.is_over:
            self.talk.refuse(error)

    # --- silence -------------------------------------------------------------------------------------------------------

    def _set_alarm(self, when: float) -> None:
        self._alarm.cancel()
        self._alarm = SocketWatch.current().at(when, self._look)

    def _no_hello(self) -> None:
        if not self._greeted:
            self.close(CLOSE_IDLE, "nothing was heard from you")

    def _look(self) -> None:
        """Ask a silent client for a word: that also keeps what is between us from forgetting it."""
        now = trio.current_time()
        due = self._heard_at + ASK_SECONDS  # a moment: a rest of seconds may be too little to move the clock
        if now >= due:
            self.talk.ask()
            due = now + ASK_SECONDS
        self._set_alarm(due)

    # --- ends ----------------------------------------------------------------------------------------------------------

    def say_goodbye(self, seconds: float, why: str = "the node stops") -> None:
        """See `Guest.say_goodbye`."""
        if not self.is_over:
            if self._session is not None:
                self._session.drain()
            self.talk.say_goodbye(seconds, why)

    def close(self, code: int, reason: str) -> None:
        """End it, once the client has acknowledged what it was told, within `LAST_WORDS_SECONDS`. The first code counts."""
        if self._closing is not None:
            return
        self._closing = code, reason
        self._closes_at = self._connection.hub.clock() + LAST_WORDS_SECONDS
        self._alarm.cancel()
        self.stream.finish()
        self._connection.await_progress()

    def progress(self) -> bool:
        """See `Application.progress`; whether to ask again."""
        waits = self.stream.progress()
        if isinstance(self.stream.closed, SlowReader):
            self.close(TRY_AGAIN_LATER, "you read too slowly")
        if self._closing is None or self._has_ended:
            return waits
        if self.stream.is_flushed or self._connection.hub.clock() >= self._closes_at:
            if self._session is not None:
                self._session.close(*self._closing)
            else:
                self._connection.close(*self._closing)
            return False
        return True

    def leave(self) -> None:
        """Nothing more is to be said to the client: nobody who stops waits for it any longer."""
        if self.is_over:
            self._port.drain.leave(self)

    def ended(self) -> None:
        """The connection or the session is over."""
        self._alarm.cancel()
        self._closing = self._closing or (NORMAL, "")
        self.stream.give_up(SinkClosed("the connection is closed"))
        self._port.drain.leave(self)
        self._port.quic.discard(self)
        self._port.meters.closed(self.sink)
        self.talk.end()
        self._has_ended, self._session = True, None


class RawApplication:
    """An `Application`: the native protocol on QUIC itself."""

    def __init__(self, connection: Connection, port: Port) -> None:
        connection.crash_code = INTERNAL_ERROR
        self._connection = connection
        self._conversation = QuicConversation(connection, port, protocol="quic")

    def event(self, event: QuicEvent) -> None:
        """See `Application.event`."""
        match event:
            case DatagramFrameReceived(data=data):
                self._conversation.datagram(data)
            case StreamDataReceived(stream_id=stream_id, data=data, end_stream=end):
                if not self._conversation.stream_data(stream_id, data, end=end):
                    self._connection.close(PROTOCOL_ERROR, "one stream is enough")
            case StreamReset(stream_id=stream_id) | StopSendingReceived(stream_id=stream_id):
                self._conversation.lost(stream_id)

    def progress(self) -> None:
        """See `Application.progress`."""
        if not self._conversation.progress():
            self._connection.stop_awaiting()
            self._conversation.leave()

    async def handle(self, message: Any) -> None:
        """See `Application.handle`."""
        await self._conversation.handle(message)

    def closed(self, _reason: str) -> None:
        """See `Application.closed`."""
        self._conversation.ended()


class SessionHandler:
    """A `Handler`: the native protocol in a WebTransport session."""

    def __init__(self, session: Session, port: Port, *, origin: str, ticket: Ticket | None) -> None:
        self._session = session
        self.conversation = QuicConversation(
            session.connection,
            port,
            protocol="webtransport",
            prefix=session.prefix,
            session=session,
            origin=origin,
            ticket=ticket,
        )

    def datagram(self, data: bytes) -> None:
        """See `Handler.datagram`."""
        self.conversation.datagram(data)

    def stream_data(self, stream_id: int, data: bytes, *, end: bool) -> None:
        """See `Handler.stream_data`."""
        if not self.conversation.stream_data(stream_id, data, end=end):
            self._session.refuse_stream(stream_id, PROTOCOL_ERROR)

    def stream_ended(self, stream_id: int, _code: int | None) -> None:
        """See `Handler.stream_ended`."""
        self.conversation.lost(stream_id)

    def draining(self) -> None:
        """See `Handler.draining`."""
        self.conversation.close(NORMAL, "as you asked")

    def ended(self, _code: int, _reason: str) -> None:
        """See `Handler.ended`."""
        self.conversation.ended()


class WebTransportApplication:
    """An `Application`: HTTP/3 with one WebTransport session."""

    def __init__(self, connection: Connection, http: Http3, handler: list[SessionHandler]) -> None:
        self._connection = connection
        self._http = http
        self._handler = handler
        self._alarm = SocketWatch.current().at(trio.current_time() + HELLO_SECONDS, self._look)

    def _look(self) -> None:
        if not self._handler:
            self._connection.close(H3_NO_ERROR, "no session was asked for")

    def event(self, event: QuicEvent) -> None:
        """See `Application.event`."""
        self._http.event(event)

    def progress(self) -> None:
        """See `Application.progress`."""
        waits = [each.conversation.progress() for each in self._handler]
        waits.append(self._http.progress())
        if not any(waits):
            self._connection.stop_awaiting()
            for each in self._handler:
                each.conversation.leave()

    async def handle(self, message: Any) -> None:
        """See `Application.handle`."""
        for each in self._handler:
            await each.conversation.handle(message)

    def closed(self, reason: str) -> None:
        """See `Application.closed`."""
        self._alarm.cancel()
        self._http.over(reason)
        self._handler.clear()  # else it would be a cycle, and stay until the garbage collector comes
