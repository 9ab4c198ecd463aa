"""A real render process under its host: sound at the right place, and what happens when the process dies or lies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import trio

from wsactors.actors import UNHANDLED, Actor, Attached, Crash, Pid
from wsactors.dj import child
from wsactors.dj.clock import now, soon
from wsactors.dj.render_host import STALL, HostUp, Render, RenderHost, Rendering, Samples, Sound, StopRendering, Tiers
from wsactors.dj.render_protocol import Packet
from wsactors.dj.song import Pcm, new_memory, seal
from wsactors.dj.state import BattleState, Crossfader, DeckState
from wsactors.dj.timeline import PACKET, SAMPLE_RATE
from wsactors.supervision import Node

from .listening import decode, expected_sound, lag_and_likeness, settled

INTERNET = ("tcp", "tcp6", "udp", "udp6", "raw", "raw6")


def sweep(seconds: float = 20.0) -> Any:
    """Noise: every moment is different from every other, so a lag of one frame shows."""
    rng = np.random.default_rng(3)
    low = np.cumsum(rng.standard_normal((int(seconds * 48_000), 2)), axis=0)
    smooth = low[24:] - low[:-24]
    return (smooth / np.abs(smooth).max() * 16_000).astype(np.int16)


def in_memory(samples: Any) -> Pcm:
    memory = new_memory("test")
    os.write(memory, samples.tobytes())
    return seal(memory, len(samples))


class Owner(Actor):
    """Stands for a session: remembers what the host casts, and wakes whoever waits for it."""

    def init(self, seen: list[Any], changed: Callable[[], None]) -> None:
        self.seen, self.changed = seen, changed

    def handle_cast(self, message: Any) -> Any:
        match message:
            case HostUp() | Rendering() | Sound():
                self.seen.append((now(), message))
                self.changed()
                return None
            case _:
                return UNHANDLED


@attrs.define
class Studio:
    node: Node
    me: Attached
    owner: Pid
    seen: list[tuple[int, Any]]
    _changed: trio.Event

    def changed(self) -> None:
        event, self._changed = self._changed, trio.Event()
        event.set()

    async def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> Any:
        with trio.fail_after(seconds):
            while not (result := condition()):
                await self._changed.wait()
        return result

    def packets(self) -> list[Packet]:
        return [message.packet for _at, message in self.seen if isinstance(message, Sound)]

    async def host(self) -> tuple[Pid, HostUp]:
        pid = await self.node.spawn(RenderHost, "owner")
        up = await self.until(lambda: [m for _at, m in self.seen if isinstance(m, HostUp) and m.host == pid])
        return pid, up[0]


@asynccontextmanager
async def studio() -> AsyncIterator[Studio]:
    async with Node("studio") as node, node.attach() as me:
        made = Studio(node, me, me.pid, [], trio.Event())
        made.owner = await node.spawn(Owner, made.seen, made.changed, name="owner")
        yield made


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that a busy machine does not let run for a moment is not taken for one that hangs, but where that is tried."""
    if "hangs" not in request.node.name:
        monkeypatch.setattr("wsactors.dj.render_host.STALL", 10.0)


@pytest.fixture(scope="module")
def song() -> Any:
    return sweep()


def one_deck(samples: Any, frame: int, **changes: Any) -> BattleState:
    deck = attrs.evolve(DeckState().load(frame, "s", len(samples)).play(frame), **changes)
    return BattleState(a=deck, crossfader=Crossfader(-1.0))


async def test_what_is_decoded_from_packet_f_is_timeline_frame_f(song: Any) -> None:
    async with studio() as here:
        host, _up = await here.host()
        state = one_deck(song, now() - 48_000)
        here.node.cast(host, Render("b", now(), state, (Samples("s", in_memory(song)),), here.owner))
        await here.until(lambda: len(here.packets()) >= 60)
        (heard,) = decode((packet.frame, packet.data) for packet in here.packets())
        heard = settled(heard)
        wanted = expected_sound({"s": song}, state, heard.frame, len(heard.sound))
        lag, likeness = lag_and_likeness(heard.sound, wanted)
        assert abs(lag) <= 1
        assert likeness > 0.97
        levels = [packet.rms for packet in here.packets()[10:]]
        assert all(-30 < level < -10 for level in levels)


