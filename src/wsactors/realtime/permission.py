"""What each of a node's clients may do, gathered: who they are, what the policy says, how much they may ask."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import attrs
import trio

from wsactors.actors import Pid, Runtime, at_death
from wsactors.errors import NoProcess
from wsactors.wire.plain import Plain

from .addresses import counted_address
from .auth import RECHECK_SECONDS, KeyedAuthenticator, seconds_left
from .identity import AllowAnybody, Authenticator, AuthRefused, Credentials, JoinRefused, PublishRefused, User
from .limits import OK, TOO_MANY, ConnectionLimits, LimitOptions, Verdict
from .policy import Decider, Decision, Policy, PolicyOptions
from .rules import Action
from .shared_limits import SharedLimitOptions, SharedLimits

if TYPE_CHECKING:
    from .seat import Seat

__all__ = ["GUEST", "Permission", "PermissionOptions"]

GUEST = "guest:"
"""What precedes a presence key that somebody chose who has not logged in, where those who have are bound to theirs."""


_CONNECTION_FIRST = 0.5
"""Seconds by which a membership outlives its connection's token."""


@runtime_checkable
class LivingAuthenticator(Protocol):
    """An authenticator that can be asked again about those whom it let in."""

    async def refresh(self, user: User, token: str, /) -> User:
        """``user`` with a new token. Raises `AuthRefused`."""
        ...

    async def check(self, user: User, /) -> None:
        """Raises `AuthRefused` when ``user`` may not stay."""
        ...

    def recheck_seconds(self, user: User, /) -> float | None:
        """When to ask `check` again; None: never."""
        ...

    def revoke_subject(self, subject: str, /) -> None:
        """Refuse every token that ``subject`` has now."""
        ...


@attrs.frozen
class PermissionOptions:
    """What the clients of one node may do."""

    policy: PolicyOptions = attrs.field(factory=PolicyOptions)
    decider: Decider | Pid | str | None = None
    """Asked what no rule decides: a callback, or an actor's pid or name. None: public topics are open, private ones shut."""
    limits: LimitOptions = attrs.field(factory=LimitOptions)
    shared: SharedLimitOptions = attrs.field(factory=SharedLimitOptions)
    bind_presence: bool = False
    """Whether people who have logged in are present under their own name alone, and nobody else under it."""


