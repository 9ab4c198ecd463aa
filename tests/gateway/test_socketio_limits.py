"""What a Socket.IO client may say, by every way and in all namespaces, and what a namespace may ask the node's policy."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.gateway.engines import INTEROP, SOCKETIO, Served, SocketIoClient, serving, socketio_client
from wsactors.gateway.engineio_options import EngineOptions
from wsactors.gateway.socketio_namespace import ConnectRefused, Namespace, on
from wsactors.realtime.identity import AuthRefused, Credentials, User
from wsactors.realtime.limits import LimitOptions, Rate
from wsactors.realtime.permission import PermissionOptions
from wsactors.realtime.policy import Decide, Decision
from wsactors.realtime.shared_limits import SharedLimitOptions

ME = f"{__name__}:"
IMPATIENT = EngineOptions(ping_timeout=0.04)
"""Clients are left unread for 10 ms at most: so floods come to where they are refused, and tests to an end."""
TIGHT = LimitOptions(messages=Rate(0.01, 10, 10))
BRISK = LimitOptions(messages=Rate(50, 10, 10))


def within(limits: LimitOptions) -> PermissionOptions:
    return PermissionOptions(limits=limits)


async def answers(client: SocketIoClient, count: int) -> list[Any]:
    """What ``count`` events are acknowledged with."""
    found = [await client.receive() for _ in range(count)]
    return [json.loads(each[each.index("[") :])[0] for each in found]


async def test_a_client_that_sends_too_fast_is_read_more_slowly_and_loses_nothing() -> None:
    async with serving(permission=within(BRISK)) as served, socketio_client(served, "/topics") as client:
        began = trio.current_time()
        await client.send(*(f'42/topics,{number}["unsubscribe","room:{number}"]' for number in range(40)))
        assert [each["status"] for each in await answers(client, 40)] == ["ok"] * 40
        assert trio.current_time() - began > (40 + 1 - 10 - 2) / 50


async def test_who_posts_too_fast_is_answered_later() -> None:
    async with serving(permission=within(BRISK)) as served:
        sid = await served.sid("/socket.io/")
        assert (await served.post("40/custom", "/socket.io/", sid=sid)).text == "ok"
        assert (await served.get("/socket.io/", sid=sid)).text.startswith("40/custom,")
        began = trio.current_time()
        assert (await served.post("\x1e".join(['42/custom,["x"]'] * 20), "/socket.io/", sid=sid)).text == "ok"
        assert trio.current_time() - began > (20 - 10 - 1) / 50


async def test_a_flood_of_events_is_refused_in_the_end_and_topics_say_so() -> None:
    async with serving(IMPATIENT, permission=within(TIGHT)) as served, socketio_client(served, "/topics") as client:
        await client.send(*(f'42/topics,{number}["unsubscribe","room"]' for number in range(60)))
        found = await answers(client, 60)
        taken = [each for each in found if each["status"] == "ok"]
        refused = [each for each in found if each["status"] == "error"]
        assert 18 <= len(taken) <= 25
        assert {each["code"] for each in refused} == {"rate"}
        assert "try again in" in refused[0]["message"]


async def test_a_flood_in_all_namespaces_is_one_flood() -> None:
    async with serving(IMPATIENT, permission=within(TIGHT)) as served, socketio_client(served, "/topics") as client:
        await client.connect("/rooms")
        for number in range(30):
            await client.send(f'42/topics,{number}["unsubscribe","room"]', f'42/rooms,{number}["leave","a"]')
        await client.send('42/topics,99["unsubscribe","the last"]')
        found: list[str] = []
        while not found or not found[-1].startswith("43/topics,99["):
            found.append(await client.receive())
        # A namespace of one's own does not handle what comes too fast: what is not acknowledged, clients send again.
        rooms = [each for each in found if each.startswith("43/rooms,")]
        topics = [each for each in found if each.startswith("43/topics,") and '"ok"' in each]
        assert 15 <= len(rooms) + len(topics) <= 25
        assert '"rate"' in found[-1]


async def test_entering_and_leaving_namespaces_counts_like_events() -> None:
    async with serving(IMPATIENT, permission=within(TIGHT)) as served, socketio_client(served, "/custom") as client:
        await client.receive()
        refusals = []
        for _ in range(20):
            answer = await client.connect("/rooms")
            if "sid" not in answer:
                refusals.append(answer["data"])
                continue
            await client.send("41/rooms")
        assert 8 <= len(refusals) <= 12
        assert all(each == {"code": "rate"} for each in refusals)


async def test_attachments_count_by_their_bytes() -> None:
    limits = LimitOptions(bytes=Rate(100, 2_000, 2_000))
    async with serving(IMPATIENT, permission=within(limits)) as served, socketio_client(served) as client:
        placeholder = '{"_placeholder":true,"num":0}'
        await client.receive()
        for number in range(6):
            await client.send(f'451-{number}["message-with-ack",{placeholder}]', bytes(1_500))
        await client.send('41"')
        found = []
        with pytest.raises(ConnectionClosed):
            while True:
                found.append(await client.receive())
        assert [each for each in found if isinstance(each, str)] == [
            f"461-{number}[{placeholder}]" for number in range(3)
        ]


async def test_all_clients_of_one_address_pay_from_one_bucket() -> None:
    permission = PermissionOptions(shared=SharedLimitOptions(address_messages=Rate(0.01, 10, 10)))
    async with serving(IMPATIENT, permission=permission) as served:
        acknowledged = 0
        for _ in range(4):
            async with socketio_client(served, "/rooms") as client:
                await client.send(*(f'42/rooms,{number}["leave","a"]' for number in range(10)), "40/nowhere")
                while not (await client.receive()).startswith("44/nowhere,"):
                    acknowledged += 1
        assert 18 <= acknowledged <= 25


async def test_a_policy_gives_limits_of_their_own() -> None:
    def decide(question: Decide) -> Decision:
        return Decision(allow=True, limits=TIGHT if question.user.subject == "bob" else None)

    permission = PermissionOptions(decider=decide)
    async with serving(IMPATIENT, authenticator=Names(), permission=permission) as served:
        for name, refused in (("ann", False), ("bob", True)):
            async with socketio_client(served, "/topics", {"token": name}) as client:
                await client.send(*(f'42/topics,{number}["unsubscribe","room"]' for number in range(40)))
                found = await answers(client, 40)
                assert any(each["status"] == "error" for each in found) is refused


# -- the policy --


class Names:
    """Everybody is who he says he is."""

    async def authenticate(self, credentials: Credentials) -> User:
        if not credentials.token:
            raise AuthRefused("missing", "Say who you are.")
        return User(credentials.token)


class Guarded(Namespace):
    """Asks the node's policy about its rooms."""

    async def connect(self, auth: Any) -> None:
        if not await self.permits("join", "hall"):
            raise ConnectRefused("Not into the hall.")
        self.join("hall")

    @on("enter")
    async def enter(self, room: str) -> str:
        """Enter a private room."""
        if not await self.permits("join", room, private=True):
            return "no"
        self.join(room)
        return "yes"

    @on("say")
    async def say(self, text: str) -> str:
        """Speak in the hall."""
        return "yes" if await self.permits("publish", "hall") else "no"