async def test_lower_rates_are_the_same_sound_and_last_as_long_as_they_are_wanted(song: Any) -> None:
    async with studio() as here:
        host, _up = await here.host()
        here.node.cast(host, Tiers("b", (64_000,)))  # of a battle that is not there: nothing happens
        state = one_deck(song, now() - 48_000)
        here.node.cast(host, Render("b", now(), state, (Samples("s", in_memory(song)),), here.owner))
        here.node.cast(host, Tiers("b", (64_000, 32_000)))
        await here.until(lambda: sum(bool(packet.lower) for packet in here.packets()) >= 60)
        here.node.cast(host, Tiers("b", (32_000,)))
        await here.until(lambda: len(here.packets()[-1].lower) == 1)
        here.node.cast(host, Tiers("b", ()))
        await here.until(lambda: not here.packets()[-1].lower)
        both = [packet for packet in here.packets() if len(packet.lower) == 2]
        sizes = {rate: sum(len(dict(each.lower)[rate]) for each in both) for rate in (64_000, 32_000)}
        assert sum(len(each.data) for each in both) > 1.5 * sizes[64_000] > 2 * sizes[32_000]
        for rate in (64_000, 32_000):
            heard = settled(decode((packet.frame, dict(packet.lower)[rate]) for packet in both)[0])
            wanted = expected_sound({"s": song}, state, heard.frame, len(heard.sound))
            lag, likeness = lag_and_likeness(heard.sound, wanted)
            assert abs(lag) <= 1
            assert likeness > 0.8, "noise is the hardest to code"


