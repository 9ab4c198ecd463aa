"""A demo battle from its supervisor file: heard, commanded, killed in every part, and heard again."""

from __future__ import annotations

import io
import os
import random
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import trio

pytest.importorskip("av")


from tests.dj.listening import decode, expected_sound, lag_and_likeness, settled
from wsactors.actors import Pid
from wsactors.dj.clock import now, soon
from wsactors.dj.state import BattleState
from wsactors.dj.timeline import PACKET
from wsactors.errors import NoSuchSession
from wsactors.realtime.send_queue import AUDIO
from wsactors.sessions.messages import MoveCrossfader, Pause, Play, Refused, Seek, SetGain, SetMaster, SetRate
from wsactors.sessions.options import BattleOptions
from wsactors.wire.native import QUIETEST, decode_audio
from wsactors.wire.ogg import OggOpusStream

from .conftest import Ear, House

SECOND = 48_000
MOMENT = 10.0
"""Seconds in which whatever has died must be heard again: by itself a machine takes half a second, a busy one many times that."""


async def truth(house: House, battle: BattleOptions) -> BattleState:
    a, b, mixer = await house.deck(battle, "a"), await house.deck(battle, "b"), await house.mixer(battle)
    return BattleState(a.state, b.state, mixer.crossfader, mixer.master)


async def playing(house: House, name: str = "demo", **options: Any) -> tuple[BattleOptions, Ear]:
    """A battle that is heard."""
    battle = await house.open(name, **options)
    ear, _membership = await house.listen(name)
    await ear.until(lambda: any(arrival.frame.level < 40 for arrival in ear.arrivals))
    return battle, ear


def sounds_right(ear: Ear, begin: int, state: BattleState, loops: dict[str, Any]) -> None:
    """From arrival `begin` on, what is heard is what the truth says, at the frame it says."""
    heard = settled(decode(ear.packets(begin))[0])
    lag, likeness = lag_and_likeness(heard.sound, expected_sound(loops, state, heard.frame, len(heard.sound)))
    assert abs(lag) <= 2, f"{lag} frames late"
    assert likeness > 0.9


async def test_a_fresh_machine_plays_both_loops_in_phase_at_the_right_place(
    house: House, loops: dict[str, Any]
) -> None:
    battle, ear = await playing(house, fade_seconds=2.0)
    begin = len(ear.arrivals)
    await ear.hear(80)
    state = await truth(house, battle)
    assert state.a.frame == state.b.frame
    assert state.a.playing
    assert state.b.playing
    sounds_right(ear, begin, state, loops)
    assert ear.jumps() == 0
    assert {key for _at, key, _event in ear.told} == {("state", "demo")}


async def test_native_sound_equals_the_reference_decode_of_what_was_sent(house: House) -> None:
    """Somebody else's demuxer and decoder (FFmpeg's libopus), fed with the same packets, hear the same samples."""
    import av

    _battle, ear = await playing(house)
    frames = [arrival.frame for arrival in await ear.hear(60)]
    stream = OggOpusStream(serial=1)
    pages = [stream.page([f.payload], sequence=f.sequence + 2, granule=f.timestamp + PACKET) for f in frames]
    with av.open(io.BytesIO(stream.headers() + b"".join(pages)), "r", format="ogg") as container:
        reference = av.CodecContext.create("libopus", "r")
        reference.extradata = container.streams.audio[0].codec_context.extradata
        blocks = []
        for packet in container.demux(audio=0):
            blocks += [block.to_ndarray() for block in reference.decode(packet)]
    theirs = np.concatenate(blocks, axis=1).reshape(-1, 2).astype(np.float64) / 32_768
    (ours,) = decode((f.timestamp, f.payload) for f in frames)
    skipped = len(ours.sound) - len(theirs)
    assert skipped in {0, 312}  # the pre-skip, where the demuxer applies it
    assert np.abs(ours.sound[skipped:] - theirs).max() < 2e-4  # FFmpeg's wrapper rounds to 16 bits


async def test_frames_are_numbered_by_the_timeline_and_carry_their_level(house: House) -> None:
    battle, ear = await playing(house)
    frames = [arrival.frame for arrival in await ear.hear(50)]
    for one, two in pairwise(frames):
        assert two.timestamp - one.timestamp == PACKET
        assert two.sequence - one.sequence == 1
    assert {frame.track for frame in frames} == {battle.track}
    assert all(frame.timestamp == frame.sequence * PACKET for frame in frames)
    assert all(8 <= frame.level <= 40 for frame in frames)