class Permission:
    """Asks, in order, the authenticator, the policy and the limits of one node."""

    def __init__(
        self,
        node: Runtime,
        options: PermissionOptions,
        authenticator: Authenticator | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options
        self.policy = Policy(node, options.policy, options.decider)
        self._node = node
        self._authenticator: Authenticator = authenticator or AllowAnybody()
        self._living = self._authenticator if isinstance(self._authenticator, LivingAuthenticator) else None
        self._leeway = authenticator.options.leeway if isinstance(authenticator, KeyedAuthenticator) else 0.0
        self._clock = clock
        self._limits: dict[Pid, ConnectionLimits] = {}
        """Of each connection that has joined anything, or shown a second token."""
        self._forget = self._forget_limits  # a method is made anew each time it is named, and would be kept for each
        self.shared = SharedLimits(options.shared)

    # --- who ------------------------------------------------------------------------------------------------------

    async def enter(self, credentials: Credentials) -> User:
        """Whose connection it is. Raises `AuthRefused`."""
        user = await self._authenticator.authenticate(credentials)
        address = counted_address(credentials.address)
        if address != user.address:
            user = attrs.evolve(user, address=address)
        return await self._admitted(user, dict(credentials.params) or None)

    async def renew(self, user: User, token: str) -> User:
        """``user`` with a new token, which may not make him another. Raises `AuthRefused`."""
        if self._living is not None:
            renewed = await self._living.refresh(user, token)
        else:
            renewed = await self._authenticator.authenticate(Credentials(token=token))
            if user.subject and renewed.subject != user.subject:
                raise AuthRefused("forbidden", "This token is another's: connect again to become somebody else.")
        return await self._admitted(attrs.evolve(renewed, address=user.address), None)

    async def stay(self, user: User) -> None:
        """Raises `AuthRefused` when ``user``'s token has expired or been revoked. Ask every `recheck_seconds`."""
        left = seconds_left(user, self._clock())
        if self._living is not None:
            await self._living.check(user)
        elif left is not None and left <= 0:
            raise AuthRefused("expired", "Your token has expired: send a new one, or log in again.")

    def recheck_seconds(self, user: User) -> float | None:
        """When to ask `stay` again; None: never.

        That is a moment after a token has expired, so that a connection, which goes by `expires`, ends before its memberships:
        clients join again when they lose a connection, but not when they are told that a membership is over.
        """
        if self._living is not None:
            seconds = self._living.recheck_seconds(user)
        else:
            left = seconds_left(user, self._clock())
            seconds = None if left is None else min(max(left, 0.0), RECHECK_SECONDS)
        return None if seconds is None else seconds + _CONNECTION_FIRST

    def expires(self, user: User) -> float | None:
        """Since when, in Unix time, nobody is let in any more with ``user``'s token; None: it does not expire.

        What ends a connection goes by this: were it ended sooner, a client that comes back with the same token were let in,
        and ended, over and over.
        """
        return None if user.expires is None else user.expires + self._leeway

    def revoke(self, subject: str) -> None:
        """From now on refuse every token that ``subject`` has. What is open goes on until it is asked `stay`: kick it, too.

        Raises:
            ValueError: the authenticator of this node revokes nothing, or its list is full.
        """
        if self._living is None:
            raise ValueError("the authenticator of this node revokes nothing: it has no revoke_subject")
        self._living.revoke_subject(subject)
        self.policy.forget(subject=subject)

    async def _admitted(self, user: User, params: Plain) -> User:
        decision = await self.policy.decide("connect", user, "", params)
        if not decision.allow:
            raise AuthRefused(decision.code if decision.code == "timeout" else "forbidden", decision.reason)
        return user if decision.limits is None else attrs.evolve(user, limits=decision.limits)

    # --- what -----------------------------------------------------------------------------------------------------

    async def check_join(self, user: User, topic: str, params: Plain, *, private: bool) -> Decision:
        """Raises `JoinRefused` when ``user`` may not join."""
        try:
            await self.stay(user)
        except AuthRefused as refusal:
            raise JoinRefused("unauthorized", refusal.message) from None
        decision = await self.policy.decide("join", user, topic, params, private=private)
        if not decision.allow:
            raise JoinRefused(decision.code, decision.reason)
        return decision

    async def check(self, action: Action, user: User, topic: str, *, private: bool) -> None:
        """Raises `PublishRefused` when ``user`` may not."""
        decision = self.policy.known(action, user, topic, private=private)
        if decision is None:
            decision = await self.policy.decide(action, user, topic, private=private)
        if not decision.allow:
            raise PublishRefused(decision.code, decision.reason)

    async def may(self, action: Action, user: User, topic: str, *, private: bool) -> bool:
        """Whether ``user`` may."""
        return (await self.policy.decide(action, user, topic, private=private)).allow

    def presence_key(self, user: User, asked: str | None, own: str) -> str:
        """The key under which a client that asks for ``asked`` is present; ``own`` is its channel's.

        Where keys are bound, who has logged in is there under his own name, from however many devices, and who has not is
        marked as a guest: nobody is taken for another.
        """
        if not self.options.bind_presence:
            return asked or user.subject or own
        if user.subject:
            return user.subject
        return f"{GUEST}{asked}" if asked else own

    # --- how much -------------------------------------------------------------------------------------------------

    def _limits_of(self, owner: Pid, user: User) -> ConnectionLimits:
        """Raises `NoProcess`."""
        limits = self._limits.get(owner)
        if limits is None:
            limits = ConnectionLimits(user.limits or self.options.limits, trio.current_time())
            at_death(owner, "limits", self._forget)
            self._limits[owner] = limits
        return limits

    def _forget_limits(self, owner: Pid) -> None:
        self._limits.pop(owner, None)

    def showing(self, owner: Pid, user: User) -> None:
        """The client of a connection, whose ``user`` is known, shows one token more.

        Raises:
            AuthRefused: it has shown too many, or is gone; this one is not to be looked at.
        """
        try:
            verdict = self._limits_of(owner, user).token(trio.current_time())
        except NoProcess:
            raise AuthRefused("timeout", "The connection has ended.") from None
        if not verdict.taken:
            raise AuthRefused("rate", f"You show too many tokens: try again in {verdict.wait:.1f} seconds.")

    def joining(self, seat: Seat) -> None:
        """A connection tries to join; `left` must follow when it fails or ends.

        Raises:
            JoinRefused: it has tried too often, is on too many topics, its address has too many channels, or it is gone.
        """
        try:
            limits = self._limits_of(seat.owner, seat.user)
        except NoProcess:
            raise JoinRefused("crash", "The connection has ended.") from None
        verdict = limits.join(trio.current_time(), seat.topic)
        if verdict is TOO_MANY:
            raise JoinRefused("too_many", f"Leave a topic first: {limits.options.topics} at a time are allowed.")
        if not verdict.taken:
            raise JoinRefused("rate", f"Too many joins: try again in {verdict.wait:.1f} seconds.")
        if not self.shared.enter(seat.address):
            limits.left(seat.topic)
            most = self.shared.options.address_channels
            raise JoinRefused(
                "too_many", f"Your address has {most} channels, all its connections together: leave some."
            )
        seat.counted = True

    def left(self, seat: Seat) -> None:
        """A connection is not on a topic any more, or did not get there. May be called again."""
        if not seat.counted:
            return
        seat.counted = False
        self.shared.leave(seat.address)
        limits = self._limits.get(seat.owner)
        if limits is not None:
            limits.left(seat.topic)

    def check_rate(self, seat: Seat, size: int, *, publishes: bool) -> None:
        """Count ``size`` bytes that a client sends to the topic of ``seat``, and slow it down if it can be.

        ``publishes``: whether all members get them.

        Raises:
            PublishRefused: too much has come; this is not to be handled.
        """
        topic = seat.topic if publishes else None
        verdict = self.count(seat, size, topic)
        if not verdict.taken:
            words = self.shared.words(seat.address, topic, trio.current_time())
            raise PublishRefused("rate", f"{words}: try again in {verdict.wait:.1f} seconds.")

    def count(self, seat: Seat, size: int, topic: str | None = None) -> Verdict:
        """As `check_rate`, for what is never refused: who says it too often is only slowed down. ``topic``: published there."""
        limits = self._limits.get(seat.owner)
        if limits is None:
            return OK
        now = trio.current_time()
        verdict = limits.message(now, seat.topic, size, self.shared.buckets(seat.address, topic, now))
        slow_down = getattr(seat.outlet, "slow_down", None)
        if verdict.kind != "ok" and slow_down is not None:
            slow_down(verdict.wait)
        return verdict

    def check_publication(self, address: str, topic: str) -> None:
        """Count one message that is published on ``topic`` by who cannot be slowed down.

        Raises:
            PublishRefused: too much has come.
        """
        now = trio.current_time()
        verdict = self.shared.take(address, topic, now)
        if not verdict.taken:
            words = self.shared.words(address, topic, now)
            raise PublishRefused("rate", f"{words}: try again in {verdict.wait:.1f} seconds.")
