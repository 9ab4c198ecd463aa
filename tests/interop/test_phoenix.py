"""npm phoenix, as it is, against a real node."""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable

import httpx
import pytest

from tests.interop.children import Child, Line, js_child
from tests.interop.conftest import BootNode
from tests.interop.scenarios import Scenarios

SETTINGS = (
    'node.allowed_packages=["wsactors","tests"]',
    "realtime.topics.room.match=room:*",
    "realtime.topics.room.channel=tests.interop.rooms:Room",
    "realtime.topics.all.match=realtime:*",
    "gateway.limits.message_bytes=2000000",
)


@pytest.fixture(scope="module")
def play(boot_interop_node: BootNode) -> Scenarios:
    """All scenarios of ``js/phoenix.mjs`` but those of draining."""
    with boot_interop_node(*SETTINGS) as node, js_child("phoenix.mjs", node.http, "all") as child:
        return Scenarios(child.end())


def ok(response: object) -> Line:
    return {"status": "ok", "response": response}


def test_joining_pushing_and_broadcasting(play: Scenarios) -> None:
    assert play("talk") == [
        {"joined": ok({"topic": "room:talk"})},
        {"pushed": ok({})},
        {"heard": {"text": "hé 😀", "list": [1, 2.5, None]}},
        {"echo": ok({"a": 1})},
        {"no": {"status": "error", "response": {"reason": "not today"}}},
        {"whispered": {"to": "ada"}},
        {"ping": True},
    ]


def test_refused_joins(play: Scenarios) -> None:
    unauthorized, nowhere, joined = play("refuse")
    assert unauthorized["room:refuse"]["response"] == {"reason": "unauthorized", "message": "You may not enter."}
    assert nowhere["nowhere"]["response"]["reason"] == "unmatched topic"
    assert joined == {"joined": ok({"topic": "room:refuse"})}


def test_bytes_from_none_to_a_megabyte(play: Scenarios) -> None:
    *sizes, echo = play("binary")
    assert sizes == [
        line
        for size in (0, 1, 255, 65_536, 1_000_000)
        for line in ({"size": size, "status": "ok"}, {"size": size, "same": True})
    ]
    assert echo == {"echo": [1, 2, 255]}


def test_presence_of_two_devices(play: Scenarios) -> None:
    assert [list(line) for line in play("presence")] == [["one"], ["two"], ["left"], ["none"]]


def test_a_channel_that_crashes_is_joined_again(play: Scenarios) -> None:
    error, other, again = play("crash")
    assert error == {"error": '{"reason":"channel_crash"}'}
    assert other == {"other": {"still": "here"}}
    assert again == {"again": ok({"back": True})}


def test_a_cut_socket_is_opened_again_and_its_channels_joined(play: Scenarios) -> None:
    assert play("cut") == [{"code": 1006}, {"heard": {"text": "welcome back"}}]


def test_leaving_and_joining_twice(play: Scenarios) -> None:
    assert play("leave") == [{"left": ok({})}, {"twice": ok({"topic": "room:leave"})}]


def test_long_polling(play: Scenarios) -> None:
    assert play("longpoll") == [
        {"pushed": ok({})}, {"heard": {"from": "longpoll"}}, {"data": [1, 2, 3]}, {"back": {"$binary": "/w=="}},
        {"ordered": True}, {"echoes": 120},
    ]  # fmt: skip


def test_version_1(play: Scenarios) -> None:
    assert play("version1") == [{"heard": {"from": "1.0.0"}}, {"data": {"$binary": "AQID"}}, {"left": ok({})}]


def test_a_node_that_stops_says_so(boot_interop_node: BootNode, start_js: Callable[..., Child]) -> None:
    with boot_interop_node(*SETTINGS) as node:
        child = start_js("phoenix.mjs", node.http, "drain")
        child.hear(ready=True)
        node.running.signal(signal.SIGTERM)
        assert child.hear()["code"] == 1012
        child.say(done=True)
        child.end()
        assert node.running.wait_exit() == 0


def test_a_long_poller_leaves_a_node_that_is_drained_and_stays_away_until_it_is_not(
    boot_interop_node: BootNode, start_js: Callable[..., Child]
) -> None:
    token = secrets.token_hex(16)
    admin = ("admin.http.port=0", f"admin.http.token={token}", "gateway.drain.seconds=1")
    with boot_interop_node(*SETTINGS, *admin) as node:
        drain, bearer = f"{node.admin}/admin/api/drain", {"authorization": f"Bearer {token}"}
        child = start_js("phoenix.mjs", node.http, "drainLongpoll")
        child.hear(ready=True)
        assert httpx.post(drain, headers=bearer, timeout=30).json()["draining"] is True
        left = child.hear()
        assert (left["codes"], left["opened"]) == ([3410, 1011, 1011, 1011], 1)
        assert httpx.delete(drain, headers=bearer, timeout=30).json()["draining"] is False
        child.say(again=True)
        back = child.hear()
        assert (back["again"], back["opened"]) == (ok({"back": True}), 2)
        child.end()
