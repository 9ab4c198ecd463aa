"""The admin port: a node's metrics, and an API to look at topics and connections and to act on them.

It is a port of its own, on loopback unless told otherwise. The API wants the bearer token and nothing else will do: a cookie
would let any page in the operator's browser act for him. Without a token the API is closed, and metrics are open to this
machine alone.
"""

from __future__ import annotations

import hmac
import importlib.metadata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from wsactors.realtime.identity import Refused
from wsactors.supervision import ChildSpec
from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import loads
from wsactors.wire.plain import Plain

from .access import Endpoint, answer, body_map, told
from .admin_openapi import document
from .admin_sound import hearing_map, sound_of
from .admission import block_of
from .exposition import CONTENT_TYPE, Exposition, LoopLag
from .metrics import Counted, CountedSink
from .port import Port, Site
from .rates import Rates
from .topic_json import presence_map
from .ws import CLOSE_KICKED

if TYPE_CHECKING:
    from wsactors.realtime.service import Realtime

    from .quic_conversation import QuicConversation
    from .ws import WebSocket

MAX_PAGE: Final = 1_000
_MOST_DIGITS: Final = 16
_TRIES: Final = 10.0
"""Wrong tokens that one address may show at once; one more comes back each second."""
_MESSAGE: Final = frozenset({"event", "payload", "id"})
_KICK: Final = frozenset({"subject", "channel", "connection", "reason"})


def admin_site(token: str | None = None) -> Site:
    """What an admin port serves to those who show ``token``; None closes the API."""
    return Site(
        routes=lambda port: AdminApi(port, token).routes(),
        conversations=lambda _: {},
        services=lambda _: [ChildSpec("lag", LoopLag)],
        opened="admin_open",
        serves="metrics and the admin API",
    )


