from __future__ import annotations

import pytest

from wsactors.gateway.guard import Guard
from wsactors.gateway.options import GatewayOptions, GatewayRefused, TlsOptions, check_exposure, is_loopback

LOCAL = Guard.of(GatewayOptions())
PUBLIC = Guard.of(
    GatewayOptions(host="0.0.0.0", allowed_hosts=("radio.example",), allowed_origins=("https://club.example",)),
    ("studio", "studio.local"),
)


@pytest.mark.parametrize(
    ("guard", "host", "origin", "status"),
    [
        (LOCAL, "127.0.0.1:8080", None, None),
        (LOCAL, "LOCALHOST", None, None),
        (LOCAL, "[::1]:8080", None, None),
        (LOCAL, "127.8.8.8", None, None),
        (LOCAL, "192.168.0.2", None, 421),
        (LOCAL, "radio.example", None, 421),
        (LOCAL, "localhost.", None, 421),
        (LOCAL, "local\thost", None, 421),
        (LOCAL, "", None, 421),
        (LOCAL, None, None, 421),
        (LOCAL, "localhost:8080", "http://localhost:8080", None),
        (LOCAL, "localhost", "http://localhost:80", None),
        (LOCAL, "localhost:8080", "http://127.0.0.1:8080", 403),
        (LOCAL, "localhost:8080", "http://localhost:8081", 403),
        (LOCAL, "localhost:8080", "https://localhost:8080", 403),
        (LOCAL, "localhost:8080", "null", 403),
        (LOCAL, "localhost:8080", "", 403),
        (LOCAL, "localhost:8080", "http://localhost:8080/path", 403),
        (LOCAL, "localhost:8080", "http://user@localhost:8080", 403),
        (PUBLIC, "192.168.0.2:8080", "https://192.168.0.2:8080", None),
        (PUBLIC, "[fe80::1]", None, None),
        (PUBLIC, "Studio.local:8080", None, None),
        (PUBLIC, "radio.example", "https://radio.example", None),
        (PUBLIC, "radio.example", "http://radio.example", 403),
        (PUBLIC, "evil.example", None, 421),
        (PUBLIC, "radio.example", "https://club.example", None),
        (PUBLIC, "radio.example", "https://club.example.evil.example", 403),
        (PUBLIC, "radio.example", "https://Club.Example", None),
    ],
)
def test_who_may_pass(guard: Guard, host: str | None, origin: str | None, status: int | None) -> None:
    refusal = guard.check(
        None if host is None else host.encode("latin-1"), None if origin is None else origin.encode("latin-1")
    )
    assert (refusal.status if refusal else None) == status


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("[::1]", True), ("localhost", True), ("0.0.0.0", False), ("10.0.0.1", False)],
)
def test_what_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    assert GatewayOptions(host=host).uses_tls is not loopback
    assert not GatewayOptions(host=host, tls=TlsOptions("off")).uses_tls


def test_an_exposed_address_must_be_meant() -> None:
    check_exposure(GatewayOptions())
    check_exposure(GatewayOptions(host="0.0.0.0", allow_anonymous_public=True))
    check_exposure(GatewayOptions(host="0.0.0.0", requires_login=True))
    with pytest.raises(GatewayRefused, match=r"gateway\.allow_anonymous_public.*auth\.anonymous = false"):
        check_exposure(GatewayOptions(host="0.0.0.0"))
