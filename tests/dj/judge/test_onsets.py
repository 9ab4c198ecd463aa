"""Offsets that the grids do not know of, found in the sound: clicks within 1 ms, music within 5 ms."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from tests.dj.judge.battles import Blend, grid
from tests.dj.judge.sounds import RATE, SECONDS, band, metronome
from wsactors.dj.beatgrid import Beatgrid
from wsactors.dj.judge.onsets import MOST, STEPS, correction, heard, picture
from wsactors.dj.judge.verdict import judge
from wsactors.dsp.interpolation import cubic_read

OFFSETS = (-40.0, -9.3, -0.5, 0.0, 2.0, 23.0)


def told(first: Any, second: Any, one: Beatgrid, two: Beatgrid) -> float:
    """Milliseconds by which the second sound is said to be later than its grid."""
    whole = SECONDS * RATE
    return correction(picture(first, one, 0, whole), picture(second, two, 0, whole)) * two.beat / RATE * 1000


@pytest.mark.parametrize("late", OFFSETS)
@pytest.mark.parametrize("bpm", [126.0, 97.3])
def test_injected_offsets_of_clicks_are_found_within_a_millisecond(bpm: float, late: float) -> None:
    first, second = metronome(126.0, 0.1), metronome(bpm, 0.3 + late / 1000)
    found = told(first, second, grid(126.0, 0.1 * RATE), grid(bpm, 0.3 * RATE))
    assert found == pytest.approx(late, abs=0.3)


@pytest.mark.parametrize(("bpm", "hat", "seed"), [(126.0, 0.1, 1), (122.7, 0.3, 2), (131.0, 0.02, 3)])
def test_injected_offsets_of_other_songs_are_found_within_five(bpm: float, hat: float, seed: int) -> None:
    first = band(126.0, 0.1, 0.15, 7)
    for late in OFFSETS[::2]:
        second = band(bpm, 0.3 + late / 1000, hat, seed)
        found = told(first, second, grid(126.0, 0.1 * RATE), grid(bpm, 0.3 * RATE))
        assert found == pytest.approx(late, abs=2.0)


@pytest.mark.parametrize(
    ("late", "wrong", "into_bpm"),
    [
        (0.0, 12.0, 126.0),
        (-25.0, 7.5, 121.3),
        (18.0, -18.0, 131.0),
        (30.0, 0.0, 126.0),
        (0.0, 9.0, 63.0),
        (-11.0, 4.0, 63.0),
    ],
)
def test_the_verdict_is_what_one_hears(late: float, wrong: float, into_bpm: float) -> None:
    """The second song's grid is wrong: its clicks are later than it says, by `wrong` ms of the recording."""
    blend = Blend(bpm=126.0, into_bpm=into_bpm, late_ms=late)
    speed = 126.0 / into_bpm if into_bpm > 100 else 1.0
    if into_bpm < 100:
        blend = attrs.evolve(blend, matched=False)  # half as many beats fit as they are
    sources = {
        "one": metronome(126.0, 1000 / RATE),
        "two": metronome(into_bpm, (4321 + wrong / 1000 * RATE) / RATE),
    }
    transition = blend.transition()
    verdict = judge(transition, blend.facts, correction=heard(transition, sources))
    assert verdict.offset == pytest.approx(late + wrong / speed, abs=1.0)
    assert verdict.offset == pytest.approx(rendered_offset(blend, sources), abs=1.0)


def rendered_offset(blend: Blend, sources: dict[str, Any]) -> float:
    """Milliseconds by which the second deck's clicks are later than the first one's, in their rendered sound."""
    moment = blend.moment(30)
    one, two = (
        starts(cubic_read(sources[deck.song or ""], deck.position, deck.speed, 6 * RATE))
        for deck in (moment.a, moment.b)
    )
    away = two[:, None] - one[None, :]
    nearest = away[np.arange(len(two)), np.abs(away).argmin(axis=1)]
    return float(np.median(nearest)) / RATE * 1000