async def test_packets_are_handed_on_when_their_time_has_come(song: Any) -> None:
    async with studio() as here:
        host, _up = await here.host()
        here.node.cast(host, Render("b", now(), one_deck(song, now()), (Samples("s", in_memory(song)),), here.owner))
        await here.until(lambda: len(here.packets()) >= 75)
        sounds = [(at, message.packet.frame) for at, message in here.seen if isinstance(message, Sound)]
        frames = [frame for _at, frame in sounds]
        assert frames == list(range(frames[0], frames[0] + PACKET * len(frames), PACKET))
        late = sorted(at - frame for at, frame in sounds[10:])
        assert late[0] >= 0  # never before its time
        assert late[len(late) // 2] < 24_000  # and as a rule soon after it


async def test_a_change_is_heard_at_its_frame(song: Any) -> None:
    async with studio() as here:
        host, _up = await here.host()
        pcm = in_memory(np.full((480_000, 2), 8_000, np.int16))
        silent = BattleState(a=DeckState().load(0, "s", 480_000), crossfader=Crossfader(-1.0))
        here.node.cast(host, Render("b", now(), silent, (Samples("s", pcm),), here.owner))
        await here.until(lambda: len(here.packets()) >= 10)
        at = soon() + 24_777
        playing = attrs.evolve(silent, a=silent.a.play(at))
        here.node.cast(host, Render("b", at, playing, (Samples("s", pcm),), here.owner))
        await here.until(lambda: here.packets()[-1].frame > at + 9_600)
        (heard,) = decode((packet.frame, packet.data) for packet in here.packets())
        rising = heard.frame + int(np.argmax(heard.sound[:, 0] > 0.12))  # half of 8,000 / 32,768
        assert abs(rising - (at + 48)) < 60  # the middle of a start of 2 ms, as a lossy codec renders it


async def test_kill_9_crashes_the_host_and_a_new_one_goes_on_where_the_timeline_is(song: Any) -> None:
    async with studio() as here:
        host, up = await here.host()
        state, samples = one_deck(song, now()), (Samples("s", in_memory(song)),)
        here.node.cast(host, Render("b", now(), state, samples, here.owner))
        await here.until(lambda: len(here.packets()) >= 25)
        monitor = here.me.monitor(host)
        os.kill(up.process, signal.SIGKILL)
        killed = now()
        down = await monitor.wait(30)
        assert down is not None
        assert isinstance(down.reason, Crash)
        assert "RenderFault" in down.reason.type
        assert "SIGKILL" in down.reason.message or "hung up" in down.reason.message
        again, up_again = await here.host()
        assert up_again.process != up.process
        before = len(here.packets())
        here.node.cast(again, Render("b", now(), state, samples, here.owner))
        await here.until(lambda: len(here.packets()) >= before + 40)
        assert here.packets()[before].frame - killed < 480_000
        heard = settled(decode((p.frame, p.data) for p in here.packets()[before:])[0])
        wanted = expected_sound({"s": song}, state, heard.frame, len(heard.sound))
        lag, likeness = lag_and_likeness(heard.sound, wanted)
        assert abs(lag) <= 1
        assert likeness > 0.97


async def test_a_process_that_hangs_is_noticed_and_killed(song: Any) -> None:
    async with studio() as here:
        host, up = await here.host()
        here.node.cast(host, Render("b", now(), one_deck(song, now()), (Samples("s", in_memory(song)),), here.owner))
        await here.until(lambda: len(here.packets()) >= 10)
        monitor = here.me.monitor(host)
        os.kill(up.process, signal.SIGSTOP)
        with trio.fail_after(30):
            down = await monitor.wait()
        assert down is not None
        assert "sent nothing for" in down.reason.message
        assert not Path(f"/proc/{up.process}").exists()


async def test_a_process_that_gets_no_processor_is_not_taken_for_one_that_hangs(song: Any) -> None:
    async with studio() as here:
        host, up = await here.host()
        here.node.cast(host, Render("b", now(), one_deck(song, now()), (Samples("s", in_memory(song)),), here.owner))
        await here.until(lambda: len(here.packets()) >= 10)
        monitor = here.me.monitor(host)
        core = min(os.sched_getaffinity(up.process))
        os.sched_setaffinity(up.process, {core})
        os.sched_setscheduler(up.process, os.SCHED_IDLE, os.sched_param(0))
        greedy = subprocess.Popen([sys.executable, "-c", "while True: pass"])  # noqa: ASYNC220
        try:
            os.sched_setaffinity(greedy.pid, {core})
            with trio.fail_after(30):
                while now() - here.packets()[-1].frame < 2 * STALL * SAMPLE_RATE:  # noqa: ASYNC110
                    await trio.sleep(0.02)
            os.sched_setscheduler(up.process, os.SCHED_OTHER, os.sched_param(0))
        finally:
            greedy.kill()
            greedy.wait()
        count = len(here.packets())
        await here.until(lambda: len(here.packets()) >= count + 20)
        with trio.move_on_after(0.1):
            await monitor.wait()
            raise AssertionError("the host has ended")


async def test_a_process_stopped_for_a_moment_catches_up(song: Any) -> None:
    async with studio() as here:
        host, up = await here.host()
        here.node.cast(host, Render("b", now(), one_deck(song, now()), (Samples("s", in_memory(song)),), here.owner))
        await here.until(lambda: len(here.packets()) >= 10)
        os.kill(up.process, signal.SIGSTOP)
        await trio.sleep(0.15)  # shorter than a stall, longer than it is ahead
        os.kill(up.process, signal.SIGCONT)
        count = len(here.packets())
        await here.until(lambda: len(here.packets()) >= count + 20)
        frames = [packet.frame for packet in here.packets()]
        assert frames == list(range(frames[0], frames[0] + PACKET * len(frames), PACKET))  # nothing is left out
        await here.until(lambda: now() - here.packets()[-1].frame < 4 * PACKET)  # and it catches up


async def test_two_battles_in_one_process_do_not_mix(song: Any) -> None:
    async with studio() as here:
        host, _up = await here.host()
        begin = now()
        states = {"x": one_deck(song, begin), "y": one_deck(song, begin, position=240_000.0)}
        pcm = in_memory(song)
        for battle, state in states.items():
            here.node.cast(host, Render(battle, now(), state, (Samples("s", pcm),), here.owner))
        await here.until(lambda: len(here.packets()) >= 100)
        for battle, state in states.items():
            heard = settled(decode((p.frame, p.data) for p in here.packets() if p.battle == battle)[0])
            lag, likeness = lag_and_likeness(
                heard.sound, expected_sound({"s": song}, state, heard.frame, len(heard.sound))
            )
            assert (abs(lag) <= 1, likeness > 0.97) == (True, True)
        here.node.cast(host, StopRendering("x"))
        await here.until(lambda: [p.battle for p in here.packets()[-8:]] == ["y"] * 8)


LIARS = {
    "speaks nonsense": "link.send(b'nonsense')",
    "speaks another version": "link.send(msgpack.packb(['ready', 9, 3840, 312]))",
    "ends at once": "sys.exit(3)",
    "raises": "raise OSError('my last words')",
    "sends a packet that is none": "link.send(msgpack.packb(['packet', 'b', -5, 0.0, 0.0, b'']))",
    "sends too much": "link.send(b'x' * 9000)",
}


@pytest.mark.parametrize(("liar", "words"), [
    ("speaks nonsense", "broke its protocol"),
    ("speaks another version", "speaks protocol 9"),
    ("ends at once", "exit status 3|hung up"),
    ("raises", "my last words"),
    ("sends a packet that is none", "broke its protocol"),
    ("sends too much", "broke its protocol"),
])  # fmt: skip
async def test_a_process_that_breaks_the_protocol_crashes_its_host_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, liar: str, words: str
) -> None:
    root = child._PACKAGE_ROOT
    (tmp_path / "wsactors").mkdir()
    (tmp_path / "liar.py").write_text(
        f"import socket, sys, msgpack\nlink = socket.socket(fileno=int(sys.argv[2]))\n{LIARS[liar]}\nlink.recv(9000)\n"
    )
    monkeypatch.setattr(child, "_PACKAGE_ROOT", f"{root}:{tmp_path}")
    monkeypatch.setattr("wsactors.dj.render_host.MODULE", "liar")
    async with studio() as here:
        pid, monitor = await spawn_monitored(here)
        down = await monitor.wait(30)
        assert down is not None
        assert down.pid == pid
        assert isinstance(down.reason, Crash)
        assert any(word in down.reason.message for word in words.split("|")), down.reason
        assert here.node.whereis("owner") == here.owner


