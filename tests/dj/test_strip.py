"""The mixer's values: bounds, gains, curves, and a form on the wire that lets nothing else in."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.dj.strip import BANDS, CURVES, EFFECTS, KNOBS, Crossing, Effect, Master, Phones, Strip

KNOB = st.floats(0, 1)
BALANCE = st.floats(-1, 1)
STRIPS = st.builds(
    Strip, st.floats(0, 4), BALANCE, BALANCE, BALANCE, st.booleans(), st.booleans(), st.booleans(), BALANCE, KNOB,
    st.booleans(),
)  # fmt: skip


def effects(kinds: Any) -> Any:
    return st.tuples(*(st.builds(Effect, st.just(kind), st.booleans(), KNOB, KNOB, KNOB, KNOB, KNOB) for kind in kinds))


MASTERS = st.builds(Master, st.permutations(EFFECTS).flatmap(effects), KNOB, st.floats(2_883, 144_000))
VALUES = st.one_of(STRIPS, MASTERS, st.builds(Phones, KNOB, KNOB), st.builds(Crossing, st.sampled_from([*CURVES])))
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.binary(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=12), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=20,
)


@given(VALUES)
def test_the_wire_gives_back_what_it_was_given(value: Any) -> None:
    assert type(value).from_wire(value.to_wire()) == value


@given(st.sampled_from([Strip, Effect, Master, Phones, Crossing]), JUNK)
def test_anything_else_on_the_wire_is_a_value_error(cls: Any, junk: Any) -> None:
    try:
        value = cls.from_wire(junk)
    except ValueError:
        return
    assert cls.from_wire(value.to_wire()) == value


@given(VALUES, st.data())
def test_a_single_wrong_field_is_a_value_error_or_another_value(value: Any, data: Any) -> None:
    wire = value.to_wire()
    wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(JUNK)
    try:
        again = type(value).from_wire(wire)
    except ValueError:
        return
    assert type(value).from_wire(again.to_wire()) == again


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1.01, 1.01, True, "0", None])
@pytest.mark.parametrize("field", ["low", "mid", "high", "sweep"])
def test_a_knob_is_a_number_in_its_range(field: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"strip.{field} must be a number from -1 to 1"):
        attrs.evolve(Strip(), **{field: wrong})


def test_a_fresh_strip_changes_nothing() -> None:
    assert Strip().bands == (1.0, 1.0, 1.0)
    assert (Strip().fader, Strip().trim, Strip().sweep, Master().gain) == (1.0, 1.0, 0.0, 1.0)
    assert not any(effect.on for effect in Master().effects)
    assert Phones().gains == (1.0, 0.0)


@pytest.mark.parametrize("index", range(3))
def test_a_band_s_knob_and_its_kill(index: int) -> None:
    name = BANDS[index]
    gains = [Strip().with_band(name, knob).bands[index] for knob in (-1, -0.5, 0, 1)]
    assert gains == [0.0, 0.25, 1.0, pytest.approx(10 ** (6 / 20))]
    killed = Strip().with_band(name, 0.7).with_kill(name, True)
    assert killed.bands[index] == 0.0
    assert sum(killed.bands) == 2.0
    assert killed.with_kill(name, False).bands[index] == pytest.approx(10 ** (4.2 / 20))


def test_no_such_band_effect_knob_or_order() -> None:
    with pytest.raises(ValueError, match="a band is one of low, mid, high, got 'bass'"):
        Strip().with_kill("bass", True)
    with pytest.raises(ValueError, match="an effect is one of"):
        Master().switched("delay", True)
    with pytest.raises(ValueError, match="a knob of an effect is one of"):
        Master().tuned("echo", "kind", 0.5)
    with pytest.raises(ValueError, match="once, in some order"):
        Master().ordered(["echo"] * 5)


def test_effects_keep_their_knobs_when_they_change_places() -> None:
    master = Master().switched("crush", True).tuned("echo", "time", 0.1).ordered(EFFECTS[::-1])
    assert [effect.kind for effect in master.effects] == [*EFFECTS[::-1]]
    assert master.effect("crush").on
    assert master.effect("echo").time == 0.1
    assert set(KNOBS) < {field.name for field in attrs.fields(Effect)}


@given(st.sampled_from([*CURVES]), BALANCE)
def test_every_curve_is_symmetric_and_reversible(curve: str, position: float) -> None:
    left, right = Crossing(curve).gains(position)
    assert Crossing(curve).gains(-position) == pytest.approx((right, left))
    assert Crossing(curve, reverse=True).gains(position) == pytest.approx((right, left))
    assert 0.0 <= left <= 1.0


@pytest.mark.parametrize("curve", CURVES)
def test_at_its_ends_one_strip_is_alone(curve: str) -> None:
    assert Crossing(curve).gains(-1.0) == (1.0, 0.0)
    assert Crossing(curve).gains(1.0) == (0.0, 1.0)


@given(BALANCE)
def test_what_the_curves_keep(position: float) -> None:
    left, right = Crossing("smooth").gains(position)
    assert left**2 + right**2 == pytest.approx(1.0)
    assert sum(Crossing("linear").gains(position)) == pytest.approx(1.0)
    assert max(Crossing("sharp").gains(position)) == 1.0
    if abs(position) < 0.79:
        assert Crossing("sharp").gains(position) == (1.0, 1.0)


@given(KNOB)
def test_the_musical_lengths_are_steps_of_a_beat(knob: float) -> None:
    beats = Effect("echo", time=knob).beats
    assert 1 / 16 <= beats <= 4.0
    assert (beats * 16).is_integer()
