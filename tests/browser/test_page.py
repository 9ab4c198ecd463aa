"""The page in real browsers: what is heard, what is shown, and what it does where a browser cannot decode by itself."""

from __future__ import annotations

import gc
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import numpy as np
import pytest
import trio

from tests.browser.driver import Page, open_chromium, open_firefox
from tests.browser.tap import DECODED_TAP, RATE, TAP, Recording, tap
from tests.browser.tones import ToneBattle, ToneSource, deck_song, is_cyclic, listen, order_of
from tests.gateway.harness import Gateway as BareGateway
from tests.gateway.harness import TestDirectory, TestSession, open_gateway, until
from wsactors.client.late import LateGate
from wsactors.dj.clock import now, soon
from wsactors.dj.song import Song, new_memory, seal
from wsactors.gateway import Address, Gateway
from wsactors.gateway.options import GatewayOptions, TlsOptions
from wsactors.gateway.tls import machine_addresses
from wsactors.sessions.directory import open_battle
from wsactors.sessions.messages import DeckTruth, GetState, GetStatus, LoadSong, MoveCrossfader, Status
from wsactors.sessions.options import BattleOptions
from wsactors.supervision import Node, load_tree
from wsactors.wire import native

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Sound = NDArray[np.float64]

pytestmark = pytest.mark.browser

SUPERVISORS = Path(__file__).parents[2] / "supervisors"
HOSTILE = "</script><img src=x onerror='window.__pwned=1'><b>&amp;\u202e"
CHANCES = 5
"""Recordings in which to find one without a jump."""
SETTLE = 3 * RATE
"""Samples after the first sound in which the buffer may still find its aim."""


class Stage(Protocol):
    """Where a `ToneBattle` is played."""

    url: str

    async def fade(self, seconds: float) -> None:
        """Move the crossfader from deck a to deck b."""

    async def gaps(self) -> int:
        """How often the sender itself has lost the thread."""


@attrs.define
class BattleStage:
    """A real battle: two decks, render process, session, gateway."""

    node: Node
    options: BattleOptions
    url: str = ""

    async def fade(self, seconds: float) -> None:
        await self.node.call(self.options.part("mixer"), MoveCrossfader(1.0, seconds))

    async def gaps(self) -> int:
        status: Status = await self.node.call(self.options.part("session"), GetStatus())
        return status.gaps


@asynccontextmanager
async def battle_stage(battle: ToneBattle, seconds: int) -> AsyncIterator[BattleStage]:
    """Boot the sessions from their files, put a song of tones on each deck, start both in the same moment."""
    options = BattleOptions("tones", title=f"Tones {HOSTILE}")
    songs = {side: deck_song(battle, side, seconds) for side in ("a", "b")}
    opened: list[Address] = []
    async with Node("browser") as node:
        await node.start_tree(load_tree(SUPERVISORS / "sessions.toml", ["wsactors"]))
        template = load_tree(SUPERVISORS / "battle.toml", ["wsactors"])
        by_hand = tuple(child for child in template.children if child.id != "autoplay")
        await open_battle(node, options, attrs.evolve(template, children=by_hand))
        await node.spawn(Gateway, GatewayOptions(port=0), kwargs={"on_open": opened.append})
        await node.call(options.part("mixer"), MoveCrossfader(-1.0))
        start = soon() + RATE
        for side, sound in songs.items():
            memory = new_memory("tones")
            os.write(memory, sound.tobytes())
            song = Song(f"tones-{side}", "tones", len(sound))
            load = LoadSong(song, seal(memory, len(sound)), play=True, at=start)
            await node.call(options.part(f"deck_{side}"), load)
        yield BattleStage(node, options, opened[0].urls[0])


def tone_session(source: ToneSource, gateway: BareGateway) -> TestSession:
    deck: native.Plain = {
        "deck": "a",
        "title": HOSTILE,
        "artist": "<i>A</i>",
        "position": 59.9,
        "duration": 60.0,
        "bpm": 120.5,
    }
    state = native.Event("tones", "state", {"decks": [deck, {"title": 7}, None], "crossfader": 0.5, "frame": 0})
    session = gateway.directory.add(TestSession("tones", title=f"Tones {HOSTILE}", events=[state]))
    gateway.nursery.start_soon(session.play, source.block)
    return session


def make_battle() -> ToneBattle:
    seed = random.randrange(2**32)
    print(f"tones of seed {seed}")
    return ToneBattle.make(seed)