async def test_two_listeners_get_the_very_same_bytes(house: House) -> None:
    _battle, ear = await playing(house)
    other, _membership = await house.listen("demo")
    await other.hear(10)
    known = {arrival.frame.sequence: arrival.data for arrival in ear.arrivals}
    assert all(known[arrival.frame.sequence] is arrival.data for arrival in other.arrivals)


async def test_a_late_joiner_may_have_a_running_start(house: House) -> None:
    _battle, ear = await playing(house)
    await ear.hear(60)
    before = ear.arrivals[-1].frame.timestamp
    late, _membership = await house.listen("demo", history=50)
    await late.until(lambda: len(late.arrivals) >= 50)
    frames = [arrival.frame.timestamp for arrival in late.arrivals]
    assert frames == list(range(frames[0], frames[0] + PACKET * len(frames), PACKET))
    assert frames[0] < before - 40 * PACKET
    before = ear.arrivals[-1].frame.timestamp
    plain, _membership = await house.listen("demo")
    await plain.hear(3)
    assert plain.arrivals[0].frame.timestamp > before


async def test_commands_are_heard(house: House, loops: dict[str, Any]) -> None:
    battle, ear = await playing(house)
    node = house.node
    moved = await node.call(battle.part("mixer"), MoveCrossfader(-1.0))
    assert moved.crossfader.position == -1.0
    await node.call(battle.part("deck_a"), Seek(5.0))
    await node.call(battle.part("deck_a"), SetRate(1.05))
    await node.call(battle.part("deck_a"), SetGain(0.7))
    at = soon() + PACKET
    await ear.until(lambda: ear.arrivals[-1].frame.timestamp > at)
    begin = len(ear.arrivals)
    await ear.hear(60)
    sounds_right(ear, begin, await truth(house, battle), loops)

    paused = await node.call(battle.part("deck_a"), Pause())
    await ear.until(lambda: ear.arrivals[-1].frame.timestamp > paused.state.frame + 4 * PACKET)
    await ear.until(lambda: ear.arrivals[-1].frame.level > 100)
    again = await node.call(battle.part("deck_a"), Play())
    assert again.state.position == paused.state.position
    await ear.until(lambda: ear.arrivals[-1].frame.level < 40)
    assert ear.jumps() == 0


async def test_a_command_for_later_is_carried_out_then(house: House) -> None:
    battle, ear = await playing(house)
    at = soon() + SECOND
    await house.node.call(battle.part("mixer"), SetMaster(0.0, at=at))
    await ear.until(lambda: ear.arrivals[-1].frame.timestamp > at + 6 * PACKET)
    levels = {arrival.frame.timestamp: arrival.frame.level for arrival in ear.arrivals}
    before = [level for frame, level in levels.items() if at - 10 * PACKET < frame < at - 2 * PACKET]
    after = [level for frame, level in levels.items() if frame > at + 2 * PACKET]
    assert max(before) < 40
    assert set(after) == {QUIETEST}


@pytest.mark.parametrize(
    ("part", "command"),
    [
        ("deck_a", Seek(1e6)),
        ("deck_a", Seek(float("nan"))),
        ("deck_b", SetRate(9.0)),
        ("deck_b", SetGain(-1.0)),
        ("mixer", MoveCrossfader(3.0)),
        ("mixer", SetMaster(float("inf"))),
        ("mixer", MoveCrossfader(0.0, at=1 << 50)),
    ],
)
async def test_impossible_commands_are_refused_and_change_nothing(house: House, part: str, command: Any) -> None:
    battle = await house.open("demo")
    before = await truth(house, battle)
    answer = await house.node.call(battle.part(part), command)
    assert isinstance(answer, Refused)
    assert answer.text
    if before.a.playing:
        assert await truth(house, battle) == before


# -- death ------------------------------------------------------------------------------------------------------------


async def two_battles(house: House) -> tuple[BattleOptions, Ear, Ear]:
    battle, ear = await playing(house, "one")
    _other, other = await playing(house, "two")
    return battle, ear, other


async def test_kill_9_of_the_render_process_is_heard_for_a_moment_and_by_nobody_else(
    house: House, loops: dict[str, Any]
) -> None:
    battle, ear, other = await two_battles(house)
    await ear.hear(20)
    status = await house.status(battle)
    assert status.render_process is not None
    begin, begun = len(ear.arrivals), len(other.arrivals)
    killed = ear.arrivals[-1].seconds
    os.kill(status.render_process, signal.SIGKILL)
    await ear.until(lambda: len(ear.arrivals) > begin and ear.jumps() == 1)
    back = next(arrival for arrival in ear.arrivals[begin:] if arrival.frame.flags)
    assert back.seconds - killed < MOMENT
    await ear.hear(45)
    first = ear.arrivals.index(back)
    sounds_right(ear, first, await truth(house, battle), loops)
    assert all(arrival.frame.level < 60 for arrival in ear.arrivals[first + 2 :])
    assert (await house.status(battle)).render_process != status.render_process
    assert other.jumps() == 0
    assert len(other.arrivals) - begun > 40


