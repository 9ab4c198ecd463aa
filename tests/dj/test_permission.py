from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dj.commands import commands
from wsactors.dj import command as dj
from wsactors.dj.permission import CROSSFADER_RULES, Refusal, Round, Seats, refusal_of

SEATS = Seats("ana", "bo")
rounds = st.builds(Round, st.sampled_from(CROSSFADER_RULES), st.sampled_from([None, "a", "b"]))


def code(refusal: Refusal | None) -> str | None:
    return None if refusal is None else refusal.code


@given(commands, rounds)
def test_nobody_touches_another_s_deck_whatever_the_round(command: dj.Command, now: Round) -> None:
    for subject, deck in (("ana", "a"), ("bo", "b")):
        answer = code(refusal_of(command, subject, SEATS, now))
        if isinstance(command, dj.DeckCommand):
            assert answer == (None if command.deck == deck else "not_your_deck")
        elif isinstance(command, dj.PrivateCommand):
            assert answer is None
        else:
            assert answer == (None if deck in now.mixers() else "not_your_turn")


@given(commands, rounds, st.sampled_from(["", "mallory", "A", "a", "playerA", "ana "]))
def test_whoever_has_no_seat_can_do_nothing(command: dj.Command, now: Round, subject: str) -> None:
    assert code(refusal_of(command, subject, SEATS, now)) == "not_a_player"
    assert code(refusal_of(command, subject, Seats(), now)) == "not_a_player"


def test_an_anonymous_seat_is_nobody_s() -> None:
    assert code(refusal_of(dj.Play("a"), "", Seats("", None), Round())) == "not_a_player"


@given(commands)
def test_who_practises_has_both_decks(command: dj.Command) -> None:
    assert refusal_of(command, "ana", Seats("ana", "ana"), Round("turn", "b")) is None


@pytest.mark.parametrize(
    ("rule", "turn", "mixers"),
    [
        ("both", None, ("a", "b")), ("both", "a", ("a", "b")), ("turn", "a", ("a",)), ("turn", "b", ("b",)),
        ("turn", None, ()), ("a", "b", ("a",)), ("b", "a", ("b",)), ("nobody", "a", ()),
    ],
)  # fmt: skip
def test_who_has_the_crossfader(rule: str, turn: str | None, mixers: tuple[str, ...]) -> None:
    assert Round(rule, turn).mixers() == mixers


def test_there_are_no_other_rules() -> None:
    with pytest.raises(ValueError, match="crossfader"):
        Round("loudest")
    with pytest.raises(ValueError, match="turn"):
        Round("turn", "c")
