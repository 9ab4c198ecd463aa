"""What is known about a song survives the wire, and nothing else gets through."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.dj.analysis.values import (
    MAX_COLUMNS,
    MAX_CUES,
    VERSION,
    Analysis,
    Cue,
    Key,
    Loudness,
    Tempo,
    Waveform,
)
from wsactors.dj.beatgrid import Beatgrid

shares = st.floats(0, 1)
levels = st.floats(-200, 100)
grids = st.builds(Beatgrid, st.floats(-1e6, 1e6), st.floats(3_000, 100_000))
analyses = st.builds(
    lambda frames, grid, key, loudness, waveform, cues: Analysis(
        frames, grid[0] if grid else None, grid[1] if grid else None, key, loudness, waveform, tuple(cues)
    ),
    st.integers(1, 1 << 40),
    st.none() | st.tuples(grids, st.none() | st.builds(Tempo, shares, shares)),
    st.none() | st.builds(Key, st.integers(0, 11), st.booleans(), shares),
    st.none() | st.builds(Loudness, levels, levels),
    st.builds(lambda frames, columns: Waveform(frames, columns * 4), st.integers(1, 1 << 24), st.binary(max_size=40)),
    st.lists(st.builds(Cue, st.floats(0, 1e9), st.sampled_from(["start", "rise", "break", "end"])), max_size=MAX_CUES),
)


@given(analyses)
def test_an_analysis_survives_the_wire(analysis: Analysis) -> None:
    assert Analysis.from_wire(msgpack.unpackb(msgpack.packb(analysis.to_wire()))) == analysis


GOOD: list[Any] = Analysis(
    48_000, Beatgrid(0.0, 24_000.0), Tempo(1.0, 1.0), Key(0, False, 1.0), Loudness(-9.0, -1.0), Waveform(512, b"abcd"),
    (Cue(0.0, "start"),),
).to_wire()  # fmt: skip


@pytest.mark.parametrize(
    ("place", "bad"),
    [
        (0, VERSION + 1), (0, True), (0, None), (1, 0), (1, 1.5), (1, True), (1, 1 << 41), (2, None), (2, [0.0, 1.0, 4]),
        (3, [0.5]), (3, [1, 1.0]), (3, [float("nan"), 1.0]), (3, [1.5, 1.0]), (4, [12, False, 0.5]), (4, [0, 0, 0.5]),
        (4, [0, False, 2.0]), (4, [0, False]), (5, [float("inf"), 0.0]), (5, [-1.0, 500.0]), (5, {}), (6, [512, "abcd"]),
        (6, [512, b"abc"]), (6, [0, b"abcd"]), (6, [True, b"abcd"]), (6, [512, bytes(4 * MAX_COLUMNS + 4)]), (7, None),
        (7, [[0.0, "start"]] * (MAX_CUES + 1)), (7, [[0.0, "nowhere"]]), (7, [[-1.0, "end"]]), (7, [[0, "end"]]),
        (7, [[0.0, ["end"]]]), (7, [5]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(place: int, bad: object) -> None:
    assert Analysis.from_wire(GOOD)
    with pytest.raises(ValueError):
        Analysis.from_wire([*GOOD[:place], bad, *GOOD[place + 1 :]])


@given(st.recursive(st.none() | st.integers() | st.floats() | st.binary() | st.text(), st.lists, max_leaves=20))
def test_nothing_else_is_an_analysis(value: object) -> None:
    with pytest.raises(ValueError):
        Analysis.from_wire(value)


def test_auto_gain_brings_songs_to_one_loudness_without_lifting_peaks_over_the_ceiling() -> None:
    assert Loudness(-9.0, 0.5).gain() == -5.0
    assert Loudness(-20.0, -10.0).gain() == 6.0
    assert Loudness(-20.0, -3.0).gain() == 2.0  # its peaks would go over −1 dBFS
    assert Loudness(-20.0, 0.0).gain() == 0.0
    assert Loudness(-60.0, -40.0).gain() == 12.0
    assert Loudness(-9.0, 0.5).gain(target=-9.0) == 0.0


def test_an_overview_keeps_the_peaks_and_is_as_small_as_asked_for() -> None:
    data = bytearray(4 * 1_003)
    data[4 * 500 + 2] = 200
    wave = Waveform(512, bytes(data))
    small = wave.overview(100)
    assert small.columns <= 100
    assert small.frames * small.columns >= wave.frames * wave.columns
    assert max(small.data[2::4]) == 200
    assert max(small.data[0::4]) == 0
    assert wave.overview(2_000) == wave
    assert Waveform(512, b"").overview(10).columns == 0
    with pytest.raises(ValueError):
        wave.overview(0)
