"""HTTP/2: hypercorn's protocol over the h2 library, mounted on one connection, behind bounds of its own.

What is taken from hypercorn's: extended CONNECT, and with it WebSockets over HTTP/2; priorities; requests whose body is still
on its way. A request is handed on when all of it is here, as over HTTP/1.1. What is added: frames are read at a bounded rate,
a client that opens and resets streams faster than any browser is sent away, and handlers of streams that were reset count
until they have ended (the "rapid reset" of CVE-2023-44487 makes work by resetting what it has begun).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

import attrs
import h2.config
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.typing import ConnectionState

from wsactors.actors.log import log
from wsactors.wire.errors import HeadError, ProtocolError
from wsactors.wire.h2_frames import FrameCutter, Slice
from wsactors.wire.http_head import RequestHead, head_of_fields

from .body import BODILESS, BodyLease, RequestRefused, check_body
from .metrics import Meter
from .options import Limits, RequestRates
from .rates import Bucket
from .refusals import refuse

HANDLERS_PER_STREAM: Final = 2
"""How many handlers may run for each stream that may be open: those of reset streams need a moment to end."""
MAX_REQUESTS: Final = 20_000
"""On one connection: the library remembers every stream that was closed."""
SWEEP_SECONDS: Final = 0.5
_CALM = h2.errors.ErrorCodes.ENHANCE_YOUR_CALM


class TooMuch(Exception):
    """A client does more of something than any honest one: its connection is ended with ENHANCE_YOUR_CALM."""


@attrs.define
class _Incoming:
    """A request whose end has not come."""

    event: h2.events.RequestReceived
    head: RequestHead
    since: float
    body: bytearray = attrs.field(factory=bytearray)


@attrs.frozen
class Doors:
    """What requests pass before hypercorn sees them."""

    limits: Limits
    rates: RequestRates
    admit: Callable[[RequestHead], None]
    lease: BodyLease
    meter: Meter


class Http2Protocol(H2Protocol):
    """hypercorn's HTTP/2 with whole requests, and without its other doors."""

    def __init__(self, doors: Doors, app: Any, *arguments: Any) -> None:
        super().__init__(app, *arguments)
        self._doors = doors
        limits = doors.limits
        self.app = self._counted(app)
        self.connection.DEFAULT_MAX_INBOUND_FRAME_SIZE = 2**14
        self.connection.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: limits.http2_streams,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: limits.head_bytes,
            },
        )
        self.connection.decoder.max_header_list_size = limits.head_bytes
        now, rates = trio.current_time(), doors.rates
        self._requests = Bucket(rate=rates.http2_requests, burst=rates.http2_requests_burst, now=now)
        self._resets = Bucket(rate=rates.http2_resets, burst=rates.http2_resets_burst, now=now)
        self._incoming: dict[int, _Incoming] = {}
        self._progress: dict[int, float] = {}
        """When something of an answer was last sent, or there was nothing to send."""
        self._handlers = 0
        self._asked = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is asked and nothing answered."""
        return not self._incoming and super().idle

    async def take(self, piece: Slice) -> None:
        """Handle whole frames. Raises `TooMuch`."""
        now = trio.current_time()
        if piece.requests and not self._requests.take(now, piece.requests):
            raise TooMuch("too many requests")
        if piece.resets and not self._resets.take(now, piece.resets):
            raise TooMuch("too many resets")
        self._asked += piece.requests
        self._doors.meter.bytes_in += len(piece.data)
        if self._asked > MAX_REQUESTS:
            raise TooMuch("this connection has asked enough")
        await self.handle(RawData(piece.data))

    async def end(self, code: h2.errors.ErrorCodes) -> None:
        """Say goodbye, and why."""
        try:
            self.connection.close_connection(error_code=code)
            await self._flush()
        except h2.exceptions.ProtocolError:
            return  # said before
        finally:
            await self.send(Closed())

    async def sweep(self) -> None:
        """Refuse requests whose body takes too long, and reset answers of which nothing is taken, until cancelled."""
        while True:
            await trio.sleep(SWEEP_SECONDS)
            now = trio.current_time()
            for stream_id, incoming in list(self._incoming.items()):
                if incoming.since <= now - self._doors.limits.body_seconds:
                    await self._refuse(stream_id, RequestRefused(408, "the request took too long"), incoming.head.path)
            for stream_id, buffer in list(self.stream_buffers.items()):
                if not buffer.buffer:
                    self._progress[stream_id] = now
                elif self._progress.setdefault(stream_id, now) <= now - self._doors.limits.stall_seconds:
                    await self._reset(stream_id)
            for stream_id in self._progress.keys() - self.stream_buffers.keys():
                del self._progress[stream_id]

    async def _send_data(self, stream_id: int) -> None:
        try:
            if self.connection.local_flow_control_window(stream_id) > 0:
                self._progress[stream_id] = trio.current_time()
        except h2.exceptions.ProtocolError:
            pass  # it is closed, which hypercorn finds out next
        await super()._send_data(stream_id)

    async def _reset(self, stream_id: int) -> None:
        """Give up an answer of which the peer takes nothing: it keeps its window shut, and its connection open."""
        with contextlib.suppress(h2.exceptions.ProtocolError):  # it is closed already
            self.connection.reset_stream(stream_id, h2.errors.ErrorCodes.CANCEL)
        await self._flush()
        await self._close_stream(stream_id)
        await self._window_updated(stream_id)  # wakes whoever waits for room in it

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        passed: list[h2.events.Event] = []
        for event in events:
            match event:
                case h2.events.RequestReceived():
                    await self._open(event)
                case h2.events.DataReceived():
                    await self._add(event)
                case h2.events.StreamEnded(stream_id=int() as stream_id):
                    await self._hand_on(stream_id)
                case h2.events.StreamReset(stream_id=int() as stream_id):
                    self._forget(stream_id)
                    passed.append(event)
                case h2.events.PriorityUpdated() | h2.events.TrailersReceived():
                    pass  # RFC 9113 §5.3.2 does away with priorities; nobody here asks for trailers
                case _:
                    passed.append(event)
        await super()._handle_events(passed)

    async def _open(self, event: h2.events.RequestReceived) -> None:
        stream_id, path = event.stream_id or 0, ""
        try:
            head = head_of_fields(event.headers or ())
            path = head.path
            open_ended = event.stream_ended is None and head.get(b"content-length") is None
            check_body(
                head, None if open_ended and head.method not in BODILESS else head.body_length, self._doors.limits
            )
            self._doors.admit(head)
            if self._handlers >= HANDLERS_PER_STREAM * self._doors.limits.http2_streams:
                raise RequestRefused(503, "too many requests at once")
        except (RequestRefused, HeadError) as refusal:
            await self._refuse(stream_id, refusal, path)
            return
        self._incoming[stream_id] = _Incoming(event, head, trio.current_time())
        if head.get(b"expect") is not None and event.stream_ended is None:
            self.connection.send_headers(stream_id, [(b":status", b"100")])
        await self.send(Updated(idle=False))

    async def _add(self, event: h2.events.DataReceived) -> None:
        stream_id = event.stream_id or 0
        incoming = self._incoming.get(stream_id)
        if incoming is not None:
            incoming.body += event.data or b""
            try:
                if len(incoming.body) > self._doors.limits.body_bytes or incoming.head.method in {
                    "GET",
                    "HEAD",
                    "OPTIONS",
                }:
                    raise RequestRefused(413, f"a body may have {self._doors.limits.body_bytes} bytes")
                self._doors.lease.hold(sum(len(each.body) for each in self._incoming.values()))
            except RequestRefused as refusal:
                await self._refuse(stream_id, refusal, incoming.head.path)
        try:
            self.connection.acknowledge_received_data(event.flow_controlled_length or 0, stream_id)
        except h2.exceptions.ProtocolError:
            return  # the stream has been reset in the meantime

    async def _hand_on(self, stream_id: int) -> None:
        incoming = self._incoming.pop(stream_id, None)
        if incoming is None:
            return  # refused before its end came
        self._doors.meter.messages_in += 1
        await self._create_stream(incoming.event)
        stream = self.streams[stream_id]
        if incoming.body:
            await stream.handle(Body(stream_id=stream_id, data=bytes(incoming.body)))
        await stream.handle(EndBody(stream_id=stream_id))

    async def _refuse(self, stream_id: int, refusal: RequestRefused | HeadError, path: str) -> None:
        """Answer without asking the application, and want no more of this stream."""
        self._forget(stream_id)
        said = refuse(path, refusal.status, str(refusal))
        headers = [
            (b":status", b"%d" % said.status),
            *((name.encode(), value.encode()) for name, value in said.headers.items()),
            (b"content-length", b"%d" % len(said.body)),
            (b"x-content-type-options", b"nosniff"),
        ]
        with contextlib.suppress(h2.exceptions.ProtocolError):  # it has been reset, has ended, or takes nothing
            self.connection.send_headers(stream_id, headers)
            self.connection.send_data(stream_id, said.body, end_stream=True)
            self.connection.reset_stream(stream_id, h2.errors.ErrorCodes.NO_ERROR)
        await self._flush()
        await self.send(Updated(idle=self.idle))

    def _forget(self, stream_id: int) -> None:
        if self._incoming.pop(stream_id, None) is not None:
            self._doors.lease.hold(sum(len(each.body) for each in self._incoming.values()))

    def _counted(self, app: Any) -> Any:
        async def counting(*arguments: Any) -> None:
            self._handlers += 1
            try:
                await app(*arguments)
            finally:
                self._handlers -= 1

        return counting


class Http2Mount(TCPServer):
    """hypercorn's connection handler with the socket, TLS, protocol choice and reading taken out."""

    def __init__(self, doors: Doors, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._doors = doors

    async def serve(self, client: tuple[str, int], server: tuple[str, int]) -> None:
        """Serve until either side closes."""
        try:
            async with TaskGroup() as task_group:
                self._task_group = task_group
                protocol = Http2Protocol(
                    self._doors,
                    self.app,
                    self.config,
                    self.context,
                    task_group,
                    ConnectionState(self.state),
                    True,
                    client,
                    server,
                    self.protocol_send,
                )
                self._http2 = protocol
                self.protocol = protocol  # type: ignore[assignment]  # the part of ProtocolWrapper that is used
                await protocol.initiate()
                await self.idle_task.restart(task_group, self._idle_timeout)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(protocol.sweep)
                    await self._read(protocol)
                    nursery.cancel_scope.cancel()
                await protocol.handle(Closed())
                await self.idle_task.stop()
        except OSError:
            log(__name__, "debug", "http_peer_gone", client=client[0])
        finally:
            # Closing waits for nobody but the sink, which has its own deadline and ends when its connection is ended.
            with trio.CancelScope(shield=True):
                await self._close()
            self._forget()

    def _forget(self) -> None:
        """It has ended. These refer to each other, and h2's connection to itself: a cycle waits for the garbage collector."""
        protocol: Http2Protocol | None = vars(self).pop("_http2", None)
        vars(self).pop("protocol", None)
        if protocol is not None:
            vars(protocol.connection).clear()
            vars(protocol).clear()

    async def protocol_send(self, event: Event) -> None:
        """To the peer; whose connection is not idle while the rest of a request is awaited."""
        if not (isinstance(event, Updated) and event.idle and not self._http2.idle):
            await super().protocol_send(event)

    async def _read(self, protocol: Http2Protocol) -> None:
        cutter = FrameCutter(max_block=self._doors.limits.head_bytes)
        rates = self._doors.rates
        frames = Bucket(rate=rates.http2_frames, burst=rates.http2_frames_burst, now=trio.current_time())
        try:
            while data := await self.stream.receive_some():
                cutter.feed(bytes(data))
                while (piece := cutter.cut()) is not None:
                    await trio.sleep(frames.wait_time(trio.current_time(), piece.frames))
                    frames.take(trio.current_time(), piece.frames)
                    await protocol.take(piece)
        except ProtocolError:
            await protocol.end(h2.errors.ErrorCodes.PROTOCOL_ERROR)
        except TooMuch as error:
            log(__name__, "info", "http2_client_sent_away", reason=str(error))
            await protocol.end(_CALM)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            return
