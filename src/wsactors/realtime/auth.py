"""Who somebody is: the authenticator of a node that has keys configured.

What is shown at the door is a JSON Web Token or an API key, as a token or as an API key: clients differ in where they put which.
Whoever shows nothing is anonymous where that is allowed. Whoever shows something wrong is refused, also there: a client that
believes that it is logged in must not be somebody else.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs

from .api_keys import find_key, read_api_keys
from .identity import ANONYMOUS, AuthRefused, Credentials, User
from .jwt import DEMO_SECRETS, HMAC_BYTES, Claims, Key, hmac_key, read_jwks, verify
from .revocations import Revocations, read_revocations
from .watched_file import FileUnusable, WatchedFile

__all__ = ["AuthOptions", "FileUnusable", "KeyedAuthenticator", "seconds_left"]

KEY_SUBJECT: Final = "key:"
"""What the subject of an API key begins with."""
RECHECK_SECONDS: Final = 60.0
_LONGEST_SUBJECT: Final = 255


@attrs.frozen
class AuthOptions:
    """What a node accepts. The names are those of ``[auth]`` in its configuration."""

    anonymous: bool = True
    """Whether those who show nothing may come in, as nobody in particular."""
    secret: str = attrs.field(default="", repr=False, metadata={"secret": True})
    """Shared secret of JSON Web Tokens."""
    algorithm: str = "HS256"
    """Of ``secret``, and of it alone."""
    jwks: Path | None = None
    """File with a JSON Web Key Set."""
    api_keys: Path | None = None
    """File with the hashes of API keys."""
    revoked: Path | None = None
    """File with what is revoked."""
    audience: tuple[str, ...] = ()
    issuer: tuple[str, ...] = ()
    leeway: float = 10.0
    """Seconds that clocks may differ."""
    require_expiry: bool = True
    """Refuse tokens that never expire."""
    subject_claim: str = "sub"
    role_claim: str = "role"
    """Claims that say who it is and in which role."""
    default_role: str = "authenticated"
    """Of those whose token names none."""
    bind_presence: bool = True
    """Whether people who have logged in can be present under their own name alone."""

    @property
    def verifies(self) -> bool:
        """Whether there is anything to check a credential with."""
        return bool(self.secret or self.jwks or self.api_keys)


class KeyedAuthenticator:
    """Checks credentials by `AuthOptions`.

    Args:
        options: what is accepted.
        loopback: whether only this machine can reach the node; secrets out of documentation are good for no other.
        clock: Unix time in seconds.

    Raises:
        ValueError: the secret is unfit, with the reason.
        FileUnusable: a file is.
    """

    def __init__(self, options: AuthOptions, *, loopback: bool = False, clock: Callable[[], float] = time.time) -> None:
        self.options = options
        self._clock = clock
        self._keys: tuple[Key, ...] = ()
        if options.secret:
            if options.secret in DEMO_SECRETS and not loopback:
                raise ValueError(
                    "auth.secret stands in public documentation: anybody can sign tokens with it. Make one of your own "
                    "(openssl rand -base64 48), or bind gateway.host to loopback"
                )
            self._keys = (hmac_key(options.secret, options.algorithm),)
        self._jwks: WatchedFile[Any] | _NoFile = _NoFile(())
        self._api_keys: WatchedFile[Any] | _NoFile = _NoFile({})
        self._revoked_file: WatchedFile[Any] | _NoFile = _NoFile(Revocations())
        if options.jwks:
            self._jwks = _loaded(options.jwks, read_jwks if loopback else _read_public_jwks)
        if options.api_keys:
            self._api_keys = _loaded(options.api_keys, read_api_keys)
        if options.revoked:
            self._revoked_file = _loaded(options.revoked, read_revocations)
        self._revoked = Revocations()

    # --- at the door ----------------------------------------------------------------------------------------------

    async def authenticate(self, credentials: Credentials, /) -> User:
        """Whose connection it is.

        Raises:
            AuthRefused: codes missing, malformed, signature, expired, claims, revoked.
        """
        shown = credentials.token or credentials.api_key
        if not self.options.verifies or not shown:
            if not self.options.anonymous:
                raise AuthRefused("missing", "Log in: this node takes a token or an API key.")
            return ANONYMOUS
        user = await self._user_of(shown)
        if await self._is_revoked(user):
            raise AuthRefused("revoked", "This login has been revoked: log in again.")
        return user

    async def refresh(self, user: User, token: str) -> User:
        """``user`` with a new token. Nobody becomes somebody else by that, but who was nobody may become somebody.

        Raises:
            AuthRefused: as `authenticate`, or forbidden: it is another's token.
        """
        renewed = await self.authenticate(Credentials(token=token))
        if user.subject and renewed.subject != user.subject:
            raise AuthRefused("forbidden", "This token is another's: connect again to become somebody else.")
        return renewed

    async def check(self, user: User) -> None:
        """Whether ``user``, let in earlier, may stay; ask every `recheck_seconds`.

        Raises:
            AuthRefused: expired or revoked.
        """
        left = self.seconds_left(user)
        if left is not None and left <= 0:
            raise AuthRefused("expired", "Your token has expired: send a new one, or log in again.")
        if await self._is_revoked(user):
            raise AuthRefused("revoked", "This login has been revoked: log in again.")

    def seconds_left(self, user: User) -> float | None:
        """How long ``user``'s token holds; None: for ever."""
        return seconds_left(user, self._clock(), self.options.leeway)

    def recheck_seconds(self, user: User) -> float | None:
        """When to ask `check` again; None: never, for nobody in particular can be neither expired nor revoked."""
        left = self.seconds_left(user)
        if left is None:
            return None if user.anonymous else RECHECK_SECONDS
        return min(max(left, 0.0), RECHECK_SECONDS)

    # --- revocation -----------------------------------------------------------------------------------------------

    def revoke_subject(self, subject: str) -> None:
        """From now on refuse every token that ``subject`` has. What is open stays open: see `Realtime.kick`.

        Raises:
            ValueError: ``subject`` is empty, or the list is full.
        """
        self._revoked.add_subject(subject, self._clock())

    def revoke_token(self, user: User) -> None:
        """From now on refuse the token that ``user`` came with. Raises `ValueError` when it has no id, or the list is full."""
        until = float("inf") if user.expires is None else user.expires + self.options.leeway
        self._revoked.add_token(user.token_id, now=self._clock(), until=until)

    async def _is_revoked(self, user: User) -> bool:
        if user.subject.startswith(KEY_SUBJECT) and user.stamp not in await self._api_keys.fresh():
            return True
        listed = await self._revoked_file.fresh()
        return any(each.cover(user.subject, user.token_id, user.issued) for each in (self._revoked, listed))

    # --- one credential -------------------------------------------------------------------------------------------

    async def _user_of(self, shown: str) -> User:
        if (found := find_key(await self._api_keys.fresh(), shown)) is not None:
            return User(f"{KEY_SUBJECT}{found.name}", found.role, found.claims, stamp=found.digest)
        options = self.options
        claims = verify(
            shown,
            (*self._keys, *await self._jwks.fresh()),
            now=self._clock(),
            audiences=options.audience,
            issuers=options.issuer,
            leeway=options.leeway,
            needs_expiry=options.require_expiry,
        )
        return self._user(claims, hashlib.sha256(shown.encode()).hexdigest())

    def _user(self, claims: Claims, stamp: str) -> User:
        options = self.options
        subject, role = claims.get(options.subject_claim, ""), claims.get(options.role_claim, options.default_role)
        token_id = claims.get("jti", "")
        if not all(isinstance(value, str) and len(value) <= _LONGEST_SUBJECT for value in (subject, role, token_id)):
            raise AuthRefused("claims", "The token does not say in text who it is for.")
        if subject.startswith(KEY_SUBJECT):
            raise AuthRefused("claims", "The token's subject is not one that is taken here.")
        return User(subject, role, claims, claims.get("exp"), token_id, claims.get("iat"), stamp)


def seconds_left(user: User, now: float, leeway: float = 0.0) -> float | None:
    """How long ``user``'s token still holds at ``now`` (Unix time); None: it does not expire.

    >>> seconds_left(User("ada", expires=100.0), now=70.0, leeway=10.0)
    40.0
    """
    return None if user.expires is None else user.expires + leeway - now


class _NoFile:
    """In place of a file that is not configured."""

    def __init__(self, value: Any) -> None:
        self._value = value

    async def fresh(self) -> Any:
        return self._value


def _loaded(path: Path, parse: Callable[[bytes], Any]) -> WatchedFile[Any]:
    file = WatchedFile(path, parse)
    file.load()
    return file


def _read_public_jwks(data: bytes) -> tuple[Key, ...]:
    """The keys of a node that others can reach."""
    keys = read_jwks(data)
    if any(key.algorithm in HMAC_BYTES and key.material.decode("latin-1") in DEMO_SECRETS for key in keys):
        raise ValueError("a secret in it stands in public documentation: anybody can sign tokens with it")
    return keys