def by_name(question: Decide) -> bool:
    match question.action, question.topic, question.user.subject:
        case "connect", _, _:
            return True
        case "join", "socketio:/guarded:hall", "ann" | "bob":
            return not question.private
        case "join", "socketio:/guarded:vault", "ann":
            return question.private
        case "publish", "socketio:/guarded:hall", "ann":
            return True
        case _:
            return False


async def said(served: Served, name: str, *events: str) -> list[Any]:
    async with socketio_client(served, "/guarded", {"token": name}) as client:
        await client.send(*(f"42/guarded,{number}{event}" for number, event in enumerate(events)))
        return await answers(client, len(events))


async def test_a_namespace_asks_the_policy_of_the_node() -> None:
    options = attrs.evolve(SOCKETIO, namespaces={**INTEROP, "/guarded": f"{ME}Guarded"})
    permission = PermissionOptions(decider=by_name)
    async with serving(socketio=options, authenticator=Names(), permission=permission) as served:
        asked = ('["enter","vault"]', '["say","hello"]')
        assert await said(served, "ann", *asked) == ["yes", "yes"]
        assert await said(served, "bob", *asked) == ["no", "no"]
        async with served.ws("/socket.io/") as ws:
            client = SocketIoClient(ws)
            await client.receive()
            assert await client.connect("/guarded", {"token": "eve"}) == {"message": "Not into the hall."}


async def test_what_nobody_decides_is_open_unless_it_is_private() -> None:
    options = attrs.evolve(SOCKETIO, namespaces={**INTEROP, "/guarded": f"{ME}Guarded"})
    async with serving(socketio=options, authenticator=Names()) as served:
        assert await said(served, "ann", '["enter","vault"]', '["say","hello"]') == ["no", "yes"]
