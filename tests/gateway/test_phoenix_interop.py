from __future__ import annotations

import trio

import wsactors
from tests.realtime.topics import Client
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.start import start_realtime

ROOMS = RealtimeOptions(
    topics=(TopicOptions("room:*", channel="wsactors.gateway.phoenix_interop:Room", presence_interval=0.01),)
)


async def test_a_push_comes_back_and_reaches_the_others_who_see_each_other() -> None:
    async with wsactors.Node("interop-rooms") as node:
        realtime = await start_realtime(node, ROOMS)
        owner = await node.spawn(wsactors.Agent, dict)
        one, two = Client(), Client()
        channel = await realtime.join("room:1", one, owner=owner, params={"user": "ada", "mood": "fine"})
        await realtime.join("room:1", two, owner=owner)
        realtime.push(channel, "say", {"text": "hello"}, 1)
        with trio.fail_after(30):
            while not (two.of("publication") and one.of("reply") and two.of("diff")):  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert one.of("reply") == [[1, "ok", {"text": "hello"}]]
        assert two.of("publication")[0][:2] == ["say", {"text": "hello"}]
        assert not one.of("publication")
        (meta,) = (await realtime.presence("room:1"))["ada"]
        assert meta["mood"] == "fine"
        assert realtime.publishes_pushes("room:1")
