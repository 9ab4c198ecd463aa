"""The stage page in real browsers: speaking, hearing, roles, and what carries the sound."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import socket
import wave
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import trio

from tests.browser.driver import ChromiumPage, Page, open_chromium
from tests.browser.tap import RATE, Recording, tap
from tests.browser.tones import ToneBattle, deck_song, is_cyclic, listen, order_of
from tests.gateway.harness import until
from tests.sessions.stages import Guest
from wsactors.actors import Pid
from wsactors.dj.clock import soon
from wsactors.dj.song import Song, new_memory, seal
from wsactors.gateway import Address, Gateway
from wsactors.gateway.dev_certificate import DevelopmentCertificates
from wsactors.gateway.options import GatewayOptions
from wsactors.gateway.quic_server import QuicOptions, QuicServer
from wsactors.gateway.webtransport_pages import Offer, offer
from wsactors.realtime.identity import ANONYMOUS, Credentials, User
from wsactors.realtime.options import RealtimeOptions, TopicOptions
from wsactors.realtime.start import start_realtime
from wsactors.sessions.directory import SessionDirectory, open_battle, open_stage
from wsactors.sessions.member import StageMembership
from wsactors.sessions.messages import LoadSong, MoveCrossfader
from wsactors.sessions.options import BattleOptions
from wsactors.sessions.stage_options import BoardOptions, StageOptions
from wsactors.supervision import Node, load_tree

pytestmark = pytest.mark.browser

SUPERVISORS = Path(__file__).parents[2] / "supervisors"
HOSTILE = "<img src=x onerror='window.__pwned=1'>"
FAKE_DEVICES = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
TOKEN = "() => sessionStorage.setItem('wsactors-token', %s)"


class Names:
    """An authenticator: a token is a role and a name."""

    async def authenticate(self, credentials: Credentials, /) -> User:
        role, _, name = credentials.token.partition(":")
        return User(name, role, {"name": name}) if name else ANONYMOUS


@attrs.define
class Hall:
    """A node with one stage, its page and, if wanted, QUIC."""

    node: Node
    owner: Pid
    url: str
    page: Address
    quic_port: int = 0
    hashes: Any = tuple

    @property
    def stage(self) -> str:
        return f"{self.url}stage#session=talk"

    async def open_quic(self) -> None:
        opened: list[Offer] = []
        certificates = DevelopmentCertificates(["localhost", "127.0.0.1"])
        arguments = (QuicOptions(), certificates, lambda: self.page, opened.append)
        await self.node.spawn(QuicServer, *arguments, name="quic")
        self.quic_port, self.hashes = opened[0].port, opened[0].hashes

    async def close_quic(self) -> None:
        self.node.exit("quic", "kill")
        await until(lambda: self.node.whereis("quic") is None)

    async def come(self, name: str, role: str = "authenticated") -> Guest:
        """Somebody in this process, who hears and is told everything."""
        guest = Guest()
        user = User(name, role, {"name": name})
        member = await SessionDirectory(self.node).join("talk", guest, self.owner, user=user)
        assert isinstance(member, StageMembership)
        guest.member = member
        await guest.until(lambda: guest.you)
        return guest


@asynccontextmanager
async def open_hall(*, quic: bool = False, **options: Any) -> AsyncIterator[Hall]:
    opened: list[Address] = []
    async with Node("hall") as node:
        await node.start_tree(load_tree(SUPERVISORS / "sessions.toml", ["wsactors"]))
        topics = RealtimeOptions(topics=(TopicOptions("room:*"),))
        await start_realtime(node, topics, authenticator=Names(), allowed_packages=("wsactors",))
        stage = StageOptions("talk", title=f"Talk {HOSTILE}", **options)
        await open_stage(node, stage, load_tree(SUPERVISORS / "stage.toml", ["wsactors"]))
        await node.spawn(Gateway, GatewayOptions(port=0), kwargs={"on_open": opened.append})
        async with node.attach() as owner:
            hall = Hall(node, owner.pid, opened[0].urls[0], opened[0])
            if quic:
                await hall.open_quic()
            yield hall


def tone_file(path: Path, battle: ToneBattle, seconds: int) -> Path:
    """What is said into the microphone: the tones of deck a, left channel."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(deck_song(battle, "a", seconds)[:, 0].astype("<i2").tobytes())
    return path


