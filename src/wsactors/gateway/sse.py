"""Topics as server-sent events: ``GET /api/topics/TOPIC/events``.

Every publication is one event whose id is its place, ``EPOCH:OFFSET``; a reader that comes back with it as Last-Event-ID is
told in the first event, ``joined``, whether it has missed anything that it cannot be given. Over HTTP/1.1 publications go
past hypercorn, straight to the connection's sink, framed as chunks once for all readers: nobody's task wakes up for them.
Over HTTP/2, where each stream has its own window, a task hands them on.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import trio
from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from wsactors.cluster import CHANGES
from wsactors.realtime.identity import Refused, User
from wsactors.realtime.outlet import Joined
from wsactors.realtime.publication import Position, PresenceDiff, PresenceState, Publication
from wsactors.realtime.pull_sink import PullSink
from wsactors.realtime.sinks import Sink, SinkClosed, SocketSink
from wsactors.wire.errors import ProtocolError
from wsactors.wire.plain import Plain
from wsactors.wire.sse import COMMENT, encode_event, encode_position

from .access import Access, position_of, refusal_of
from .metrics import Meter, carrying
from .topic_json import presence_map, publication_map, text_of

if TYPE_CHECKING:
    from wsactors.actors import Pid

    from .port import Port

HEARTBEAT_SECONDS: Final = 15.0
GATE_BYTES: Final = 8 * 1024 * 1024
"""Most that waits for a response to begin: all that a topic keeps, and what is published meanwhile."""
RETRY_MS: Final = 3_000
"""What readers are told to wait before they connect again after a cut."""
HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
]
_NOWHERE: Final = Position("-", 0)
"""A place in nobody's history: asking for it is answered with "not whole"."""


def routes_of(port: Port) -> list[BaseRoute]:
    """The routes of this module."""
    return [Route("/api/topics/{topic:path}/events", EventsRoute(port), methods=["GET"])]


class SseFormat:
    """Publications and presence as events. ``chunked``: framed for HTTP/1.1's chunked coding."""

    protocol = "sse"
    """What it counts as: see `wsactors.gateway.metrics`."""

    def __init__(self, *, chunked: bool) -> None:
        self._chunked = chunked

    def frame(self, data: bytes) -> bytes:
        """``data`` as this format's readers get it."""
        return b"%x\r\n%s\r\n" % (len(data), data) if self._chunked else data

    def publication(self, publication: Publication) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        place = encode_position(publication.epoch, publication.offset)
        return self._event(publication_map(publication), id=place)

    def presence_state(self, state: PresenceState) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        return self._event(presence_map(state.metas), kind="presence_state")

    def presence_diff(self, diff: PresenceDiff) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        change: Plain = {"joins": presence_map(diff.joins), "leaves": presence_map(diff.leaves)}
        return self._event(change, kind="presence_diff")

    def _event(self, value: Plain, *, kind: str = "", id: str = "") -> bytes | None:  # noqa: A002
        text = text_of(value)
        return None if text is None else self.frame(encode_event(text, kind=kind, id=id))


PLAIN: Final = SseFormat(chunked=False)
CHUNKED: Final = SseFormat(chunked=True)


