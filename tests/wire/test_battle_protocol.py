from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.wire import battle_protocol as battle
from wsactors.wire.battle_protocol import (
    BattleQuery,
    JoinBattle,
    LeaveBattle,
    MidiCommand,
    Ping,
    RequestAudioStream,
    decode_event,
    decode_query,
    encode_event,
)
from wsactors.wire.errors import ProtocolError
from wsactors.wire.midi import ControlChange, MidiMessage, Note, PitchBend

seven = st.integers(0, 127)
deck = st.sampled_from(["A", "B"])
ids = st.text(min_size=1, max_size=128)
times = st.floats(-1e15, 1e15) | st.integers(-(10**15), 10**15)
moved: dict[str, Any] = {
    "timestamp": st.none() | times, "latency_compensation": st.none() | times, "frame": st.none() | st.integers(0, 1 << 52)
}  # fmt: skip
events = (
    st.builds(JoinBattle, ids, st.none() | ids)
    | st.builds(LeaveBattle, st.none() | ids, st.none() | ids)
    | st.builds(MidiCommand, st.just("note"), deck, note=seven, velocity=st.none() | seven, **moved)
    | st.builds(MidiCommand, st.just("cc"), deck, controller=seven, value=seven, **moved)
    | st.builds(MidiCommand, st.just("pitch_bend"), deck, value=st.integers(0, 16_383), **moved)
    | st.builds(Ping, st.none() | times)
    | st.builds(RequestAudioStream, st.none() | ids, st.none() | st.text(max_size=30))
)
json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
near = st.sampled_from(["note", "cc", "pitch_bend", "A", "B", 0, 60, 127, 128, 16_383, "b", None])
commands = st.dictionaries(
    st.sampled_from(["type", "deck", "note", "controller", "value", "velocity", "x"]), near | json_like
)
nearly = st.dictionaries(st.sampled_from(["battleId", "playerId", "offer", "timestamp"]), near | json_like) | commands


@given(events)
def test_an_event_comes_back_as_it_was(event: battle.ClientEvent) -> None:
    assert decode_event(*encode_event(event)) == event


@given(
    st.sampled_from(sorted(battle.CLIENT_EVENTS)) | st.text(max_size=12),
    st.lists(nearly | json_like | st.builds(lambda command: {"command": command}, commands | json_like), max_size=2),
)
def test_whatever_a_client_says_is_an_event_or_refused(name: str, arguments: list[Any]) -> None:
    try:
        event = decode_event(name, arguments)
    except ProtocolError:
        return
    assert decode_event(*encode_event(event)) == event
    if isinstance(event, MidiCommand):
        event.message(0)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"type": "note", "deck": "A", "note": 60, "velocity": 127}, Note(0, 60, 127)),
        ({"type": "note", "deck": "A", "note": 60, "velocity": 0}, Note(0, 60, 0)),
        ({"type": "note", "deck": "A", "note": 60, "value": 0}, Note(0, 60, 0)),
        ({"type": "note", "deck": "B", "note": 62}, Note(0, 62, 127)),
        ({"type": "cc", "deck": "A", "controller": 1, "value": 64}, ControlChange(0, 1, 64)),
        ({"type": "pitch_bend", "deck": "A", "value": 16_383}, PitchBend(0, 16_383)),
        (
            {"type": "cc", "deck": "A", "controller": 1, "value": 1, "timestamp": 17.25, "latencyCompensation": 3.5},
            ControlChange(0, 1, 1),
        ),
    ],
)
def test_both_of_the_source_s_clients_are_understood(payload: dict[str, Any], message: MidiMessage) -> None:
    for argument in (payload, {"battleId": "b1", "playerId": "p1", "command": payload}):
        event = decode_event("midi-command", [argument])
        assert isinstance(event, MidiCommand)
        assert event.message(0) == message
        assert event.deck == payload["deck"]


def test_a_ping_is_a_number_or_a_map_or_nothing() -> None:
    assert decode_event("ping", [12.5]) == decode_event("ping", [{"timestamp": 12.5}]) == Ping(12.5)
    assert decode_event("ping", []) == decode_event("ping", [None]) == Ping()


@pytest.mark.parametrize(
    ("name", "payload", "field"),
    [
        ("midi-command", {"type": "sysex", "deck": "A"}, "midi-command.type"),
        ("midi-command", {"type": "note", "deck": "a", "note": 1}, "midi-command.deck"),
        ("midi-command", {"type": "note", "deck": "A"}, "midi-command.note"),
        ("midi-command", {"type": "note", "deck": "A", "note": 128}, "midi-command.note"),
        ("midi-command", {"type": "note", "deck": "A", "note": 60.5}, "midi-command.note"),
        ("midi-command", {"type": "cc", "deck": "A", "controller": 1}, "midi-command.value"),
        ("midi-command", {"type": "cc", "deck": "A", "controller": 1, "value": 128}, "midi-command.value"),
        ("midi-command", {"type": "pitch_bend", "deck": "A", "value": 16_384}, "midi-command.value"),
        ("midi-command", {"type": "note", "deck": "A", "note": 1, "power": 9}, "midi-command"),
        ("midi-command", {"command": {"type": "note"}, "battleId": 3}, "midi-command.battleId"),
        ("midi-command", None, "midi-command"),
        ("join-battle", {"playerId": "x"}, "join-battle.battleId"),
        ("join-battle", {"battleId": ""}, "join-battle.battleId"),
        ("join-battle", {"battleId": "x" * 129}, "join-battle.battleId"),
        ("ping", True, "ping"),
        ("ping", float("inf"), "ping.timestamp"),
        ("request-audio-stream", {"offer": "v" * 20_000}, "request-audio-stream.offer"),
    ],
)
def test_a_refusal_names_the_field(name: str, payload: Any, field: str) -> None:
    with pytest.raises(ProtocolError, match=rf"^{field}: "):
        decode_event(name, [payload])


def test_what_is_no_event_of_the_protocol_is_refused() -> None:
    with pytest.raises(ProtocolError, match="join-battle, leave-battle, midi-command, ping, request-audio-stream"):
        decode_event("format-disk", [{}])
    with pytest.raises(ProtocolError, match="one argument"):
        decode_event("ping", [1, 2])


def test_the_address_names_battle_and_player_and_may_say_more() -> None:
    assert decode_query({"EIO": "4", "battleId": "b1", "playerId": "p1"}) == BattleQuery("b1", "p1")
    with pytest.raises(ProtocolError, match=r"^query\.playerId: missing"):
        decode_query({"battleId": "b1"})


@given(st.sampled_from([Note(0, 1, 2), ControlChange(0, 3, 4), PitchBend(0, 5_000)]), deck)
def test_a_page_passes_a_controller_s_message_on(message: MidiMessage, name: str) -> None:
    event = decode_event(*encode_event(battle.midi_command(message, name)))
    assert isinstance(event, MidiCommand)
    assert event.message(0) == message
    assert battle.deck_outside(battle.deck_inside(event.deck)) == name
