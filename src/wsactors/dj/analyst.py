"""The actor that knows about songs: each is analysed once, in a process of its own, and never again after that.

What was found is kept in the catalogue under the digest of the samples, so the same song is known again under another
name, after a restart, and with the grid that somebody corrected. Requests for one song wait for one analysis together.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import trio

from wsactors.actors import UNHANDLED, Actor, NoReply, Request, reply
from wsactors.actors.log import log
from wsactors.dj.analysis.values import Analysis
from wsactors.dj.analysis_process import AnalysisLimits, analyse_song
from wsactors.dj.beatgrid import Beatgrid
from wsactors.dj.catalogue import MAX_BYTES, MAX_SONGS, Catalogue
from wsactors.dj.song import Pcm
from wsactors.errors import AnalysisFailed, CatalogueUnusable, SongError

MAX_ASKING = 256
"""Requests that may wait for analyses."""
MAX_KEPT = 64
"""Analyses kept in memory, at most 132 kB each; the others are read from the catalogue again."""
_WORKERS = 1  # an analysis takes a whole processor for a second: beside it music is being played

T = TypeVar("T")


@attrs.frozen
class Analyse:
    """Call, with a time-out of a minute or two: analyse this song if need be. Answer: `Analysed` or `NotAnalysed`."""

    song: str
    """Its id."""
    pcm: Pcm = attrs.field(eq=False)


@attrs.frozen
class CorrectGrid:
    """Call: this grid counts for the song from now on; None goes back to the one found. Answer: as to `Analyse`.

    The song must have been analysed before, by this actor.
    """

    song: str
    grid: Beatgrid | None


@attrs.frozen
class Analysed:
    """What is known about a song."""

    song: str
    analysis: Analysis


@attrs.frozen
class NotAnalysed:
    """Why nothing is known about a song; the text may be shown to whoever asked."""

    song: str
    kind: str
    """The error's class: `AnalysisFailed`, `CatalogueUnusable`, `SongUnknown`."""
    text: str


@attrs.frozen
class _Done:
    digest: bytes
    answer: Analysed | NotAnalysed


@attrs.frozen
class _Corrected:
    digest: bytes
    answer: Analysed


