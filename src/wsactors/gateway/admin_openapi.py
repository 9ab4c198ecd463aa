"""The description of the admin API, as OpenAPI 3.1 has it."""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_NUMBER: Final[dict[str, Any]] = {"type": "integer", "minimum": 0}
_AMOUNT: Final[dict[str, Any]] = {"type": "number", "minimum": 0}
_SECONDS: Final[dict[str, Any]] = {**_AMOUNT, "description": "In seconds."}
_MAYBE_SECONDS: Final[dict[str, Any]] = {"type": ["number", "null"], "description": "In seconds; null: not known."}
_REFUSAL: Final[dict[str, Any]] = {
    "description": "Refused.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}},
}


def document(version: str) -> dict[str, Any]:
    """The whole document; ``version`` is that of wsactors."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "wsactors admin API",
            "version": version,
            "description": "Look at a node's topics and connections, and act on them. Every request carries the bearer "
            "token of admin.http.token; cookies count for nothing.",
        },
        "security": [{"bearer": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": _SCHEMAS,
        },
    }


def _paths() -> dict[str, Any]:
    topic = [_in_path("topic", "The topic's name, percent-encoded.")]
    page = [_in_query("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, "Most entries.")]
    after_id = _in_query("after", _NUMBER, "Only those that follow this id: the last one of the page before.")
    after_name = _in_query("after", _TEXT, "Only those that follow this name: the last one of the page before.")
    search = _in_query("prefix", _TEXT, "Only those that begin with this.")
    subject = _in_query("subject", _TEXT, "Only those of this user.")
    of_topic = _in_query("topic", _TEXT, "Only those of this topic.")
    return {
        "/metrics": {"get": _metrics()},
        "/openapi.json": {"get": _operation("describe", "This document.", {"type": "object"})},
        "/admin/api/node": {"get": _operation("getNode", "How the node is doing.", "Node")},
        "/admin/api/topics": {
            "get": _operation("listTopics", "Topics that are in use, by name.", "Topics", [*page, after_name, search]),
        },
        "/admin/api/topics/{topic}": {"get": _operation("getTopic", "How a topic is doing.", "Topic", topic)},
        "/admin/api/topics/{topic}/presence": {
            "get": _operation("getPresence", "Who is present on a topic.", "Presence", topic),
        },
        "/admin/api/topics/{topic}/publish": {
            "post": _operation("publish", "Publish to a topic.", "Position", topic, body="Message"),
        },
        "/admin/api/channels": {
            "get": _operation(
                "listChannels", "Memberships of topics.", "Channels", [*page, after_id, of_topic, subject]
            ),
        },
        "/admin/api/connections": {
            "get": _operation("listConnections", "Open connections.", "Connections", [*page, after_id]),
        },
        "/admin/api/sound": {"get": _operation("getSound", "How sessions are heard, since the node started.", "Sound")},
        "/admin/api/kick": {
            "post": _operation("kick", "End a user's channels, one channel or one connection.", "Kicked", body="Kick"),
        },
        "/admin/api/drain": {
            "post": _operation("drain", "Tell every client to go elsewhere; waits until they have.", "Drain"),
            "delete": _operation("undrain", "Let clients in again.", "Drain"),
        },
    }


def _metrics() -> dict[str, Any]:
    found = _operation("getMetrics", "Metrics, for Prometheus.", {"type": "object"})
    found["responses"]["200"] = {"description": "Metrics.", "content": {"text/plain": {"schema": _TEXT}}}
    return found


def _operation(
    name: str,
    summary: str,
    answer: str | dict[str, Any],
    parameters: list[dict[str, Any]] | None = None,
    *,
    body: str | None = None,
) -> dict[str, Any]:
    schema = answer if isinstance(answer, dict) else _ref(answer)
    found: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": {"description": summary, "content": {"application/json": {"schema": schema}}},
            "default": _REFUSAL,
        },
    }
    if parameters:
        found["parameters"] = parameters
    if body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(body)}}}
    return found


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _in_path(name: str, meaning: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": meaning, "schema": _TEXT}


def _in_query(name: str, schema: dict[str, Any], meaning: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": meaning, "schema": schema}


def _object(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _counts(meaning: str) -> dict[str, Any]:
    return {"type": "object", "description": meaning, "additionalProperties": _NUMBER}


def _spread(meaning: str) -> dict[str, Any]:
    return {"description": meaning, **_ref("Spread")}


def _list(of: str, **more: Any) -> dict[str, Any]:
    return _object({of.lower(): {"type": "array", "items": _ref(of.removesuffix("s"))}, **more})


_SCHEMAS: Final[dict[str, Any]] = {
    "Refusal": _object({"error": _object({"code": _TEXT, "message": _TEXT})}),
    "Node": _object(
        {
            "name": _TEXT,
            "region": _TEXT,
            "ready": {"type": "boolean"},
            "draining": {"type": "boolean"},
            "actors": _NUMBER,
            "topics": _NUMBER,
            "channels": _NUMBER,
            "connections": {"type": "object", "additionalProperties": _NUMBER},
        }
    ),
    "Topics": _object({"topics": {"type": "array", "items": _TEXT}, "more": {"type": "boolean"}}),
    "Topic": _object(
        {
            "topic": _TEXT,
            "members": _NUMBER,
            "present": _NUMBER,
            "position": _ref("Position"),
            "kept": _NUMBER,
            "published": _NUMBER,
        }
    ),
    "Position": _object({"epoch": _TEXT, "offset": _NUMBER}),
    "Presence": _object(
        {
            "presence": {
                "type": "object",
                "description": "The metadata of each connection, by key.",
                "additionalProperties": {"type": "array", "items": {"type": "object"}},
            }
        }
    ),
    "Message": _object(
        {"event": {"type": "string", "minLength": 1, "maxLength": 255}, "payload": {}, "id": _TEXT}, "payload", "id"
    ),
    "Channel": _object({"id": _NUMBER, "topic": _TEXT, "subject": _TEXT, "role": _TEXT, "connection": _NUMBER}),
    "Channels": _list("Channels", more={"type": "boolean"}),
    "Connection": _object(
        {
            "id": _NUMBER,
            "protocol": {"type": "string", "description": "As metrics have it; of HTTP, what it is waited for as."},
            "address": {"type": "string", "description": "The client's, or that of a proxy which speaks HTTP."},
            "subject": {"type": "string", "description": "The user; empty: nobody in particular, or not known."},
            "seconds": {"type": "number", "minimum": 0, "description": "Since it came."},
            "waiting_bytes": _NUMBER,
            "sent_bytes": _NUMBER,
            "hearing": {"anyOf": [_ref("Hearing"), {"type": "null"}]},
        }
    ),
    "Hearing": _object(
        {
            "loss": {**_AMOUNT, "description": "Share of frames that did not come."},
            "concealed": {**_AMOUNT, "description": "Share of what was played that was guessed."},
            "jitter": _SECONDS,
            "buffer": {**_SECONDS, "description": "How long frames wait there."},
            "delay": {**_MAYBE_SECONDS, "description": "From the node until it is played."},
            "rtt": _MAYBE_SECONDS,
        }
    ),
    "Sound": _object(
        {
            "listeners": _counts("Those who listen now, by transport."),
            "joins": _counts("By what became of them."),
            "join_seconds": _spread("How long joins took."),
            "first_sound": _spread("From the request to join until the first sound."),
            "frames": _counts("What listeners reported: came, recovered from a copy, lost."),
            "loss": _spread("Share of frames that did not come, by report."),
            "concealed": _spread("Share of what was played that was guessed."),
            "jitter": _spread("In seconds."),
            "buffer": _spread("Seconds that frames wait at listeners."),
            "delay": _spread("Seconds from the node until it is played."),
            "rtt": _spread("Seconds to listeners and back."),
            "drops": _counts("Datagrams of sound that were not sent, by why."),
            "fast_share": {"type": ["number", "null"], "description": "Of datagrams; null: without QUIC."},
        }
    ),
    "Spread": _object(
        {
            "count": _NUMBER,
            "mean": {"type": ["number", "null"]},
            "p50": {"type": ["number", "null"], "description": "At most; null: none, or beyond all bounds."},
            "p99": {"type": ["number", "null"]},
        }
    ),
    "Connections": _list("Connections", more={"type": "boolean"}),
    "Kick": {
        "description": "Whom: exactly one of these.",
        "oneOf": [
            _object({"subject": _TEXT, "reason": _TEXT}, "reason"),
            _object({"channel": _NUMBER, "reason": _TEXT}, "reason"),
            _object({"connection": _NUMBER, "reason": _TEXT}, "reason"),
        ],
    },
    "Kicked": _object({"kicked": _NUMBER}),
    "Drain": _object({"draining": {"type": "boolean"}, "told": _NUMBER, "guests": _NUMBER}),
}