async def check_sound(page: Page, battle: ToneBattle, stage: Stage, seconds: float, source: str = TAP) -> str:
    """Press the one button; hear deck a, move the crossfader, hear deck b, without a jump for ``seconds``.

    Why that could not be told, if it could not.
    """
    await tap(page, source)
    await page.goto(stage.url)
    await page.click("#sessions button")

    recording = Recording(page)
    await recording.more(SETTLE / RATE)
    settled = sum((await troubles(page, stage)).values())
    before = await recording.next(3.2)
    await stage.fade(1.5)
    during = await recording.next(3)
    after = await recording.next(3.2)
    shaken = sum((await troubles(page, stage)).values()) - settled
    await recording.more(max(0.0, seconds + SETTLE / RATE - recording.size / RATE))

    disturbed = await assert_continuous(page, stage, recording, seconds)
    assert page.complaints() == []
    try:
        assert_tones(battle, before, during, after)
    except AssertionError:
        if not shaken:
            raise
        return f"too busy a machine: {shaken} dropouts or lost frames while the tones were to be told"
    return disturbed


def assert_tones(battle: ToneBattle, before: Sound, during: Sound, after: Sound) -> None:
    """Each deck's own sequence on each channel, in order, while it is up; nothing of it while it is down."""
    for channel in (0, 1):
        deck_a, deck_b = battle.sequences["a", channel], battle.sequences["b", channel]
        assert is_cyclic(order_of(listen(before, "a", channel), deck_a))
        assert order_of(listen(before, "b", channel), deck_b) == []
        assert is_cyclic(order_of(listen(after, "b", channel), deck_b))
        assert order_of(listen(after, "a", channel), deck_a) == []
        assert_crossfade(listen(during, "a", channel).level, listen(during, "b", channel).level)


def assert_crossfade(falling: Sound, rising: Sound) -> None:
    """One deck goes while the other comes, and neither is gone before the other is there (equal power)."""
    assert falling[:5].mean() > 0.15 > 0.03 > falling[-5:].mean()
    assert rising[:5].mean() < 0.03 < 0.15 < rising[-5:].mean()
    assert np.quantile(np.hypot(falling, rising), 0.1) > 0.1


async def assert_continuous(page: Page, stage: Stage, recording: Recording, seconds: float) -> str:
    """``seconds`` without a jump of either pilot, in one of a few recordings.

    A busy machine starves the node or the browser, which both count it. A jump that nobody has counted is a fault; where every
    recording was disturbed and counted as such, this machine cannot tell: that is returned, else nothing.
    """
    counted, found = 0, []
    for _ in range(CHANCES):
        sound = recording.last(seconds)
        before, now_counted = counted, await troubles(page, stage)
        counted = sum(now_counted.values())
        jumps = await jumps_in(sound)
        if not any(jumps):
            return ""
        found.append((jumps, now_counted))
        print("jumps and known troubles:", found[-1])
        assert counted > before, f"jumps that nobody has counted: {found}"
        await recording.more(1 + seconds)
    return f"too busy a machine: no {seconds} s without a dropout in {CHANCES} recordings: {found}"


async def jumps_in(sound: Sound) -> list[list[float]]:
    """`phase_jumps` per channel. In a process of its own: analysing takes the interpreter, and the node plays in this one."""
    program = [sys.executable, "-m", "tests.browser.tones"]
    done = await trio.run_process(program, stdin=sound.astype("<f4").tobytes(), capture_stdout=True)
    found: list[list[float]] = json.loads(done.stdout)
    return found


async def until_loud(recording: Recording) -> None:
    """Wait for a second that is not silent: where the machine is busy, there are some that are."""
    with trio.fail_after(90):
        while np.sqrt((await recording.next(1) ** 2).mean()) <= 0.05:
            pass


async def troubles(page: Page, stage: Stage) -> dict[str, int]:
    """What can explain a jump: what the page counts, what the recorder skipped, gaps of the session."""
    names = ["underruns", "leaps", "late", "missing"]
    shown = f"{names}.map((what) => Number(document.getElementById(`health-${{what}}`).textContent))"
    counted: list[int] = await page.evaluate(f"[...{shown}, window.__tapLost]")
    return dict(zip([*names, "recorder"], counted, strict=True)) | {"session": await stage.gaps()}


