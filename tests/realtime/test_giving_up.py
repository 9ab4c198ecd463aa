"""Whoever gives up joining, at whatever moment, is not in: no channel of his is left, and none that nobody counts."""

from __future__ import annotations

import contextlib
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.realtime.test_kick import start
from tests.realtime.test_permission import ADA, enter
from tests.realtime.test_topics import Owner, settle
from tests.realtime.topics import Client
from wsactors.realtime.channel import Channel
from wsactors.realtime.identity import ANONYMOUS, Credentials, JoinRefused
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.start import start_realtime
from wsactors.supervision import Node


async def test_who_gives_up_at_any_moment_leaves_nothing_behind(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    gave_up = came_in = 0
    for step in range(1, 8):
        async with Node("giving-up", debug=True) as node:
            realtime = await start(node)
            client, scope, got_in = Client(), trio.CancelScope(), []
            user = await realtime.authenticate(Credentials(address="192.0.2.7"))

            async def come() -> None:
                with scope:  # noqa: B023 - of this turn
                    got_in.append(await enter(realtime, "room", user, client=client))  # noqa: B023

            async with trio.open_nursery() as nursery:
                nursery.start_soon(come)
                while not realtime.permission._limits:
                    await trio.lowlevel.checkpoint()
                for _ in range(step):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
            await settle()
            assert not realtime.arriving
            assert len(realtime.seats) == realtime.permission.shared.addresses == len(got_in)
            assert len(client.of("joined")) == len(client.of("closed")) + len(got_in)
            came_in += bool(got_in)
            gave_up += not got_in
    assert came_in
    assert gave_up
    assert "child_start_failed" not in caplog.text, "that somebody changes his mind is no failure of the node"


async def test_who_loses_the_connection_on_the_way_in_leaves_nothing_behind(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    for step in range(1, 8):
        async with Node("giving-up", debug=True) as node:
            realtime = await start(node)
            user, owner = attrs.evolve(ANONYMOUS, address="192.0.2.7"), await node.spawn(Owner)
            async with trio.open_nursery() as nursery:

                async def come() -> None:
                    with contextlib.suppress(JoinRefused):
                        await realtime.join("room", Client(), owner=owner, user=user)  # noqa: B023

                nursery.start_soon(come)
                for _ in range(step):
                    await trio.lowlevel.checkpoint()
                node.exit(owner, "kill")
            await settle()
            assert not realtime.arriving
            assert not realtime.seats
            assert (realtime.permission.shared.addresses, realtime.permission._limits) == (0, {})
    assert "child_start_failed" not in caplog.text


class Slowest(Channel):
    """Lets everybody in, much too late."""

    async def join(self, params: Any) -> Any:
        await trio.sleep(1_000)


async def test_who_has_to_wait_too_long_is_not_let_in_afterwards(autojump_clock: MockClock) -> None:
    options = RealtimeOptions(topics=(TopicOptions("*", channel=f"{__name__}:Slowest"),), join_seconds=1.0)
    async with Node("giving-up", debug=True) as node:
        realtime = await start_realtime(node, options, allowed_packages=("wsactors", "tests"))
        client = Client()
        with pytest.raises(JoinRefused, match="too long"):
            await enter(realtime, "room", client=client)
        await trio.sleep(2_000)
        assert (client.got, realtime.seats) == ([], {})


async def test_a_kick_meets_who_has_shown_a_token_that_nobody_has_looked_at_yet(autojump_clock: MockClock) -> None:
    async with Node("giving-up", debug=True) as node:
        realtime = await start(node)
        client, channel, _ = await enter(realtime, "room", ANONYMOUS)
        realtime.renew(channel, ADA)
        assert realtime.kick("ada") == 1
        await settle()
        assert client.of("closed") == [["kicked", False]]
        assert not realtime.seats
