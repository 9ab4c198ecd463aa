"""Ten thousand connections for minutes: they come and go, their channels crash, their connections are killed.

``make soak`` runs it; ``SOAK_CONNECTIONS=1000 SOAK_CROWD_SECONDS=20 make soak`` for a short look. The node and each of the
harness' two processes need as many open files as they have connections (``ulimit -n``).
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio_websocket import WebSocketConnection, open_websocket_url

from tests.node.booting import node_running
from tests.soak.test_node import ask, resident_bytes
from wsactors.loadtest.lead import lead
from wsactors.loadtest.results import Results
from wsactors.loadtest.settings import GroupSettings, HarnessSettings, LoadSettings, StageSettings, TargetSettings
from wsactors.loadtest.target import find_target
from wsactors.node.cli import ExitCode
from wsactors.wire import native

ROOT = Path(__file__).parents[2]
CONNECTIONS = int(os.environ.get("SOAK_CONNECTIONS", "10000"))
SECONDS = float(os.environ.get("SOAK_CROWD_SECONDS", "180"))
TOPICS = 10
SETTLE = 60.0
"""Seconds that the last joins and leaves may take, once nobody comes and goes any more."""
GROWTH = 0.05
"""Share by which the node may grow while the number of its connections stays the same, plus `GROWTH_BYTES`."""
GROWTH_BYTES = 15_000_000

pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("default::ResourceWarning")]

APPLICATION = """
from __future__ import annotations
import random
from wsactors.realtime.channel import Channel

class Fragile(Channel):
    async def join(self, params):
        if not (params or {}).get("observer"):
            self.track({"since": "soak"})
        return {}

    def handle_push(self, event, payload):
        if random.random() < 0.05:
            raise RuntimeError("a channel of the soak test crashes")
        self.broadcast(event, payload)
        return {}