async def assert_shows_what_is_played(page: Page, stage: BattleStage) -> None:
    """Both decks with the place they are at, the one that is faded out dimmed, the crossfader where it was moved."""
    shown = """[...document.querySelectorAll("#decks li")].map((deck) => [deck.querySelector(".letter").textContent,
        deck.querySelector(".song").textContent, deck.dataset.heard, deck.querySelector(".detail").textContent])"""
    rows: list[list[str]] = []
    with trio.fail_after(60):
        while not rows or not await is_at(
            stage, rows[0][3]
        ):  # what a busy machine plays, and so shows, is late for a while
            await trio.sleep(0.1)
            rows = await page.evaluate(shown)
    assert [row[:3] for row in rows] == [["A", "tones", "false"], ["B", "tones", "true"]]
    assert await page.evaluate("document.getElementById('fader').style.getPropertyValue('--at')") == "1"
    await page.wait_for(f"document.querySelector('#decks .detail').textContent !== {json.dumps(rows[0][3])}")


async def is_at(stage: BattleStage, detail: str) -> bool:
    """Whether deck a is, to two seconds, where it says that it is."""
    minutes, seconds = detail.partition(" /")[0].split(":")
    deck: DeckTruth = await stage.node.call(stage.options.part("deck_a"), GetState())
    return abs(int(minutes) * 60 + int(seconds) - deck.state.heard_at(now()) / RATE) < 2


async def assert_shown_as_text(page: Page) -> None:
    shown: dict[str, Any] = await page.evaluate(
        """({
          title: document.querySelector("#player-title").textContent,
          row: document.querySelector("#sessions .title").textContent,
          decks: [...document.querySelectorAll("#decks li")].map((deck) =>
            [".song", ".artist", ".detail"].map((part) => deck.querySelector(part).textContent)),
          elements: document.querySelectorAll("img, b, i, body script").length,
          pwned: window.__pwned ?? null,
        })"""
    )
    assert shown["title"] == shown["row"] == f"Tones {HOSTILE}"
    assert shown["decks"] == [
        [HOSTILE, "<i>A</i>", "0:59 / 1:00 · 120.5 bpm · stopped"],
        ["empty", "", ""],
        ["empty", "", ""],
    ]
    assert shown["elements"] == 0
    assert shown["pwned"] is None


