"""Real music: right tempo, right octave, on the beat to the end. `scripts/analysis_table.py` has many more songs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av")

from wsactors.dj.analysis.values import Analysis
from wsactors.dj.analysis_process import analyse_song
from wsactors.dj.decode import decode_song

from . import real_music

SONGS = ("March Thee to Dis", "Apex Aleph", "Awakening", "Inevitable")


@pytest.fixture(scope="module")
def songs() -> dict[str, Path]:
    try:
        return real_music.fetch(real_music.SINGULARITY)
    except real_music.NotFetchedError as error:
        pytest.skip(str(error))


async def analysed(path: Path) -> Analysis:
    async def nothing(_digest: bytes) -> Any:
        return None

    descriptor = os.open(path, os.O_RDONLY)
    try:
        _song, pcm = await decode_song(descriptor, song="id", title=path.stem)
    finally:
        os.close(descriptor)
    return (await analyse_song(pcm, nothing))[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", SONGS)
async def test_a_song_is_on_the_beat_to_its_end(songs: dict[str, Path], name: str) -> None:
    (truth,) = (truth for truth in real_music.TRUTHS if truth.name == name)
    analysis = await analysed(songs[name])
    assert analysis.grid is not None
    assert analysis.tempo is not None
    verdict = real_music.judge(
        truth, seconds=analysis.frames / 48_000, bpm=analysis.grid.bpm(), first=analysis.grid.first / 48_000
    )
    assert verdict.octave == 1
    assert verdict.on_tempo, verdict
    assert verdict.on_beat, verdict
    assert analysis.tempo.steady > 0.8
    assert analysis.loudness is not None
    assert -30 < analysis.loudness.integrated < -5
    assert 1 <= len(analysis.cues) <= 8