"""

NODE = f"""
[node]
name = "soak"
trees = ["{ROOT}/supervisors/node.toml"]
allowed_packages = ["wsactors", "soakapp"]
[logging]
level = "error"
[gateway]
port = 0
[gateway.limits]
connections = 20000
connections_per_address = 20000
connects_per_second = 100000
connects_per_second_per_address = 100000
[realtime.topics.soak]
match = "soak:*"
channel = "soakapp:Fragile"
history_seconds = {SECONDS / 8}
presence_interval = 1.0
[admin]
allow_changes = true
"""


def crowd(url: str) -> LoadSettings:
    """Listeners who come and go on every topic, and one speaker on each, by Phoenix, whose channel crashes now and then."""
    users = {}
    for number in range(TOPICS):
        users[f"room{number}"] = GroupSettings(
            behaviour="churn",
            transport="native" if number % 5 else "phoenix",
            topic=f"soak:{number}",
            stay_seconds=SECONDS * 1.2,
            away_seconds=0.5,
        )
        users[f"mouth{number}"] = GroupSettings(
            behaviour="chat", transport="phoenix", topic=f"soak:{number}", fixed_count=1, rate=0.5
        )
    # A busy machine lets people in late. Who gives up early and comes again makes it busier, and proves nothing here.
    return LoadSettings(
        target=TargetSettings(url=url),
        harness=HarnessSettings(processes=2, drain_seconds=60.0, connect_timeout=90.0),
        stages={
            "ramp": StageSettings(users=CONNECTIONS, seconds=SECONDS * 0.4),
            "hold": StageSettings(users=CONNECTIONS, seconds=SECONDS * 0.6),
        },
        users=users,
    )


@attrs.define
class Seen:
    """What the test noted while the run went on."""

    memory: list[tuple[float, int, int]] = attrs.field(factory=list)
    """Seconds, bytes that the node holds, users that are joined."""
    kills: int = 0
    present: dict[str, int] = attrs.field(factory=dict)
    joined: dict[str, int] = attrs.field(factory=dict)
    over: trio.Event = attrs.field(factory=trio.Event)


async def killer(admin: str, seen: Seen, chance: random.Random) -> None:
    """Kill a connection's or a channel's actor now and then, until nobody comes and goes any more."""
    while not seen.over.is_set():
        rows = (await ask(admin, {"op": "processes", "sort": "handled", "limit": 1000}))["processes"]
        victims = [row for row in rows if row["class"].rpartition(".")[2] in {"Connection", "Fragile"}]
        for row in chance.sample(victims, min(5, len(victims))):
            seen.kills += (await ask(admin, {"op": "kill", "pid": row["pid"]})).get("done", False)
        with trio.move_on_after(2.0):
            await seen.over.wait()


@asynccontextmanager
async def observer(url: str) -> AsyncIterator[WebSocketConnection]:
    """One who looks on and is not counted."""
    async with open_websocket_url(f"{url}/ws", max_message_size=2**24) as socket:
        await socket.send_message(native.encode(native.Hello(native.VERSIONS)))
        yield socket


async def presences(url: str) -> dict[str, int]:
    """How many connections the node shows as present, by topic."""
    counts: dict[str, int] = {}
    async with observer(url) as socket:
        for number in range(TOPICS):
            topic = f"soak:{number}"
            await socket.send_message(native.encode(native.JoinTopic(number + 1, topic, params={"observer": True})))
        while len(counts) < TOPICS:
            data = await socket.get_message()
            assert isinstance(data, bytes)
            message = native.decode_server(data)
            assert not isinstance(message, native.Error), message
            if isinstance(message, native.PresenceState):
                counts[message.topic] = sum(len(metas) for metas in message.state.values())
    return counts


def joined(results: Results) -> dict[str, int]:
    """How many users are joined, by topic, as the harness itself knows it."""
    return {
        f"soak:{number}": results.present(f"room{number}")[1] + results.present(f"mouth{number}")[1]
        for number in range(TOPICS)
    }


async def compare(url: str, seen: Seen, results: list[Results], stop: trio.Event) -> None:
    """When the shape is over, look until both sides say the same, and nothing moves any more; a ghost would stay."""
    await trio.sleep(SECONDS)
    seen.over.set()
    with trio.move_on_after(SETTLE):
        while True:
            before = joined(results[-1])
            seen.present = await presences(url)
            await trio.sleep(2.5)  # longer than the harness' processes take to report twice
            seen.joined = joined(results[-1])
            if before == seen.joined == seen.present:
                break
    stop.set()


def allow_connections() -> None:
    """Raise the limit of open files for the node and the harness, which inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = CONNECTIONS + CONNECTIONS // 4 + 1_000
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.fail(f"{CONNECTIONS} connections need {needed} open files in one process; `ulimit -Hn` is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))


async def test_ten_thousand_come_and_go(tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    config.write_text(NODE)
    (tmp_path / "soakapp.py").write_text(APPLICATION)
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    allow_connections()
    seen, kept = Seen(), [Results(crowd("ws://127.0.0.1:1"))]
    with node_running(config, "--print-addresses") as node:
        told: dict[str, Any] = json.loads(node.wait_line('"gateway"'))
        url = told["websocket"].removesuffix("/ws")
        settings = crowd(url)

        def note(results: Results, elapsed: float) -> None:
            kept[:] = [results]
            seen.memory.append((elapsed, resident_bytes(node.process.pid), sum(joined(results).values())))

        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(killer, told["admin"], seen, random.Random(3))
            nursery.start_soon(compare, url, seen, kept, stop)
            results = await lead(settings, find_target(url), each_second=note, stop=stop)
        await trio.sleep(5.0)
        info = await ask(told["admin"], {"op": "info"})
        node.signal(signal.SIGTERM)
        assert node.wait_exit() == ExitCode.OK
    judge(seen, results, info)


def judge(seen: Seen, results: Results, info: dict[str, Any]) -> None:
    """Print what was seen, then insist."""
    total = results.total()
    held = [each for each in seen.memory if SECONDS * 0.45 < each[0] < SECONDS]
    since, early, _ = next((each for each in held if each[2] > results.most_joined * 0.98), held[-1])
    late = held[-1][1]
    print(f"\n{total.joins} joins, {total.partings} partings, {seen.kills} kills, {total.drops} channels lost and")
    print(f"{total.disconnects} connections, {total.reconnects} reconnects, {total.failures} failures: {total.reasons}")
    print(f"{total.received} messages, {total.missed} missed, latency {total.latency}, joins {total.join}")
    print(
        f"memory after {since:.0f} s {early / 1e6:.1f} MB, at the end {late / 1e6:.1f} MB, joined {results.most_joined}"
    )
    print(
        ", ".join(
            f"{elapsed:.0f} s {size / 1e6:.0f} MB {count}"
            for elapsed, size, count in seen.memory[:: max(1, len(seen.memory) // 20)]
        )
    )
    print(f"present {seen.present}\n joined {seen.joined}\n{info}")
    print("; ".join(f"core {process.busiest:.0%}, lag {process.lag}" for process in results.processes))

    assert results.most_users == CONNECTIONS
    assert results.most_joined > CONNECTIONS * 0.85, "the others were just away, or on their way back"
    assert total.partings > CONNECTIONS / 4
    assert seen.kills > SECONDS / 4
    assert total.drops > 0, "channels crashed"
    assert sum(tally.crashes for tally in results.groups.values()) == 0
    assert seen.present == seen.joined
    assert sum(seen.joined.values()) > CONNECTIONS * 0.8
    assert since < SECONDS * 0.7, "they were all there in time to see what becomes of the memory"
    assert late - early < early * GROWTH + GROWTH_BYTES
    assert info["actors"] < 200, "the actors of those who left are gone"
    assert info["zombies"] == 0
