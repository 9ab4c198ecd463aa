"""What users of Supabase Realtime send in payloads: joins, broadcasts, presence, access tokens and REST bodies."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl

import attrs

from .errors import ProtocolError
from .json_door import loads
from .phoenix import MAX_FIELD
from .plain import Plain

REPLAY_LIMIT: Final = 25
"""Most messages of the past in one join."""
MAX_REST_MESSAGES: Final = 100
"""Most messages in one REST batch."""
MAX_KEY: Final = 255
"""Longest presence key, in bytes."""
_HUGE: Final = 8_640_000_000_000_000
"""The last millisecond of JavaScript's calendar."""


# -- joins --------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Replay:
    """Which messages of the past a join wants."""

    since: int
    """Milliseconds since 1970."""
    limit: int
    """The newest so many, 1 to 25."""


@attrs.frozen
class Join:
    """What a ``phx_join`` asks for. Whatever is absent or malformed has its default; ``problems`` says what was."""

    ack: bool = False
    """Broadcasts are answered."""
    self_broadcast: bool = False
    """The sender gets its own broadcasts."""
    presence_enabled: bool = False
    presence_key: str = ""
    """Empty: the server makes one up."""
    private: bool = False
    """Joins and messages are for those whom a policy allows. An unreadable value counts as True."""
    replay: Replay | None = None
    postgres_changes: tuple[dict[str, Plain], ...] = ()
    replication_ready: bool = False
    access_token: str | None = attrs.field(default=None, repr=False)
    problems: tuple[str, ...] = ()

    @property
    def bad_replay(self) -> bool:
        """Whether a replay was asked for that cannot be understood."""
        return any(problem.startswith("config.broadcast.replay") for problem in self.problems)