class _Gate:
    """Keeps what comes before the response has begun, then passes everything on, until the reader was told that it ends.

    Args:
        meter: Counts what goes through here.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._kept: deque[bytes] = deque()
        self._size = 0
        self._sink: Sink | None = None
        self._is_closed = False
        self.overflowed = trio.Event()

    def offer(self, data: bytes, key: object = None) -> bool:
        if self._is_closed:
            return False
        if self._sink is not None:
            taken = self._sink.offer(data, key)
            if taken:
                self._meter.gave(1, len(data))
            return taken
        self._size += len(data)
        if self._size > GATE_BYTES:
            self.overflowed.set()
            return False
        self._kept.append(data)
        return True

    def shortcut(self) -> socket.socket | None:
        """See `wsactors.cluster.Shortcut`."""
        return self._sink.shortcut() if isinstance(self._sink, SocketSink) and not self._is_closed else None

    def witness(self) -> None:
        """See `wsactors.cluster.Shortcut`."""

    def sent_partly(self, data: bytes, sent: int, key: object) -> None:
        """See `wsactors.cluster.Shortcut`."""
        assert isinstance(self._sink, SocketSink)
        self._meter.gave(1, len(data))
        self._sink.sent_partly(data, sent, key)

    async def open(self, write: Callable[[bytes], Awaitable[None]], sink: Sink) -> None:
        """Hand what was kept to ``write``, which waits for a slow reader; everything after it goes to ``sink``."""
        while self._kept:
            data = self._kept.popleft()
            await write(data)
            self._meter.gave(1, len(data))
            self._size -= len(data)
        self._sink = sink
        CHANGES.count += 1

    def close(self) -> None:
        """Take no more: behind the end of a response nothing of it may follow."""
        self._is_closed = True
        CHANGES.count += 1


class SseOutlet:
    """A reader's end of its channel; and a guest, to be told before the node stops."""

    def __init__(self, topic: str, wire_format: SseFormat, meter: Meter, *, keeps: bool = True) -> None:
        """``keeps``: whether the topic has a history; without one nobody can know what he missed."""
        self.topic = topic
        self._keeps = keeps
        self.format = wire_format
        self.sink = _Gate(meter)
        self.ended = trio.Event()

    def joined(self, joined: Joined) -> None:
        """See `wsactors.realtime.outlet.Outlet`."""
        missed = [data for each in joined.missed if (data := each.encode(self.format)) is not None]
        first: Plain = {
            "topic": self.topic,
            "epoch": joined.epoch,
            "offset": joined.offset,
            "recovered": joined.recovered and self._keeps and len(missed) == len(joined.missed),
            "missed": len(missed),
            "response": joined.response,
        }
        # Its id is where the reader was until now: one that is cut off here asks for the missed ones again.
        place = encode_position(joined.epoch if self._keeps else "", joined.offset - len(joined.missed))
        self._send(first, kind="joined", id=place, retry=RETRY_MS)
        presence = joined.presence.encode(self.format) if joined.presence is not None else None
        for data in ([presence] if presence is not None else []) + missed:
            self.sink.offer(data)

    def reply(self, ref: Any, status: str, response: Plain) -> None:
        """Nothing is ever asked by this way."""

    def push(self, event: str, payload: Plain) -> None:
        """See `wsactors.realtime.outlet.Outlet`."""
        self._send({"event": event, "payload": payload}, kind="push")

    def closed(self, reason: str, *, crashed: bool) -> None:
        """See `wsactors.realtime.outlet.Outlet`."""
        self.end("crash" if crashed else "closed", reason)

    def say_goodbye(self, seconds: float) -> None:
        """See `wsactors.gateway.drain.Guest`."""
        self.end("restart", "This node stops. Connect again.", retry=round(seconds * 1000))

    def end(self, code: str, reason: str, *, retry: int | None = None) -> None:
        """Tell the reader why it ends, once, and end."""
        if not self.ended.is_set():
            self._send({"code": code, "reason": reason}, kind="closed", retry=retry)
            self.sink.close()
            self.ended.set()

    def beat(self) -> None:
        """Show the proxies in between that somebody is here."""
        self.sink.offer(self.format.frame(COMMENT))

    def _send(self, value: Plain, *, kind: str, id: str = "", retry: int | None = None) -> None:  # noqa: A002
        text = text_of(value)
        if text is not None:
            self.sink.offer(self.format.frame(encode_event(text, kind=kind, id=id, retry=retry)))