async def test_kill_of_the_session_actor_is_heard_for_a_moment_and_by_nobody_else(
    house: House, loops: dict[str, Any]
) -> None:
    battle, ear, other = await two_battles(house)
    second, _membership = await house.listen("one")
    await second.hear(20)
    session = house.node.whereis(battle.part("session"))
    status = await house.status(battle)
    begin, begun = len(ear.arrivals), len(other.arrivals)
    killed = ear.arrivals[-1].seconds
    assert house.node.exit(battle.part("session"), "kill")
    await ear.hear(60)
    assert ear.arrivals[begin].seconds - killed < MOMENT
    successor = house.node.whereis(battle.part("session"))
    assert isinstance(successor, Pid)
    assert successor != session
    await second.hear(5)
    assert second.longest_gap() < MOMENT
    sounds_right(ear, begin + 5, await truth(house, battle), loops)
    after = await house.status(battle)
    assert after.listeners == 2
    assert after.render_process == status.render_process  # nothing else was disturbed
    assert other.jumps() == 0
    assert len(other.arrivals) - begun > 40


@pytest.mark.parametrize("part", ["deck_a", "deck_b", "mixer"])
async def test_a_killed_part_gets_its_truth_back_and_is_not_missed(
    house: House, part: str, loops: dict[str, Any]
) -> None:
    battle, ear = await playing(house)
    await house.node.call(battle.part("deck_b"), SetGain(0.5))
    before = await truth(house, battle)
    monitor = house.visitor.monitor(battle.part(part))
    house.node.exit(battle.part(part), "kill")
    assert await monitor.wait(30) is not None
    begin = len(ear.arrivals)
    await ear.hear(40)
    assert await truth(house, battle) == before
    assert ear.jumps() == 0
    sounds_right(ear, begin, before, loops)
    answer = await house.node.call(battle.part("deck_b"), SetGain(0.6))
    assert answer.state == attrs.evolve(before.b, gain=0.6)


async def test_autoplay_killed_goes_on_without_starting_over(house: House) -> None:
    battle, ear = await playing(house)
    before = await truth(house, battle)
    monitor = house.visitor.monitor(battle.part("autoplay"))
    house.node.exit(battle.part("autoplay"), "kill")
    await monitor.wait(30)
    await ear.hear(30)
    assert await truth(house, battle) == before
    assert house.node.whereis(battle.part("autoplay")) is not None


async def test_whoever_is_killed_in_whatever_order_the_battle_is_heard_again_and_nothing_is_left_behind(
    house: House, loops: dict[str, Any]
) -> None:
    battle, ear = await playing(house)
    before = await truth(house, battle)
    rng = random.Random(11)
    for part in [rng.choice(("deck_a", "deck_b", "mixer", "session", "render", "autoplay")) for _ in range(12)]:
        monitor = house.visitor.monitor(battle.part(part))
        house.node.exit(battle.part(part), "kill")
        await monitor.wait(30)
        if rng.random() < 0.5:
            await ear.hear(3)  # sometimes the next blow falls before the last is mended
    begin = len(ear.arrivals)
    await ear.hear(80)
    assert await truth(house, battle) == before
    while len(decode(ear.packets(begin))[-1].sound) < 60 * PACKET:  # the last blow may be mended only now
        await ear.hear(20)
    heard = settled(decode(ear.packets(begin))[-1])
    lag, likeness = lag_and_likeness(heard.sound, expected_sound(loops, before, heard.frame, len(heard.sound)))
    assert abs(lag) <= 2
    assert likeness > 0.9
    assert len(render_processes()) == 1


def render_processes() -> list[int]:
    found = []
    for task in Path("/proc/self/task").iterdir():
        for pid in (task / "children").read_text().split():
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"patient_render" in command:
                found.append(int(pid))
    return found


class Counting:
    """A sink that costs nothing and notes how often the rest of the node has run when each frame came."""

    def __init__(self, ticks: list[int]) -> None:
        self.ticks = ticks
        self.seen: dict[int, int] = {}

    def offer(self, data: bytes, key: object = None) -> bool:
        if key == AUDIO:
            self.seen[int.from_bytes(data[6:10], "big")] = self.ticks[0]
        return True