class Analyst(Actor):
    """Analyses songs on request. Calls: `Analyse`, `CorrectGrid`. `catalogue` is a path; None keeps nothing on disk.

    Does not start with a catalogue that cannot be opened (`CatalogueUnusable`).
    """

    async def init(
        self,
        catalogue: str | None = None,
        limits: AnalysisLimits | None = None,
        workers: int = _WORKERS,
        songs: int = MAX_SONGS,
        size: int = MAX_BYTES,
    ) -> None:
        self._limits = limits or AnalysisLimits()
        self._workers = workers
        self._disk = trio.Lock()  # one at a time: the catalogue is for one thread
        self._catalogue = await trio.to_thread.run_sync(lambda: Catalogue(catalogue, songs=songs, size=size))
        self._told = 0
        self._tell_if_rebuilt()
        self._kept: OrderedDict[str, tuple[bytes, Analysed]] = OrderedDict()
        self._asking: dict[str, list[Request]] = {}
        self._waiting: deque[Analyse] = deque()
        self._working = 0

    def handle_call(self, message: Any, caller: Request) -> Any:
        match message:
            case Analyse(song) if song in self._kept:
                self._kept.move_to_end(song)
                return self._kept[song][1]
            case Analyse():
                return self._ask(message, caller)
            case CorrectGrid(song) if song in self._kept:
                self.start_soon(self._correct, message, self._kept[song][0], caller)
                return NoReply()
            case CorrectGrid(song):
                return NotAnalysed(song, "SongUnknown", "this song has not been analysed yet: load it first")
            case _:
                return UNHANDLED

    def handle_info(self, message: Any) -> Any:
        match message:
            case _Done():
                self._done(message)
                return None
            case _Corrected(digest, answer):
                self._remember(digest, answer)
                return None
            case _:
                return UNHANDLED

    def terminate(self, reason: object) -> None:
        self._catalogue.close()

    def _ask(self, message: Analyse, caller: Request) -> object:
        if sum(map(len, self._asking.values())) >= MAX_ASKING:
            return NotAnalysed(
                message.song, AnalysisFailed.__name__, "too many songs are being analysed: try again later"
            )
        if message.song not in self._asking:
            self._waiting.append(message)
        self._asking.setdefault(message.song, []).append(caller)
        self._start_workers()
        return NoReply()

    def _start_workers(self) -> None:
        while self._waiting and self._working < self._workers:
            self._working += 1
            self.start_soon(self._analyse, self._waiting.popleft())

    async def _analyse(self, wanted: Analyse) -> None:
        digest = b""
        known: Analysis | None = None
        answer: Analysed | NotAnalysed

        async def find(digest: bytes) -> Analysis | None:
            nonlocal known
            known = await self._find(digest)
            return known

        try:
            digest, analysis = await analyse_song(wanted.pcm, find, self._limits)
            answer = Analysed(wanted.song, analysis)
            if analysis is not known:  # what was known has perhaps a grid made by hand: that is not kept as one found
                await self._keep(digest, analysis)
        except SongError as failure:
            answer = NotAnalysed(wanted.song, type(failure).__name__, str(failure))
        except ValueError:
            answer = NotAnalysed(wanted.song, AnalysisFailed.__name__, "the song was unloaded before its turn came")
        self.node.send(self.pid, _Done(digest, answer))

    async def _find(self, digest: bytes) -> Analysis | None:
        """What the catalogue knows. If it cannot be read the song is analysed as if it were new."""
        try:
            return await self._on_disk(lambda: self._catalogue.find(digest))
        except CatalogueUnusable as error:
            log(__name__, "warning", "the catalogue of songs cannot be read", error=str(error))
            return None

    async def _keep(self, digest: bytes, analysis: Analysis) -> None:
        try:
            await self._on_disk(lambda: self._catalogue.keep(digest, analysis))
        except CatalogueUnusable as error:
            log(__name__, "warning", "an analysis cannot be kept", error=str(error))

    async def _correct(self, wanted: CorrectGrid, digest: bytes, caller: Request) -> None:
        try:
            analysis = await self._on_disk(lambda: self._corrected(digest, wanted.grid))
        except CatalogueUnusable as error:
            reply(caller, NotAnalysed(wanted.song, type(error).__name__, str(error)))
            return
        if analysis is None:  # forgotten meanwhile, for want of room
            reply(caller, NotAnalysed(wanted.song, "SongUnknown", "this song's analysis was forgotten: load it again"))
            return
        answer = Analysed(wanted.song, analysis)
        # Remembered before the answer goes out: whoever asks after it gets the new grid.
        self.node.send(self.pid, _Corrected(digest, answer))
        reply(caller, answer)

    def _corrected(self, digest: bytes, grid: Beatgrid | None) -> Analysis | None:
        self._catalogue.correct(digest, grid)
        return self._catalogue.find(digest)

    async def _on_disk(self, work: Callable[[], T]) -> T:
        async with self._disk:
            try:
                return await trio.to_thread.run_sync(work)
            finally:
                self._tell_if_rebuilt()

    def _tell_if_rebuilt(self) -> None:
        if self._catalogue.rebuilt > self._told:
            self._told = self._catalogue.rebuilt
            log(__name__, "warning", "the catalogue of songs was damaged: it is set aside and begun anew")

    def _done(self, done: _Done) -> None:
        self._working -= 1
        if isinstance(done.answer, Analysed):
            self._remember(done.digest, done.answer)
        for caller in self._asking.pop(done.answer.song, ()):
            reply(caller, done.answer)
        self._start_workers()

    def _remember(self, digest: bytes, answer: Analysed) -> None:
        self._kept[answer.song] = digest, answer
        self._kept.move_to_end(answer.song)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
