"""What gives a secret away is replaced, wherever it hides; what only looks like one stays."""

from __future__ import annotations

import copy

import pytest

from wsactors.node.secret import REDACTED, Secret, redact


@pytest.mark.parametrize(
    "value",
    [
        "wss://host/socket?token=PLANTED&vsn=2.0.0",
        "/realtime?vsn=1&apikey=PLANTED",
        "Authorization: Bearer PLANTED.PLANTED",
        "Cookie: a=1; session=PLANTED",
        "set-cookie: sid=PLANTED; Path=/",
        '{"password": "PLANTED"}',
        "sent Bearer PLANTEDPLANTED away",
        {"headers": {"Authorization": "Basic PLANTED"}},
        {"user": {"access_token": ["PLANTED"]}},
        [("api_key", 1), {"api-key-token": "PLANTED"}],
        Secret("PLANTED"),
        {"deep": [{"x": (Secret("PLANTED"),)}]},
    ],
)
def test_a_planted_secret_is_gone(value: object) -> None:
    assert "PLANTED" not in repr(redact(value))
    assert REDACTED in repr(redact(value))


@pytest.mark.parametrize("value", ["author: Mozart", {"author": "Mozart"}, {"monkey": 1}, "a plain = b", 3, None])
def test_the_innocent_stay(value: object) -> None:
    assert redact(value) == value


def test_a_secret_does_not_travel() -> None:
    with pytest.raises(TypeError, match="does not travel"):
        copy.deepcopy([Secret("PLANTED")])


def test_deep_values_end() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert "..." in repr(redact(loop))
