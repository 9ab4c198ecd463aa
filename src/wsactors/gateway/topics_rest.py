"""Topics over plain requests: publish, history, presence, and a long-poll for those who can do nothing else."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from wsactors.realtime.identity import PublishRefused, Refused, User
from wsactors.realtime.outlet import Joined
from wsactors.realtime.publication import PresenceDiff, PresenceState, Publication
from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import dumps, loads
from wsactors.wire.plain import Plain

from .access import NO_STORE, Access, answer, body_map, position_of, told
from .metrics import carrying
from .topic_json import presence_map, publication_map, text_of

if TYPE_CHECKING:
    from .port import Port

MAX_BATCH: Final = 100
MAX_HISTORY: Final = 1_000
MAX_POLL_SECONDS: Final = 25.0
POLL_BYTES: Final = 1024 * 1024
"""Most that one poll brings; what is left comes with the next."""
GATHER_SECONDS: Final = 0.02
"""How long a poll waits for more, once something has come."""
_MESSAGE_KEYS: Final = frozenset({"event", "payload", "id"})
_MAX_NAME: Final = 255
_OFFSET = struct.Struct(">Q")


def routes_of(port: Port) -> list[BaseRoute]:
    """The routes of this module."""
    topics = _Topics(port)
    return [
        Route("/api/publish", told(topics.publish_batch), methods=["POST"]),
        Route("/api/topics/{topic:path}/publish", told(topics.publish), methods=["POST"]),
        Route("/api/topics/{topic:path}/history", told(topics.history)),
        Route("/api/topics/{topic:path}/presence", told(topics.presence)),
        Route("/api/topics/{topic:path}/poll", told(topics.poll)),
    ]


class _Topics:
    def __init__(self, port: Port) -> None:
        self._port = port
        self._access = Access(port)

    async def publish(self, request: Request) -> Response:
        user = await self._access.user(request)
        topic: str = request.path_params["topic"]
        body = await self._access.body(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/octet-stream":
            message: dict[str, Any] = {"event": request.query_params.get("event", ""), "payload": body}
        else:
            message = body_map(loads(body), _MESSAGE_KEYS)
        return answer(await self._publish(user, topic, message))

    async def publish_batch(self, request: Request) -> Response:
        user = await self._access.user(request)
        messages = body_map(loads(await self._access.body(request)), frozenset({"messages"})).get("messages")
        if not isinstance(messages, list) or not 0 < len(messages) <= MAX_BATCH:
            raise ProtocolError(f"expected messages: a list of 1 to {MAX_BATCH}")
        self._access.pay(request.client.host if request.client else "", len(messages) - 1)
        found: list[Plain] = []
        for each in messages:
            message = body_map(each, _MESSAGE_KEYS | {"topic"})
            topic = message.pop("topic", None)
            if not isinstance(topic, str):
                raise ProtocolError("expected a topic in every message")
            try:
                found.append(await self._publish(user, topic, message))
            except Refused as refusal:
                found.append({"error": {"code": refusal.code, "message": refusal.message}})
        return answer({"results": found})

    async def _publish(self, user: User, topic: str, message: dict[str, Any]) -> Plain:
        event, id_ = message.get("event"), message.get("id", "")
        if not isinstance(event, str) or not 0 < len(event) <= _MAX_NAME:
            raise ProtocolError(f"expected an event: a text of 1 to {_MAX_NAME} characters")
        if not isinstance(id_, str) or len(id_) > _MAX_NAME:
            raise ProtocolError(f"expected an id of at most {_MAX_NAME} characters")
        realtime = self._port.realtime
        await realtime.check_publish(user, topic)
        if realtime.options.for_topic(topic) is None:
            raise PublishRefused("unmatched_topic", "There is no such topic.")
        if not realtime.publishes_pushes(topic):
            raise PublishRefused("unauthorized", "The channels of this topic decide what is published: join it.")
        realtime.check_publication(user, topic)
        place = await realtime.publish(topic, event, message.get("payload"), id=id_)
        return {"epoch": place.epoch, "offset": place.offset}

    async def history(self, request: Request) -> Response:
        topic = await self._may_read(request)
        since = request.query_params.get("since")
        limit = _number(request, "limit", default=MAX_HISTORY, most=MAX_HISTORY)
        gap = await self._port.realtime.history(topic, position_of(since) if since else None, round(limit))
        found: list[Plain] = [publication_map(each) for each in gap.missed]
        return answer({"recovered": gap.recovered, "publications": found})

    async def presence(self, request: Request) -> Response:
        topic = await self._may_read(request, presence=True)
        return answer({"presence": presence_map(await self._port.realtime.presence(topic))})

    async def poll(self, request: Request) -> Response:
        """Answer at once without ``since``, else with the first publications after it, or with none when the time is over."""
        user = await self._access.user(request, by_query=True)
        since = request.query_params.get("since")
        seconds = _number(request, "timeout", default=MAX_POLL_SECONDS, most=MAX_POLL_SECONDS)
        realtime = self._port.realtime
        topic: str = request.path_params["topic"]
        options = realtime.options.for_topic(topic)
        outlet = PollOutlet(keeps=options is not None and options.history > 0)
        channel = await realtime.join(
            topic,
            outlet,
            owner=request.scope["state"]["owner"],
            user=user,
            since=position_of(since) if since else None,
            presence=False,
        )
        try:
            if since and outlet.may_wait:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_end_on_disconnect, request, nursery.cancel_scope)
                    meters = self._port.meters
                    with (
                        self._port.drain.hosting(outlet),
                        meters.visiting("poll"),
                        carrying(request.scope, "poll", user.subject),
                        trio.move_on_after(seconds),
                    ):
                        await outlet.wait()
                        await trio.sleep(GATHER_SECONDS)
                    nursery.cancel_scope.cancel()
        finally:
            realtime.leave(channel)
        body = outlet.body()
        self._port.meters["poll"].gave(outlet.count, len(body))
        return Response(body, 200, NO_STORE, "application/json")

    async def _may_read(self, request: Request, *, presence: bool = False) -> str:
        user = await self._access.user(request)
        topic: str = request.path_params["topic"]
        await self._access.check_read(user, topic, presence=presence)
        realtime = self._port.realtime
        options = realtime.options.for_topic(topic)
        if options is not None and not realtime.channel_class(options).lets_everybody_in():
            # Whom the application does not let in does not read past it.
            owner = request.scope["state"]["owner"]
            realtime.leave(await realtime.join(topic, PollOutlet(keeps=True), owner=owner, user=user, presence=False))
        return topic


class PollFormat:
    """Publications as JSON, behind their offset."""

    def publication(self, publication: Publication) -> bytes | None:
        """See `wsactors.realtime.publication.Format`."""
        text = text_of(publication_map(publication))
        return None if text is None else _OFFSET.pack(publication.offset) + text

    def presence_state(self, state: PresenceState) -> bytes | None:
        """Never: who polls asks for presence by itself."""

    def presence_diff(self, diff: PresenceDiff) -> bytes | None:
        """Never, likewise."""


POLL_FORMAT: Final = PollFormat()


class PollOutlet:
    """A channel's end that gathers publications for one answer."""

    format = POLL_FORMAT

    def __init__(self, *, keeps: bool) -> None:
        """``keeps``: whether the topic has a history; without one nobody can know what he missed."""
        self.sink = self
        self._keeps = keeps
        self._recovered: bool | None = None
        self._epoch = ""
        self._offset = 0
        self._size = 0
        self._texts: list[bytes] = []
        self._arrived = trio.Event()

    @property
    def may_wait(self) -> bool:
        """Whether the client is up to date, so that there is nothing to tell it yet."""
        return self._recovered is not False or not self._keeps

    @property
    def count(self) -> int:
        """How many publications there are to answer with."""
        return len(self._texts)

    async def wait(self) -> None:
        """Wait until there is something to answer with."""
        await self._arrived.wait()

    def body(self) -> bytes:
        """The answer."""
        head = dumps({"epoch": self._epoch, "offset": self._offset, "recovered": self._recovered and self._keeps})
        return head[:-1] + b',"publications":[' + b",".join(self._texts) + b"]}"

    def offer(self, data: bytes, key: object = None) -> bool:
        """See `wsactors.realtime.sinks.Sink`."""
        if self._size > POLL_BYTES:
            return False  # the next poll asks for what comes from here on
        self._size += len(data)
        (offset,) = _OFFSET.unpack_from(data)
        self._offset = max(self._offset, offset)
        self._texts.append(data[_OFFSET.size :])
        self._arrived.set()
        return True

    def joined(self, joined: Joined) -> None:
        """See `wsactors.realtime.outlet.Outlet`."""
        self._epoch, self._offset, self._recovered = joined.epoch, joined.offset - len(joined.missed), joined.recovered
        for publication in joined.missed:
            data = publication.encode(self.format)
            if data is not None:
                self.offer(data)

    def reply(self, ref: Any, status: str, response: Plain) -> None:
        """Nothing is ever asked by this way."""

    def push(self, event: str, payload: Plain) -> None:
        """What is for one member alone is lost to one who is not there."""

    def closed(self, reason: str, *, crashed: bool) -> None:
        """Answer with what there is."""
        self._arrived.set()

    def say_goodbye(self, seconds: float) -> None:
        """Answer with what there is."""
        self._arrived.set()


async def _end_on_disconnect(request: Request, waiting: trio.CancelScope) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    waiting.cancel()


def _number(request: Request, name: str, *, default: float, most: float) -> float:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= most:
        raise ProtocolError(f"expected {name}: a number from 0 to {most:g}")
    return value