async def play_tones(hall: Hall, battle: ToneBattle) -> None:
    """A battle whose deck a plays the tones."""
    options = BattleOptions("tones")
    template = load_tree(SUPERVISORS / "battle.toml", ["wsactors"])
    by_hand = tuple(child for child in template.children if child.id != "autoplay")
    await open_battle(hall.node, options, attrs.evolve(template, children=by_hand))
    await hall.node.call(options.part("mixer"), MoveCrossfader(-1.0))
    sound = deck_song(battle, "a", 90)
    memory = new_memory("tones")
    os.write(memory, sound.tobytes())
    load = LoadSong(Song("tones-a", "tones", len(sound)), seal(memory, len(sound)), play=True, at=soon() + RATE)
    await hall.node.call(options.part("deck_a"), load)


async def join(page: Page, hall: Hall, *, token: str = "") -> None:
    if token:
        await page.before_load(TOKEN % json.dumps(token))
    await page.goto(hall.stage)
    await page.click("#sessions button")
    await page.wait_for("document.getElementById('me-name').textContent !== ''")


async def press(page: Page, selector: str) -> None:
    """As a click, wherever it is: news from the node move what is below them."""
    await page.evaluate(f"document.querySelector({json.dumps(selector)}).click()")


async def text(page: Page, selector: str) -> str:
    found: str = await page.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")
    return found


async def switch_off_processing(page: Page) -> None:
    """Tones are what noise suppression takes for noise."""
    await page.evaluate(
        """(() => {
          for (const id of ["noise", "echo", "gain"]) document.getElementById(id).checked = false;
        })()"""
    )


async def key(page: ChromiumPage, kind: str) -> None:
    await page._do("Input.dispatchKeyEvent", type=kind, key=" ", code="Space", windowsVirtualKeyCode=32)


@pytest.mark.alone
async def test_one_page_speaks_and_another_hears_it_by_webtransport(tmp_path: Path) -> None:
    battle = ToneBattle.make(11)
    file = tone_file(tmp_path / "said.wav", battle, 60)
    async with (
        open_hall(quic=True) as hall,
        open_chromium(tmp_path / "a", *FAKE_DEVICES, f"--use-file-for-fake-audio-capture={file}") as speaker,
        open_chromium(tmp_path / "b") as listener,
    ):
        await join(speaker, hall, token="moderator:ann")
        await tap(listener)
        await join(listener, hall)
        await switch_off_processing(speaker)
        await speaker.click("#mute")
        recording = Recording(listener)
        heard = (await recording.next(6.5))[RATE:]
        sequence = battle.sequences["a", 0]
        found = order_of(listen(heard, "a", 0), sequence)
        shown = [
            await page.wait_for("document.getElementById('health-transport').textContent.replace('–', '')")
            for page in (speaker, listener)
        ]
        assert shown == ["WebTransport", "WebTransport"]
        runs = [run for run in range(len(found) - 5) if is_cyclic(found[run : run + 6])]
        assert runs, f"heard {found}"
        await listener.wait_for("document.querySelector('#speakers [data-speaking=true] .name')?.textContent === 'ann'")
        assert await listener.wait_for("document.getElementById('health-latency').textContent !== '–'")
        assert speaker.complaints() == listener.complaints() == []


CLIENT = """(async () => {
  const { Client } = await import("/js/client.js");
  const url = new URL("/ws", location.href.replace(/^http/, "ws")).href;
  const seen = [];
  let frames = 0;
  const on = { state: (word) => word === "online" && seen.push(client.transport), audio: () => { frames += 1; } };
  const retry = { first: 0.02, longest: 0.2, attempts: null };
  const transports = { patience: 1, retry: { first: 0.3, longest: 0.3 } };
  const client = new Client(url, on, { retry, transports });
  window.test = { client, seen, get frames() { return frames; } };
  await client.join("talk");
  return client.transport;
})()"""


