"""The demo's disc jockey: the songs of a folder, one fading into the next; loops where there is nothing to play."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

pytest.importorskip("av")

from tests.dj import hostile
from tests.dj.analysis import real_music
from tests.dj.listening import decode, expected_sound, lag_and_likeness, settled, strongest
from wsactors.dj.song import Pcm
from wsactors.dj.state import BattleState
from wsactors.media.opus import Decoder
from wsactors.sessions.messages import GetState
from wsactors.sessions.options import BattleOptions

from .conftest import Ear, House

TONES = (300.0, 500.0, 700.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, hertz in enumerate(TONES):
        hostile.tone(tmp_path / f"{number}.wav", seconds=2.4, hertz=hertz)
    return tmp_path


class Melody:
    """Which tones are heard, in order, at 100 ms steps; 0 is silence. Runs are folded."""

    def __init__(self, ear: Ear) -> None:
        self.ear = ear
        self.heard: list[int] = []
        self._at = len(ear.arrivals)
        self._decoder = Decoder()

    async def until(self, count: int, seconds: float = 60.0) -> list[int]:
        """The first `count` different tones from now on."""
        with trio.fail_after(seconds):
            while len(self.heard) < count:
                await self.ear.until(lambda: len(self.ear.arrivals) >= self._at + 5, seconds)
                frames = [arrival.frame for arrival in self.ear.arrivals[self._at : self._at + 5]]
                self._at += 5
                self._note(np.concatenate([self._decoder.decode(frame.payload) for frame in frames])[:, 0])
        return self.heard[:count]

    def _note(self, piece: Any) -> None:
        loud = float(np.sqrt(np.mean(piece**2)))
        nearest: float = min(TONES, key=lambda hertz: abs(hertz - strongest(piece)))
        tone = 0 if loud < 0.01 else round(nearest)
        if not self.heard or self.heard[-1] != tone:
            self.heard.append(tone)


async def listening(house: House, folder: Path) -> tuple[BattleOptions, Ear, Melody]:
    battle = await house.open("mix", songs=folder, fade_seconds=0.3)
    ear, _membership = await house.listen("mix")
    await ear.until(lambda: ear.arrivals and ear.arrivals[-1].frame.level < 40, 60)
    return battle, ear, Melody(ear)


@pytest.mark.alone
async def test_songs_follow_each_other_without_a_hole(house: House, folder: Path) -> None:
    for number, hertz in enumerate(TONES[:2]):  # long enough to decode the other meanwhile, many times over
        hostile.tone(folder / f"{number}.wav", seconds=4.5, hertz=hertz)
    (folder / "2.wav").unlink()
    _battle, ear, melody = await listening(house, folder)
    assert await melody.until(3) == [300, 500, 300]  # and round again, never silent
    assert ear.jumps() == 0


async def test_a_hostile_song_among_honest_ones_is_left_out(house: House, folder: Path) -> None:
    (folder / "0a.mp3").write_text("ffconcat version 1.0\nfile '2.wav'\n")
    hostile.random_bytes(folder / "0b.flac", 10_000, b"fLaC")
    _battle, _ear, melody = await listening(house, folder)
    # Three songs to decode during one: a machine with other work to do may be silent in between.
    assert [tone for tone in await melody.until(3) if tone][:2] == [300, 500]


@pytest.mark.parametrize("content", ["nothing", "only bad songs", "no folder"])
async def test_a_folder_without_music_gives_the_loops_not_silence(house: House, tmp_path: Path, content: str) -> None:
    folder = tmp_path / "songs"
    if content != "no folder":
        folder.mkdir()
    if content == "only bad songs":
        hostile.random_bytes(folder / "x.mp3", 5_000)
        (folder / "y.mp3").write_text("ffconcat version 1.0\nfile 'x.mp3'\n")
    battle = await house.open("mix", songs=folder)
    ear, _membership = await house.listen("mix")
    await ear.until(lambda: ear.arrivals and ear.arrivals[-1].frame.level < 40)
    assert {(await house.deck(battle, side)).state.song for side in ("a", "b")} == {"loop-a", "loop-b"}


async def test_killed_in_a_song_it_does_not_interrupt_it(house: House, folder: Path) -> None:
    battle, _ear, melody = await listening(house, folder)
    house.node.exit(battle.part("autoplay"), "kill")
    assert [tone for tone in await melody.until(3) if tone][:2] == [300, 500]  # and goes on where it was


async def test_a_song_cache_that_was_killed_is_not_missed(house: House, folder: Path) -> None:
    _battle, ear, melody = await listening(house, folder)
    house.node.exit("songs", "kill")
    assert [tone for tone in await melody.until(3) if tone][:2] == [300, 500]
    assert ear.jumps() == 0


# -- recorded music ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def recorded() -> Path:
    """A folder with songs."""
    try:
        songs = real_music.fetch(real_music.SINGULARITY)
    except real_music.NotFetchedError as error:
        pytest.skip(str(error))
    return next(iter(songs.values())).parent


@pytest.mark.slow
async def test_recorded_music_plays_as_recorded(house: House, recorded: Path, tmp_path: Path) -> None:
    """A real song, through decoder process, render process, Opus and session, is the song, at the right place."""
    first = min(recorded.glob("*.ogg"), key=lambda path: path.stat().st_size)
    shutil.copy(first, tmp_path / first.name)
    shutil.copy(first, tmp_path / f"z-{first.name}")
    battle = BattleOptions("real", songs=tmp_path, fade_seconds=4.0)
    await house.open("real", songs=tmp_path, fade_seconds=4.0)
    ear, _membership = await house.listen("real")
    await ear.until(lambda: len(ear.arrivals) > 50 and ear.arrivals[-1].frame.level < 60, 60)
    begin = len(ear.arrivals)
    await ear.hear(100)
    deck = await house.node.call(battle.part("deck_a"), GetState())
    assert isinstance(deck.pcm, Pcm)
    assert deck.song.title
    song = mapped(deck.pcm)
    assert len(song) > 48_000 * 30
    mixer = await house.mixer(battle)
    heard = settled(decode(ear.packets(begin))[0])
    state = BattleState(a=deck.state, crossfader=mixer.crossfader)
    wanted = expected_sound({deck.song.id: song}, state, heard.frame, len(heard.sound))
    lag, likeness = lag_and_likeness(heard.sound, wanted)
    assert abs(lag) <= 2
    assert likeness > 0.9


def mapped(pcm: Pcm) -> Any:
    data = os.pread(pcm.descriptor, pcm.size, 0)
    return np.frombuffer(data, np.int16).reshape(-1, 2)