def starts(sound: Any) -> Any:
    """Frames at which clicks begin."""
    loud = np.flatnonzero(np.abs(sound[:, 0]) > 0.05)
    return loud[np.concatenate(([True], np.diff(loud) > RATE // 10))][1:]


def test_a_hat_on_the_off_beat_is_not_taken_for_the_beat() -> None:
    first = band(126.0, 0.1, 0.02, 7)
    second = band(126.0, 0.1 + 30 / 126, 0.6, 7)  # half a beat off: its loud hats are where the first one's beats are
    assert abs(told(first, second, grid(126.0, 0.1 * RATE), grid(126.0, 0.1 * RATE))) <= 0.125 * 60_000 / 126


def test_the_other_way_round_is_the_other_sign() -> None:
    pictures = [
        picture(band(126.0, begin, 0.2, seed), grid(126.0, 4800.0), 0, 1e9) for begin, seed in ((0.1, 1), (0.107, 2))
    ]
    there, back = (correction(*pair) for pair in (pictures, pictures[::-1]))
    assert there == pytest.approx(-back, abs=1e-6)
    assert there > 0


@pytest.mark.parametrize("sound", ["silence", "noise", "nothing", "short"])
def test_what_has_no_beat_corrects_nothing(sound: str) -> None:
    samples = {
        "silence": np.zeros((RATE * 8, 2), np.int16),
        "noise": np.random.RandomState(3).randint(-3000, 3000, (RATE * 8, 2)).astype(np.int16),
        "nothing": np.zeros((0, 2), np.int16),
        "short": np.ones((100, 2), np.int16),
    }[sound]
    there = grid(126.0, 4800.0)
    seen = picture(samples, there, 0, RATE * 8)
    assert seen.shape == (STEPS,)
    assert np.isfinite(seen).all()
    assert correction(picture(metronome(126.0, 0.1), there, 0, 1e9), seen) == 0.0


def test_only_so_much_is_read() -> None:
    class Counted:
        dtype = np.dtype(np.int16)

        def __len__(self) -> int:
            return 10 * MOST

        def __getitem__(self, part: slice) -> Any:
            assert part.stop - part.start <= MOST
            return np.zeros((RATE, 2), np.int16)

    picture(Counted(), grid(126.0, 0.0), 0, 10.0 * MOST)  # type: ignore[arg-type]


def test_without_sound_or_grid_nothing_is_corrected() -> None:
    sources = {"one": metronome(126.0, 0.1)}
    assert heard(Blend().transition(), sources) == 0.0
    assert heard(Blend(grids=False).transition(), sources | {"two": sources["one"]}) == 0.0


def test_a_cut_is_heard_too() -> None:
    sources = {"one": metronome(126.0, 1000 / RATE), "two": metronome(126.0, (4321 + 480) / RATE)}
    transition = Blend(seconds=0.0, lead=4.0).transition()
    assert judge(transition, {}, correction=heard(transition, sources)).offset == pytest.approx(10.0, abs=1.0)


@pytest.mark.slow
async def test_recorded_music_beside_another_stretch_of_itself_is_within_five_milliseconds() -> None:
    """Tempo and first beat from the analysis; 32 beats further on, the same grid holds, so what is injected is the truth."""
    pytest.importorskip("av")
    from tests.dj.analysis import real_music
    from wsactors.dj.analysis.study import analyse
    from wsactors.dj.decode import decode_song

    try:
        songs = real_music.fetch(real_music.SINGULARITY)
    except real_music.NotFetchedError as error:
        pytest.skip(str(error))
    for name in ("Awakening", "Inevitable"):
        samples = await decoded(decode_song, songs[name])
        there = analyse(samples).grid
        assert there is not None
        begin = 20.0 * RATE
        first = picture(samples, there, begin, begin + SECONDS * RATE)
        further = begin + 32 * there.beat
        for late, sign in itertools.product((2.0, 13.0, 38.0), (1, -1)):
            wrong = attrs.evolve(there, first=there.first - sign * late / 1000 * RATE)
            second = picture(samples, wrong, further, further + SECONDS * RATE)
            found = correction(first, second) * there.beat / RATE * 1000
            assert found == pytest.approx(sign * late, abs=5.0), name


async def decoded(decode_song: Any, path: Path) -> Any:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        _song, pcm = await decode_song(descriptor, song="id", title=path.stem)
    finally:
        os.close(descriptor)
    try:
        return np.frombuffer(os.pread(pcm.descriptor, 60 * RATE * 4, 0), np.int16).reshape(-1, 2)
    finally:
        pcm.close()
