"""Plays by itself: the two demo loops under a swinging crossfader, or the songs of a folder, one fading into the next.

It is one more user of the decks and the mixer, giving the commands a person could give. It remembers only which song
comes next; started anew, it looks at what the decks play and goes on from there.
"""

from __future__ import annotations

from typing import Literal

import attrs
import trio

from wsactors.actors import ProcessActor, call
from wsactors.actors.log import log
from wsactors.dj.cache import LOOPS, Folder, GetSong, Loaded, NotLoaded, OpenFolder
from wsactors.dj.clock import now, soon
from wsactors.dj.state import DeckState
from wsactors.dj.timeline import SAMPLE_RATE
from wsactors.errors import SongUnknown
from wsactors.sessions.messages import DeckTruth, GetState, LoadSong, MixerTruth, MoveCrossfader, Play, SwingCrossfader
from wsactors.sessions.options import BattleOptions

Side = Literal["a", "b"]
SONGS = "songs"
"""The registered name of the node's `SongCache`."""
DECODE_TIMEOUT = 180.0
"""Seconds a song may take until it is on a deck; its decoder has a shorter limit of its own."""
MAX_FADE = 16.0
"""Seconds two songs are heard together at most."""
_SYNC = SAMPLE_RATE // 2
_RETRY = 2.0


@attrs.frozen
class _Wake:
    """Sent to itself when there is something to do again."""


class Autoplay(ProcessActor):
    """The demo's disc jockey."""

    def init(self, battle: BattleOptions = BattleOptions()) -> None:  # noqa: B008 - frozen
        self._options = battle
        self._songs: tuple[str, ...] = ()
        self._next = 0

    async def run(self) -> None:
        """Play, for ever."""
        if self._options.songs is None or not await self._open_folder():
            await self._play_loops()
            return
        await self._play_songs()

    # -- loops --

    async def _play_loops(self) -> None:
        """Both loops from the same frame on, which keeps them in phase for ever, and the crossfader swinging."""
        if not all([(await self._deck(side)).state.playing for side in ("a", "b")]):
            loaded = [await self._loop(song) for song in LOOPS]
            frame = soon() + _SYNC
            for side, song in zip(("a", "b"), loaded, strict=True):
                await call(self._name(f"deck_{side}"), LoadSong(song.song, song.pcm, play=True, at=frame))
            if self._options.fade_seconds > 0:
                await call(self._name("mixer"), SwingCrossfader(2 * self._options.fade_seconds, at=frame))
        while True:
            await self.receive()

    async def _loop(self, song: str) -> Loaded:
        """A demo loop. On a machine too busy to make it in time, it is asked for until it is there."""
        while True:
            loop = await self._load(song)
            if isinstance(loop, Loaded):
                return loop
            await trio.sleep(_RETRY)

    # -- songs --

    async def _open_folder(self) -> bool:
        """Look for songs; False, and a line in the log, when there are none."""
        answer = await call(SONGS, OpenFolder(self._options.songs or ""), timeout=60)
        if isinstance(answer, Folder) and answer.songs:
            self._songs = answer.songs
            return True
        why = answer.text if isinstance(answer, NotLoaded) else "it holds no song of a kind that is played here"
        log(
            __name__,
            "warning",
            "the song folder cannot be used; playing the demo loops",
            session=self._options.name,
            reason=why,
        )
        return False

    async def _play_songs(self) -> None:
        """Song after song: the next one is on the other deck, decoded, well before this one ends."""
        side: Side = await self._side_playing() or await self._start_first()
        while True:
            other: Side = "b" if side == "a" else "a"
            if not await self._put_next_on(other):
                await self._play_loops()
                return
            await self._fade_when_due(side, other)
            side = other

    async def _side_playing(self) -> Side | None:
        mixer: MixerTruth = await call(self._name("mixer"), GetState())
        sides: tuple[Side, Side] = ("a", "b") if mixer.crossfader.at(now()) <= 0 else ("b", "a")
        for side in sides:
            state = (await self._deck(side)).state
            end = state.ends_at()
            if end is not None and end > soon() and state.song in self._songs:
                self._next = self._songs.index(state.song) + 1
                return side
        return None

    async def _start_first(self) -> Side:
        if await self._put_next_on("a"):
            await call(self._name("mixer"), MoveCrossfader(-1.0))
            await call(self._name("deck_a"), Play())
        return "a"

    async def _put_next_on(self, side: Side) -> bool:
        """The next song that can be played onto a deck; False when none of the folder can."""
        for _ in range(len(self._songs) + 1):
            if self._next and self._next % len(self._songs) == 0 and not await self._open_folder():
                return False  # once round: look what is in the folder now
            song = await self._load(self._songs[self._next % len(self._songs)])
            if isinstance(song, NotLoaded) and song.kind == SongUnknown.__name__:
                # The cache has started anew and knows no folder: the ids of before mean nothing to it.
                if not await self._open_folder():
                    return False
                continue
            self._next += 1
            if isinstance(song, Loaded):
                await call(self._name(f"deck_{side}"), LoadSong(song.song, song.pcm))
                return True
        return False

    async def _fade_when_due(self, side: Side, other: Side) -> None:
        """Wait until the song on `side` is nearly over, then start the other and glide there."""
        state = (await self._deck(side)).state
        incoming = (await self._deck(other)).state
        fade = self._fade(state, incoming)
        end = state.ends_at() or soon()
        start = max(end - fade, soon())
        self.send_after(max(0.0, (start - soon()) / SAMPLE_RATE - 1.0), self.pid, _Wake())
        await self.receive(match=lambda message: isinstance(message, _Wake))
        await call(self._name(f"deck_{other}"), Play(at=start))
        await call(self._name("mixer"), MoveCrossfader(1.0 if other == "b" else -1.0, fade / SAMPLE_RATE, at=start))
        self.send_after((start + fade - now()) / SAMPLE_RATE + 0.5, self.pid, _Wake())
        await self.receive(match=lambda message: isinstance(message, _Wake))

    def _fade(self, outgoing: DeckState, incoming: DeckState) -> int:
        """Frames two songs are heard together: as configured, but no more than a third of either."""
        wanted = min(self._options.fade_seconds, MAX_FADE) * SAMPLE_RATE
        return round(min(wanted, outgoing.frames / 3, incoming.frames / 3))

    # -- everybody else --

    async def _load(self, song: str) -> Loaded | NotLoaded:
        answer: Loaded | NotLoaded = await call(SONGS, GetSong(song), timeout=DECODE_TIMEOUT)
        if isinstance(answer, NotLoaded):
            log(__name__, "warning", "a song is left out", session=self._options.name, song=song, reason=answer.text)
        return answer

    async def _deck(self, side: str) -> DeckTruth:
        truth: DeckTruth = await call(self._name(f"deck_{side}"), GetState())
        return truth

    def _name(self, part: str) -> str:
        return self._options.part(part)
