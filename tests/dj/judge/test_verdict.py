"""Scores: right for what went wrong, steadily falling, the same whichever deck is which, and the good before the bad."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dj.judge.battles import A_MINOR, Blend
from wsactors.dj.analysis.values import Key
from wsactors.dj.judge.moment import Moment, SongFacts
from wsactors.dj.judge.verdict import Verdict, judge
from wsactors.dj.judge.weights import PARTS, Weights

SHORT: dict[str, Any] = {"lead": 0.4, "seconds": 2.0, "tail": 1.2}
FEW = settings(max_examples=40, deadline=None)
MISTAKES = st.fixed_dictionaries(
    {},
    optional={
        "late_ms": st.floats(-200, 200),
        "level_db": st.floats(-12, 12),
        "beats_off": st.integers(0, 40),
        "bpm": st.floats(90, 170),
        "into_bpm": st.floats(70, 180),
        "keylock": st.booleans(),
        "swap_bass": st.booleans(),
        "over": st.floats(0, 6),
        "jerks": st.integers(0, 3),
        "jump": st.floats(0, 1),
        "gap": st.floats(0.05, 2),
        "grids": st.booleans(),
        "into_key": st.builds(Key, st.integers(0, 11), st.booleans(), st.floats(0, 1)),
        "loudness": st.tuples(st.floats(-20, -5), st.floats(-20, -5)),
    },
)


def short(**mistakes: Any) -> Blend:
    return Blend(**(SHORT | mistakes))


def value(verdict: Verdict, part: str) -> float:
    found = verdict.score(part).value
    assert found is not None
    return found


def test_a_perfect_blend_has_all_points() -> None:
    verdict = Blend().verdict()
    assert [each.part for each in verdict.scores] == list(PARTS)
    assert [each.value for each in verdict.scores] == pytest.approx([100.0] * 6)
    assert verdict.total == pytest.approx(100.0)
    assert (verdict.outgoing, verdict.incoming, verdict.kind) == ("a", "b", "blend")
    assert all(each.words.endswith(".") for each in verdict.scores)


@FEW
@given(MISTAKES)
def test_it_does_not_matter_which_deck_is_which(mistakes: dict[str, Any]) -> None:
    blend = short(**mistakes)
    one = judge(blend.transition(), blend.facts)
    other = judge(blend.transition(Moment.mirrored), blend.facts)
    assert attrs.evolve(other, outgoing="a", incoming="b") == one
    assert (other.outgoing, other.incoming) == ("b", "a")


@FEW
@given(MISTAKES)
def test_the_same_is_always_judged_alike_and_within_bounds(mistakes: dict[str, Any]) -> None:
    verdict = short(**mistakes).verdict()
    assert short(**mistakes).verdict() == verdict
    assert 0.0 <= verdict.total <= 100.0
    for each in verdict.scores:
        assert each.value is None or 0.0 <= each.value <= 100.0
        assert each.words


def falls(blend: Blend, part: str, field: str, amounts: Sequence[Any]) -> None:
    """The part's score falls with every step, the total does not rise, and nothing else changes."""
    changes: list[dict[str, Any]] = [{field: amount} for amount in amounts]
    verdicts = [attrs.evolve(blend, **change).verdict() for change in changes]
    for less, more in itertools.pairwise(verdicts):
        assert value(more, part) < value(less, part)
        assert more.total < less.total
        for other in PARTS:
            if other != part:
                assert more.score(other).value == pytest.approx(less.score(other).value, abs=1e-6)


def apart(low: float, high: float, least: float) -> Any:
    """Rising amounts that differ by more than rounding."""
    return st.lists(st.floats(low, high), min_size=2, max_size=5, unique_by=lambda x: int(x / least)).map(
        lambda amounts: sorted(int(each / least) * least for each in amounts)
    )


@FEW
@given(apart(0.0, 160.0, 0.5), st.sampled_from([1, -1]), st.floats(100, 170), st.floats(0.95, 1.06))
def test_falls_with_the_offset(amounts: list[float], sign: int, bpm: float, ratio: float) -> None:
    falls(short(bpm=bpm, into_bpm=bpm * ratio, gap=0.0), "beat", "late_ms", [sign * each for each in amounts])


@FEW
@given(apart(0.0, 18.0, 0.05), st.sampled_from([1, -1]), st.booleans())
def test_falls_with_the_level(amounts: list[float], sign: int, swap_bass: bool) -> None:
    verdicts = [short(level_db=sign * each, swap_bass=swap_bass).verdict() for each in amounts]
    if swap_bass:
        for less, more in itertools.pairwise(verdicts):
            assert value(more, "level") < value(less, "level")
            assert more.total < less.total
    else:  # the basses clash less where one song is quieter
        assert value(verdicts[-1], "level") < value(verdicts[0], "level") or amounts[-1] - amounts[0] < 2