async def spawn_monitored(here: Studio) -> tuple[Pid, Any]:
    pid = await here.node.spawn(RenderHost, "owner")
    return pid, here.me.monitor(pid)


async def test_stopping_the_host_leaves_no_process(song: Any) -> None:
    async with studio() as here:
        host, up = await here.host()
        monitor = here.me.monitor(host)
        here.node.exit(host, "shutdown")
        assert await monitor.wait(30) is not None
        assert not Path(f"/proc/{up.process}").exists()


async def test_nobody_else_can_reach_the_process_and_it_inherits_nothing(
    song: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its link is one end of a socket pair: no name to connect to, no port, no file; and our secrets are not its."""
    monkeypatch.setenv("PLANTED", "planted-secret")
    with tempfile.TemporaryFile() as ours:
        os.set_inheritable(ours.fileno(), True)
        async with studio() as here:
            host, up = await here.host()
            here.node.cast(
                host, Render("b", now(), one_deck(song, now()), (Samples("s", in_memory(song)),), here.owner)
            )
            await here.until(lambda: len(here.packets()) >= 10)
            process = Path(f"/proc/{up.process}")
            held = [str(each.readlink()) for each in (process / "fd").iterdir()]
            environment = (process / "environ").read_bytes()
            tables = {name: (process / "net" / name).read_text().splitlines()[1:] for name in INTERNET}
            named = [row.split() for row in (process / "net" / "unix").read_text().splitlines()[1:]]

    sockets = {each.removeprefix("socket:[").removesuffix("]") for each in held if each.startswith("socket:")}
    assert len(sockets) == 1
    assert not [row for rows in tables.values() for row in rows if row.split()[9] in sockets]
    assert not [row for row in named if row[6] in sockets and len(row) > 7]
    assert {each.partition(":")[0] for each in held} <= {"socket", "/memfd", "/dev/null", "anon_inode"}
    assert b"planted" not in environment.lower()
