"""The settings of authentication and permission (:mod:`wsactors.node.settings`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

import attrs

from wsactors.node.fields import BadSetting, between, setting
from wsactors.node.secret import Secret
from wsactors.realtime.auth import AuthOptions, KeyedAuthenticator
from wsactors.realtime.jwt import HMAC_BYTES
from wsactors.realtime.limits import LimitOptions, Rate
from wsactors.realtime.permission import PermissionOptions
from wsactors.realtime.policy import PolicyOptions
from wsactors.realtime.rules import ACTIONS, Action, Pattern, Rule
from wsactors.realtime.shared_limits import SharedLimitOptions

__all__ = ["AuthSettings", "PolicySettings", "RateSettings", "RuleSettings", "authenticator", "permission_options"]


def _actions(_: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for name in value:
        if name not in ACTIONS:
            raise BadSetting(attribute.name, f"expected some of {', '.join(ACTIONS)}, got {name!r}")


def _patterns(_: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for text in value:
        try:
            Pattern(text)
        except ValueError as error:
            raise BadSetting(attribute.name, str(error)) from None


def _equations(_: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for text in value:
        if "=" not in text.strip("="):
            raise BadSetting(attribute.name, f'expected "claim=value", got {text!r}')


def _long_enough(instance: AuthSettings, attribute: attrs.Attribute[Any], value: Secret | None) -> None:
    least = HMAC_BYTES[instance.algorithm]
    if value is not None and len(value.reveal().encode()) < least:
        raise BadSetting(attribute.name, f"expected at least {least} bytes, such as `openssl rand -base64 48` prints")


@attrs.frozen
class AuthSettings:
    """Who may come in."""

    anonymous: bool = setting(
        True, "Whether those who show neither a token nor a key may come in, as nobody in particular."
    )
    algorithm: Literal["HS256", "HS384", "HS512"] = setting(
        "HS256", "Algorithm of secret, and the only one it is used in."
    )
    secret: Secret | None = setting(
        None,
        "Shared secret with which JSON Web Tokens are signed; those out of public documentation work on loopback only.",
        secret=True,
        check=_long_enough,
    )
    jwks: Path | None = setting(
        None, "File with a JSON Web Key Set, the public keys of whoever issues tokens. Read again when it changes."
    )
    api_keys: Path | None = setting(
        None,
        "File with the hashes of API keys: a table for each, [NAME], with sha256 and role. Read again when it changes.",
    )
    revoked: Path | None = setting(
        None, "File with lines `token JTI` or `subject NAME`, who are not let in any more. Read again when it changes."
    )
    audience: tuple[str, ...] = setting((), "Accepted audiences (aud) of tokens; empty = not looked at.")
    issuer: tuple[str, ...] = setting((), "Accepted issuers (iss) of tokens; empty = not looked at.")
    leeway: float = setting(10.0, "Seconds that the issuer's clock may differ.", check=between(0, 600))
    require_expiry: bool = setting(True, "Refuse tokens that never expire.")
    subject_claim: str = setting("sub", "Claim that says who it is.")
    role_claim: str = setting("role", "Claim that says in which role.")
    default_role: str = setting("authenticated", "Role of those whose token names none.")
    bind_presence: bool = setting(
        True,
        "With keys configured: whoever has logged in is present under their own name, whatever key the client asks for, and "
        "whoever has not is marked as a guest.",
    )


@attrs.frozen
class RuleSettings:
    """One rule about topics."""

    topics: tuple[str, ...] = setting(
        ("*",),
        "Topics it is about: * is anything, {sub} the user's own name, {CLAIM} what the token says.",
        check=_patterns,
    )
    roles: tuple[str, ...] = setting((), "Roles it is about; empty = all.")
    claims: tuple[str, ...] = setting((), 'Claims the token must hold, as "claim=value".', check=_equations)
    allow: tuple[str, ...] = setting(
        (), "What is allowed: connect, join, publish, presence_read, presence_write.", check=_actions
    )
    deny: tuple[str, ...] = setting((), "What is forbidden, in the same words.", check=_actions)


@attrs.frozen
class PolicySettings:
    """Who decides what no rule decides."""

    actor: str = setting(
        "",
        "Registered name of an actor that is asked (`wsactors.realtime.policy.Decide`); empty = nobody: public topics are "
        "open, private ones shut.",
    )
    deadline: float = setting(
        2.0, "Seconds in which it must have answered; after that the answer is no.", check=between(0.01, 60)
    )
    cache_seconds: float = setting(60.0, "How long an answer is remembered.", check=between(0, 86_400))
    cache_entries: int = setting(50_000, "Answers remembered.", check=between(0, 10_000_000))


@attrs.frozen
class RateSettings:
    """How much one connection may ask, all those of one address (an IPv6 /64), and the clients of one topic: so much each second,
    and a burst of it at once. Who goes over it is warned, then slowed down, and refused when it has had the burst twice."""

    messages: float = setting(1_000.0, "Messages a second, on all its topics.", check=between(0.01, 1e9))
    messages_burst: float = setting(5_000.0, "Messages at once.", check=between(1, 1e9))
    topic_messages: float = setting(500.0, "Messages a second on one topic.", check=between(0.01, 1e9))
    topic_messages_burst: float = setting(2_500.0, "Messages at once on one topic.", check=between(1, 1e9))
    bytes: float = setting(10_000_000.0, "Bytes of them a second, an estimate.", check=between(1, 1e12))
    bytes_burst: float = setting(40_000_000.0, "Bytes at once, an estimate.", check=between(1, 1e12))
    joins: float = setting(50.0, "Joins a second.", check=between(0.01, 1e9))
    joins_burst: float = setting(1_000.0, "Joins at once.", check=between(1, 1e9))
    tokens: float = setting(
        10.0,
        "Tokens a second that a client shows after it was let in, by renewing or by joining with one of its own.",
        check=between(0.01, 1e9),
    )
    tokens_burst: float = setting(200.0, "Tokens at once.", check=between(1, 1e9))
    topics: int = setting(1_000, "Topics at one time.", check=between(1, 1_000_000))
    address_channels: int = setting(
        20_000, "Memberships at one time of all connections of one address.", check=between(1, 10_000_000)
    )
    address_messages: float = setting(
        5_000.0,
        "Messages a second of all connections of one address, and of its REST requests.",
        check=between(0.01, 1e9),
    )
    address_messages_burst: float = setting(25_000.0, "Messages at once of one address.", check=between(1, 1e9))
    topic_publications: float = setting(
        2_000.0, "Publications a second of all clients on one topic.", check=between(0.01, 1e9)
    )
    topic_publications_burst: float = setting(10_000.0, "Publications at once on one topic.", check=between(1, 1e9))
    presence_interval: float = setting(
        0.1,
        "Seconds between two changes of one member's presence; of what comes faster the newest counts.",
        check=between(0, 60),
    )


def authenticator(settings: AuthSettings, *, loopback: bool) -> KeyedAuthenticator:
    """What checks credentials; ``loopback``: nobody but this machine can reach the node.

    Raises:
        ValueError: the secret stands in public documentation.
        FileUnusable: a file cannot be used.
    """
    values = {field.name: getattr(settings, field.name) for field in attrs.fields(AuthSettings)}
    values["secret"] = "" if settings.secret is None else settings.secret.reveal()
    return KeyedAuthenticator(AuthOptions(**values), loopback=loopback)


def permission_options(
    auth: AuthSettings, rules: Mapping[str, RuleSettings], policy: PolicySettings, rates: RateSettings
) -> PermissionOptions:
    """What clients may do."""
    verifies = bool(auth.secret or auth.jwks or auth.api_keys)
    return PermissionOptions(
        policy=PolicyOptions(
            rules=tuple(_rule(rule) for rule in rules.values()),
            deadline=policy.deadline,
            cache_seconds=policy.cache_seconds,
            cache_entries=policy.cache_entries,
        ),
        decider=policy.actor or None,
        limits=LimitOptions(
            messages=Rate(rates.messages, rates.messages_burst),
            bytes=Rate(rates.bytes, rates.bytes_burst),
            topic_messages=Rate(rates.topic_messages, rates.topic_messages_burst),
            joins=Rate(rates.joins, rates.joins_burst),
            tokens=Rate(rates.tokens, rates.tokens_burst),
            topics=rates.topics,
            presence_interval=rates.presence_interval,
        ),
        shared=SharedLimitOptions(
            address_channels=rates.address_channels,
            address_messages=Rate(rates.address_messages, rates.address_messages_burst),
            topic_publications=Rate(rates.topic_publications, rates.topic_publications_burst),
        ),
        bind_presence=auth.bind_presence and verifies,
    )


def _rule(settings: RuleSettings) -> Rule:
    return Rule(
        topics=settings.topics,
        roles=settings.roles,
        claims=dict(_equation(text) for text in settings.claims),
        allow=cast("tuple[Action, ...]", settings.allow),
        deny=cast("tuple[Action, ...]", settings.deny),
    )


def _equation(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