@FEW
@given(st.booleans(), st.integers(0, 11), st.floats(0.1, 1.0))
def test_falls_with_the_keys_distance(minor: bool, tonic: int, sure: float) -> None:
    first = Key(tonic, minor, 1.0)
    fifths = [Key((tonic + 7 * step) % 12, minor, sure) for step in range(7)]
    falls(short(key=first), "harmony", "into_key", fifths)


def test_falls_with_every_cent_out_of_tune() -> None:
    values = []
    for cents in range(0, 101, 5):
        speed = 2 ** (cents / 1200)
        values.append(value(short(into_bpm=126 / speed, keylock=False).verdict(), "harmony"))
    assert all(more < less for less, more in itertools.pairwise(values))
    assert value(short(into_bpm=126 / 1.03, keylock=True).verdict(), "harmony") == 100.0


@pytest.mark.parametrize(
    ("part", "field", "amounts"),
    [
        ("clipping", "over", [0.0, 0.5, 1.0, 3.0, 6.0]),
        ("smoothness", "jerks", [0, 1, 2, 3]),
        ("phrase", "beats_off", [0, 16, 8, 4, 2, 1]),
    ],
)
def test_falls_with_other_mistakes(part: str, field: str, amounts: list[Any]) -> None:
    values = [value(Blend(**{field: amount}).verdict(), part) for amount in amounts]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == len(values)


def test_falls_with_the_length_of_a_silence() -> None:
    totals = [Blend(gap=seconds).verdict().total for seconds in (0.1, 0.5, 1.0, 2.0, 5.0)]
    assert totals == sorted(totals, reverse=True)


@pytest.mark.parametrize("tempo", [0.5, 2.0])
def test_half_and_double_tempo_match(tempo: float) -> None:
    assert Blend(into_bpm=126 * tempo).verdict().total == pytest.approx(100.0)
    verdict = Blend(into_bpm=63.0 * tempo, bpm=63.0, late_ms=-12.0).verdict()
    assert verdict.offset == pytest.approx(-12.0, abs=1e-6)


@FEW
@given(st.floats(-150, 150), st.floats(100, 175), st.floats(0.9, 1.1))
def test_an_injected_offset_is_found(late: float, bpm: float, ratio: float) -> None:
    verdict = short(bpm=bpm, into_bpm=bpm * ratio, late_ms=late).verdict()
    assert verdict.offset == pytest.approx(late, abs=1e-6)


def test_tempos_that_differ_wander() -> None:
    verdict = Blend(into_bpm=128.5, matched=False).verdict()
    assert value(verdict, "beat") < 20
    assert "tempos differed" in verdict.score("beat").words


def test_what_cannot_be_judged_is_left_out() -> None:
    verdict = Blend(grids=False, key=None, over=1.0).verdict()
    assert [each.part for each in verdict.scores if each.value is None] == ["beat", "phrase", "harmony"]
    counted = [each for each in verdict.scores if each.value is not None]
    assert verdict.total == pytest.approx(
        sum((each.value or 0) * each.weight for each in counted) / sum(each.weight for each in counted)
    )
    assert verdict.offset is None


def test_a_key_that_is_a_guess_counts_little() -> None:
    wrong = Key(3, False, 0.0)
    assert value(Blend(into_key=wrong).verdict(), "harmony") == pytest.approx(70.0)
    assert "guess" in Blend(into_key=wrong).verdict().score("harmony").words


def test_songs_that_were_recorded_quieter_have_to_be_turned_up() -> None:
    blend = Blend(loudness=(-8.0, -14.0))
    assert value(blend.verdict(), "level") < 40
    assert "6.0 dB quieter" in blend.verdict().score("level").words
    assert value(attrs.evolve(blend, level_db=6.0).verdict(), "level") > 99
    assert value(judge(blend.transition(), {"one": SongFacts()}), "level") == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("mistakes", "part", "words"),
    [
        ({"late_ms": 2.0}, "beat", "lay on each other, 2.0 ms"),
        ({"late_ms": 25.0}, "beat", "25.0 ms late: heard as a flam"),
        ({"late_ms": -90.0}, "beat", "90.0 ms early: a train wreck"),
        ({"beats_off": 3}, "phrase", "3 beats off"),
        ({"beats_off": 8}, "phrase", "2 bars apart"),
        ({"swap_bass": False}, "level", "both basses were open"),
        ({"into_key": Key(0, False, 1.0)}, "harmony", "A minor (8A) and C major (8B) are neighbours"),
        ({"into_key": Key(3, False, 1.0)}, "harmony", "4 steps apart"),
        ({"over": 2.0}, "clipping", "limiter had to hold"),
        ({"gap": 1.0}, "smoothness", "1.0 s of silence"),
        ({"gap": 1.0}, "beat", "silence between them"),
        ({"jump": 0.33}, "smoothness", "1 break in the music"),
        ({"jerks": 2}, "smoothness", "back and forth"),
        ({"seconds": 0.0}, "smoothness", "A cut"),
    ],
)
def test_scores_say_why(mistakes: dict[str, Any], part: str, words: str) -> None:
    assert words in Blend(**mistakes).verdict().score(part).words


