"""One WebSocket (RFC 6455), server side: messages in, frames out, everything between them handled here.

wsproto parses what comes; what goes out is whole frames, made once for all receivers (`framing`) and offered to the sink of
the connection. trio-websocket is not used: it keeps tasks, nurseries and queues for each connection. Measured with 2,000
idle connections, growth of the process per connection: a bare task that waits in ``recv`` 5.1 KiB, with a parser of wsproto's
6.8 KiB, with trio-websocket 19.0 KiB. Here the parser goes, too, while no message is in the middle: a whole idle connection,
with its actor, its sink and the native protocol on it, is 11 KiB.

The connection's own task reads, in `receive`. Sending and closing never wait, and are done by whoever wants to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import trio
from wsproto.frame_protocol import Opcode

from wsactors.realtime.sinks import SlowReader, SocketSink
from wsactors.realtime.watch import Deadline, SocketWatch
from wsactors.wire.http_head import RequestHead
from wsactors.wire.ws_frame import close_frame, ping_frame, pong_frame

from .deflate import agree
from .framing import PLAIN, Framing
from .handshake import http_answer, switching_protocols
from .metrics import Meter
from .options import Limits
from .proxies import Client
from .stream import ConnectionStream, Pace
from .ws_reader import MessageReader, ProtocolBroken

NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002
NO_STATUS: Final = 1005
ABNORMAL: Final = 1006
"""What a close is that came without a close frame. Like `NO_STATUS`, never sent."""
INTERNAL_ERROR: Final = 1011
RESTART: Final = 1012
"""The node stops: come back, to whoever is there then."""
TRY_AGAIN_LATER: Final = 1013
"""What a client is told that reads too slowly: what it has missed, it can ask for again."""
CLOSE_KICKED: Final = 4403
CLOSE_IDLE: Final = 4408

CLOSING_SECONDS: Final = 2.0
"""In which the closing handshake must be over."""
PORTION: Final = 4 * 1024
"""Bytes read in one go."""
FRAME_COST: Final = 128
"""Bytes of a client's allowance that a frame costs beside its own, at the rate of the port's limits."""
MESSAGE_SECONDS: Final = 2.0
"""In which a client may send another message of the largest size, where the port's rate would not let it."""
_FRAMES_AT_ONCE: Final = 32
"""Frames handled before other tasks run: a third of a millisecond."""
_PONG: Final = "pong"
"""The newest pong will do (RFC 6455 §5.5.3), so a flood of pings cannot fill the buffer."""
_PING: Final = "ping"

_UNCOUNTED = Meter("websocket")


