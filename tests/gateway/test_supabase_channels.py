"""Private and public channels of one name, and what becomes of clients that join too fast."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock
from trio_websocket import ConnectionClosed

from tests.gateway.conversations import SupabaseTalker, realtime_node, replied
from tests.gateway.harness import TestDirectory
from wsactors.client import open_websocket
from wsactors.gateway import Gateway, GatewayOptions
from wsactors.gateway.server import Address
from wsactors.realtime.identity import User
from wsactors.realtime.limits import LimitOptions, Rate
from wsactors.realtime.permission import PermissionOptions
from wsactors.realtime.policy import PolicyOptions
from wsactors.realtime.rules import Rule
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node
from wsactors.wire.plain import Plain
from wsactors.wire.supabase import broadcast_payload

T = "realtime:room:1"
OK: dict[str, Plain] = {"postgres_changes": []}
MEMBERS = Rule(topics=("private:room:1",), roles=("authenticated",),
               allow=("join", "publish", "presence_read", "presence_write"))  # fmt: skip
LET_IN = PermissionOptions(policy=PolicyOptions(rules=(MEMBERS,)))


async def test_a_private_and_a_public_channel_of_one_name_are_apart(autojump_clock: MockClock) -> None:
    async with realtime_node(permission=LET_IN) as realtime:
        ada, bob, eve = [await SupabaseTalker.of(realtime) for _ in range(3)]
        for each in (ada, bob):
            config = {"private": True, "presence": {"key": "k", "enabled": True}}
            assert (await each.enter("room:1", token="ada", **config))[0] == replied(T, OK, ref="j")
        await eve.enter("room:1", presence={"enabled": True})
        assert await ada.say(T, "broadcast", broadcast_payload("hit", {"n": 1})) == []
        assert bob.got == [b'\x04\x0f\x03\x00\x01realtime:room:1hit{"n":1}'], "by the name that it knows"
        await ada.say(T, "presence", {"type": "presence", "event": "track", "payload": {"at": "home"}})
        await trio.sleep(0.5)
        [diff] = bob.got
        assert (diff[2], list(diff[4]["joins"])) == (T, ["k"])
        assert eve.got == []
        await eve.say(T, "broadcast", broadcast_payload("hit", {"n": 2}))
        assert bob.got == []
        # Whoever calls it as the node does has it under that name, and is with the others.
        await eve.enter("private:room:1", token="eve", private=True)
        await ada.say(T, "broadcast", broadcast_payload("hit", {"n": 3}))
        assert eve.got == [b'\x04\x17\x03\x00\x01realtime:private:room:1hit{"n":3}']


async def test_who_joins_too_fast_is_told_and_disconnected(autojump_clock: MockClock) -> None:
    async with realtime_node() as realtime:
        ada = await SupabaseTalker.of(realtime, user=User("ada", limits=LimitOptions(joins=Rate(1, 2))))
        for name in ("room:1", "room:2"):
            await ada.enter(name)
        assert ada.closed == []
        said: list[Any] = []
        while not ada.closed:
            said = await ada.enter("room:3")
        assert said[-1][4]["response"]["reason"] == "ClientJoinRateLimitReached: Too many joins per second"
        assert [code for code, _ in ada.closed] == [1013]


async def test_the_answer_comes_before_the_disconnection() -> None:
    permission = PermissionOptions(limits=LimitOptions(joins=Rate(0.01, 2)))
    addresses: list[Address] = []
    with trio.fail_after(10):
        async with Node("joins") as node:
            await start_realtime(node, permission=permission)
            await node.spawn(Gateway, GatewayOptions(port=0), None, addresses.append, TestDirectory())
            url = f"ws://127.0.0.1:{addresses[0].port}/realtime/v1/websocket?vsn=2.0.0&apikey=x"
            async with open_websocket(url) as ws:
                last: str | bytes = ""
                with pytest.raises(ConnectionClosed) as closed:
                    for number in range(10_000):
                        await ws.send_message(f'["{number}","{number}","realtime:{number}","phx_join",{{}}]')
                        last = await ws.get_message()
    assert "ClientJoinRateLimitReached" in str(last)
    assert closed.value.reason is not None
    assert closed.value.reason.code == 1013