async def test_where_udp_is_blocked_a_websocket_does_and_webtransport_comes_back(tmp_path: Path) -> None:
    """A port that takes packets and never answers is what a network that blocks UDP looks like."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        async with open_hall() as hall, open_chromium(tmp_path) as page:
            ann = await hall.come("ann", "moderator")
            offer(hall.node, Offer("127.0.0.1", silent.getsockname()[1], tuple))
            await page.goto(hall.url + "stage")
            assert await page.evaluate(CLIENT) == "websocket"
            assert "UDP" in await page.evaluate("test.client.transports.why")
            ann.say(20)
            await page.wait_for("test.frames > 5")
            me = await page.evaluate("test.client.core.welcome.resume !== ''")
            assert me

            await hall.open_quic()
            await page.wait_for("test.seen.at(-1) === 'webtransport'")
            await page.wait_for("test.client.core.sessions.get('talk').phase === 'joined'")
            before = await page.evaluate("test.frames")
            while await page.evaluate("test.frames") < before + 5:
                ann.say(5)
                await trio.sleep(0.02)  # a speaker's pace

            await hall.close_quic()
            offer(hall.node, Offer("127.0.0.1", silent.getsockname()[1], tuple))
            await page.wait_for("test.seen.at(-1) === 'websocket'", 60)
            await page.wait_for("test.client.core.sessions.get('talk').phase === 'joined'")
            assert await page.evaluate("test.client.act('talk', 'hand', { up: true })") is None
            await ann.until(lambda: ann.state["hand_count"] == 1)


async def test_a_moderator_does_everything_from_the_page_and_hostile_names_are_text(tmp_path: Path) -> None:
    async with open_hall() as hall, open_chromium(tmp_path) as page:
        await join(page, hall, token="moderator:mod")
        bob = await hall.come(HOSTILE)
        await bob.act("hand", up=True)
        await page.wait_for("document.querySelector('#hands .name') !== null")
        assert await text(page, "#hands .name") == HOSTILE
        await assert_only_text(page)

        await page.evaluate("document.querySelector('#hands details').open = true")
        await press(page, "#hands .to-stage")
        await bob.until(lambda: bob.role == 2)
        row = f"[...document.querySelectorAll('#speakers .person')].find((row) => row.dataset.key === '{bob.id}')"
        await page.wait_for(f"Boolean({row})")
        for name, words, done in (
            ("priority", "priority", lambda: bob.you.get("priority")),
            ("silence", "mute", lambda: bob.you.get("server_muted")),
            ("silence", "let speak", lambda: not bob.you.get("server_muted")),
        ):
            await page.wait_for(f"{row}.querySelector('.{name}').textContent === '{words}'")
            await page.evaluate(f"{row}.querySelector('.{name}').click()")
            await bob.until(done)
        await page.wait_for(f"{row}.querySelector('.tag.priority') !== null")
        while not await page.evaluate(
            f"{row}.dataset.speaking === 'true' && document.getElementById('stage').dataset.ducking"
        ):
            bob.say(5, payload=b"\xf8\xff\xfe")
            await trio.sleep(0.02)  # a speaker's pace

        topic = f"About {HOSTILE}"
        await page.evaluate(f"document.getElementById('topic-text').value = {json.dumps(topic)}")
        await press(page, "#topic-form button")
        await bob.until(lambda: bob.state["topic"] == topic)
        await page.wait_for(f"document.getElementById('topic').textContent === {json.dumps(topic)}")
        await page.evaluate(f"{row}.querySelector('.to-audience').click()")
        await bob.until(lambda: bob.role == 1)
        await press(page, "#hands-open")
        await bob.until(lambda: not bob.state["hands_open"])
        await press(page, "#everybody")
        await page.wait_for("document.querySelector('#audience .name') !== null")
        await assert_only_text(page)
        await page.evaluate("document.querySelector('#audience .kick').click()")
        assert await bob.member.wait_ended() == "you were asked to leave"
        assert page.complaints() == []


async def assert_only_text(page: Page) -> None:
    assert await page.evaluate("document.querySelectorAll('img, b, script:not([src])').length") == 0
    assert await page.evaluate("window.__pwned ?? null") is None
    assert HOSTILE in await text(page, "#stage-title")


async def test_a_page_is_invited_speaks_while_space_is_held_and_plays_clips(tmp_path: Path) -> None:
    file = tone_file(tmp_path / "said.wav", ToneBattle.make(3), 60)
    flags = (*FAKE_DEVICES, f"--use-file-for-fake-audio-capture={file}")
    board = BoardOptions(play="everybody", upload="everybody")
    async with open_hall(board=board) as hall, open_chromium(tmp_path / "profile", *flags) as page:
        mod = await hall.come("mod", "moderator")
        await join(page, hall, token="authenticated:eve")
        await page.click("#hand")
        await mod.until(lambda: mod.state["hand_count"] == 1)
        [eve] = [each for each in mod.people.values() if each["name"] == "eve"]
        await mod.act("invite", id=eve["id"])
        await switch_off_processing(page)
        await page.click("#accept")
        await mod.until(lambda: mod.people[eve["id"]]["role"] == 2)
        track = mod.people[eve["id"]]["track"]
        await mod.until(lambda: len(mod.heard(track)) > 10)

        await page.wait_for("document.getElementById('devices').length > 1")
        before = len(mod.heard(track))
        await page.evaluate(
            """(() => {
              const devices = document.getElementById("devices");
              devices.selectedIndex = devices.length - 1;
              devices.dispatchEvent(new Event("change"));
            })()"""
        )
        await mod.until(lambda: len(mod.heard(track)) > before + 25)  # what is being said goes on

        await page.click("#push-to-talk")
        await page.wait_for("!document.getElementById('talk').hidden")
        await mod.until(lambda: mod.heard(track)[-1].flags & 2)  # the end of what was said
        before = len(mod.heard(track))
        await page.evaluate("document.getElementById('mute').focus()")
        await key(page, "keyDown")
        await mod.until(lambda: len(mod.heard(track)) > before + 10)
        await key(page, "keyUp")
        await mod.until(lambda: mod.heard(track)[-1].flags & 2)
        assert await text(page, "#mute") == "Mute"  # the space bar has pressed no button

        await mod.act("move", id=eve["id"], to="audience")
        await page.wait_for("!document.getElementById('hand').hidden")
        await play_clip(page, mod)
        assert page.complaints() == []


async def play_clip(page: Page, mod: Guest) -> None:
    """Upload a sound, find it on the board, play it."""
    sound = np.sin(np.arange(RATE) * 2 * np.pi * 500 / RATE) * 10_000
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound.astype("<i2").tobytes())
    await page.evaluate(
        f"""(() => {{
          const bytes = Uint8Array.from(atob("{base64.b64encode(data.getvalue()).decode()}"), (c) => c.charCodeAt(0));
          const files = new DataTransfer();
          files.items.add(new File([bytes], {json.dumps(HOSTILE + ".wav")}));
          const input = document.getElementById("upload");
          input.files = files.files;
          input.dispatchEvent(new Event("change"));
        }})()"""
    )
    await page.wait_for("document.querySelector('#clips .play') !== null", 40)
    assert await text(page, "#clips .play") == HOSTILE
    await page.click("#clips .play")
    board = mod.state["board"]
    await mod.until(lambda: len(mod.heard(board)) > 20)


CHANCES = 3
"""Recordings in which to find one without a stall."""
SHOWN = ("missing", "recovered", "late", "concealed", "underruns", "jitter", "buffer", "target", "transport")


class Lossy:
    """A UDP relay in front of a port, which loses some of what goes to the clients, and delays all of it by chance."""

    def __init__(self, nursery: trio.Nursery, target: int, *, loss: float, jitter: float) -> None:
        self._nursery = nursery
        self._target = ("127.0.0.1", target)
        self._loss = loss
        self._jitter = jitter
        self._chance = random.Random(6)
        self._near = trio.socket.socket(type=socket.SOCK_DGRAM)
        self._far: dict[Any, Any] = {}
        self._closing = ExitStack()
        self.lost = 0
        self.is_on = False

    async def open(self) -> int:
        self._closing.enter_context(self._near)
        await self._near.bind(("127.0.0.1", 0))
        self._nursery.start_soon(self._outward)
        port: int = self._near.getsockname()[1]
        return port

    def close(self) -> None:
        self._closing.close()

    async def _outward(self) -> None:
        while True:
            data, client = await self._near.recvfrom(65_535)
            if client not in self._far:
                far = self._closing.enter_context(trio.socket.socket(type=socket.SOCK_DGRAM))
                self._far[client] = far
                await far.connect(self._target)
                self._nursery.start_soon(self._inward, far, client)
            await self._far[client].send(data)

    async def _inward(self, far: Any, client: Any) -> None:
        while True:
            data = await far.recv(65_535)
            if self.is_on and self._chance.random() < self._loss:
                self.lost += 1
            else:
                self._nursery.start_soon(self._deliver, data, client)

    async def _deliver(self, data: bytes, client: Any) -> None:
        if self.is_on:
            await trio.sleep(self._chance.random() * self._jitter)
        await self._near.sendto(data, client)


@pytest.mark.alone
async def test_a_battle_is_heard_in_order_through_loss_and_jitter(tmp_path: Path) -> None:
    """The listening page, by WebTransport: 3 % lost, 30 ms of jitter, which reorders. Tones in order, no long gap."""
    battle = ToneBattle.make(23)
    async with trio.open_nursery() as nursery, open_hall(quic=True) as hall, open_chromium(tmp_path) as page:
        await play_tones(hall, battle)
        lossy = Lossy(nursery, hall.quic_port, loss=0.03, jitter=0.03)
        offer(hall.node, Offer("127.0.0.1", await lossy.open(), hall.hashes))
        await tap(page)
        await page.goto(hall.url)
        await page.click("#sessions [data-name=tones] button")
        recording = Recording(page)
        await recording.more(2)
        lossy.is_on = True
        await recording.more(2)  # while the page and the node find out
        for _ in range(CHANCES):
            before = await disturbances(page, lossy)
            heard = await recording.next(5)
            if await disturbances(page, lossy) - before <= 2:  # what is counted meanwhile is not counted at one moment
                break
            await recording.more(1)
        else:
            pytest.skip(f"too busy a machine: disturbed in each of {CHANCES} recordings")
        shown = {what: await text(page, f"#health-{what}") for what in SHOWN}
        nursery.cancel_scope.cancel()
        lossy.close()
    print("lost on the way:", lossy.lost, "shown:", shown)
    for channel in (0, 1):
        found = order_of(listen(heard, "a", channel), battle.sequences["a", channel])
        assert is_cyclic(found), found
    level = np.sqrt(np.convolve((heard**2).mean(axis=1), np.ones(480) / 480, "valid"))
    assert longest_run(np.flatnonzero(level < 0.02)) < 0.06 * RATE
    assert shown["transport"] == "WebTransport"
    assert lossy.lost > 5
    assert int(shown["missing"]) >= int(shown["recovered"]) > 0


async def disturbances(page: Page, lossy: Lossy) -> int:
    """What a machine that stalls does to the sound: nothing to play, and frames that are missing without being lost here."""
    return int(await text(page, "#health-underruns")) * 10 + int(await text(page, "#health-missing")) - lossy.lost


def longest_run(places: Any) -> int:
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return max(len(run) for run in runs)
