"""Authentication and permission as a configuration says them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.realtime.tokens import SECRET, claims, signed
from wsactors.errors import ConfigError
from wsactors.node.auth_settings import authenticator, permission_options
from wsactors.node.confdoc import effective_toml
from wsactors.node.config import parse_settings
from wsactors.node.settings import Settings
from wsactors.node.wiring import serves_this_machine_only
from wsactors.realtime.auth import AuthOptions
from wsactors.realtime.identity import ANONYMOUS, Credentials, User
from wsactors.realtime.limits import LimitOptions
from wsactors.realtime.permission import PermissionOptions
from wsactors.realtime.policy import PolicyOptions
from wsactors.realtime.rules import first_word

TEXT = f"""
[auth]
secret = "{SECRET}"
anonymous = false
audience = ["api"]
[realtime.rules.own]
topics = ["user:{{sub}}", "user:{{sub}}:*"]
allow = ["join", "publish"]
[realtime.rules.rest]
topics = ["user:*"]
claims = ["staff=true"]
allow = ["join"]
[realtime.rules.shut]
topics = ["user:*"]
deny = ["join"]
"""


def read(text: str, base: Path) -> Settings:
    return parse_settings(tomllib.loads(text), source="test", base=base, environ={})


def options(settings: Settings) -> PermissionOptions:
    realtime = settings.realtime
    return permission_options(settings.auth, realtime.rules, realtime.policy, realtime.rates)


def test_defaults_agree() -> None:
    settings = Settings()

    assert options(settings) == PermissionOptions()
    assert authenticator(settings.auth, loopback=True).options == AuthOptions()
    assert PolicyOptions().rules == ()
    assert options(settings).limits == LimitOptions()


async def test_what_the_file_says_is_what_holds(tmp_path: Path) -> None:
    settings = read(TEXT, tmp_path)
    keys = authenticator(settings.auth, loopback=False)
    user = await keys.authenticate(Credentials(token=signed(claims(aud="api", exp=9e9))))
    rules = options(settings).policy.rules

    assert user.subject == "ada"
    assert first_word(rules, "join", user, "user:ada") is True
    assert first_word(rules, "publish", user, "user:ada:x") is True
    assert first_word(rules, "join", user, "user:bob") is False
    assert first_word(rules, "join", User("eve", claims={"staff": True}), "user:bob") is True
    assert first_word(rules, "join", ANONYMOUS, "user:") is False
    assert options(settings).bind_presence
    assert SECRET not in repr(settings) + effective_toml(settings)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[auth]\nsecret = "short"', "auth.secret"),
        ('[auth]\nalgorithm = "none"', "auth.algorithm"),
        ('[auth]\nalgorithm = "RS256"', "auth.algorithm"),
        (f'[auth]\nalgorithm = "HS512"\nsecret = "{SECRET}"', "auth.secret"),
        ('[realtime.rules.a]\nallow = ["read"]', "realtime.rules.a.allow"),
        ('[realtime.rules.a]\ntopics = ["x{"]', "realtime.rules.a.topics"),
        ('[realtime.rules.a]\nclaims = ["staff"]', "realtime.rules.a.claims"),
        ('[realtime.rules.a]\nalow = ["join"]', "realtime.rules.a.alow"),
        ("[realtime.rates]\nmessages = 0", "realtime.rates.messages"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_key(text: str, key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text, tmp_path)
    assert key in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("gateway", "own"),
    [
        ("", True),
        ('host = "0.0.0.0"', False),
        ('host = "::1"', True),
        ('trusted_proxies = ["127.0.0.1"]', False),
        ('unix_socket = "ws.sock"', False),
    ],
)
def test_a_node_behind_a_proxy_is_not_for_this_machine_only(gateway: str, own: bool, tmp_path: Path) -> None:
    demo: Any = "your-super-secret-jwt-token-with-at-least-32-characters-long"
    settings = read(f'[gateway]\n{gateway}\n[auth]\nsecret = "{demo}"', tmp_path)

    assert serves_this_machine_only(settings.gateway) == own
    if own:
        authenticator(settings.auth, loopback=own)
    else:
        with pytest.raises(ValueError, match="public documentation"):
            authenticator(settings.auth, loopback=own)
