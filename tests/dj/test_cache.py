"""The song cache: decodes once, bounded, and answers with what can be shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

pytest.importorskip("av")

from wsactors.dj import cache
from wsactors.dj.cache import Folder, GetSong, Loaded, NotLoaded, OpenFolder, SongCache
from wsactors.dj.decode import decode_song
from wsactors.supervision import Node

from . import hostile


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, hertz in (("a.wav", 300.0), ("b.wav", 500.0), ("c.wav", 700.0)):
        hostile.tone(tmp_path / name, hertz=hertz)
    (tmp_path / "d.mp3").write_text("ffconcat version 1.0\nfile 'a.wav'\n")
    return tmp_path


async def opened(node: Node, folder: Path) -> tuple[str, ...]:
    answer = await node.call("songs", OpenFolder(str(folder)), timeout=10)
    assert isinstance(answer, Folder)
    return answer.songs


async def test_songs_are_decoded_once_and_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []
    decode = decode_song

    async def counted(source: int, **options: Any) -> Any:
        decoded.append(options["song"])
        return await decode(source, **options)

    monkeypatch.setattr(cache, "decode_song", counted)
    async with Node("cache") as node:
        await node.spawn(SongCache, name="songs")
        songs = await opened(node, folder)
        answers: list[Any] = []

        async def ask(song: str) -> None:
            answers.append(await node.call("songs", GetSong(song), timeout=20))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                for song in songs[:2]:
                    nursery.start_soon(ask, song)
        assert sorted(decoded) == sorted(songs[:2])
        assert all(isinstance(answer, Loaded) for answer in answers)
        assert len({id(answer.pcm) for answer in answers}) == 2
        assert {answer.song.title for answer in answers} == {"a", "b"}


async def test_what_cannot_be_loaded_says_why_without_a_path(folder: Path) -> None:
    async with Node("cache") as node:
        await node.spawn(SongCache, name="songs")
        songs = await opened(node, folder)
        hostile_song = await node.call("songs", GetSong(songs[3]), timeout=20)
        assert isinstance(hostile_song, NotLoaded)
        assert hostile_song.kind == "SongRefused"
        assert str(folder) not in hostile_song.text
        unknown = await node.call("songs", GetSong("../../etc/passwd"), timeout=20)
        assert unknown == NotLoaded("SongUnknown", unknown.text)
        nowhere = await node.call("songs", OpenFolder(str(folder / "nowhere")), timeout=10)
        assert isinstance(nowhere, NotLoaded)
        assert isinstance(await node.call("songs", GetSong(songs[0]), timeout=20), Loaded)


async def test_memory_is_bounded_and_a_deck_keeps_what_it_holds(folder: Path) -> None:
    async with Node("cache") as node:
        await node.spawn(SongCache, kwargs={"capacity": 2 * 48_000 * 4}, name="songs")
        songs = await opened(node, folder)
        first = await node.call("songs", GetSong(songs[0]), timeout=20)
        for song in songs[1:3]:
            await node.call("songs", GetSong(song), timeout=20)
        again = await node.call("songs", GetSong(songs[0]), timeout=20)
        assert again.pcm is not first.pcm  # it had been forgotten
        assert first.pcm.descriptor >= 0  # but who held it still can play it


async def test_the_loops_are_always_there_and_made_together() -> None:
    async with Node("cache") as node:
        await node.spawn(SongCache, name="songs")
        answers: dict[str, Any] = {}

        async def ask(song: str) -> None:
            answers[song] = await node.call("songs", GetSong(song), timeout=30)

        async with trio.open_nursery() as nursery:
            for song in cache.LOOPS:
                nursery.start_soon(ask, song)
        assert {answer.song.id for answer in answers.values()} == set(cache.LOOPS)
        assert answers["loop-a"].pcm.frames == answers["loop-b"].pcm.frames


async def test_a_flood_of_requests_is_refused_not_queued(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(cache, "MAX_ASKING", 2)
    async with Node("cache") as node:
        await node.spawn(SongCache, name="songs")
        songs = await opened(node, folder)
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await node.call("songs", GetSong(songs[0]), timeout=20))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert sum(isinstance(answer, Loaded) for answer in answers) == 2
        assert sum(isinstance(answer, NotLoaded) for answer in answers) == 3
