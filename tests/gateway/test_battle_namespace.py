"""The namespace `/battle` over real sockets, in front of a session that keeps the rules and plays nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.gateway.conversations import Names
from tests.gateway.engines import Served, SocketIoClient, serving
from wsactors.actors import UNHANDLED, Actor
from wsactors.dj.command import Command, MoveCrossfader
from wsactors.dj.mapper import Mapper
from wsactors.dj.mapping import load_mapping
from wsactors.dj.permission import Round, Seats, refusal_of
from wsactors.dj.stamp import Fairness, place
from wsactors.gateway.battle_namespace import battle_room
from wsactors.gateway.socketio_options import SocketIoOptions
from wsactors.gateway.socketio_rooms import room_topic
from wsactors.sessions.battle_messages import Describe, Description, NotOperated, Operate, Operated
from wsactors.sessions.messages import SESSIONS, SessionCard
from wsactors.wire.battle_events import BattleState

BATTLE = "wsactors.gateway.battle_namespace:BattleNamespace"
MAPPING = load_mapping(Path(__file__).parents[2] / "config" / "midi" / "default.toml")
PLAY = {"type": "note", "deck": "A", "note": 60, "velocity": 127}


class Desk(Actor):
    """The session of a battle between ana (A) and bo (B), as far as who may do what and when."""

    def init(self, name: str = "final", plays: bool = True) -> None:
        self.node.groups.join(SESSIONS, self.pid, SessionCard(name, name, "battle", 1, operated=plays))
        self._name = name
        self._mapper = Mapper(MAPPING, lambda _command: None)
        self.asked: list[Operate] = []
        self.done: list[Command] = []

    def handle_call(self, message: Any, caller: Any) -> Any:
        match message:
            case Operate():
                return self._operate(message)
            case Describe(player):
                you = {"ana": "A", "bo": "B"}.get(player)
                state = BattleState(self._name, "playing", {"A": "ana", "B": "bo"}, 0.0, 1.0, 960, 17.0, you)
                return Description(state)
            case "asked":
                return tuple(self.asked)
            case "done":
                return tuple(self.done)
            case _:
                return UNHANDLED

    def _operate(self, asked: Operate) -> Operated | NotOperated:
        self.asked.append(asked)
        assert not isinstance(asked.what, MoveCrossfader)
        frame = None
        for command in self._mapper.take(asked.what, asked.deck):  # type: ignore[arg-type]
            refusal = refusal_of(command, asked.player, Seats("ana", "bo"), Round("turn", "a"))
            if refusal is not None:
                return NotOperated(refusal.code, refusal.message)
            frame = place(asked.stamp, asked.arrived, asked.round_trip, Fairness()).frame
            self.done.append(command)
        return Operated(frame)


class Player:
    """A client in the namespace, which asks and is told."""

    def __init__(self, client: SocketIoClient) -> None:
        self._client = client
        self._number = 0
        self.told: list[Any] = []
        self.acknowledges = True

    async def message(self) -> str:
        """The next message that is no `audio-sync`, which is acknowledged as our page does it."""
        while True:
            message: str = await self._client.receive()
            head, _, body = message.partition("[")
            if not body.startswith('"audio-sync"'):
                return message
            self.told.append(json.loads("[" + body)[1])
            if self.acknowledges:
                await self._client.send("43" + head.removeprefix("42") + "[]")

    async def event(self) -> Any:
        message = await self.message()
        assert message.startswith("42/battle,"), message
        return json.loads(message[10:])

    async def ask(self, event: str, *arguments: Any) -> Any:
        """What an event is acknowledged with."""
        self._number += 1
        await self._client.send(f"42/battle,{self._number}" + json.dumps([event, *arguments]))
        message = await self.message()
        head = f"43/battle,{self._number}"
        assert message.startswith(head), message
        (answer,) = json.loads(message.removeprefix(head))
        return answer


@asynccontextmanager
async def battling(*, plays: bool = True) -> AsyncIterator[tuple[Served, Any]]:
    options = SocketIoOptions(namespaces={"/battle": BATTLE}, allowed_packages=("wsactors", "tests"))
    with trio.fail_after(60):
        async with serving(socketio=options, authenticator=Names()) as served:
            yield served, await served.node.spawn(Desk, "final", plays)


@asynccontextmanager
async def player(served: Served, token: str = "", **query: str) -> AsyncIterator[Player]:
    async with served.ws("/socket.io/", **query) as ws:
        client = SocketIoClient(ws)
        assert (await client.receive()).startswith("0{")
        assert "sid" in await client.connect("/battle", {"token": token} if token else {})
        yield Player(client)


async def test_who_comes_with_a_battle_in_the_address_has_joined_it_and_plays() -> None:
    async with battling() as (served, desk), player(served, "ana", battleId="final", playerId="whoever") as ana:
        event, state = await ana.event()
        assert (event, state["battleId"], state["you"]) == ("battle-state", "final", "A")
        answer = await ana.ask("midi-command", PLAY)
        (asked,) = await served.node.call(desk, "asked")
        assert answer == {"success": True, "deck": "A", "frame": asked.arrived}
        assert asked.player == "ana"


async def test_a_player_is_who_his_token_says_and_not_who_his_messages_say() -> None:
    async with battling() as (served, desk):
        async with player(served, "bo", battleId="final", playerId="ana") as bo:
            await bo.event()
            said = {"battleId": "final", "playerId": "ana", "command": PLAY}
            answer = await bo.ask("midi-command", said)
            assert (answer["success"], answer["code"]) == (False, "not_your_deck")
            assert "not yours" in answer["error"]
            fader = {"type": "cc", "deck": "B", "controller": 6, "value": 3}
            assert (await bo.ask("midi-command", fader))["code"] == "not_your_turn"
        async with player(served, battleId="final", playerId="ana") as nobody:
            await nobody.event()
            assert (await nobody.ask("midi-command", PLAY))["code"] == "not_a_player"
        assert await served.node.call(desk, "done") == ()


async def test_battles_are_joined_and_left_by_events() -> None:
    async with battling() as (served, _), player(served, "ana") as ana:
        assert (await ana.ask("midi-command", PLAY))["code"] == "no_session"
        assert (await ana.ask("join-battle", {"battleId": "nowhere"}))["code"] == "no_session"
        assert (await ana.ask("join-battle", {}))["error"] == "join-battle.battleId: missing"
        await ana._client.send('42/battle,77["join-battle",{"battleId":"final","playerId":"ana"}]')
        assert (await ana.event())[0] == "battle-state"
        assert await ana.message() == '43/battle,77[{"success":true}]'
        assert (await ana.ask("midi-command", PLAY))["success"]
        assert await ana.ask("leave-battle", {"battleId": "final"}) == {"success": True}
        assert (await ana.ask("midi-command", PLAY))["code"] == "no_session"


async def test_news_of_a_battle_reach_those_who_have_joined_it() -> None:
    async with battling() as (served, _):
        await served.node.spawn(Desk, "other")
        async with player(served, "ana", battleId="final", playerId="a") as ana, player(served) as guest:
            await ana.event()
            await guest._client.send('42/battle,["join-battle",{"battleId":"other"}]')
            await guest.event()
            for battle in ("other", "final"):
                await served.realtime.publish(
                    room_topic("/battle", battle_room(battle)), "score-update", {"of": battle}
                )
            assert await ana.event() == ["score-update", {"of": "final"}]
            assert await guest.event() == ["score-update", {"of": "other"}]


async def test_malformed_events_are_acknowledged_with_what_is_wrong_and_harm_nobody() -> None:
    async with battling() as (served, desk), player(served, "ana", battleId="final", playerId="a") as ana:
        await ana.event()
        for payload, words in (
            ({**PLAY, "deck": "C"}, "midi-command.deck: expected one of A, B"),
            ({**PLAY, "note": 1_000}, "midi-command.note: expected an integer from 0 to 127"),
            ({"type": "cc", "deck": "A"}, "midi-command.controller: missing"),
            ([[[]]], "midi-command: expected a map"),
            (None, "midi-command: expected a map"),
        ):
            assert await ana.ask("midi-command", payload) == {"success": False, "error": words, "code": "malformed"}
        for event in ("join-battle", "leave-battle", "ping", "request-audio-stream", "midi-command"):
            assert (await ana.ask(event, 1, 2))["code"] == "malformed"
        assert await served.node.call(desk, "asked") == ()
        assert (await ana.ask("midi-command", PLAY))["success"]


async def test_a_round_trip_is_measured_by_the_node_and_goes_with_each_command() -> None:
    async with battling() as (served, desk), player(served, "ana", battleId="final", playerId="a") as ana:
        await ana.event()
        while not any("roundTrip" in each for each in ana.told):
            await ana.ask("ping", {"timestamp": 1.5})
        stamp = ana.told[-1]["frame"]
        answer = await ana.ask("midi-command", {**PLAY, "frame": stamp, "latencyCompensation": 9_999})
        (asked,) = await served.node.call(desk, "asked")
        assert asked.stamp == stamp
        assert asked.round_trip > 0
        assert asked.arrived - 24_000 <= answer["frame"] <= asked.arrived


async def test_a_client_that_acknowledges_nothing_is_told_the_time_and_plays_uncompensated() -> None:
    async with battling() as (served, desk), player(served, "ana", battleId="final", playerId="a") as ana:
        ana.acknowledges = False
        await ana.event()
        while len(ana.told) < 2:
            await ana.ask("ping", 1)
        assert all("roundTrip" not in each for each in ana.told)
        answer = await ana.ask("midi-command", PLAY)
        (asked,) = await served.node.call(desk, "asked")
        assert (asked.round_trip, answer["frame"]) == (0, asked.arrived)


async def test_a_ping_is_acknowledged_with_the_node_s_time_and_a_request_for_webrtc_honestly() -> None:
    async with battling() as (served, _), player(served, battleId="final", playerId="x") as guest:
        await guest.event()
        assert await guest.ask("ping", 5.5) > 1_600_000_000_000
        await guest._client.send('42/battle,["request-audio-stream",{"battleId":"final","offer":"v=0"}]')
        event, answer = await guest.event()
        assert event == "audio-stream-answer"
        assert (answer["type"], answer["url"]) == ("webtransport", "/webtransport.json")
        assert answer["stream"] == "/listen/final.ogg"
        assert "WebRTC" in answer["message"]


async def test_a_battle_that_plays_by_itself_says_so_and_is_not_disturbed() -> None:
    async with battling(plays=False) as (served, desk), player(served, "ana") as ana:
        assert await ana.ask("join-battle", {"battleId": "final"}) == {"success": True}
        assert (await ana.ask("midi-command", PLAY))["code"] == "unavailable"
        assert await served.node.call(desk, "asked") == ()