def has_gaps(sound: Sound) -> bool:
    """Whether it is silent for 50 ms somewhere: the plain player counts no dropouts."""
    return bool((np.abs(sound[: len(sound) // 2_400 * 2_400]).reshape(-1, 2_400, 2).max(axis=(1, 2)) < 0.01).any())


@pytest.fixture
def small_heap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide what other tests have left from the collector, as a node run by the command line does (``node.gc_freeze``).

    And do not take a render process that a busy machine does not let run for a moment for one that hangs.
    """
    monkeypatch.setattr("wsactors.dj.render_host.STALL", 10.0)
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.alone
@pytest.mark.usefixtures("small_heap")
async def test_chromium_plays_both_decks_on_the_right_channels_for_thirty_seconds(tmp_path: Path) -> None:
    battle = make_battle()
    async with battle_stage(battle, 220) as stage, open_chromium(tmp_path) as page:
        disturbed = await check_sound(page, battle, stage, 30)
        await assert_shows_what_is_played(page, stage)
    if disturbed:
        pytest.skip(disturbed)


@pytest.mark.alone
@pytest.mark.usefixtures("small_heap")
async def test_firefox_plays_both_decks_on_the_right_channels(tmp_path: Path, sound_device: bool) -> None:
    """Without a sound device (``apt-get install pulseaudio`` makes one) what Firefox decodes is judged instead."""
    battle = make_battle()
    async with battle_stage(battle, 90) as stage, open_firefox(tmp_path) as page:
        disturbed = await check_sound(page, battle, stage, 6, TAP if sound_device else DECODED_TAP)
        shown = await page.evaluate("document.getElementById('player-state').textContent")
        assert ("sound device" in shown) is not sound_device
    if disturbed:
        pytest.skip(disturbed)


async def test_without_webcodecs_the_plain_player_plays_the_same(tmp_path: Path) -> None:
    battle = make_battle()
    async with open_gateway() as gateway, open_chromium(tmp_path) as page:
        tone_session(ToneSource(battle), gateway)
        await tap(page)
        await page.before_load("() => { delete window.AudioDecoder; }")
        await page.goto(gateway.url + "/")
        assert "WebCodecs" in await page.wait_for("document.getElementById('notice').textContent")
        await page.click("#sessions button")
        await page.wait_for("document.getElementById('plain').currentTime > 0")
        await page.evaluate(
            """(async () => {
              const context = new AudioContext({ sampleRate: 48000 });
              await context.audioWorklet.addModule("/js/test-recorder.js");
              context.createMediaElementSource(document.getElementById("plain")).connect(context.destination);
              return context.resume();
            })()"""
        )
        recording = Recording(page)
        orders: list[list[int]] = []
        for _ in range(2 * CHANCES):
            sound = (await recording.next(4))[RATE:]
            orders = [order_of(listen(sound, "a", side), battle.sequences["a", side]) for side in (0, 1)]
            if all(map(is_cyclic, orders)):
                break
            assert has_gaps(sound), orders
        else:
            pytest.skip(f"too busy a machine: the plain player stalls, {orders}")
        await page.click("#sessions button")
        await page.wait_for("document.getElementById('player').hidden")
        await until(lambda: not gateway.directory.by_name["tones"].members)


async def test_an_insecure_page_says_why_and_plays_all_the_same(tmp_path: Path) -> None:
    address = next((each for each in machine_addresses() if "." in each), None)
    if address is None:
        pytest.skip("this machine has no address but loopback, which browsers trust")
    options = GatewayOptions(host="0.0.0.0", port=0, allow_anonymous_public=True, tls=TlsOptions("off"))
    async with open_gateway(options) as gateway, open_chromium(tmp_path) as page:
        tone_session(ToneSource(ToneBattle.make(1)), gateway)
        await page.goto(f"http://{address}:{gateway.port}/")
        assert "https" in await page.wait_for("document.getElementById('notice').textContent")
        await page.click("#sessions button")
        await page.wait_for("document.getElementById('plain').currentTime > 0.3")
        assert page.complaints() == []


async def test_over_https_another_machine_decodes_by_itself(tmp_path: Path) -> None:
    """What ``make run HOST=0.0.0.0`` opens: a development certificate, which a person accepts once."""
    address = next((each for each in machine_addresses() if "." in each), None)
    if address is None:
        pytest.skip("this machine has no address but loopback")
    options = GatewayOptions(host="0.0.0.0", port=0, allow_anonymous_public=True)
    async with open_gateway(options) as gateway, open_chromium(tmp_path, "--ignore-certificate-errors") as page:
        tone_session(ToneSource(ToneBattle.make(1)), gateway)
        await tap(page)
        await page.goto(f"https://{address}:{gateway.port}/")
        await page.click("#sessions button")
        await until_loud(Recording(page))
        assert await page.evaluate("document.getElementById('notice').hidden")


async def test_a_connection_that_breaks_is_made_again_and_heard_again(tmp_path: Path) -> None:
    async with open_gateway() as gateway, open_chromium(tmp_path) as page:
        session = tone_session(ToneSource(ToneBattle.make(1)), gateway)
        await tap(page)
        await page.goto(gateway.url + "/")
        await page.click("#sessions button")
        recording = Recording(page)
        await recording.more(1)
        sinks: tuple[Any, ...] = tuple(gateway.shared.meters.connections)
        for sink in sinks:
            sink.close()
        await until(lambda: not session.members)
        await until(lambda: len(session.members) == 1)
        await page.wait_for("document.getElementById('player-state').textContent === 'on air'")
        await recording.more(1)  # what was still on its way
        await until_loud(recording)


@pytest.mark.parametrize("how", ["webcodecs", "plain player"])
async def test_a_session_that_goes_and_comes_back_is_joined_again(tmp_path: Path, how: str) -> None:
    async with open_gateway() as gateway, open_chromium(tmp_path) as page:
        session = tone_session(ToneSource(ToneBattle.make(1)), gateway)
        if how == "plain player":
            await page.before_load("() => { delete window.AudioDecoder; }")
        await page.goto(gateway.url + "/")
        await page.click("#sessions button")
        await page.wait_for("document.getElementById('player-state').textContent.startsWith('on air')")
        del gateway.directory.by_name["tones"]
        session.end("the session ended")
        await page.wait_for("document.getElementById('player-state').textContent.includes('comes back')")
        await page.wait_for("!document.getElementById('nothing').hidden")
        gateway.directory.add(session)
        await until(lambda: len(session.members) == 1)
        await page.wait_for("document.getElementById('player-state').textContent.startsWith('on air')")
        assert await page.evaluate("document.querySelector('#sessions button').textContent") == "Leave"


async def test_a_node_that_is_gone_is_explained_and_found_again(tmp_path: Path) -> None:
    async with open_chromium(tmp_path) as page:
        async with open_gateway() as gateway:
            tone_session(ToneSource(ToneBattle.make(1)), gateway)
            await page.goto(gateway.url + "/")
            await page.click("#sessions button")
            await page.wait_for("document.getElementById('player-state').textContent === 'on air'")
        await page.wait_for("document.getElementById('notice').textContent.includes('does not answer')")
        async with open_gateway(GatewayOptions(port=gateway.port)) as again:
            await page.wait_for("document.getElementById('player-state').textContent.includes('waiting')")
            assert await page.evaluate("document.getElementById('notice').hidden")
            session = tone_session(ToneSource(ToneBattle.make(1)), again)
            await until(lambda: len(session.members) == 1)
            await page.wait_for("document.getElementById('player-state').textContent === 'on air'")


@pytest.mark.parametrize("browser", [open_chromium, open_firefox])
async def test_hostile_names_are_shown_as_the_text_they_are(tmp_path: Path, browser: Any) -> None:
    async with open_gateway() as gateway, browser(tmp_path) as page:
        tone_session(ToneSource(ToneBattle.make(1)), gateway)
        await page.goto(gateway.url + "/")
        await page.click("#sessions button")
        await page.wait_for("!document.getElementById('decks').hidden")
        await assert_shown_as_text(page)
        assert page.complaints() == []


async def test_the_page_takes_no_script_but_its_own_and_its_codecs_agree_with_ours(tmp_path: Path) -> None:
    directory = TestDirectory()
    async with open_gateway(directory=directory) as gateway, open_chromium(tmp_path) as page:
        await page.goto(gateway.url + "/")
        await page.wait_for("document.getElementById('connection').dataset.state === 'online'")
        assert await page.wait_for("!document.getElementById('nothing').hidden")
        await assert_late_gates_agree(page)
        await assert_codecs_agree(page)
        assert page.complaints() == []
        await page.evaluate(
            """(() => {
              try {
                const script = document.createElement("script");
                script.textContent = "window.__inline = 1";
                document.head.append(script);
              } catch { return; }
            })()"""
        )
        assert await page.evaluate("window.__inline ?? null") is None


async def assert_late_gates_agree(page: Page) -> None:
    chance = random.Random(5)
    now = 0.0
    arrivals: list[tuple[int, float]] = []
    for number in range(600):
        now = max(now, number * 0.02 + chance.choice([0, 0, 0, 0.01, 0.1, 0.6, 2.0 if 200 < number < 230 else 0]))
        arrivals.append((number * 960, now))
    gate = LateGate(rate=RATE)
    ours = [gate.accept(timestamp, now=now) for timestamp, now in arrivals]
    theirs = await page.evaluate(
        f"""(async () => {{
          const {{ LateGate }} = await import("/js/late.js");
          const gate = new LateGate({RATE});
          return {json.dumps(arrivals)}.map(([timestamp, now]) => gate.lateness(timestamp, now) !== null);
        }})()"""
    )
    assert theirs == ours
    assert False in ours


async def assert_codecs_agree(page: Page) -> None:
    event = native.Event(
        "s", "x", {"a": [1, -1, 300, 70_000, 2**40, -(2**40), 0.5, None, True, "é" * 40], "b": {"c": ""}}
    )
    data = list(native.encode(event))
    payload = await page.evaluate(
        f"""(async () => {{
          const {{ decode }} = await import("/js/msgpack.js");
          return decode(new Uint8Array({data}).buffer).payload;
        }})()"""
    )
    assert payload == event.payload
    join = await page.evaluate(
        """(async () => {
          const { encode } = await import("/js/msgpack.js");
          return [...encode({ t: "join", session: "ü".repeat(60) })];
        })()"""
    )
    assert native.decode_client(bytes(join)) == native.Join("ü" * 60)
    refused = await page.evaluate(
        """(async () => {
          const { decode } = await import("/js/msgpack.js");
          const hostile = [[0xdf, 0xff, 0xff, 0xff, 0xff], Array(50).fill(0x91), [0xa5, 0x61], [0xc1], [0x01, 0x02], []];
          return hostile.map((bytes) => {
            try { decode(new Uint8Array(bytes).buffer); return false; } catch (error) { return error instanceof Error; }
          });
        })()"""
    )
    assert refused == [True] * 6
