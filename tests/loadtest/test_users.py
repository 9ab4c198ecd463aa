"""Users against a server that treats them as the test says. It speaks just enough of Phoenix."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from tests.gateway.harness import until
from wsactors.actors import send
from wsactors.loadtest.control import Want
from wsactors.loadtest.poller import Poller
from wsactors.loadtest.scenario import Pacer
from wsactors.loadtest.settings import GroupSettings, HarnessSettings, LoadSettings, StageSettings
from wsactors.loadtest.stamp import MARK, read_stamp, stamp
from wsactors.loadtest.tally import Tally
from wsactors.loadtest.target import Target
from wsactors.loadtest.users import GO, USERS
from wsactors.loadtest.visit import World
from wsactors.loadtest.worker import Crowd
from wsactors.supervision import Node

RUN = 77


@attrs.define
class Guest:
    """A client at the server's end."""

    socket: WebSocketConnection
    number: int
    """The how manieth connection it is, from 0."""

    async def ask(self) -> list[Any]:
        """The next message that is no push."""
        while True:
            message: list[Any] = json.loads(await self.socket.get_message())
            if message[3] != "load":
                return message

    async def let_in(self) -> None:
        join_ref, ref, topic, event, _ = await self.ask()
        assert event == "phx_join"
        await self.tell(join_ref, ref, topic, "phx_reply", {"status": "ok", "response": {}})

    async def tell(self, *words: Any) -> None:
        await self.socket.send_message(json.dumps(words))

    async def say(self, sequence: int) -> None:
        await self.tell(None, None, "t", "load", {"text": stamp(RUN, 5, sequence, 1.0)})


Behave = Callable[[Guest], Awaitable[None]]


@asynccontextmanager
async def world(behave: Behave, group: GroupSettings, **harness: float) -> AsyncIterator[tuple[World, Tally]]:
    """A world with one user of this group in it, whom the server treats like that."""
    guests = 0

    async def serve(request: WebSocketRequest) -> None:
        nonlocal guests
        guest = Guest(await request.accept(), guests)
        guests += 1
        try:
            await behave(guest)
        except ConnectionClosed:
            return

    tally = Tally()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, serve, "127.0.0.1", 0, None))
        here = World(
            RUN, 0,
            LoadSettings(
                stages={"all": StageSettings()}, users={"them": group},
                harness=HarnessSettings(**harness),  # type: ignore[arg-type]
            ),
            Target("127.0.0.1", server.port, False, trio.socket.AF_INET, ("127.0.0.1", server.port), True),
            None, Poller(), Pacer(0.0), {"them": tally}, random.Random(1),
        )  # fmt: skip
        nursery.start_soon(here.poller.run)
        async with Node("users", watchdog=None) as node:
            await node.spawn(USERS[group.behaviour], here, "them", 0, name="user")
            with trio.fail_after(60):
                yield here, tally
        assert (tally.users, tally.joined, len(here.poller)) == (0, 0, 0), "nothing is left of those who have gone"
        nursery.cancel_scope.cancel()


def phoenix(behaviour: Any = "listen", **more: Any) -> GroupSettings:
    return GroupSettings(behaviour=behaviour, transport="phoenix", topic="t", **more)


async def test_who_is_thrown_out_comes_again() -> None:
    async def behave(guest: Guest) -> None:
        await guest.let_in()
        if guest.number == 0:
            await guest.socket.aclose(1012, "restart \x1b[2J")
        await trio.sleep_forever()

    async with world(behave, phoenix()) as (_, tally):
        await until(lambda: tally.reconnects == 1)

    assert (tally.attempts, tally.joins, tally.disconnects, tally.failures) == (2, 2, 1, 0)
    assert tally.reasons == {"closed: 1012 restart \x1b[2J": 1}


async def test_who_is_refused_tries_again_after_a_pause() -> None:
    refused: list[float] = []

    async def behave(guest: Guest) -> None:
        join_ref, ref, topic, _, _ = await guest.ask()
        refused.append(trio.current_time())
        await guest.tell(join_ref, ref, topic, "phx_reply", {"status": "error", "response": {"reason": "full"}})
        await trio.sleep_forever()

    async with world(behave, phoenix()) as (_, tally):
        await until(lambda: len(refused) == 3)

    assert tally.joins == 0
    assert tally.failures >= 2
    assert refused[1] - refused[0] > 0.2
    assert refused[2] - refused[1] > 0.45


async def test_who_is_kept_waiting_gives_up() -> None:
    async def behave(_: Guest) -> None:
        await trio.sleep_forever()

    async with world(behave, phoenix(), connect_timeout=0.2) as (_, tally):
        await until(lambda: tally.failures == 1)

    assert tally.reasons == {"no answer in time": 1}


