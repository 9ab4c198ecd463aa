"""Text of foreign values: useful, bounded, and without the secrets planted in it."""

from __future__ import annotations

import dataclasses
import enum
import re
from collections import OrderedDict, deque
from time import thread_time
from typing import Any, NamedTuple

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.actors.redact import REDACTED, is_secret, safe_repr, safe_text, scrub, secrets_in

PLANTED = "hunter2xyz"


@attrs.frozen
class Login:
    user: str
    password: str
    note: str = attrs.field(default="", metadata={"secret": True})
    quiet: str = attrs.field(default="", repr=False)


@dataclasses.dataclass
class Account:
    name: str
    api_key: str
    seed: str = dataclasses.field(default="", metadata={"secret": True})


@attrs.define(repr=False)
class Sealed:
    inside: str


@attrs.define
class Curt:
    inside: str

    def __repr__(self) -> str:
        return "Curt"


class Credentials(NamedTuple):
    user: str
    token: str


class Field(enum.Enum):
    PASSWORD = 1
    NAME = 2


class Veiled(str):
    """A text that hides itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


@pytest.mark.parametrize(
    "value",
    [
        {"password": PLANTED},
        {b"password": PLANTED},
        {Field.PASSWORD: PLANTED},
        {("user", "password"): PLANTED},
        {"a": {"b": {"apiKey": PLANTED}}},
        OrderedDict(access_key=PLANTED),
        [("token", PLANTED)],
        ("set_password", "ada", PLANTED),
        ["login", "ada", "password", PLANTED],
        deque([{"Cookie": PLANTED}]),
        Login("ada", PLANTED),
        Login("ada", "", note=PLANTED, quiet=PLANTED),
        Account("ada", PLANTED, PLANTED),
        Credentials("ada", PLANTED),
        {"who": Login("ada", PLANTED)},
        Veiled(PLANTED),
        Sealed(PLANTED),
        Curt(PLANTED),
        f"wss://host/socket?token={PLANTED}&vsn=2",
        {"url": f"nats://user:{PLANTED}@host:4222"},
        {"headers": [("Authorization", f"Bearer {PLANTED}")]},
        (f"Authorization: Bearer {PLANTED}",),
        object.__new__(type("Opaque", (), {"__repr__": lambda self: PLANTED})),
        ValueError(PLANTED),
        PLANTED.encode(),
    ],
    ids=lambda value: re.sub(r" at 0x\w+", "", repr(value)),
)
def test_a_planted_secret_does_not_show(value: Any) -> None:
    assert PLANTED not in safe_repr(value, 10_000)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password=hunter2xyz and more", "password=<redacted> and more"),
        ('{"apikey": "correct horse hunter2xyz", "n": 1}', '{"apikey": <redacted>, "n": 1}'),
        ("X-Api-Key: hunter2xyz", "X-Api-Key: <redacted>"),
        ("Cookie: a=b; session=hunter2xyz\nHost: x", "Cookie: <redacted>\nHost: x"),
        ('Authorization: Digest username="x", response="hunter2xyz"', "Authorization: <redacted>"),
        ("Basic aHVudGVyMnh5eg==", "Basic <redacted>"),
        ('if password == "hunter2xyz":', "if password == <redacted>:"),
        ('password: str = "hunter2xyz"', "password: <redacted>"),
        ("('token', 'hunter2xyz')", "('token', <redacted>)"),
        ("bad password 'hunter2xyz'", "bad password <redacted>"),
        ("invalid token hunter2xyz given", "invalid token <redacted> given"),
        ("https://ada:hunter2xyz@host/", "https://<redacted>@host/"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.hunter2xyz", "<redacted>"),
        ("-----BEGIN RSA PRIVATE KEY-----\nhunter2xyz\n-----END RSA PRIVATE KEY-----", "<redacted>"),
        ("password='hunter2xyz cut", "password=<redacted>"),
        ("{\\'secret\\': \\'hunter2xyz\\'}", "{\\'secret\\': <redacted>}"),
        # And what is no secret stays readable.
        ("author: Ada, tokens expired", "author: Ada, tokens expired"),
        ('File "/srv/auth.py", line 3, in check', 'File "/srv/auth.py", line 3, in check'),
        ("opinion: good, inside: yes", "opinion: good, inside: yes"),
    ],
)
def test_secrets_in_text_are_known_by_their_shape(text: str, shown: str) -> None:
    assert safe_text(text) == shown


@pytest.mark.parametrize(
    ("name", "secret"),
    [("token", True), ("authorization", True), ("user_passwd", True), ("sid", True), ("x-api-key", True), ("author", False),
     ("inside", False), ("opinion", False), ("keyboard", False), (7, False)],
)  # fmt: skip
def test_names_say_what_is_secret(name: object, secret: bool) -> None:
    assert is_secret(name) is secret


def test_useful_things_show_as_they_are() -> None:
    assert safe_repr({"n": 3, "who": ("ada", None), "on": True}) == "{'n': 3, 'who': ('ada', None), 'on': True}"
    assert safe_repr(Login("ada", "x")) == "Login(user='ada', password=<redacted>, note=<redacted>)"
    assert safe_repr(Field.NAME) == "Field.NAME"
    assert safe_repr({1}) == "{1}"
    assert safe_repr((1,)) == "(1,)"


def test_foreign_reprs_are_not_run_and_failures_do_not_escape() -> None:
    class Trap(dict[str, int]):
        def items(self) -> Any:
            raise RuntimeError(f"password={PLANTED}")

    text = safe_repr(Trap(a=1))

    assert "unprintable" in text
    assert PLANTED not in text
    assert safe_repr(10**6_000).startswith("<int of")


def test_places_in_a_stack_are_kept_and_what_only_resembles_them_is_not() -> None:
    stack = "/lib/wsactors/realtime/auth.py:77 in authenticate\nrealtime/jwt.py:123 in check\ntoken_bucket.py:5"
    assert safe_text(stack) == stack
    for text in (
        f"auth.py:{PLANTED}",
        f"auth.py:7{PLANTED} in check",
        f"auth.py:7 in token {PLANTED}9",
        f"auth.py:7 in check\npassword={PLANTED}",
        f"password=auth.py:7{PLANTED}",
    ):
        assert PLANTED not in safe_text(text), text


def test_size_is_bounded_however_wide_deep_or_circular() -> None:
    circular: list[Any] = []
    circular.append(circular)
    wide: Any = "x"
    for _ in range(6):
        wide = [wide] * 20

    started = thread_time()
    large: list[Any] = [circular, wide, "x" * 10_000_000, [None] * 1_000_000]
    texts = [safe_repr(value, 300) for value in large]

    assert all(len(text) <= 300 for text in texts)
    assert thread_time() - started < 0.5


@pytest.mark.parametrize(
    "evil",
    [
        "token" * 20_000,
        "token='" * 15_000,
        "a." * 50_000,
        'token="\\' * 12_000,
        "auth " * 20_000,
        "://" * 30_000,
        "password\t" * 10_000,
        "cookie:" * 15_000,
        "auth" * 20 + ".py:1" * 15_000,
        "eyJ" * 30_000,
        "-----BEGIN PRIVATE KEY-----" * 4_000,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_text_of_100_kilobytes_takes_linear_time(evil: str) -> None:
    started = thread_time()

    safe_text(evil)

    # A quadratic pattern takes minutes.
    assert thread_time() - started < 1.0


@given(st.text(max_size=40), st.text(max_size=40))
def test_text_around_a_secret_never_brings_it_back(before: str, after: str) -> None:
    assert PLANTED not in safe_text(f"{before} password={PLANTED} {after}")


def test_what_was_hidden_by_name_is_scrubbed_from_other_texts() -> None:
    hidden = secrets_in({"password": PLANTED, "user": "ada"}, ("token", ["it's\none"]), {"pin": 271828})

    text = scrub(f"KeyError: {PLANTED!r} for ada; {'it' + chr(39) + 's' + chr(10) + 'one'!r}; 271828", hidden)

    assert text == f"KeyError: '{REDACTED}' for ada; \"{REDACTED}\"; {REDACTED}"


def test_short_and_common_words_are_not_scrubbed() -> None:
    assert secrets_in({"password": "abc", "token": None, "auth": "true"}) == []
