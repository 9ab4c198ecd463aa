"""The analyst: one analysis for all who ask, kept over restarts, corrected by hand, bounded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from wsactors.actors import Pid
from wsactors.dj import analyst
from wsactors.dj.analysis.values import Analysis
from wsactors.dj.analysis_process import AnalysisLimits, analyse_song
from wsactors.dj.analyst import Analyse, Analysed, Analyst, CorrectGrid, NotAnalysed
from wsactors.dj.beatgrid import Beatgrid
from wsactors.errors import StartError
from wsactors.supervision import Node

from .analysis import synthetic
from .test_analysis_process import pcm_of

GRID = Beatgrid(5.0, 24_000.0)


@pytest.fixture
def analysed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of the songs that were analysed, as opposed to found in the catalogue."""
    done: list[int] = []

    async def counted(pcm: Any, known: Any, limits: Any) -> Any:
        async def asked(digest: bytes) -> Analysis | None:
            found: Analysis | None = await known(digest)
            if found is None:
                done.append(pcm.frames)
            return found

        return await analyse_song(pcm, asked, limits)

    monkeypatch.setattr(analyst, "analyse_song", counted)
    return done


async def ask(node: Node, song: str, samples: Any) -> Any:
    return await node.call("analyst", Analyse(song, pcm_of(samples)), timeout=60)


async def test_who_asks_together_waits_for_one_analysis(analysed: list[int]) -> None:
    samples = synthetic.clicks(120.0, seconds=8.0)
    answers: list[Any] = []
    async with Node("analyst") as node:
        await node.spawn(Analyst, name="analyst")

        async def one() -> None:
            answers.append(await ask(node, "x", samples))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one)
        assert analysed == [len(samples)]
        assert all(isinstance(answer, Analysed) and answer.song == "x" for answer in answers)
        assert answers[0].analysis.grid.bpm() == pytest.approx(120.0)
        assert await ask(node, "x", samples) == answers[0]
        # The same samples under another name are known by their digest.
        again = await ask(node, "y", samples)
        assert (again.song, again.analysis) == ("y", answers[0].analysis)
        assert len(analysed) == 1


async def test_a_restart_knows_what_was_found_and_what_was_corrected(tmp_path: Path, analysed: list[int]) -> None:
    samples = synthetic.clicks(120.0, seconds=8.0)
    path = str(tmp_path / "songs.db")
    async with Node("analyst") as node:
        await node.spawn(Analyst, path, name="analyst")
        unknown = await node.call("analyst", CorrectGrid("x", GRID), timeout=10)
        assert (unknown.song, unknown.kind) == ("x", "SongUnknown")
        first = await ask(node, "x", samples)
        corrected = await node.call("analyst", CorrectGrid("x", GRID), timeout=10)
        assert corrected.analysis.grid == GRID
        assert await ask(node, "x", samples) == corrected
    async with Node("analyst") as node:
        await node.spawn(Analyst, path, name="analyst")
        assert (await ask(node, "another id", samples)).analysis == corrected.analysis
        back = await node.call("analyst", CorrectGrid("another id", None), timeout=10)
        assert back.analysis == first.analysis
    assert len(analysed) == 1


async def test_a_damaged_catalogue_costs_a_new_analysis_and_an_unusable_one_says_so(tmp_path: Path) -> None:
    path = tmp_path / "songs.db"
    path.write_bytes(b"\xff" * 5_000)
    async with Node("analyst") as node:
        await node.spawn(Analyst, str(path), name="analyst")
        assert isinstance(await ask(node, "x", np.zeros((4_800, 2), np.int16)), Analysed)
        assert (tmp_path / "songs.db.damaged").exists()
        with pytest.raises(StartError, match="cannot be opened"):
            await node.spawn(Analyst, str(tmp_path / "nowhere" / "songs.db"))


async def test_what_cannot_be_analysed_says_why_and_the_next_song_is(analysed: list[int]) -> None:
    samples = np.zeros((4_800, 2), np.int16)
    async with Node("analyst") as node:
        await node.spawn(Analyst, kwargs={"limits": AnalysisLimits(memory=64 << 20)}, name="strict")
        await node.spawn(Analyst, name="analyst")
        long = synthetic.clicks(120.0, seconds=20.0)
        answer = await node.call("strict", Analyse("x", pcm_of(long)), timeout=60)
        assert isinstance(answer, NotAnalysed)
        assert (answer.song, answer.kind) == ("x", "AnalysisFailed")
        gone = pcm_of(samples)
        gone.close()
        answer = await node.call("analyst", Analyse("y", gone), timeout=60)
        assert (answer.kind, "unloaded" in answer.text) == ("AnalysisFailed", True)
        assert isinstance(await ask(node, "x", samples), Analysed)


async def test_a_flood_is_refused_and_workers_are_as_many_as_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyst, "MAX_ASKING", 3)
    monkeypatch.setattr(analyst, "MAX_KEPT", 2)
    at_once: list[int] = []
    working = 0
    opened = trio.Event()

    async def held(pcm: Any, known: Any, limits: Any) -> tuple[bytes, Analysis]:
        nonlocal working
        working += 1
        at_once.append(working)
        await opened.wait()
        working -= 1
        return pcm.frames.to_bytes(32, "big"), Analysis(frames=pcm.frames)

    monkeypatch.setattr(analyst, "analyse_song", held)
    answers: list[Any] = []
    async with Node("analyst") as node:
        pid: Pid = await node.spawn(Analyst, kwargs={"workers": 2}, name="analyst")

        async def one(song: int) -> None:
            answers.append(await ask(node, str(song), np.zeros((song + 1, 2), np.int16)))
            if sum(isinstance(answer, NotAnalysed) for answer in answers) == 3:
                opened.set()

        async with trio.open_nursery() as nursery:
            for song in range(6):
                nursery.start_soon(one, song)
        refused = [answer for answer in answers if isinstance(answer, NotAnalysed)]
        assert [answer.kind for answer in refused] == ["AnalysisFailed"] * 3
        assert max(at_once) == 2
        assert len([answer for answer in answers if isinstance(answer, Analysed)]) == 3
        assert node.whereis("analyst") == pid


def test_a_node_that_asks_for_analyses_loads_no_numpy() -> None:
    source = str(Path(analyst.__file__).parents[2])
    program = (
        f"import sys; sys.path.insert(0, {source!r})\n"
        "import wsactors.dj.analyst\n"
        "sys.exit(bool({'numpy', 'scipy', 'av'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