async def test_a_crashed_channel_is_joined_again_on_the_same_connection() -> None:
    async def behave(guest: Guest) -> None:
        await guest.let_in()
        await guest.say(0)
        await guest.tell("j1", "j1", "t", "phx_error", {"reason": "channel_crash"})
        await guest.let_in()
        await guest.say(7)  # what was said meanwhile was not for it
        await trio.sleep_forever()

    async with world(behave, phoenix()) as (_, tally):
        await until(lambda: tally.received == 2)

    assert (tally.attempts, tally.joins, tally.drops, tally.disconnects, tally.missed) == (1, 2, 1, 0, 0)


async def test_gaps_and_repetitions_are_counted() -> None:
    async def behave(guest: Guest) -> None:
        await guest.let_in()
        for sequence in (3, 4, 8, 8, 7, 9):
            await guest.say(sequence)
        await guest.tell(None, None, "t", "load", {"text": stamp(RUN + 1, 5, 0, 1.0)})  # of an older run
        await trio.sleep_forever()

    async with world(behave, phoenix()) as (_, tally):
        await until(lambda: tally.received == 6 and tally.other == 2)

    assert (tally.missed, tally.repeated) == (3, 2)
    assert tally.first.count == 1


async def test_a_speaker_says_what_fell_due_while_it_was_away() -> None:
    heard: list[tuple[int, float]] = []

    async def behave(guest: Guest) -> None:
        if guest.number:
            await trio.sleep(1.5)
        await guest.let_in()
        while True:
            text = await guest.socket.get_message()
            assert isinstance(text, str)
            data = text.encode()
            found = read_stamp(data, data.find(MARK))
            assert found is not None
            heard.append(found[1:])
            if guest.number == 0 and len(heard) == 3:
                await guest.socket.aclose(1001)

    group = phoenix("chat", rate=5.0, message_bytes=100)
    async with world(behave, group) as (_, tally):
        await until(lambda: len(heard) >= 14)

    times = [intended for _, intended in heard]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    # The clock went on while it was away, for longer than any gap: every message keeps its own time. Some may have gone into
    # the closing line.
    assert all(gap < 1.1 for gap in gaps), gaps
    assert tally.unsent == 0


async def test_what_is_too_old_is_not_sent() -> None:
    heard = trio.Event()

    async def behave(guest: Guest) -> None:
        if guest.number:
            await trio.sleep(0.3)
        await guest.let_in()
        await guest.socket.get_message()
        if guest.number:
            heard.set()
            await trio.sleep_forever()

    async with world(behave, phoenix("chat", rate=50.0), connect_timeout=0.4) as (_, tally):
        await heard.wait()

    assert tally.unsent >= 3


async def test_churners_come_and_go() -> None:
    async def behave(guest: Guest) -> None:
        await guest.let_in()
        await trio.sleep_forever()

    group = phoenix("churn", stay_seconds=0.05, away_seconds=0.01)
    async with world(behave, group) as (here, tally):
        await until(lambda: tally.partings >= 8)
        here.quiet = True
        await trio.sleep(0.8)
        partings = tally.partings
        await trio.sleep(0.2)
        assert tally.partings == partings, "at the end everybody stays where he is"

    assert tally.disconnects == tally.reconnects == tally.failures == 0
    assert tally.joins >= 8


async def test_a_staller_lets_the_server_wait_and_reads_on() -> None:
    said = 0

    async def behave(guest: Guest) -> None:
        nonlocal said
        await guest.let_in()
        for said in range(1_000_000):
            await guest.say(said)

    group = phoenix("stall", stall_every=0.1, stall_seconds=2.0)
    async with world(behave, group) as (_, tally):
        await until(lambda: tally.stalls == 1)
        await trio.sleep(0.1)
        before = tally.received
        await trio.sleep(0.1)
        assert tally.received == before
        await until(lambda: tally.received > before)

    assert tally.missed == 0


async def test_a_user_that_is_told_to_go_says_goodbye() -> None:
    words: list[str] = []

    async def behave(guest: Guest) -> None:
        await guest.let_in()
        words.append((await guest.ask())[3])
        await guest.ask()

    async with world(behave, phoenix()) as (_, tally):
        await until(lambda: tally.joined == 1)
        send("user", GO)
        await until(lambda: words == ["phx_leave"])

    assert tally.disconnects == 0


async def test_a_user_that_dies_of_an_error_is_counted() -> None:
    """Its connection goes with it, and the crowd is filled up again when it is told how many there should be."""

    async def behave(guest: Guest) -> None:
        await guest.let_in()
        await trio.sleep_forever()

    async with world(behave, phoenix()) as (here, tally), Node("crowd", watchdog=None) as node:
        crowd = await node.spawn(Crowd, here)
        node.cast(crowd, Want({"them": 3}))
        await until(lambda: tally.joined == 4)
        victim = next(info.pid for info in [each async for each in node.processes()] if info.cls.endswith("User"))
        node.exit(victim, "kill")
        await until(lambda: tally.crashes == 1)
        assert tally.joined == 3
        node.cast(crowd, Want({"them": 3}))
        await until(lambda: tally.joined == 4)
        node.cast(crowd, Want({"them": 1}))
        await until(lambda: tally.joined == 2)

    assert tally.crashes == 1
