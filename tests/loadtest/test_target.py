"""Whom the harness loads, and whom it refuses to: an attack tool it must not be."""

from __future__ import annotations

import socket
from typing import Any

import attrs
import pytest

from wsactors.loadtest.settings import GroupSettings, LoadSettings, StageSettings, TargetSettings
from wsactors.loadtest.target import TargetRefused, check_answers, check_caps, client_tls, find_target


def settings(url: str = "ws://127.0.0.1:1", **caps: Any) -> LoadSettings:
    return LoadSettings(
        target=TargetSettings(url=url, **caps),
        stages={"hold": StageSettings(users=10)},
        users={"mouths": GroupSettings(behaviour="chat", rate=2.0)},
    )


@pytest.mark.parametrize("url", ["ws://127.0.0.1:8080", "ws://127.7.7.7:1/", "ws://[::1]:8080", "ws://localhost:8080"])
def test_this_machine_needs_no_leave(url: str) -> None:
    target = find_target(url)

    assert target.loopback
    check_caps(target, settings(url), allow_remote=False)


REMOTE = "ws://192.0.2.7:8080"  # TEST-NET-1: nobody is there


@pytest.mark.parametrize("url", [REMOTE, "ws://0.0.0.0:8080", "ws://[::ffff:192.0.2.7]:1", "wss://192.0.2.7"])
def test_another_machine_is_refused(url: str) -> None:
    target = find_target(url)

    assert not target.loopback
    with pytest.raises(TargetRefused, match="--allow-remote"):
        check_caps(target, settings(url), allow_remote=False)


@pytest.mark.parametrize(
    "caps",
    [{}, {"connections_per_second": 5.0}, {"messages_per_second": 50.0}],
)
def test_leave_alone_is_not_enough(caps: dict[str, float]) -> None:
    with pytest.raises(TargetRefused, match="above 0"):
        check_caps(find_target(REMOTE), settings(REMOTE, **caps), allow_remote=True)


def test_leave_and_caps_are() -> None:
    allowed = settings(REMOTE, connections_per_second=5.0, messages_per_second=20.0)

    check_caps(find_target(REMOTE), allowed, allow_remote=True)


def test_a_cap_on_messages_holds_everywhere() -> None:
    with pytest.raises(TargetRefused, match="20 messages per second"):
        check_caps(find_target("ws://127.0.0.1:1"), settings(messages_per_second=19.0), allow_remote=False)


def test_a_name_that_also_means_another_machine_is_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that answers with both must not get the run started as a local one."""

    def resolve(*_: Any, **__: Any) -> list[Any]:
        both = ("127.0.0.1", 80), ("192.0.2.7", 80)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in both]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    assert not find_target("ws://both.example").loopback


def test_what_was_checked_is_what_is_connected_to() -> None:
    target = find_target("ws://localhost:8080")

    assert target.address[0] in {"127.0.0.1", "::1"}
    assert target.authority == "localhost:8080"
    assert attrs.evolve(target, port=80).authority == "localhost"


def test_a_name_without_an_address() -> None:
    with pytest.raises(TargetRefused, match="no such address"):
        find_target("ws://127.0.0.1:99999")


def test_nobody_answers() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(TargetRefused, match="nobody answers"):
            check_answers(find_target(f"ws://127.0.0.1:{sock.getsockname()[1]}"))


def test_a_certificate_that_is_none(tmp_path: Any) -> None:
    assert client_tls(settings()) is None
    wrong = settings("wss://127.0.0.1:1")
    wrong = attrs.evolve(wrong, target=attrs.evolve(wrong.target, certificate=tmp_path / "none.pem"))
    with pytest.raises(TargetRefused, match="certificate"):
        client_tls(wrong)
