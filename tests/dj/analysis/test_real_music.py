"""Real music: right tempo, right octave, on the beat to the end. `scripts/analysis_table.py` has many more songs."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("av")

from . import real_music

SONGS = ("March Thee to Dis", "Apex Aleph", "Awakening", "Inevitable")


@pytest.fixture(scope="module")
def songs() -> dict[str, Path]:
    try:
        return real_music.fetch(real_music.SINGULARITY)
    except real_music.NotFetchedError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.parametrize("name", SONGS)
async def test_a_song_is_on_the_beat_to_its_end(songs: dict[str, Path], name: str) -> None:
    (truth,) = (truth for truth in real_music.TRUTHS if truth.name == name)
    analysis = await real_music.analysed(songs[name])
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
