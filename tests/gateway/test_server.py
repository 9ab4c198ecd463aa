"""The gateway as actors of a node, with real sockets."""

from __future__ import annotations

import contextlib
import gc
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.gateway.harness import TestDirectory, TestSession, exchange, open_narrow_stream, request, until, upgrade
from wsactors.actors import Actor, GroupChange, Pid
from wsactors.client import connect
from wsactors.errors import StartError
from wsactors.gateway.options import GatewayOptions, Limits
from wsactors.gateway.port import Port
from wsactors.gateway.server import Address, Connection, Endpoint, Gateway
from wsactors.realtime.send_queue import AUDIO
from wsactors.realtime.sinks import SocketSink
from wsactors.realtime.watch import SocketWatch
from wsactors.sessions.listener import Listener, Seat, listeners_of
from wsactors.sessions.messages import SESSIONS, SessionCard
from wsactors.supervision import DynamicSupervisor, Node
from wsactors.wire import native


class Room(Actor):
    """The least session there can be: offers what it is cast to every listener."""

    def init(self, name: str = "room") -> None:
        self.seats: dict[Pid, Seat] = {}
        self.node.groups.join(SESSIONS, self.pid, SessionCard(name, "A <room>", "battle", 7))
        _, seated = self.node.groups.monitor(self.pid, listeners_of(name))
        self.seats.update((member.pid, member.meta) for member in seated)

    def handle_cast(self, message: Any) -> None:
        for seat in self.seats.values():
            seat.offer(message, AUDIO)

    def handle_call(self, message: Any, caller: Any) -> Any:
        return len(self.seats)

    def handle_info(self, message: Any) -> None:
        match message:
            case GroupChange(event="join", members=members):
                self.seats.update((member.pid, member.meta) for member in members)
            case GroupChange(members=members):
                for member in members:
                    self.seats.pop(member.pid, None)


@asynccontextmanager
async def running(
    options: GatewayOptions | None = None, *, kill_grace: float = 5.0, **arguments: Any
) -> AsyncIterator[tuple[Node, Address]]:
    opened: list[Address] = []
    async with Node("gate", kill_grace=kill_grace) as node:
        await node.spawn(
            Gateway, options or GatewayOptions(port=0), name="gateway", kwargs={"on_open": opened.append, **arguments}
        )
        await node.spawn(DynamicSupervisor, name="battle:room:listeners")
        yield node, opened[-1]


def pids_of(node: Node, cls: type) -> list[Pid]:
    return [process.pid for process in node.sched.processes.values() if process.kind.cls is cls]


def ports_of(node: Node) -> list[Port]:
    return [process.actor._binding.port for process in node.sched.processes.values() if process.kind.cls is Endpoint]


async def test_join_hear_and_leave_a_session_of_the_node() -> None:
    async with running() as (node, address):
        room = await node.spawn(Room)
        async with connect(f"ws://127.0.0.1:{address.port}/ws") as client:
            with trio.fail_after(30):
                assert client.node == "gate"
                assert [s.title for s in await client.sessions()] == ["A <room>"]
                listening = await client.join("room")
                assert listening.joined.track == 7
                node.cast(room, native.encode_audio(7, 0, 0, b"sound"))
                assert (await anext(listening)).payload == b"sound"
                await client.leave("room")
                await until(lambda: not pids_of(node, Listener))


async def test_a_session_that_is_killed_and_restarted_is_heard_again_on_the_same_connection() -> None:
    async with running() as (node, address):
        room = await node.spawn(Room)
        async with connect(f"ws://127.0.0.1:{address.port}/ws") as client:
            with trio.fail_after(30):
                listening = await client.join("room")
                node.exit(room, "kill")
                await until(lambda: not pids_of(node, Room))
                room = await node.spawn(Room)
                node.cast(room, native.encode_audio(7, 900, 864_000, b"again", flags=native.FLAG_DISCONTINUITY))
                assert (await anext(listening)).payload == b"again"


async def test_a_listener_that_is_killed_is_told_to_its_client() -> None:
    async with running() as (node, address):
        await node.spawn(Room)
        async with connect(f"ws://127.0.0.1:{address.port}/ws") as client:
            with trio.fail_after(30):
                listening = await client.join("room")
                node.exit(pids_of(node, Listener)[0], "kill")
                assert [frame async for frame in listening] == []
                assert listening.ended == "the session ended"
                await client.join("room")