class _Reader:
    """Reads fields leniently and keeps a list of what was wrong."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def record(self, holder: dict[str, Plain], key: str, path: str) -> dict[str, Plain]:
        value = holder.get(key)
        if isinstance(value, dict):
            return value
        if value is not None:
            self.problems.append(f"{path}: expected a map")
        return {}

    def flag(self, holder: dict[str, Plain], key: str, path: str, *, unreadable: bool = False) -> bool:
        value = holder.get(key)
        if isinstance(value, str):
            value = {"true": True, "false": False}.get(value.lower(), value)
        if value is None or isinstance(value, bool):
            return bool(value)
        self.problems.append(f"{path}: expected a boolean")
        return unreadable

    def text(self, holder: dict[str, Plain], key: str, path: str) -> str | None:
        value = holder.get(key)
        if value is None or isinstance(value, str):
            return value
        self.problems.append(f"{path}: expected a text")
        return None


def parse_join(payload: Plain) -> Join:
    """What the payload of a ``phx_join`` asks for. Never raises."""
    reader = _Reader()
    holder = payload if isinstance(payload, dict) else {}
    config = reader.record(holder, "config", "config")
    broadcast = reader.record(config, "broadcast", "config.broadcast")
    presence = reader.record(config, "presence", "config.presence")
    token = reader.text(holder, "user_token", "user_token") or reader.text(holder, "access_token", "access_token")
    return Join(
        ack=reader.flag(broadcast, "ack", "config.broadcast.ack"),
        self_broadcast=reader.flag(broadcast, "self", "config.broadcast.self"),
        replication_ready=reader.flag(broadcast, "replication_ready", "config.broadcast.replication_ready"),
        replay=_replay(broadcast, reader),
        presence_enabled=reader.flag(presence, "enabled", "config.presence.enabled"),
        presence_key=_presence_key(presence, reader),
        private=reader.flag(config, "private", "config.private", unreadable=True),
        postgres_changes=_postgres_changes(config, reader),
        access_token=token or None,
        problems=tuple(reader.problems),
    )


def _replay(broadcast: dict[str, Plain], reader: _Reader) -> Replay | None:
    path = "config.broadcast.replay"
    value = broadcast.get("replay")
    if value is None:
        return None
    if not isinstance(value, dict):
        reader.problems.append(f"{path}: expected a map")
        return None
    since, limit = value.get("since"), value.get("limit", REPLAY_LIMIT)
    if type(since) is not int or type(limit) is not int or not 0 <= since <= _HUGE:
        reader.problems.append(
            f"{path}: expected since, in milliseconds since 1970, and a limit of 1 to {REPLAY_LIMIT}"
        )
        return None
    return Replay(since, max(1, min(limit, REPLAY_LIMIT)))


def _presence_key(presence: dict[str, Plain], reader: _Reader) -> str:
    key = presence.get("key")
    if isinstance(key, bool | int | float):
        key = str(key)
    if key is None or (isinstance(key, str) and len(key.encode()) <= MAX_KEY):
        return key or ""
    reader.problems.append(f"config.presence.key: expected a text of at most {MAX_KEY} bytes")
    return ""


def _postgres_changes(config: dict[str, Plain], reader: _Reader) -> tuple[dict[str, Plain], ...]:
    value = config.get("postgres_changes")
    wanted = [each for each in value if each is not None] if isinstance(value, list) else []
    if (value is not None and not isinstance(value, list)) or not all(isinstance(each, dict) for each in wanted):
        reader.problems.append("config.postgres_changes: expected a list of maps")
    return tuple(each for each in wanted if isinstance(each, dict))


# -- messages -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Broadcast:
    """What a user broadcasts."""

    event: str
    payload: Plain
    meta: dict[str, Plain] = attrs.field(factory=dict)


def parse_broadcast(payload: Plain) -> Broadcast:
    """What the payload of a ``broadcast`` says. Raises `ProtocolError`.

    Old clients put the user's data beside ``event`` instead of under ``payload``: then all of it is the payload.
    """
    if not isinstance(payload, dict):
        raise ProtocolError("broadcast: expected a map of event and payload")
    event, meta = payload.get("event"), payload.get("meta")
    if not isinstance(event, str) or not event or len(event.encode()) > MAX_FIELD:
        raise ProtocolError(f"broadcast.event: expected a text of 1 to {MAX_FIELD} bytes")
    body: Plain
    if "payload" in payload:
        body = payload["payload"]
    else:
        body = {key: value for key, value in payload.items() if key not in {"type", "event", "meta"}}
    return Broadcast(event, body, meta if isinstance(meta, dict) else {})


class UnknownPresenceEvent(ProtocolError):
    """A presence message that is neither track nor untrack."""


def parse_presence(payload: Plain) -> dict[str, Plain] | None:
    """The meta to track; None: untrack.

    Raises:
        UnknownPresenceEvent: ``event`` is neither "track" nor "untrack", in any case.
        ProtocolError: The meta to track is not a map.
    """
    event = payload.get("event") if isinstance(payload, dict) else None
    kind = event.lower() if isinstance(event, str) else ""
    if kind == "untrack":
        return None
    if kind != "track" or not isinstance(payload, dict):
        raise UnknownPresenceEvent("presence.event: expected track or untrack")
    meta = payload.get("payload", {})
    if not isinstance(meta, dict):
        raise ProtocolError("Presence track payload must be a map")
    return meta


# -- REST ---------------------------------------------------------------------------------------------------------------


class Unprocessable(ProtocolError):
    """A REST body that is refused with 422; ``errors`` says, per field, what is wrong with it."""

    def __init__(self, errors: dict[str, Plain]) -> None:
        super().__init__("the body has fields that cannot be accepted")
        self.errors = errors


@attrs.frozen
class RestMessage:
    """One message to publish."""

    topic: str
    """Without "realtime:"."""
    event: str
    payload: Plain
    private: bool = False
    id: str = ""


def parse_batch(body: bytes) -> tuple[RestMessage, ...]:
    """The messages of ``POST /api/broadcast``.

    Raises:
        Unprocessable: A field of a message is absent or of the wrong type.
        ProtocolError: The body is not JSON.
    """
    value = loads(body)
    messages = value.get("messages") if isinstance(value, dict) else None
    if messages is None:
        raise Unprocessable({"messages": ["can't be blank"]})
    if not isinstance(messages, list) or len(messages) > MAX_REST_MESSAGES:
        raise Unprocessable({"messages": [f"expected a list of at most {MAX_REST_MESSAGES} messages"]})
    found, errors = [], []
    for each in messages:
        wrong = _wrong(each)
        errors.append(wrong)
        if isinstance(each, dict) and not wrong:
            found.append(_rest_message(each))
    if any(errors):
        raise Unprocessable({"messages": list(errors)})
    return tuple(found)


def _rest_message(each: dict[str, Any]) -> RestMessage:
    private = each.get("private")
    return RestMessage(each["topic"], each["event"], each["payload"], private in (True, "true"), each.get("id") or "")


def _is_name(value: Plain) -> bool:
    return isinstance(value, str) and 0 < len(value.encode()) <= MAX_FIELD


_CHECKS: Final[dict[str, tuple[bool, Callable[[Plain], bool]]]] = {
    "topic": (True, _is_name),
    "event": (True, _is_name),
    "payload": (True, lambda value: isinstance(value, dict)),
    "private": (False, lambda value: isinstance(value, bool) or value in ("true", "false")),
    "id": (False, lambda value: isinstance(value, str) and len(value.encode()) <= MAX_FIELD),
}


def _wrong(message: Plain) -> dict[str, Plain]:
    if not isinstance(message, dict):
        return {"message": ["is invalid"]}
    wrong: dict[str, Plain] = {}
    for name, (required, check) in _CHECKS.items():
        value = message.get(name)
        if value is None or value == "":
            if required:
                wrong[name] = ["can't be blank"]
        elif not check(value):
            wrong[name] = ["is invalid"]
    return wrong


class UnsupportedMedia(ProtocolError):
    """A REST body of a content type that is not taken: 415."""


def parse_single(topic: str, event: str, query: str, content_type: str | None, body: bytes) -> RestMessage:
    """The message of ``POST /api/broadcast/:topic/events/:event``. ``topic`` and ``event`` are percent-decoded.

    Raises:
        Unprocessable: The topic or the event is too long, or a JSON body is not a map.
        UnsupportedMedia: The body is neither JSON nor bytes.
        ProtocolError: The body is not JSON, or the query cannot be read.
    """
    wrong: dict[str, Plain] = {
        name: ["is invalid"] for name, value in (("topic", topic), ("event", event)) if not _is_name(value)
    }
    if wrong:
        raise Unprocessable(wrong)
    media = "application/json" if content_type is None else content_type.partition(";")[0].strip().lower()
    private = _is_private(query)
    if media == "application/octet-stream":
        return RestMessage(topic, event, body, private)
    if media != "application/json":
        raise UnsupportedMedia("Unsupported Media Type. Use application/json or application/octet-stream")
    payload = loads(body)
    if not isinstance(payload, dict):
        raise Unprocessable({"payload": ["is invalid"]})
    return RestMessage(topic, event, payload, private)


_QUERY: Final = re.compile(r"[!-~]{0,2000}")


def _is_private(query: str) -> bool:
    """Whether a query says so; what cannot be read does, or is refused: nobody's secret may become public."""
    if not _QUERY.fullmatch(query):
        raise ProtocolError("the query is too long, or not plain text")
    try:
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise ProtocolError("the query has too many parameters") from None
    return any(name == "private" and value.lower() != "false" for name, value in fields)
