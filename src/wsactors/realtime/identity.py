"""Who somebody is, and how they are refused. What checks it is in `wsactors.realtime.auth`; here are the words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from wsactors.errors import WsactorsError
from wsactors.wire.plain import Plain

if TYPE_CHECKING:
    from .limits import LimitOptions


@attrs.frozen
class Credentials:
    """What a client has shown at the door."""

    token: str = attrs.field(default="", repr=False)
    """A bearer token (a JWT)."""
    api_key: str = attrs.field(default="", repr=False)
    params: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """Whatever else it sent on connecting."""
    address: str = ""
    """Of the peer, as far as trusted proxies say."""
    origin: str = ""


@attrs.frozen
class User:
    """Whose connection it is."""

    __is_value__ = True

    subject: str = ""
    """Unique per person; empty: nobody in particular."""
    role: str = "anonymous"
    claims: Mapping[str, Any] = attrs.field(factory=dict, repr=False, hash=False)
    expires: float | None = None
    """Unix time in seconds from which on this is not valid any more; None: it stays valid."""
    token_id: str = ""
    """What a revocation names; empty: it cannot be revoked by itself."""
    issued: float | None = None
    """Unix time at which the token was made, if it says so."""
    stamp: str = attrs.field(default="", repr=False)
    """Differs with what was shown at the door: what was decided under one stamp holds for it alone. No secret can be read
    from it."""

    limits: LimitOptions | None = None
    """How much it may ask, if the policy gave it limits of its own."""
    address: str = attrs.field(default="", eq=False, repr=False)
    """Where it connects from, as limits count it: see `wsactors.realtime.addresses.counted_address`."""

    @property
    def anonymous(self) -> bool:
        """Whether nobody has shown who they are."""
        return not self.subject


ANONYMOUS = User()


class Refused(WsactorsError):
    """The answer is no. ``code`` is for programs, the text for people: what to do, nothing about the inside."""

    def __init__(self, code: str, message: str, details: Plain = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details


class AuthRefused(Refused):
    """The credentials are not good enough.

    Codes: missing, malformed, expired, revoked, signature, claims, forbidden, resume, rate, timeout.
    """


class JoinRefused(Refused):
    """The topic may not be joined. Codes: unmatched_topic, unauthorized, too_many, rate, crash, timeout, or a channel's own."""


class PublishRefused(Refused):
    """The message is not published. Codes: unauthorized, too_large, rate, overloaded, unmatched_topic, timeout."""


class Authenticator(Protocol):
    """Decides who somebody is."""

    async def authenticate(self, credentials: Credentials, /) -> User:
        """The user. Raises `AuthRefused`."""
        ...


class AllowAnybody:
    """The authenticator of a node that has none configured: everybody is anonymous."""

    async def authenticate(self, credentials: Credentials, /) -> User:
        """Always `ANONYMOUS`."""
        return ANONYMOUS