async def test_a_connection_whose_task_will_not_end_loses_socket_and_place_in_its_death_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its sink is the actor's: nobody can write to a dead actor's peer, whatever a library shields from cancellation."""
    sinks: list[SocketSink] = []
    release = trio.Event()

    async def stuck(sock: socket.socket, port: Port, owner: Pid, *, on_sink: Callable[[SocketSink], None]) -> None:
        sinks.append(SocketSink(sock))
        on_sink(sinks[0])
        with trio.CancelScope(shield=True):
            await release.wait()

    monkeypatch.setattr("wsactors.gateway.server.serve_connection", stuck)
    async with running(kill_grace=0.05) as (node, address), node.attach() as me:
        (port,) = ports_of(node)
        with socket.create_connection(("127.0.0.1", address.port)):
            await until(lambda: bool(sinks))
            assert sinks[0].offer(b"alive")
            (victim,) = pids_of(node, Connection)
            ref = me.monitor(victim)
            node.exit(victim, "kill")
            assert await ref.wait(30) is not None
            assert not sinks[0].offer(b"dead")
            assert port.admission.open == 0
            release.set()


async def test_connections_killed_at_any_moment_of_their_start_give_their_place_back() -> None:
    async with running(GatewayOptions(port=0, limits=Limits(connections=4, connections_per_address=4))) as (
        node,
        address,
    ):
        (port,) = ports_of(node)
        for number in range(40):
            with socket.socket() as sock:
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    sock.connect(("127.0.0.1", address.port))
                for _ in range(number % 20):
                    await trio.lowlevel.checkpoint()
                for pid in pids_of(node, Connection):
                    node.exit(pid, "kill")
        await until(lambda: not port.admission.open)
        assert (await exchange(address.port, request("/health", headers="Connection: close\r\n"))).endswith(b"ok\n")


async def test_killing_a_connection_closes_its_descriptor_and_ends_its_listeners() -> None:
    async with running() as (node, address):
        room = await node.spawn(Room)
        SocketWatch.current()  # has a descriptor of its own, for all connections
        gc.collect()  # what other tests have left
        before = set(Path("/proc/self/fd").iterdir())
        async with (
            connect(f"ws://127.0.0.1:{address.port}/ws") as client,
            connect(f"ws://127.0.0.1:{address.port}/ws") as other,
        ):
            with trio.fail_after(30):
                victim = (await client.join("room"), pids_of(node, Connection)[0])[1]
                listening = await other.join("room")
                node.exit(victim, "kill")
                await until(lambda: len(pids_of(node, Listener)) == len(pids_of(node, Connection)) == 1)
                with contextlib.suppress(Exception):
                    await client.ping()
                node.cast(room, native.encode_audio(7, 0, 0, b"undisturbed"))
                assert (await anext(listening)).payload == b"undisturbed"
        await until(lambda: not pids_of(node, Connection))
        await until(lambda: set(Path("/proc/self/fd").iterdir()) == before)


async def test_a_kill_ends_a_response_that_hypercorn_shields() -> None:
    """The peer reads nothing, so a write is in progress, shielded by hypercorn: closing the descriptor ends it."""
    async with running() as (node, address), await open_narrow_stream(address.port) as stream:
        await stream.send_all(request("/js/page.js") * 100)
        (endpoint,) = pids_of(node, Endpoint)
        (port,) = ports_of(node)
        await until(lambda: any(sink.buffered_bytes for sink in port.statistics().sinks))
        assert (await node.call(endpoint, "statistics")).open == 1
        (victim,) = pids_of(node, Connection)
        node.exit(victim, "kill")
        await until(lambda: not pids_of(node, Connection))
        assert node.info().zombies == 0


async def test_a_crashing_connection_takes_nobody_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as (node, address):
        await node.spawn(Room)
        (endpoint,) = pids_of(node, Endpoint)
        async with connect(f"ws://127.0.0.1:{address.port}/ws") as client:
            await client.join("room")
            with monkeypatch.context() as patch:
                patch.setattr("wsactors.gateway.connection.parse_head", lambda *_, **__: 1 / 0)
                for _ in range(20):  # more than any restart intensity
                    assert await exchange(address.port, upgrade()) == b""
            assert await client.ping() > 0
            assert pids_of(node, Endpoint) == [endpoint]
            assert len(pids_of(node, Connection)) == 1


async def test_an_endpoint_that_crashes_comes_back_on_its_port_and_connections_live_on() -> None:
    async with running() as (node, address), connect(f"ws://127.0.0.1:{address.port}/ws") as client:
        (endpoint,) = pids_of(node, Endpoint)
        node.exit(endpoint, "kill")
        await until(lambda: pids_of(node, Endpoint) not in ([endpoint], []))
        assert await client.ping() > 0
        assert b" 200 " in await exchange(address.port, request("/health", headers="Connection: close\r\n"))
        assert await node.call(pids_of(node, Endpoint)[0], "address") == address


async def test_stopping_the_node_says_goodbye_and_frees_the_port() -> None:
    async with running() as (node, address), connect(f"ws://127.0.0.1:{address.port}/ws") as client:
        with trio.fail_after(30):
            await node.stop()
            await until(lambda: client.closed_with is not None)
        assert client.closed_with == 1012
    with socket.create_server(("127.0.0.1", address.port)):
        pass


async def test_a_busy_port_gives_the_next_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = taken.getsockname()[1]
        async with running(GatewayOptions(port=wanted)) as (_, address):
            assert wanted < address.port <= wanted + 20
            assert address.urls == (f"http://127.0.0.1:{address.port}/",)
        with pytest.raises(StartError, match="in use"):
            async with running(GatewayOptions(port=wanted, port_search=0)):
                pass


async def test_an_address_that_others_reach_is_refused_unless_meant(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="allow_anonymous_public"):
        async with running(GatewayOptions(host="0.0.0.0", port=0)):
            pass
    options = GatewayOptions(host="0.0.0.0", port=0, allow_anonymous_public=True, state_directory=tmp_path)
    async with running(options) as (_, address):
        assert address.secure
        assert all(url.startswith("https://") for url in address.urls)


async def test_debug_mode_accepts_what_the_gateway_sends() -> None:
    """Sockets and streams never travel in messages."""
    opened: list[Address] = []
    directory = TestDirectory()
    directory.add(TestSession("main"))
    async with Node("checked", debug=True) as node:
        arguments = {"on_open": opened.append, "directory": directory}
        await node.spawn(Gateway, GatewayOptions(port=0), kwargs=arguments)
        async with connect(f"ws://127.0.0.1:{opened[0].port}/ws") as client:
            await client.join("main")


@pytest.fixture(autouse=True)
def quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Crash reports are expected here."""
    yield
    capsys.readouterr()
