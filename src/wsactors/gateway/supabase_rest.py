"""Supabase's REST: publish without a WebSocket, in batches or one message to one topic."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from wsactors.realtime.identity import AuthRefused, PublishRefused, Refused, User
from wsactors.realtime.service import Realtime
from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import dumps
from wsactors.wire.plain import Plain
from wsactors.wire.supabase_payloads import RestMessage, Unprocessable, UnsupportedMedia, parse_batch, parse_single

from .access import Access

if TYPE_CHECKING:
    from .port import Port

PREFIXES: Final = ("", "/realtime/v1")
"""Where clients look: self-hosted, and behind Supabase's own gateway."""
_SINGLE: Final = re.compile(rb"(?:/realtime/v1)?/api/broadcast/([^/]+)/events/([^/]+)/?")
_STATUS: Final = {"unauthorized": 403, "rate": 429, "overloaded": 503, "timeout": 503, "too_large": 422,
                  "unmatched_topic": 422}  # fmt: skip


def routes_of(port: Port) -> list[BaseRoute]:
    """The routes of this module."""
    access = Access(port)

    async def batch(request: Request) -> Response:
        return await _publish(port, access, request, single=False)

    async def single(request: Request) -> Response:
        return await _publish(port, access, request, single=True)

    paths = [(prefix + "/api/broadcast", batch) for prefix in PREFIXES]
    paths += [(prefix + "/api/broadcast/{rest:path}", single) for prefix in PREFIXES]
    return [Route(path, endpoint, methods=["POST"]) for path, endpoint in paths]


async def _publish(port: Port, access: Access, request: Request, *, single: bool) -> Response:
    try:
        realtime = port.realtime
        user = await access.user(request)
        body = await access.body(request)
        messages = (_single(request, body),) if single else parse_batch(body)
        if len(messages) > 1:
            access.pay(request.client.host if request.client is not None else "", len(messages) - 1)
        await _publish_all(realtime, user, messages)
    except LookupError:
        return _answer(404, {"message": "not found"})
    except AuthRefused:
        return _answer(401, {"message": "Unauthorized"})
    except Unprocessable as error:
        return _answer(422, {"errors": error.errors})
    except UnsupportedMedia as error:
        return _answer(415, {"error": str(error)})
    except ProtocolError as error:
        return _answer(400, {"message": str(error)})
    except Refused as refusal:
        status = _STATUS.get(refusal.code, 403)
        headers = {"retry-after": "1"} if status in {429, 503} else {}
        return _answer(status, {"message": refusal.message}, headers)
    return Response(status_code=202)


async def _publish_all(realtime: Realtime, user: User, messages: tuple[RestMessage, ...]) -> None:
    """Publish all of them, or none if one may not be."""
    options = realtime.options
    topics = [options.private_name(each.topic) if each.private else each.topic for each in messages]
    for topic in dict.fromkeys(topics):
        if options.for_topic(topic) is None:
            raise PublishRefused("unmatched_topic", "There is no such topic.")
        await realtime.check_publish(user, topic)
        if not realtime.publishes_pushes(topic):
            # What its channels look at when it is pushed must not come in by another door.
            raise PublishRefused("unauthorized", "The channels of this topic decide what is published: join it.")
    for topic in topics:
        realtime.check_publication(user, topic)
    for topic, message in zip(topics, messages, strict=True):
        await realtime.publish(topic, message.event, message.payload, id=message.id)


def _single(request: Request, body: bytes) -> RestMessage:
    """Raises `ProtocolError`, also where the path is none."""
    match = _SINGLE.fullmatch(request.scope["raw_path"])
    try:
        topic, event = (unquote_to_bytes(part).decode() for part in match.groups()) if match else ("", "")
    except UnicodeDecodeError:
        raise ProtocolError("topic and event must be UTF-8") from None
    if match is None:
        raise LookupError("there is nothing at this path")
    query: bytes = request.scope["query_string"]
    return parse_single(topic, event, query.decode("latin-1"), request.headers.get("content-type"), body)


def _answer(status: int, body: dict[str, Plain], headers: dict[str, Any] | None = None) -> Response:
    return Response(dumps(body), status, headers=headers, media_type="application/json")
