"""The actor that keeps decoded songs: each is decoded once, by one process, however many decks ask for it.

What it hands out are `Pcm` objects; a deck that holds one keeps the samples alive whatever the cache forgets. Memory is
bounded: the songs longest unused are forgotten when a new one needs their room.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from typing import Any

import attrs
import trio

from wsactors.actors import UNHANDLED, Actor, NoReply, Request, reply
from wsactors.dj.decode import DecodeLimits, decode_song, make_loops
from wsactors.dj.library import Library
from wsactors.dj.song import Pcm, Song
from wsactors.errors import SongError, SongUnknown

LOOPS = ("loop-a", "loop-b")
"""The ids of the two demo loops; they are always there."""
CAPACITY = 1 << 30
"""Bytes of samples kept: about ninety minutes."""
MAX_FOLDERS = 64
MAX_ASKING = 256
"""Requests that may wait for songs being decoded."""
_WORKERS = 2
# One key for the life of this process, so that a cache that was started again knows the ids that are out there.
_KEY = secrets.token_bytes(32)


@attrs.frozen
class OpenFolder:
    """Call: look for songs in this folder (again). Answer: `Folder`, or `NotLoaded` when it is no folder."""

    path: str


@attrs.frozen
class Folder:
    """The songs of a folder."""

    songs: tuple[str, ...]
    """Ids, in the order of the paths."""


@attrs.frozen
class GetSong:
    """Call, with a time-out of a minute or two: decode this song if need be. Answer: `Loaded` or `NotLoaded`."""

    song: str


@attrs.frozen
class Loaded:
    """A song and its samples."""

    song: Song
    pcm: Pcm = attrs.field(eq=False)


@attrs.frozen
class NotLoaded:
    """Why there is no such song; the text may be shown to whoever asked."""

    kind: str
    """The error's class: `SongRefused`, `SongUnreadable`, `DecodeFailed`, `SongUnknown`, `ValueError`."""
    text: str


@attrs.frozen
class _Decoded:
    song: str
    results: tuple[Loaded, ...]
    error: NotLoaded | None


class SongCache(Actor):
    """Decodes songs on request and keeps them. Calls: `OpenFolder`, `GetSong`. `capacity` in bytes."""

    def init(self, capacity: int = CAPACITY, limits: DecodeLimits | None = None) -> None:
        self._capacity = capacity
        self._limits = limits or DecodeLimits()
        self._folders: dict[str, Library] = {}
        self._kept: OrderedDict[str, Loaded] = OrderedDict()
        self._asking: dict[str, list[Request]] = {}
        self._waiting: deque[str] = deque()
        self._working = 0

    def handle_call(self, message: Any, caller: Request) -> Any:
        match message:
            case GetSong(song) if song in self._kept:
                self._kept.move_to_end(song)
                return self._kept[song]
            case GetSong(song):
                return self._ask(song, caller)
            case OpenFolder(path):
                self.start_soon(self._scan, path, caller)
                return NoReply()
            case _:
                return UNHANDLED

    def handle_info(self, message: Any) -> Any:
        match message:
            case _Decoded():
                self._decoded(message)
                return None
            case _:
                return UNHANDLED

    def _ask(self, song: str, caller: Request) -> object:
        if sum(map(len, self._asking.values())) >= MAX_ASKING:
            return NotLoaded("DecodeFailed", "too many songs are being asked for: try again in a moment")
        # Both loops come from one run, so they share an entry.
        key = LOOPS[0] if song in LOOPS else song
        if key not in self._asking:
            self._waiting.append(key)
        self._asking.setdefault(key, []).append(caller)
        self._start_workers()
        return NoReply()

    def _start_workers(self) -> None:
        while self._waiting and self._working < _WORKERS:
            self._working += 1
            self.start_soon(self._decode, self._waiting.popleft())

    async def _decode(self, song: str) -> None:
        error: NotLoaded | None = None
        results: tuple[Loaded, ...] = ()
        try:
            results = await self._decode_loops() if song in LOOPS else (await self._decode_file(song),)
        except SongError as failure:
            error = NotLoaded(type(failure).__name__, str(failure))
        self.node.send(self.pid, _Decoded(song, results, error))

    async def _decode_loops(self) -> tuple[Loaded, ...]:
        first, second = await make_loops()
        return Loaded(*first), Loaded(*second)

    async def _decode_file(self, song: str) -> Loaded:
        library = next((library for library in self._folders.values() if song in library.entries), None)
        if library is None:
            raise SongUnknown("no song has this id: ask for the list of songs again")
        with library.open(song) as source:
            return Loaded(*await decode_song(source, song=song, title=library.entries[song].title, limits=self._limits))

    def _decoded(self, done: _Decoded) -> None:
        self._working -= 1
        for result in done.results:
            self._kept[result.song.id] = result
        for caller in self._asking.pop(done.song, ()):
            wanted = caller.message.song
            reply(caller, next((each for each in done.results if each.song.id == wanted), done.error))
        self._make_room()
        self._start_workers()

    def _make_room(self) -> None:
        """Forget the songs longest unused until the rest fits; the newest stays, even alone too large."""
        size = sum(each.pcm.size for each in self._kept.values())
        while size > self._capacity and len(self._kept) > 1:
            _song, oldest = self._kept.popitem(last=False)
            size -= oldest.pcm.size

    async def _scan(self, path: str, caller: Request) -> None:
        try:
            if path not in self._folders and len(self._folders) >= MAX_FOLDERS:
                raise ValueError(f"at most {MAX_FOLDERS} song folders are kept open")
            library = self._folders.get(path)
            if library is None:
                library = self._folders[path] = Library(path, key=_KEY)
            await trio.to_thread.run_sync(library.scan)
        except ValueError as error:
            reply(caller, NotLoaded("ValueError", str(error)))
            return
        reply(caller, Folder(tuple(library.entries)))