class AdminApi:
    """The endpoints. ``port`` is the admin port itself; the gateway's is found when it is asked about."""

    def __init__(self, port: Port, token: str | None) -> None:
        self._port = port
        self._token = token
        self._exposition = Exposition(port.node, port.options.region)
        self._tries = Rates(total=100.0, total_burst=100.0, per_key=1.0, key_burst=_TRIES)

    def routes(self) -> Sequence[BaseRoute]:
        """All of them; every one is in the document, and the other way round."""
        topic = "/admin/api/topics/{topic:path}"
        return [
            Route("/metrics", told(self._checked(self.metrics, is_open=True))),
            Route("/openapi.json", told(self._checked(self.openapi, is_open=True))),
            Route("/admin/api/node", told(self._checked(self.node))),
            Route("/admin/api/topics", told(self._checked(self.topics))),
            Route(f"{topic}/presence", told(self._checked(self.presence))),
            Route(f"{topic}/publish", told(self._checked(self.publish)), methods=["POST"]),
            Route(topic, told(self._checked(self.topic))),
            Route("/admin/api/channels", told(self._checked(self.channels))),
            Route("/admin/api/connections", told(self._checked(self.connections))),
            Route("/admin/api/sound", told(self._checked(self.sound))),
            Route("/admin/api/kick", told(self._checked(self.kick)), methods=["POST"]),
            Route("/admin/api/drain", told(self._checked(self.drain)), methods=["POST", "DELETE"]),
        ]

    def _checked(self, endpoint: Endpoint, *, is_open: bool = False) -> Endpoint:
        """``endpoint`` for those who show the token; ``is_open``: without one, for this machine."""

        async def serve(request: Request) -> Response:
            self._check(request, is_open=is_open)
            return await endpoint(request)

        return serve

    def _check(self, request: Request, *, is_open: bool) -> None:
        wanted = self._token
        if wanted is None:
            if is_open and self._port.options.is_loopback:
                return
            raise Refused("closed", "This needs a token: set admin.http.token.")
        client, now = block_of(request.client.host if request.client else ""), trio.current_time()
        if self._tries.is_spent(client, now):  # before looking: the right guess must not stand out among the wrong ones
            raise Refused("rate", "Too many wrong tokens. Try again later.")
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), wanted.encode()):
            return
        if not self._tries.take(client, now):
            raise Refused("rate", "Too many wrong tokens. Try again later.")
        raise Refused("missing", "Send Authorization: Bearer with the token of admin.http.token.")

    @property
    def _realtime(self) -> Realtime:
        return self._port.realtime

    # -- looking --

    async def metrics(self, _: Request) -> Response:
        return Response(
            await self._exposition.text(), headers={"content-type": CONTENT_TYPE, "cache-control": "no-store"}
        )

    async def openapi(self, _: Request) -> Response:
        return answer(document(_version()))

    async def node(self, _: Request) -> Response:
        gateway = Port.of(self._port.node)
        if gateway is not None:
            await gateway.refresh_meters()
        found: dict[str, Any] = {
            "name": self._port.node.name,
            "region": self._port.options.region,
            "ready": gateway.takes_clients if gateway is not None else self._port.is_ready(),
            "draining": gateway is not None and gateway.drain.is_on,
            "actors": self._port.node.info().actors,
            "topics": len(self._realtime.topics()),
            "channels": len(self._realtime.seats),
            "connections": dict(gateway.meters.read("open")) if gateway is not None else {},
        }
        return answer(found)

    async def topics(self, request: Request) -> Response:
        prefix = request.query_params.get("prefix", "")
        after = request.query_params.get("after", "")
        names = sorted(name for name in self._realtime.topics() if name.startswith(prefix) and name > after)
        limit = _limit(request)
        shown: list[Plain] = list(names[:limit])
        return answer({"topics": shown, "more": len(names) > limit})

    async def topic(self, request: Request) -> Response:
        found = await self._realtime.topic(request.path_params["topic"])
        if found is None:
            raise Refused("not_found", "Nobody uses a topic of this name.")
        return answer(attrs.asdict(found))

    async def presence(self, request: Request) -> Response:
        return answer({"presence": presence_map(await self._realtime.presence(request.path_params["topic"]))})

    async def channels(self, request: Request) -> Response:
        topic, subject = request.query_params.get("topic"), request.query_params.get("subject")
        limit, after = _limit(request), _after(request)
        seats = [
            (pid, seat)
            for pid, seat in self._realtime.seats.items()
            if pid.serial > after and topic in {None, seat.topic} and subject in {None, seat.user.subject}
        ]
        seats.sort(key=lambda each: each[0].serial)
        shown: list[Plain] = [
            {
                "id": pid.serial,
                "topic": seat.topic,
                "subject": seat.user.subject,
                "role": seat.user.role,
                "connection": seat.owner.serial,
            }
            for pid, seat in seats[:limit]
        ]
        return answer({"channels": shown, "more": len(seats) > limit})

    async def connections(self, request: Request) -> Response:
        gateway = Port.of(self._port.node)
        limit, after = _limit(request), _after(request)
        open_now = list(gateway.meters.connections.items()) if gateway is not None else []
        open_now = [each for each in open_now if each[1].owner.serial > after]
        open_now.sort(key=lambda each: each[1].owner.serial)
        subjects = {seat.owner: seat.user.subject for seat in self._realtime.seats.values()}
        shown: list[Plain] = [
            _connection(sink, found, subjects.get(found.owner) or found.subject) for sink, found in open_now[:limit]
        ]
        return answer({"connections": shown, "more": len(open_now) > limit})

    async def sound(self, _: Request) -> Response:
        return answer(sound_of(self._port.node))

    # -- acting --

    async def publish(self, request: Request) -> Response:
        message = body_map(loads(await request.body()), _MESSAGE)
        event, id_ = message.get("event"), message.get("id", "")
        if not isinstance(event, str) or not 0 < len(event) <= 255 or not isinstance(id_, str):
            raise ProtocolError("expected an event of 1 to 255 characters, and an id that is a text")
        topic: str = request.path_params["topic"]
        place = await self._realtime.publish(topic, event, message.get("payload"), id=id_)
        return answer({"epoch": place.epoch, "offset": place.offset})

    async def kick(self, request: Request) -> Response:
        wanted = body_map(loads(await request.body()), _KICK)
        reason = wanted.pop("reason", "kicked")
        if len(wanted) != 1 or not isinstance(reason, str) or len(reason) > 200:
            raise ProtocolError("expected exactly one of subject, channel, connection; and a reason of 200 characters")
        match wanted:
            case {"subject": str() as subject} if subject:
                return answer({"kicked": self._realtime.kick(subject, reason)})
            case {"channel": int() as serial}:
                found = [pid for pid in self._realtime.seats if pid.serial == serial]
                for pid in found:
                    self._realtime.leave(pid, reason)
                return answer({"kicked": len(found)})
            case {"connection": int() as serial}:
                return answer({"kicked": self._kick_connections(serial, reason)})
            case _:
                raise ProtocolError("expected a subject that is a text, or a number")

    def _kick_connections(self, serial: int, reason: str) -> int:
        """What a connection was a member of cannot be resumed afterwards; who can be told is told that it is on purpose."""
        gateway = Port.of(self._port.node)
        if gateway is None:
            return 0
        found = [(sink, each.owner) for sink, each in gateway.meters.connections.items() if each.owner.serial == serial]
        for sink, owner in found:
            self._realtime.places.void(owner=owner)
            lines: list[WebSocket | QuicConversation] = [ws for ws in gateway.websockets if ws.is_accepted]
            lines += gateway.quic
            told = next((line for line in lines if line.sink is sink), None)
            if told is not None:
                told.close(CLOSE_KICKED, reason)
            else:
                gateway.node.exit(owner, "kicked")
        return len(found)

    async def drain(self, request: Request) -> Response:
        gateway = Port.of(self._port.node)
        if gateway is None:
            raise Refused("not_found", "This node has no gateway.")
        if request.method == "POST":
            await gateway.drain.run()
        else:
            gateway.drain.reset()
        now = gateway.drain.statistics()
        return answer({"draining": now.is_on, "told": now.told, "guests": now.guests})


def _version() -> str:
    try:
        return importlib.metadata.version("wsactors")
    except importlib.metadata.PackageNotFoundError:  # run from its source, not installed
        return "0"


def _connection(sink: CountedSink, found: Counted, subject: str) -> dict[str, Plain]:
    counts = sink.statistics()
    return {
        "id": found.owner.serial,
        "protocol": found.label,
        "address": found.address,
        "subject": subject,
        "seconds": round(trio.current_time() - found.since, 3),
        "waiting_bytes": counts.buffered_bytes,
        "sent_bytes": counts.bytes_sent,
        "hearing": hearing_map(found.hearing),
    }


def _after(request: Request) -> int:
    """The id that the page before ended with; they only grow."""
    text = request.query_params.get("after", "0")
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise ProtocolError("expected after: the id that the page before ended with")
    return int(text)


def _limit(request: Request) -> int:
    text = request.query_params.get("limit", str(MAX_PAGE))
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= MAX_PAGE):
        raise ProtocolError(f"expected limit: a number from 1 to {MAX_PAGE}")
    return int(text)
