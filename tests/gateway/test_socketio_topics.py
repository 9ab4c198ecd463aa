"""The topics of Socket.IO: the events of docs/socketio.md, shared with actors and with other protocols."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.gateway.engines import Served, SocketIoClient, serving, socketio_client
from tests.gateway.harness import until
from wsactors.client import open_websocket
from wsactors.realtime.channel import Channel
from wsactors.realtime.identity import AuthRefused, Credentials, JoinRefused, User
from wsactors.realtime.options import RealtimeOptions, TopicOptions

ME = f"{__name__}:"
DOC = Path(__file__).parents[2] / "docs" / "socketio.md"


class Talker:
    """A client of ``/topics`` that speaks in events."""

    def __init__(self, client: SocketIoClient) -> None:
        self.client = client
        self.number = 0

    async def ask(self, event: str, *arguments: Any) -> Any:
        """Emit with an acknowledgement; what came before it is an error of the test."""
        self.number += 1
        await self.client.send(f"42/topics,{self.number}" + json.dumps([event, *arguments]))
        answer = await self.client.receive()
        assert answer.startswith(f"43/topics,{self.number}["), answer
        return json.loads(answer[len(f"43/topics,{self.number}") :])[0]

    async def heard(self) -> Any:
        """The next event, its offset cut off."""
        message = await self.client.receive()
        found = re.match(r"4[25](\d+-)?/topics,(\[.*)", message)
        assert found is not None, message
        return json.loads(found[2])[:-1]


@asynccontextmanager
async def talker(served: Served, auth: Any = None) -> AsyncIterator[Talker]:
    async with socketio_client(served, "/topics", auth) as client:
        yield Talker(client)


class Room(Channel):
    async def join(self, params: Any) -> Any:
        if params == {"refuse": True}:
            raise JoinRefused("full", "The room is full.", {"max": 2})
        return {"welcome": params}

    def handle_push(self, event: str, payload: Any) -> Any:
        match event:
            case "whisper":
                self.push("whispered", payload)
                return {"n": 1}
            case "crash":
                raise RuntimeError("boom")
            case "strange":
                return {1, 2}
            case _:
                return super().handle_push(event, payload)


ROOMS = RealtimeOptions(
    topics=(TopicOptions("room:*", channel=f"{ME}Room", presence_interval=0.01), TopicOptions("secret:*", private=True))
)


async def test_subscribing_publishing_and_leaving() -> None:
    async with serving(realtime=ROOMS) as served, talker(served) as ann, talker(served) as bob:
        joined = await ann.ask("subscribe", "room:1", {"params": {"a": 1}, "presence": False})
        assert joined == {**joined, "status": "ok", "response": {"welcome": {"a": 1}}, "offset": 0, "missed": 0}
        assert (await bob.ask("subscribe", "room:1", {"self": True, "presence": False}))["status"] == "ok"
        assert await ann.ask("publish", "room:1", "say", {"text": "hé"}) == {"status": "ok", "response": {}}
        event, topic, name, payload, about = await bob.heard()
        assert [event, topic, name, payload, about["offset"]] == ["message", "room:1", "say", {"text": "hé"}, 1]
        assert about["epoch"] == joined["epoch"]
        # Who publishes does not get its own, unless it asked for that.
        await bob.client.send('42/topics,["publish","room:1","say",null]')
        assert (await bob.heard())[3] is None
        assert (await ann.heard())[3] is None
        await served.realtime.publish("room:1", "from an actor", b"\1\2")
        assert (await ann.heard())[3] == {"_placeholder": True, "num": 0}
        assert await ann.client.receive() == b"\1\2"
        assert await ann.ask("unsubscribe", "room:1") == {"status": "ok", "response": {}}
        assert await ann.ask("unsubscribe", "room:1") == {"status": "ok", "response": {}}
        assert (await ann.ask("publish", "room:1", "say"))["code"] == "not_subscribed"


async def test_answers_of_channels_refusals_and_crashes() -> None:
    async with serving(realtime=ROOMS) as served, talker(served) as ann:
        refused = await ann.ask("subscribe", "room:1", {"params": {"refuse": True}})
        assert refused == {"status": "error", "code": "full", "message": "The room is full.", "details": {"max": 2}}
        assert (await ann.ask("subscribe", "secret:1"))["code"] == "unauthorized"
        assert (await ann.ask("subscribe", "nowhere"))["code"] == "unmatched_topic"
        assert (await ann.ask("subscribe", "socketio:/rooms:x"))["code"] == "unauthorized"
        assert (await ann.ask("subscribe", "room:1", {"presence": False}))["status"] == "ok"
        assert (await ann.ask("subscribe", "room:1"))["code"] == "subscribed"
        await ann.client.send('42/topics,77["publish","room:1","whisper",{"a":1}]')
        assert await ann.heard() == ["message", "room:1", "whispered", {"a": 1}, {}]
        assert await ann.client.receive() == '43/topics,77[{"status":"ok","response":{"n":1}}]'
        assert (await ann.ask("publish", "room:1", "strange"))["code"] == "crash"
        await ann.client.send('42/topics,["publish","room:1","crash"]')
        assert await ann.heard() == ["closed", "room:1", "it has crashed", {"crashed": True}]
        assert (await ann.ask("subscribe", "room:1", {"presence": False}))["status"] == "ok"


WRONG: list[list[Any]] = [
    ["subscribe"], ["subscribe", 1], ["subscribe", "room:1", 7], ["subscribe", "room:1", {"since": 1}],
    ["subscribe", "room:1", {"since": {"epoch": 1, "offset": 0}}], ["subscribe", "room:1", {"limit": -1}],
    ["subscribe", "room:1", {"since": {"epoch": "x", "offset": -1}}], ["publish", "room:1"], ["publish", "room:1", 1, 2],
    ["track", "room:1", 1], ["untrack"], ["token", 1], ["publish", "room:1", "e", 1, 2], ["unsubscribe", "room:1", 1],
]  # fmt: skip


async def test_wrong_arguments_are_answered_and_harm_nothing() -> None:
    async with serving(realtime=ROOMS) as served, talker(served) as ann:
        for said in WRONG:
            answer = await ann.ask(*said)
            assert (answer["status"], answer["code"]) == ("error", "malformed"), said
        for said in (["nothing"], [7, 8]):
            assert (await ann.ask(*said))["code"] == "unknown", said
        assert (await ann.ask("subscribe", "room:1", {"presence": False}))["status"] == "ok"


async def test_presence_of_clients_and_of_those_who_come_back() -> None:
    async with serving(realtime=ROOMS) as served, talker(served) as ann:
        await ann.ask("subscribe", "room:1")
        assert await ann.heard() == ["presence_state", "room:1", {}]
        async with talker(served) as bob:
            await bob.ask("subscribe", "room:1")
            await bob.heard()
            assert await bob.ask("track", "room:1", {"status": "here"}) == {"status": "ok", "response": {}}
            event, topic, diff = await ann.heard()
            assert (event, topic, diff["leaves"]) == ("presence_diff", "room:1", {})
            ((meta,),) = diff["joins"].values()
            assert meta["status"] == "here"
            token = bob.client.token
        assert (await ann.heard())[2]["joins"] == {}  # its connection is gone, so it is not shown
        async with served.ws("/socket.io/") as ws:
            again = SocketIoClient(ws)
            await again.receive()
            assert (await again.connect("/topics", {"pid": token}))["pid"] == token
            ((meta,),) = (await ann.heard())[2]["joins"].values()
            assert meta["status"] == "here"
            await again.send('42/topics,7["untrack","room:1"]')
            while not (await again.receive()).startswith('43/topics,7[{"status":"ok"'):
                pass
            assert (await ann.heard())[2]["joins"] == {}


async def test_history_fills_a_gap_and_says_whether_it_is_whole() -> None:
    async with serving(realtime=ROOMS) as served, talker(served) as ann:
        for number in range(3):
            await served.realtime.publish("room:1", "n", number)
        joined = await ann.ask("subscribe", "room:1", {"presence": False})
        since = {"epoch": joined["epoch"], "offset": 1}
        await ann.ask("unsubscribe", "room:1")
        again = await ann.ask("subscribe", "room:1", {"presence": False, "since": since})
        assert (again["recovered"], again["missed"]) == (True, 2)
        assert [(await ann.heard())[3] for _ in range(2)] == [1, 2]
        await ann.ask("unsubscribe", "room:1")
        unknown = await ann.ask("subscribe", "room:1", {"presence": False, "since": {**since, "epoch": "other"}})
        assert unknown["recovered"] is False


class Tokens:
    async def authenticate(self, credentials: Credentials) -> User:
        if credentials.token.startswith("bad"):
            raise AuthRefused("expired", "Log in again.")
        return User(credentials.token.partition(".")[0])


async def test_a_newer_token_of_the_same_person() -> None:
    async with serving(realtime=ROOMS, authenticator=Tokens()) as served, talker(served, {"token": "ann.1"}) as ann:
        await ann.ask("subscribe", "room:1", {"presence": False})
        assert await ann.ask("token", "ann.2") == {"status": "ok", "response": {}}
        assert (await ann.ask("token", "bob.1"))["code"] == "forbidden"
        assert (await ann.ask("token", "bad"))["code"] == "expired"


async def test_a_phoenix_client_an_actor_and_a_socketio_client_on_one_topic() -> None:
    async with serving(realtime=ROOMS) as served, talker(served) as ann:
        await ann.ask("subscribe", "room:1")
        await ann.heard()
        url = f"ws://127.0.0.1:{served.port}/socket/websocket?vsn=2.0.0"
        async with open_websocket(url) as phoenix:
            await phoenix.send_message('["1","1","room:1","phx_join",{}]')
            assert "ok" in await phoenix.get_message()
            await phoenix.get_message()  # presence
            await phoenix.send_message('["1","2","room:1","say",{"from":"phoenix"}]')
            assert (await ann.heard())[2:4] == ["say", {"from": "phoenix"}]
            while "phx_reply" not in await phoenix.get_message():
                pass
            await ann.ask("publish", "room:1", "say", {"from": "socket.io"})
            assert json.loads(await phoenix.get_message())[3:] == ["say", {"from": "socket.io"}]
            # Reserved on the wire of the one, harmless on that of the other.
            await phoenix.send_message('["1","3","room:1","disconnect",{}]')
            assert (await ann.heard())[2] == "disconnect"


async def test_a_client_has_so_many_topics() -> None:
    async with serving() as served, talker(served) as ann:
        answers = [await ann.ask("subscribe", f"t{number}", {"presence": False}) for number in range(101)]
        assert [each["status"] for each in answers].count("ok") == 100
        assert answers[-1]["code"] == "too_many"


async def test_whoever_leaves_takes_its_channels_along() -> None:
    async with serving() as served:
        before = served.node.info().actors
        async with talker(served) as ann:
            for number in range(5):
                await ann.ask("subscribe", f"t{number}", {"presence": False})
            await ann.client.send("41/topics")
            await until(lambda: served.node.info().actors <= before + 5 + 2)  # the topics, the connection, the session


def test_the_page_names_every_event() -> None:
    text = DOC.read_text()
    for event in ("subscribe", "unsubscribe", "publish", "track", "untrack", "token"):
        assert f"`{event}`" in text
    for event in ("message", "presence_state", "presence_diff", "closed"):
        assert f"`{event}`" in text
