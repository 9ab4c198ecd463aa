from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.wire.errors import ProtocolError
from wsactors.wire.midi import (
    CENTRE,
    TOP_7,
    TOP_14,
    ControlChange,
    MidiMessage,
    Note,
    Pairs,
    PitchBend,
    Turn,
    decode_midi,
    encode_midi,
)

seven = st.integers(0, TOP_7)
fourteen = st.integers(0, TOP_14)
channels = st.integers(0, 15)
messages = (
    st.builds(Note, channels, seven, seven)
    | st.builds(ControlChange, channels, seven, seven)
    | st.builds(PitchBend, channels, fourteen)
)


@given(messages)
def test_a_message_comes_back_as_it_was(message: MidiMessage) -> None:
    assert decode_midi(encode_midi(message)) == message


statuses = st.integers(0x80, 0xFF).map(lambda status: bytes([status]))


@given(st.binary(max_size=6) | st.builds(bytes.__add__, statuses, st.binary(max_size=4)))
def test_bytes_are_a_message_or_nothing_of_ours_or_refused(data: bytes) -> None:
    try:
        message = decode_midi(data)
    except ProtocolError:
        return
    assert message is None or decode_midi(encode_midi(message)) == message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("90 3c 7f", Note(0, 60, 127)),
        ("91 3c 00", Note(1, 60, 0)),
        ("80 3c 40", Note(0, 60, 0)),
        ("bf 06 40", ControlChange(15, 6, 64)),
        ("e0 00 40", PitchBend(0, CENTRE)),
        ("e0 7f 7f", PitchBend(0, TOP_14)),
        ("f8", None),
        ("fe", None),
        ("c0 05", None),
        ("a0 3c 10", None),
        ("f2 01 02", None),
        ("f0 7e 00 06 01 f7", None),
    ],
)
def test_what_controllers_send(data: str, message: MidiMessage | None) -> None:
    assert decode_midi(bytes.fromhex(data)) == message


@pytest.mark.parametrize(
    "data", ["", "3c 7f", "90", "90 3c", "90 3c 7f 00", "90 3c 80", "f0 00", "f0", "f7", "f0 80 f7", "f8 00", "f2 01"]
)
def test_what_is_no_whole_message_is_refused(data: str) -> None:
    with pytest.raises(ProtocolError, match=r"^midi: "):
        decode_midi(bytes.fromhex(data))


def test_an_endless_message_is_refused() -> None:
    with pytest.raises(ProtocolError):
        decode_midi(b"\xf0" + bytes(1_000) + b"\xf7")


@pytest.mark.parametrize("message", [Note(16, 0, 0), Note(0, 128, 1), ControlChange(0, 0, -1), PitchBend(0, 16_384)])
def test_no_message_is_made_of_what_midi_cannot_say(message: MidiMessage) -> None:
    with pytest.raises(ProtocolError):
        encode_midi(message)


def halves(value: int, *, low_first: bool = False) -> list[ControlChange]:
    both = [ControlChange(0, 1, value >> 7), ControlChange(0, 33, value & TOP_7)]
    return both[::-1] if low_first else both


@given(st.lists(st.tuples(fourteen, st.booleans(), st.sets(st.booleans())), max_size=8), fourteen)
def test_a_whole_pair_is_exact_whatever_was_lost_before(before: list[tuple[int, bool, set[bool]]], last: int) -> None:
    pairs = Pairs()
    for value, low_first, arrives in before:
        for half in halves(value, low_first=low_first):
            if (half.controller < 32) in arrives:
                pairs.take(half)
    for low_first in (False, True):
        *_, (number, turn) = [pairs.take(half) for half in halves(last, low_first=low_first)]
        assert (number, turn) == (1, Turn(last, TOP_14))


@given(fourteen, fourteen, st.booleans())
def test_between_the_halves_the_knob_is_near_where_it_was_or_where_it_is(old: int, new: int, low_first: bool) -> None:
    pairs = Pairs()
    for half in halves(old):
        pairs.take(half)
    _, between = pairs.take(halves(new, low_first=low_first)[0])
    assert between.top == TOP_14
    assert min(abs(between.value - old), abs(between.value - new)) < 128


@given(seven)
def test_a_knob_without_low_halves_has_seven_bits_and_reaches_its_end(value: int) -> None:
    number, turn = Pairs().take(ControlChange(3, 2, value))
    assert (number, turn) == (2, Turn(value, TOP_7))
    assert (turn.knob == 1.0) == (value == TOP_7)


def test_knobs_and_channels_are_kept_apart() -> None:
    pairs = Pairs()
    pairs.take(ControlChange(0, 33, 5))
    assert pairs.take(ControlChange(0, 2, 9)) == (2, Turn(9, TOP_7))
    assert pairs.take(ControlChange(1, 1, 9)) == (1, Turn(9, TOP_7))
    assert pairs.take(ControlChange(0, 1, 9)) == (1, Turn(9 << 7 | 5, TOP_14))
    with pytest.raises(ValueError, match="halves"):
        pairs.take(ControlChange(0, 64, 9))


@pytest.mark.parametrize("top", [TOP_7, TOP_14])
def test_a_balance_is_zero_in_the_middle_and_one_at_both_ends(top: int) -> None:
    places = [Turn(value, top).balance for value in range(top + 1)]
    assert places[0] == -1.0
    assert places[-1] == 1.0
    assert places[(top + 1) // 2] == 0.0
    assert places == sorted(set(places))