async def test_five_hundred_listeners_get_every_frame_and_leave_the_node_free(house: House) -> None:
    battle, ear = await playing(house)
    ticks = [0]
    sinks = [Counting(ticks) for _ in range(500)]
    for sink in sinks:
        await house.directory.join("demo", sink, house.visitor.pid)

    async def tick() -> None:
        while True:
            ticks[0] += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        await ear.until(lambda: all(len(sink.seen) >= 20 for sink in sinks))
        nursery.cancel_scope.cancel()
    assert (await house.status(battle)).listeners == 501
    common = sorted(set.intersection(*(set(sink.seen) for sink in sinks)))[2:-2]
    sent = [arrival.frame.sequence for arrival in ear.arrivals]  # a busy machine's session may leave some out, for all
    assert common == [sequence for sequence in sent if common[0] <= sequence <= common[-1]]  # everybody got every frame
    assert len(common) >= 10
    for sequence in common:  # and in between, the node did other things (Trio shuffles, so two steps may go unseen)
        seen = {sink.seen[sequence] for sink in sinks}
        assert len(seen) >= 2 or not 0 < max(seen) < ticks[0]  # before the first tick and after the last there is none


# -- coming and going -------------------------------------------------------------------------------------------------


async def test_after_leaving_nothing_more_is_offered(house: House) -> None:
    battle, ear = await playing(house)
    leaver, membership = await house.listen("demo")
    await leaver.hear(3)
    membership.leave()
    count = len(leaver.arrivals)
    assert await membership.wait_ended() == "left"
    await ear.hear(5)
    assert len(leaver.arrivals) == count
    assert (await house.status(battle)).listeners == 1
    membership.leave()


async def test_a_listener_ends_with_its_owner(house: House) -> None:
    battle, ear = await playing(house)
    async with house.node.attach() as owner:
        mine = Ear()
        membership = await house.directory.join("demo", mine, owner.pid)
        await mine.hear(3)
    assert await membership.wait_ended() == "left"
    await ear.hear(3)
    assert (await house.status(battle)).listeners == 1


async def test_a_killed_listener_ends_its_membership(house: House) -> None:
    _battle, ear = await playing(house)
    mine, membership = await house.listen("demo")
    await mine.hear(3)
    house.node.exit(membership.listener, "kill")
    assert await membership.wait_ended() == "the session ended"
    await ear.hear(3)


async def test_closing_a_battle_ends_its_listeners_and_processes(house: House) -> None:
    from wsactors.sessions.directory import close_battle, open_battle
    from wsactors.supervision import load_tree

    from .conftest import SUPERVISORS

    template = load_tree(SUPERVISORS / "battle.toml", ["wsactors"])
    pid = await open_battle(house.node, BattleOptions("short"), template)
    ear, membership = await house.listen("short")
    await ear.hear(3)
    with pytest.raises(ValueError, match="already a session"):
        await open_battle(house.node, BattleOptions("short"), template)
    assert [info.name for info in await house.directory.sessions()] == ["short"]
    process = (await house.status(BattleOptions("short"))).render_process
    await close_battle(house.node, pid)
    assert await membership.wait_ended() == "the session ended"
    assert not await house.directory.sessions()
    assert not Path(f"/proc/{process}").exists()
    assert not [
        name for name in ("session", "deck_a", "render") if house.node.whereis(BattleOptions("short").part(name))
    ]
    with pytest.raises(NoSuchSession):
        await house.listen("short")


async def test_the_list_says_what_there_is(house: House) -> None:
    await house.open("b", title="<b>Zwei\x1b")
    await house.open("a")
    _ear, _membership = await house.listen("a")
    rows = [(info.name, info.title, info.kind, info.listeners) for info in await house.directory.sessions()]
    assert rows == [("a", "a", "battle", 1), ("b", "<b>Zwei\x1b", "battle", 0)]


@pytest.mark.parametrize("name", ["", "a b", "../x", "x" * 65, "a/b", "-", "ä", "a\n"])
def test_names_of_sessions_are_plain(name: str) -> None:
    with pytest.raises(ValueError, match="name has"):
        BattleOptions(name)


async def test_a_battle_stands_still_while_nobody_has_time(house: House) -> None:
    """Packets that nobody could hand on in time are skipped, not played late."""
    _battle, ear = await playing(house)
    await ear.hear(10)
    delays = sorted(arrival.at - arrival.frame.timestamp for arrival in ear.arrivals[5:])
    assert delays[0] >= 0
    assert np.median(delays) < SECOND
    assert decode_audio(ear.arrivals[-1].data).timestamp <= now()
