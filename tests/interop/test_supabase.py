"""npm @supabase/realtime-js and PyPI realtime, as they are, against a real node."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.interop.children import Child, js_child, py_child
from tests.interop.conftest import BootNode, InteropNode
from tests.interop.scenarios import Scenarios
from tests.interop.tokens import SECRET, token

SETTINGS = (
    'node.allowed_packages=["wsactors","tests"]',
    "realtime.topics.room.match=room:*",
    "realtime.topics.room.channel=tests.interop.rooms:Room",
    "realtime.topics.all.match=*",
    'realtime.rules.members.topics=["private:*"]',
    'realtime.rules.members.roles=["authenticated"]',
    'realtime.rules.members.allow=["join","publish","presence_read","presence_write"]',
    "gateway.limits.message_bytes=2000000",
    "gateway.deflate=true",
    f"auth.secret={SECRET}",
    "auth.leeway=0",
)


def tokens() -> str:
    """What clients show, by name; and with what they sign a token that is to hold for a moment only."""
    member: dict[str, Any] = {"role": "authenticated"}
    return json.dumps(
        {
            "anon": token(role="anon"),
            "ada": token(sub="ada", **member),
            "ada2": token(sub="ada", seconds=7200, **member),
            "eve": token(sub="eve", **member),
            "secret": SECRET,
            "expired": token(sub="ada", seconds=-60, **member),
            "wrong": token("another secret than that of the node, of 48 bytes", sub="ada", **member),
        }
    )


@pytest.fixture(scope="module")
def node(boot_interop_node: BootNode) -> Iterator[InteropNode]:
    with boot_interop_node(*SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def play(node: InteropNode) -> Scenarios:
    """All scenarios of ``js/supabase.mjs`` but the drain."""
    with js_child("supabase.mjs", node.http, "all", tokens()) as child:
        return Scenarios(child.end())


def test_broadcasts(play: Scenarios) -> None:
    assert play("talk") == [
        {"sent": "ok"},
        {"heard": {"type": "broadcast", "event": "chat", "payload": {"text": "hé 😀", "list": [1, 2.5, None]}}},
        {"acked": "ok"},
        {"own": {"n": 1}},
        {"left": "ok"},
    ]


def test_bytes_from_none_to_a_megabyte(play: Scenarios) -> None:
    assert play("binary") == [{"size": size, "sent": "ok", "same": True} for size in (0, 1, 255, 65_536, 1_000_000)]


def test_both_versions_on_one_topic(play: Scenarios) -> None:
    assert play("mixed") == [{"bytes": {"$binary": "AQID"}, "text": {"from": "1.0.0"}}]


def test_presence_of_two_devices(play: Scenarios) -> None:
    *states, events = play("presence")
    assert [list(line) for line in states] == [
        ["tracked"],
        ["one"],
        ["two"],
        ["updated"],
        ["untracked"],
        ["left"],
        ["none"],
    ]
    assert states[0] == {"tracked": "ok"}
    assert ["join", "ada"] in events["events"]


def test_refusals(play: Scenarios) -> None:
    assert play("refuse") == [
        {
            "private": {
                "state": "CHANNEL_ERROR",
                "error": "Unauthorized: You do not have permissions to read from this Channel topic: private:1",
            }
        },
        {"wrong": {"state": "CHANNEL_ERROR", "error": "JwtSignatureError: Failed to validate JWT signature"}},
        {"refused": True},
    ]


def test_private_channels(play: Scenarios) -> None:
    assert play("private") == [
        {"heard": {"secret": True}},
        {"sent": {"success": True}},
        {"heard": {"secret": True}},
        {"all": ["chat", "rest", "last"]},
        {"refused": "Unauthorized"},
        {"prefixed": "PrivateOnly"},
    ]


def test_replay(play: Scenarios) -> None:
    assert play("replay") == [{"replayed": [[n, True, "string"] for n in (2, 3, 4)]}]


def test_refreshed_tokens(play: Scenarios) -> None:
    sent, said = play("token")
    assert sent == {"sent": "ok"}
    assert (said["said"]["status"], said["said"]["message"]) == ("error", "Token has expired")


def test_a_token_that_expires_ends_its_channel(play: Scenarios) -> None:
    [said] = play("expires")
    assert said["said"]["status"] == "error"
    assert "expired" in said["said"]["message"]


def test_rest(play: Scenarios) -> None:
    assert play("rest") == [
        {"text": {"success": True}}, {"heard": {"by": "REST"}}, {"data": {"success": True}}, {"bytes": [1, 255]},
        {"fallback": "ok"}, {"heard": {"unjoined": True}},
    ]  # fmt: skip


def test_postgres_changes_are_refused_honestly(play: Scenarios) -> None:
    assert play("postgres") == [{"subscribed": "SUBSCRIBED"}, {"extension": "postgres_changes", "status": "error"}]


def test_a_channel_that_crashes_is_joined_again(play: Scenarios) -> None:
    assert play("crash") == [{"states": "SUBSCRIBED,CHANNEL_ERROR,SUBSCRIBED"}]


def test_a_cut_socket_is_opened_again_and_its_channels_joined(play: Scenarios) -> None:
    assert play("cut") == [{"states": "SUBSCRIBED,CHANNEL_ERROR,SUBSCRIBED"}, {"heard": {"text": "welcome back"}}]


# -- the Python client, which speaks version 1.0.0 --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def play_py(node: InteropNode) -> Scenarios:
    """All scenarios of ``py/supabase.py`` but the drain."""
    with py_child("supabase.py", node.http, "all", tokens()) as child:
        return Scenarios(child.end())


def test_broadcasts_in_python(play_py: Scenarios) -> None:
    assert play_py("talk") == [
        {"heard": {"event": "chat", "payload": {"text": "hé 😀", "list": [1, 2.5, None]}}},
        {"heard": {"by": "REST"}, "data": {"$binary": "AP8="}},
        {"own": {"n": 1}, "acked": "ok"},
    ]


def test_presence_of_two_devices_in_python(play_py: Scenarios) -> None:
    assert play_py("presence") == [{"both": {"ada": ["desk", "phone"]}}, {"none": {}}]


def test_private_channels_in_python(play_py: Scenarios) -> None:
    refused, entered = play_py("refuse")
    assert len(refused["refused"]) == 1
    assert "CHANNEL_ERROR" in refused["refused"][0]
    assert "Unauthorized: You do not have permissions" in refused["refused"][0]
    assert entered == {"entered": ["SUBSCRIBED"]}


def test_a_channel_that_crashes_is_joined_again_in_python(play_py: Scenarios) -> None:
    assert play_py("crash") == [
        {"states": ["SUBSCRIBED", "CHANNEL_ERROR", "SUBSCRIBED"]},
        {"heard": {"text": "still here"}},
    ]


def test_a_cut_socket_in_python(play_py: Scenarios) -> None:
    assert play_py("cut") == [
        {"states": ["SUBSCRIBED", "CHANNEL_ERROR", "SUBSCRIBED"]},
        {"heard": {"text": "welcome back"}},
    ]


def test_a_node_that_stops_says_so(
    boot_interop_node: BootNode, start_js: Callable[..., Child], start_py_client: Callable[..., Child]
) -> None:
    with boot_interop_node(*SETTINGS) as node:
        children = [start_js("supabase.mjs", node.http, "drain", tokens()),
                    start_py_client("supabase.py", node.http, "drain", tokens())]  # fmt: skip
        for child in children:
            child.hear(ready=True)
        node.running.signal(signal.SIGTERM)
        for child in children:
            assert child.hear()["code"] == 1012
            child.say(done=True)
            child.end()
        assert node.running.wait_exit() == 0
