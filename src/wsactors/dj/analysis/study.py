"""Everything about a song, from its samples."""

from __future__ import annotations

import numpy as np

from wsactors.dj.analysis.cues import suggest
from wsactors.dj.analysis.grid import find_grid, fit_beats
from wsactors.dj.analysis.key import find_key
from wsactors.dj.analysis.loudness import find_loudness
from wsactors.dj.analysis.spectrum import Samples, Spectrum, take_down
from wsactors.dj.analysis.tempo import find_tempo
from wsactors.dj.analysis.values import Analysis, Tempo
from wsactors.dj.analysis.waveform import draw
from wsactors.dj.beatgrid import Beatgrid


def analyse(samples: Samples) -> Analysis:
    """Everything about a song of 48 kHz, one channel or two, int16 or float32; the same samples give the same result.

    What there is not is None: a grid or a key in silence. Raises `ValueError` for no samples at all.
    In a second of processor it gets through some hundred seconds of song.
    """
    if not len(samples):
        raise ValueError("a song has at least one frame")
    spectrum = take_down(samples)
    grid, tempo = beats(spectrum) or (None, None)
    return Analysis(
        frames=len(samples),
        grid=grid,
        tempo=tempo,
        key=find_key(samples),
        loudness=find_loudness(samples),
        waveform=draw(spectrum),
        cues=suggest(spectrum, grid),
    )


def beats(spectrum: Spectrum) -> tuple[Beatgrid, Tempo] | None:
    """The grid of a song and how it was found; None where nothing repeats."""
    likely = find_tempo(spectrum)
    if not likely:
        return None
    best = likely[0]
    fit = fit_beats(spectrum, best.bpm)
    sure = max(0.0, 1.0 - best.rival / best.score)
    return find_grid(spectrum, fit), Tempo(float(sure), float(np.clip(fit.agreeing, 0.0, 1.0)))