class EventsRoute:
    """The ASGI endpoint; its route has a path parameter ``topic``."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._access = Access(port)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope)
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            await send({"type": "http.response.body", "body": b""})
            return
        try:
            realtime = self._port.realtime
            user = await self._access.user(request, by_query=True)
            outlet, channel = await self._join(request, user)
        except (Refused, LookupError) as error:
            await refusal_of(error)(scope, receive, send)
            return
        try:
            with (
                self._port.drain.hosting(outlet),
                self._port.meters.visiting("sse"),
                carrying(scope, "sse", user.subject),
            ):
                await _Response(outlet, scope["state"].get("sink"), receive, send).serve(self._seconds_left(user))
        finally:
            realtime.leave(channel)

    def _seconds_left(self, user: User) -> float:
        expires = self._port.realtime.permission.expires(user)
        return float("inf") if expires is None else max(0.0, expires - time.time())

    async def _join(self, request: Request, user: User) -> tuple[SseOutlet, Pid]:
        realtime, scope = self._port.realtime, request.scope
        topic: str = scope["path_params"]["topic"]
        options = realtime.options.for_topic(topic)
        is_direct = scope["http_version"] == "1.1" and "sink" in scope["state"]
        keeps, meter = options is not None and options.history > 0, self._port.meters["sse"]
        outlet = SseOutlet(topic, CHUNKED if is_direct else PLAIN, meter, keeps=keeps)
        channel = await realtime.join(
            topic,
            outlet,
            owner=scope["state"]["owner"],
            user=user,
            since=_since(request),
            presence=request.query_params.get("presence", "false") == "true",
        )
        return outlet, channel


def _since(request: Request) -> Position | None:
    text = request.headers.get("last-event-id") or request.query_params.get("since")
    if not text:
        return None
    try:
        return position_of(text)
    except ProtocolError:
        return _NOWHERE


class _Response:
    """One response, from its head to its end."""

    def __init__(self, outlet: SseOutlet, sink: SocketSink | None, receive: Any, send: Any) -> None:
        self._outlet = outlet
        self._sink = sink if outlet.format is CHUNKED else None
        self._receive = receive
        self._send = send

    async def serve(self, seconds: float) -> None:
        """Serve until the channel or the reader has ended, or ``seconds`` are over."""
        await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_on_disconnect, nursery.cancel_scope)
            if self._sink is not None:
                if await self._open(self._sink.write, self._sink):
                    await self._stay(seconds)
            else:
                pull = PullSink()
                if await self._open(self._write, pull):
                    nursery.start_soon(self._pump, pull, nursery.cancel_scope)
                    await self._stay(seconds)
                    pull.finish()
                    await trio.sleep_forever()  # until what waits has been sent
            nursery.cancel_scope.cancel()
        self._outlet.sink.close()
        await self._send({"type": "http.response.body", "body": b""})

    async def _open(self, write: Callable[[bytes], Awaitable[None]], sink: Sink) -> bool:
        """Send what came before the response; False when the reader is gone, or more came meanwhile than waits for a slow one."""
        is_open = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_when_overflowed, nursery.cancel_scope)
            with contextlib.suppress(SinkClosed):
                await self._outlet.sink.open(write, sink)
                is_open = True
            nursery.cancel_scope.cancel()
        return is_open and not self._outlet.sink.overflowed.is_set()

    async def _stay(self, seconds: float) -> None:
        ends = trio.current_time() + seconds
        outlet = self._outlet
        while not outlet.ended.is_set():
            with trio.move_on_at(min(ends, trio.current_time() + HEARTBEAT_SECONDS)):
                await outlet.ended.wait()
            if trio.current_time() >= ends:
                outlet.end("expired", "The token has expired. Connect again with a new one.")
            elif not outlet.ended.is_set():
                outlet.beat()

    async def _write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _pump(self, pull: PullSink, response: trio.CancelScope) -> None:
        try:
            while True:
                await self._write(await pull.receive())
        except SinkClosed:
            response.cancel()

    async def _end_on_disconnect(self, response: trio.CancelScope) -> None:
        """Only receiving tells: sending to somebody who has gone is silently nothing."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        response.cancel()

    async def _cancel_when_overflowed(self, opening: trio.CancelScope) -> None:
        await self._outlet.sink.overflowed.wait()
        opening.cancel()
