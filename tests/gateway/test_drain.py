"""Emptying a port: in batches, each guest in its own way and for its own moment, and never for longer than allowed."""

from __future__ import annotations

import contextlib

import pytest
import trio
import trio.testing

from tests.gateway.harness import exchange, request, until
from tests.gateway.raw_socket import RawSocket, raw_socket
from tests.gateway.ws_frames import BINARY, CLOSE, TEXT, frame
from wsactors.gateway.drain import Drain, Drainer
from wsactors.gateway.options import DrainOptions, GatewayOptions
from wsactors.gateway.server import Address, Connection, Gateway
from wsactors.supervision import Node


class TestGuest:
    """Leaves ``after`` seconds after it was told, or never."""

    __test__ = False

    def __init__(self, drain: Drain, nursery: trio.Nursery, after: float | None = 0.0) -> None:
        self.told: list[tuple[float, float]] = []
        self._drain = drain
        self._nursery = nursery
        self._after = after
        drain.enter(self)

    def say_goodbye(self, seconds: float) -> None:
        self.told.append((trio.current_time(), seconds))
        if self._after is not None:
            self._nursery.start_soon(self._leave, self._after)

    async def _leave(self, after: float) -> None:
        await trio.sleep(after)
        self._drain.leave(self)


OPTIONS = DrainOptions(seconds=10.0, batch=100, pause=0.5, reconnect_seconds=5.0)


async def test_guests_are_told_in_batches_each_with_a_moment_of_its_own(autojump_clock: trio.testing.MockClock) -> None:
    drain = Drain(OPTIONS)
    async with trio.open_nursery() as nursery:
        guests = [TestGuest(drain, nursery) for _ in range(950)]
        start = trio.current_time()
        done = await drain.run()
    times = sorted(guest.told[0][0] - start for guest in guests)
    hints = [guest.told[0][1] for guest in guests]
    assert [times.count(batch * 0.5) for batch in range(10)] == [100] * 9 + [50]
    assert (done.told, done.guests, done.cut) == (950, 0, 0)
    assert min(hints) >= 1.0
    assert max(hints) <= 5.0
    assert len(set(hints)) > 900
    assert max(hints) - min(hints) > 3.5


async def test_many_batches_are_told_faster_so_that_all_hear_in_time(autojump_clock: trio.testing.MockClock) -> None:
    drain = Drain(OPTIONS)
    async with trio.open_nursery() as nursery:
        guests = [TestGuest(drain, nursery) for _ in range(10_000)]
        start = trio.current_time()
        await drain.run()
    assert max(guest.told[0][0] for guest in guests) - start <= 6.0


async def test_the_time_is_bounded_whoever_stays(autojump_clock: trio.testing.MockClock) -> None:
    drain = Drain(OPTIONS)
    async with trio.open_nursery() as nursery:
        for after in (None, 3.0, 1.0):
            TestGuest(drain, nursery, after)
        start = trio.current_time()
        done = await drain.run()
        assert trio.current_time() - start == 10.0
    assert (done.guests, done.cut) == (1, 1)


async def test_it_ends_as_soon_as_the_last_has_left(autojump_clock: trio.testing.MockClock) -> None:
    drain = Drain(OPTIONS)
    async with trio.open_nursery() as nursery:
        TestGuest(drain, nursery, 3.0)
        TestGuest(drain, nursery, 1.0)
        start = trio.current_time()
        await drain.run()
        assert trio.current_time() - start == 3.0
        start = trio.current_time()
        await drain.run()  # nobody is here
        assert trio.current_time() == start


async def test_who_comes_late_is_told_at_once_and_who_fails_disturbs_nobody(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing:
        def say_goodbye(self, seconds: float) -> None:
            raise LookupError(seconds)

    drain = Drain(OPTIONS)
    async with trio.open_nursery() as nursery:
        with drain.hosting(Failing()):
            first = TestGuest(drain, nursery, 2.0)
            nursery.start_soon(drain.run)
            await trio.sleep(1)
            assert first.told
            assert drain.is_on
            late = TestGuest(drain, nursery)
            assert late.told
            await trio.sleep(2)
    assert drain.statistics().guests == 0
    assert "goodbye_failed" in caplog.text


# --- a real port -----------------------------------------------------------------------------------------------------


async def open_node(stack: contextlib.AsyncExitStack, **drain: float) -> tuple[Node, int]:
    node = await stack.enter_async_context(Node("drained"))
    opened: list[Address] = []
    options = GatewayOptions(port=0, drain=DrainOptions(**drain))  # type: ignore[arg-type]
    await node.spawn(Gateway, options, kwargs={"on_open": opened.append}, name="gate")
    return node, opened[0].port


async def test_a_node_that_stops_turns_new_ones_away_and_sends_everybody_home() -> None:
    codes: list[int] = []

    async def stay(client: RawSocket) -> None:
        while (got := await client.receive()) is not None:
            if got[0] == 0x80 | CLOSE:
                codes.append(int.from_bytes(got[1][:2], "big"))
                with pytest.raises(OSError, match="connect"):
                    await trio.open_tcp_stream("127.0.0.1", port)
                await client.send(frame(CLOSE, got[1]))

    with trio.fail_after(30):
        async with contextlib.AsyncExitStack() as clients, trio.open_nursery() as nursery:  # noqa: SIM117
            async with contextlib.AsyncExitStack() as stack:
                node, port = await open_node(stack, seconds=60.0, batch=7, pause=0.01)
                for _ in range(30):
                    client = await clients.enter_async_context(raw_socket(port, "/echo"))
                    nursery.start_soon(stay, client)
                kept_alive = await clients.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
                await kept_alive.send_all(request("/health"))
                answer = b""
                while not answer.endswith(b"ok\n"):
                    answer += await kept_alive.receive_some()
                drainer = next(p.pid for p in node.sched.processes.values() if p.kind.cls is Drainer)
                assert (await node.call(drainer, "statistics")).guests == 31
    assert codes == [1012] * 30


async def test_a_client_that_stays_is_cut_when_the_time_is_over() -> None:
    with trio.fail_after(30):
        async with contextlib.AsyncExitStack() as clients, contextlib.AsyncExitStack() as stack:
            _node, port = await open_node(stack, seconds=0.3)
            client = await clients.enter_async_context(raw_socket(port, "/echo", narrow=True))
            await client.send(frame(TEXT, b"x"))
            await client.receive()
            with trio.move_on_after(0.2):
                while True:  # it never reads again, so even the goodbye has to wait
                    await client.send(frame(BINARY, bytes(60_000)))


async def test_an_endpoint_that_crashes_empties_nothing() -> None:
    with trio.fail_after(30):
        async with contextlib.AsyncExitStack() as stack:
            node, port = await open_node(stack)
            async with raw_socket(port, "/echo") as client:
                endpoint = next(p.pid for p in node.sched.processes.values() if p.kind.cls.__name__ == "Endpoint")
                node.exit(endpoint, "kill")
                await until(lambda: endpoint._process is None)
                await client.send(frame(TEXT, b"still here"))
                assert await client.receive() == (0x81, b"still here")
                answer = b""
                while b"ok" not in answer:
                    with contextlib.suppress(OSError):
                        answer = await exchange(port, request("/health", headers="Connection: close\r\n"))
                assert sum(p.kind.cls is Connection for p in node.sched.processes.values()) >= 1
