"""Which pages of other sites may read answers of this port (CORS, Fetch standard §3.2). Pure.

Nobody may, until `gateway.allowed_origins` names them. What is sent back is the configured text, never what a request said;
``*`` stands alone and never comes with credentials.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS: Final = (
    "authorization, content-type, accept, x-api-key, apikey, x-client-info, last-event-id, x-phoenix-authtoken, "
    "x-phoenix-longpoll-token"
)
"""What pages may send: what the clients of the protocols here do send."""
MAX_AGE_SECONDS: Final = 600
ANY: Final = "*"


@attrs.frozen
class Cors:
    """The rule of one port."""

    origins: frozenset[str]
    """In lower case, without a slash at the end; ``*`` for all."""

    @classmethod
    def of(cls, allowed_origins: Iterable[str]) -> Cors:
        """The rule that the configuration describes."""
        return cls(frozenset(origin.lower().rstrip("/") for origin in allowed_origins))

    def allows(self, origin: str) -> bool:
        """Whether a page of ``origin`` is named."""
        return ANY in self.origins or origin.lower() in self.origins

    def headers(self, origin: str | None) -> Mapping[str, str]:
        """What an answer to a request with this Origin carries."""
        if not self.origins:
            return {}
        if ANY in self.origins:
            return {"access-control-allow-origin": ANY}
        named = next((each for each in self.origins if origin is not None and each == origin.lower()), None)
        if named is None:
            return {"vary": "origin"}
        return {
            "access-control-allow-origin": named,
            "access-control-allow-credentials": "true",
            "access-control-expose-headers": "retry-after",
            "vary": "origin",
        }

    def preflight(self, origin: str) -> Mapping[str, str]:
        """What the answer to a preflight request of ``origin``, which is allowed, carries."""
        return {
            **self.headers(origin),
            "access-control-allow-methods": METHODS,
            "access-control-allow-headers": REQUEST_HEADERS,
            "access-control-max-age": str(MAX_AGE_SECONDS),
        }
