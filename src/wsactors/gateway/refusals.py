"""How a request is refused by those who do not know what serves it: in the words of the API that its path belongs to. Pure.

What an endpoint refuses itself, it says itself, and in the same shape (`wsactors.gateway.access`).
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import attrs

from wsactors.wire.json_door import dumps
from wsactors.wire.plain import Plain

from .body import METHODS

JSON_PATHS: Final = ("/api/", "/admin/", "/metrics", "/openapi.json")
"""What begins so answers ``{"error": {"code": ..., "message": ...}}``."""
SUPABASE_PATHS: Final = ("/realtime/v1/", "/api/broadcast")
"""What begins so answers ``{"message": ...}``, as Supabase's clients read it. These come first."""
_TEXT: Final = "text/plain; charset=utf-8"
_JSON: Final = "application/json"
_CODES: Final[Mapping[int, str]] = {
    400: "malformed",
    408: "timeout",
    413: "too_large",
    429: "rate",
    500: "crash",
    503: "overloaded",
}
"""Where endpoints have a word for it; else it is that of HTTP."""


@attrs.frozen
class Answer:
    """What a refused client is sent."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    """With the content type."""


def refuse(path: str, status: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """The answer to a request for ``path``, which may be empty where that is not known.

    One with 405 must say in ``headers`` what is allowed; where it does not, the path is none that anybody serves, and what
    the port passes on at all is.

    Example:
        >>> refuse("/api/nothing", 404, "There is nothing here.").body
        b'{"error":{"code":"not_found","message":"There is nothing here."}}'
        >>> refuse("/nothing", 404, "There is nothing here.").body
        b'There is nothing here.\\n'
    """
    fields = dict(headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED and "allow" not in {name.lower() for name in fields}:
        fields["allow"] = ", ".join(sorted(METHODS))
    if path.startswith(SUPABASE_PATHS):
        return Answer(status, dumps({"message": message}), {**fields, "content-type": _JSON})
    if path.startswith(JSON_PATHS):
        body: Plain = {"error": {"code": code_of(status), "message": message}}
        return Answer(status, dumps(body), {**fields, "content-type": _JSON})
    return Answer(status, message.encode() + b"\n", {**fields, "content-type": _TEXT})


def code_of(status: int) -> str:
    """The word for ``status``: that of the endpoints, or HTTP's own, such as ``method_not_allowed``."""
    return _CODES.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