GOOD: list[dict[str, Any]] = [
    {},
    {"late_ms": 4.0},
    {"level_db": 1.0, "into_key": Key(4, True, 1.0)},
    {"into_bpm": 128.0},
    {"into_bpm": 63.0, "seconds": 30.0},
    {"seconds": 0.0},
    {"beats_off": 16, "late_ms": -3.0},
    {"into_key": Key(0, False, 0.7), "level_db": -1.5},
    {"into_key": Key(10, True, 0.1)},
]
BAD: list[dict[str, Any]] = [
    {"late_ms": 60.0},
    {"late_ms": -35.0, "beats_off": 1},
    {"into_bpm": 127.5, "matched": False},
    {"level_db": 9.0, "swap_bass": False},
    {"level_db": -8.0, "late_ms": 18.0},
    {"gap": 2.5, "beats_off": 3},
    {"beats_off": 2, "into_key": Key(3, False, 1.0), "swap_bass": False},
    {"over": 5.0, "level_db": 5.0},
    {"jerks": 3, "jump": 0.33},
    {"seconds": 0.0, "late_ms": 110.0, "beats_off": 5},
]


@pytest.mark.parametrize("seed", range(8))
def test_every_good_blend_is_before_every_bad_one(seed: int) -> None:
    """With tempos and songs that differ, and weights that differ by a third."""
    draw = random.Random(seed)
    base = draw.uniform(0.95, 1.1)
    names: dict[str, Any] = {part: Weights().of(part) * draw.uniform(0.85, 1.15) for part in PARTS}
    weights = Weights(**names) if seed else Weights()

    def total(mistakes: dict[str, Any]) -> float:
        tempos = {"bpm": 126.0 * base, "into_bpm": mistakes.get("into_bpm", 126.0) * base}
        return Blend(**(mistakes | tempos)).verdict(weights=weights).total

    worst, best = min(map(total, GOOD)), max(map(total, BAD))
    assert worst > best + 2


def test_corrections_by_ear_move_the_offset() -> None:
    blend = Blend(late_ms=10.0)
    beat = 60_000 / 126
    verdict = blend.verdict(correction=-10.0 / beat)
    assert verdict.offset == pytest.approx(0.0, abs=1e-9)
    assert value(verdict, "beat") == pytest.approx(100.0)


def test_weights_are_settings() -> None:
    weights = Weights.from_mapping({"beat": 1, "phrase": 0, "level": 0, "harmony": 0, "clipping": 0, "smoothness": 0})
    verdict = Blend(late_ms=25.0, level_db=9.0).verdict(weights=weights)
    assert verdict.total == pytest.approx(value(verdict, "beat")) == pytest.approx(50.0)
    assert value(Blend(late_ms=10.0).verdict(weights=Weights(half_beat_ms=10)), "beat") == pytest.approx(50.0)
    assert value(Blend(level_db=2.0).verdict(weights=Weights(half_level_db=2)), "level") == pytest.approx(50.0, abs=2)
    assert value(Blend(beats_off=16).verdict(weights=Weights(phrase_bars=4)), "phrase") == 100.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"beat": -1},
        {"beat": "much"},
        {"beats": 1},
        {"half_beat_ms": 0},
        {"phrase_bars": 1.5},
        dict.fromkeys(PARTS, 0),
    ],
)
def test_impossible_weights_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Weights.from_mapping(wrong)


def test_the_key_that_sounds_is_what_counts() -> None:
    """A semitone up at 5.9 % more speed: A minor sounds as B♭ minor."""
    verdict = Blend(bpm=126.0, into_bpm=126 / 2 ** (1 / 12), keylock=False, key=Key(10, True, 1.0)).verdict()
    assert value(verdict, "harmony") == pytest.approx(100.0, abs=0.01)
    assert "B♭ minor (3A)" in verdict.score("harmony").words
    assert A_MINOR.name == "A minor"