class WebSocketClosed(Exception):
    """The WebSocket is closed, by either side."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        """`ABNORMAL` where no close frame came, `NO_STATUS` where it had no code."""
        self.reason = reason


class WebSocket:
    """One WebSocket; see above.

    Args:
        stream: The connection, read up to the end of the handshake's head.
        head: That head, which has passed `check_handshake`.
        limits: Bounds of the port.
        client: Who is at the other end.
        deflate: Whether permessage-deflate may be agreed on.
    """

    __slots__ = (
        "__weakref__",
        "_alarm",
        "_asked",
        "_closed",
        "_deflates",
        "_frame_cost",
        "_head",
        "_heard",
        "_idle_seconds",
        "_limits",
        "_max_message",
        "_may_deflate",
        "_peer_is_done",
        "_reader",
        "_slow_code",
        "_streak",
        "_stream",
        "_unread",
        "ask",
        "client",
        "framing",
        "goodbye",
        "meter",
        "sink",
    )

    def __init__(
        self, stream: ConnectionStream, head: RequestHead, limits: Limits, client: Client, *, deflate: bool = False
    ) -> None:
        self._stream = stream
        self._head: RequestHead | None = head
        self._limits = limits
        self._may_deflate = deflate
        self._deflates = False
        self._max_message = limits.message_bytes
        self._reader: MessageReader | None = None
        self._unread = False
        self._frame_cost = FRAME_COST
        self._streak = 0
        self._closed: WebSocketClosed | None = None
        self._peer_is_done = False
        self._slow_code = TRY_AGAIN_LATER
        self._heard = 0.0
        self._asked = 0.0
        self._idle_seconds = 0.0
        self._alarm: Deadline | None = None
        self.sink: SocketSink = stream.sink
        """Takes whole frames, as `framing` makes them."""
        self.framing: Framing = PLAIN
        """How messages are put on this connection; the same object for all that agreed on the same."""
        self.client = client
        """Who is at the other end, as far as proxies are believed."""
        self.meter: Meter = _UNCOUNTED
        """Where its messages are counted."""
        self.ask: Callable[[], object] | None = None
        """How a client is asked whether it is still there; None: by a ping of the WebSocket."""
        self.goodbye: Callable[[float], object] | None = None
        """Says goodbye when the node stops, the protocol's own way: told in how many seconds to come back, it must end with
        `close`. None: closed with `RESTART`."""

    def __repr__(self) -> str:
        state = "new" if self._head is not None else "open" if self._closed is None else f"closed {self._closed.code}"
        return f"<WebSocket {state}>"

    @property
    def closed(self) -> WebSocketClosed | None:
        """How it was closed, by either side; None while it is open, or not accepted yet."""
        return self._closed

    @property
    def is_accepted(self) -> bool:
        """Whether `accept` was called."""
        return self._head is None

    # --- opening -------------------------------------------------------------------------------------------------------

    def accept(
        self,
        subprotocol: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        *,
        max_message: int | None = None,
        deflate: bool | None = None,
    ) -> None:
        """Answer the handshake: from here on it is open.

        Args:
            subprotocol: One of those that the client offered; None says nothing about it.
            headers: More headers for the answer.
            max_message: Most bytes of one message, inflated; None as the port's limits say.
            deflate: Whether permessage-deflate is agreed on if the client asks; None as the port's settings say.
        """
        assert self._head is not None, "accept is called once"
        agreement = agree(self._head) if (self._may_deflate if deflate is None else deflate) else None
        if agreement is not None:
            self.framing, self._deflates = agreement.framing, True
        self._max_message = max_message or self._max_message
        extensions = agreement.header if agreement is not None else ""
        answer = switching_protocols(self._head, subprotocol=subprotocol, extensions=extensions, headers=headers)
        self._head = None
        limits = self._limits
        # A higher rate is for large messages: as many frames a second are let in as without it.
        rate = max(limits.input_rate, self._max_message / MESSAGE_SECONDS)
        self._frame_cost = int(FRAME_COST * rate / limits.input_rate)
        self._stream.pace = Pace(rate, 2 * max(self._max_message, limits.message_bytes), PORTION)
        self.sink.offer(answer)
        self.tell_slow_readers(TRY_AGAIN_LATER, "you read too slowly")
        self.watch_silence(self._limits.idle_seconds)

    def refuse(
        self,
        status: int,
        body: bytes,
        content_type: str = "text/plain; charset=utf-8",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer the handshake by an HTTP response, and end the connection. Return from the conversation after it."""
        assert self._head is not None, "it is accepted already"
        self.sink.offer(http_answer(status, body, content_type, headers))

    def prepare_audio(self) -> None:
        """Have the kernel keep little of what is sent: sound must not grow old in there."""
        self._stream.prepare_audio()

    def tell_slow_readers(self, code: int, reason: str) -> None:
        """Close with ``code`` if the client reads so slowly that what waits for it does not fit the buffer."""
        self._slow_code = code
        self.sink.farewell = close_frame(code, reason)

    def watch_silence(self, seconds: float | None) -> None:
        """After ``seconds`` without a word from the client, `ask` it; after as many more, close with `CLOSE_IDLE`.

        None: never, for the protocol that is spoken here has heartbeats of its own, and closes when they stop.
        """
        if seconds is None:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
            return
        self._idle_seconds = seconds
        self._heard = trio.current_time()
        self._asked = 0.0
        self._set_alarm(self._heard + seconds)

    # --- receiving -----------------------------------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """The next message. Pings are answered here, and a close.

        Raises:
            WebSocketClosed: It is closed, from whichever side.
        """
        while True:
            if self._closed is not None:
                raise WebSocketClosed(self._closed.code, self._closed.reason)
            if self._unread and self._reader is not None:
                message = self._parse(self._reader)
                if message is not None:
                    self.meter.messages_in += 1
                    self._streak = (self._streak + 1) % _FRAMES_AT_ONCE
                    if self._streak:
                        await trio.lowlevel.checkpoint_if_cancelled()
                    else:
                        await trio.lowlevel.checkpoint()
                    return message
                await trio.lowlevel.checkpoint()
                continue
            try:
                # Here a connection spends its life, so nothing is called in between that would be kept in memory for it.
                has_come = self._read(await self._stream.allowance())
                if has_come is None:
                    await self._stream.wait_input()
                elif not has_come:
                    self._lost()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._lost()

    def _read(self, size: int) -> bool | None:
        """Read what has come, at most ``size`` bytes; None when that is nothing, False at the end."""
        data = self._stream.read_now(size)
        if data is None:
            return None
        if not data:
            return False
        self._heard = trio.current_time()
        self.meter.bytes_in += len(data)
        self._stream.spend(len(data))
        if self._reader is None:
            self._reader = MessageReader.take(self._max_message, deflates=self._deflates)
        self._reader.feed(data)
        self._unread = True
        return True

    def _parse(self, reader: MessageReader) -> str | bytes | None:
        """The next message in what was read; None when there is none, or after so many frames that others must run."""
        for _ in range(_FRAMES_AT_ONCE):
            try:
                said = reader.next()
            except ProtocolBroken as broken:
                self._peer_is_done = True  # nothing that it sends can be understood any more
                self.close(broken.code, broken.reason)
                return None
            if said is None:
                self._unread = False
                if reader.give_back():
                    self._reader = None
                return None
            self._stream.spend(self._frame_cost)
            match said:
                case Opcode.TEXT | Opcode.BINARY, message:
                    return message  # type: ignore[no-any-return]
                case Opcode.PING, payload:
                    self.sink.offer(pong_frame(payload), _PONG)
                case Opcode.CLOSE, (code, reason):
                    self._peer_closed(code, reason)
                    return None
        return None

    # --- sending -------------------------------------------------------------------------------------------------------

    def send_text(self, data: str | bytes, key: object = None) -> bool:
        """Offer a text message (bytes: UTF-8) to the sink, under ``key``. False when it will not be delivered."""
        return self.sink.offer(self.framing.text(data.encode() if isinstance(data, str) else data), key)

    def send_bytes(self, data: bytes, key: object = None) -> bool:
        """Offer a binary message to the sink, under ``key``. False when it will not be delivered."""
        return self.sink.offer(self.framing.binary(data), key)

    def ping(self) -> None:
        """Have the client show that it is there."""
        self.sink.offer(ping_frame(), _PING)

    # --- closing -------------------------------------------------------------------------------------------------------

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Send a close frame behind all that was sent in order, and nothing after it. `receive` raises from now on.

        Does not wait. May be called by anybody and again; the first code counts.
        """
        if self._closed is None:
            self._end(WebSocketClosed(code, reason), close_frame(code, reason))

    def say_goodbye(self, seconds: float) -> None:
        """The node stops: tell the client so, and that it should come back in ``seconds``."""
        if self.goodbye is not None and self._closed is None:
            self.goodbye(seconds)
        self.close(RESTART, f"this node stops; come back in {seconds:.1f} s")

    async def finish(self) -> None:
        """Close it if nobody has, and see the closing handshake through, for at most `CLOSING_SECONDS`."""
        self.close()
        if self.sink.closed is None:  # the client is gone without a word
            return
        self._stream.pace = None
        try:
            while not self._peer_is_done:
                await self._skim()
            await self.sink.wait_sent()
            await self._stream.send_eof()
            while await self._stream.receive_some():
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    async def _skim(self) -> None:
        """Read on, for nothing but the client's own close frame."""
        if self._unread and self._reader is not None:
            self._parse(self._reader)
        elif (has_come := self._read(PORTION)) is None:
            await self._stream.wait_input()
        elif not has_come:
            self._peer_is_done = True
        await trio.lowlevel.checkpoint()

    def _peer_closed(self, code: int, reason: str) -> None:
        self._peer_is_done = True
        if self._closed is None:
            answer = close_frame() if code == NO_STATUS else close_frame(code)
            self._end(WebSocketClosed(int(code), reason), answer)

    def _lost(self) -> None:
        """The connection has ended, or is ending because its sink gave the client up."""
        if self._closed is None:
            why = self.sink.closed
            code = self._slow_code if isinstance(why, SlowReader) else ABNORMAL
            self._peer_is_done |= why is None
            self._end(WebSocketClosed(code, "the connection is gone" if why is None else str(why)), None)

    def _end(self, closed: WebSocketClosed, frame: bytes | None) -> None:
        self._closed = closed
        if self._alarm is not None:
            self._alarm.cancel()
        if frame is not None:
            self.sink.finish(frame, grace=CLOSING_SECONDS)

    # --- silence -------------------------------------------------------------------------------------------------------

    def _set_alarm(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = SocketWatch.current().at(when, self._mind_silence)

    def _mind_silence(self) -> None:
        now = trio.current_time()
        quiet_until = self._heard + self._idle_seconds
        if now < quiet_until:
            self._set_alarm(quiet_until)
        elif self._heard < self._asked:
            self.close(CLOSE_IDLE, "nothing was heard from you")
        else:
            self._asked = now
            (self.ask or self.ping)()
            self._set_alarm(now + self._idle_seconds)
