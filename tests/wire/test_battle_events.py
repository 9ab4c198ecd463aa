from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.wire import battle_events as events
from wsactors.wire import json_door
from wsactors.wire.battle_events import decode_server_event, encode_server_event
from wsactors.wire.errors import ProtocolError

numbers = st.integers(-100, 100) | st.floats(-100, 100)
part = st.integers(0, 1) | st.floats(0, 1)
decks = st.sampled_from(["A", "B"])
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
frames = st.integers(0, 1 << 50)
scores = st.fixed_dictionaries({"A": numbers, "B": numbers})
players = st.fixed_dictionaries({"A": st.none() | ids, "B": st.none() | ids})


def several(item: st.SearchStrategy[Any], size: int = 0, most: int = 5) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(item, min_size=size, max_size=size or most).map(tuple)


deck_states = st.builds(
    events.DeckStateUpdate, decks, st.booleans(), st.floats(0, 999), numbers, part, numbers,
    st.builds(events.Equaliser, part, part, part),
    several(st.builds(events.HotcueState, st.booleans(), numbers)), several(st.floats(-1, 1)), several(numbers),
    st.none() | ids, st.none() | ids, st.none() | part, st.none() | frames,
)  # fmt: skip
level = st.integers(0, 255)
spectra = st.builds(
    events.SpectrumData,
    st.builds(
        events.ProcessedSpectrum, several(level), st.builds(events.FrequencyBands, *[level] * 7), part, part, part, part
    ),
    st.builds(
        events.AudioFeatures, numbers, numbers, numbers, part, part, several(numbers, 13), several(numbers, 12),
        several(numbers, 6), st.none() | numbers, st.none() | numbers,
    ),
    numbers,
)  # fmt: skip
messages = st.one_of(
    deck_states,
    st.builds(
        events.BattleState, ids, st.sampled_from(["waiting", "playing", "over"]), players, st.floats(-1, 1), part, frames,
        numbers, st.none() | decks, st.none() | decks, st.none() | st.integers(0, 9), st.none() | part,
        st.none() | st.integers(0, 9), several(deck_states, most=2),
    ),
    st.builds(events.MidiResponse, st.booleans(), st.none() | ids, st.none() | ids, st.none() | decks, st.none() | frames),
    st.builds(events.AudioSync, frames, numbers, st.just(48_000), st.none() | part),
    st.builds(events.BeatSync, decks, part, numbers, frames, st.booleans(), st.none() | numbers),
    st.builds(events.VisualizationData, several(st.floats(-1, 1)), several(part), numbers),
    st.builds(events.AudioVisualization, several(st.floats(-1, 1)), several(part), numbers),
    spectra,
    st.builds(events.AiFeedback, several(st.builds(events.FeedbackItem, st.floats(0, 100), ids))),
    st.builds(events.TransitionDetected, st.integers(0, 9), decks, decks, decks, frames, frames),
    st.builds(
        events.ScoreUpdate, scores, st.none() | scores, st.none() | st.integers(0, 9),
        st.none() | st.dictionaries(ids, numbers, max_size=4),
    ),
    st.builds(events.BattleStart, ids, players, frames, numbers),
    st.builds(events.BattleEnd, ids, ids, scores, st.none() | decks, st.none() | ids),
    st.builds(events.AudioStreamAnswer, st.just("webtransport"), st.none() | ids, st.none() | ids),
)  # fmt: skip
json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["A", "B"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(messages)
def test_an_event_comes_back_as_it_was_over_json(message: events.ServerEvent) -> None:
    name, arguments = encode_server_event(message)
    travelled = json_door.loads(json_door.dumps(arguments))
    assert isinstance(travelled, list)
    assert decode_server_event(name, travelled) == message


@given(messages, st.data())
def test_an_event_with_a_field_changed_is_an_event_or_refused(message: events.ServerEvent, data: st.DataObject) -> None:
    name, (payload,) = encode_server_event(message)
    changed: Any = payload
    if isinstance(changed, dict):
        changed[data.draw(st.sampled_from([*changed, "x"]))] = data.draw(json_like)
    elif isinstance(changed, list):
        changed.append(data.draw(json_like))
    try:
        found = decode_server_event(name, [changed])
    except ProtocolError:
        return
    assert decode_server_event(*encode_server_event(found)) == found


@given(st.sampled_from(sorted(events.SERVER_EVENTS)) | st.text(max_size=8), st.lists(json_like, max_size=2))
def test_whatever_comes_is_an_event_or_refused(name: str, arguments: list[Any]) -> None:
    try:
        decode_server_event(name, arguments)
    except ProtocolError:
        return


def test_every_event_of_the_source_is_there() -> None:
    assert set(events.SERVER_EVENTS) == {
        "battle-state", "midi-response", "audio-sync", "beat-sync", "visualization-data", "spectrum-data", "ai-feedback",
        "battle-start", "battle-end", "transition-detected", "score-update", "deck-state-update", "audio-visualization",
        "audio-stream-answer",
    }  # fmt: skip


def test_the_source_s_page_finds_its_names_in_a_deck() -> None:
    deck = events.DeckStateUpdate(
        "A", True, 128.0, 1.5, 0.8, 12.25, events.Equaliser(0.5, 0.5, 0.0), (events.HotcueState(True, 3.5),)
    )
    assert encode_server_event(deck) == (
        "deck-state-update",
        [{
            "deck": "A", "isPlaying": True, "bpm": 128.0, "pitch": 1.5, "volume": 0.8, "position": 12.25,
            "eq": {"high": 0.5, "mid": 0.5, "low": 0.0}, "hotcues": [{"active": True, "position": 3.5}],
            "waveform": [], "beatgrid": [],
        }],
    )  # fmt: skip


def test_the_source_s_page_finds_its_names_in_a_spectrum_and_in_the_judge_s_words() -> None:
    spectrum = events.SpectrumData(
        events.ProcessedSpectrum((0, 255), events.FrequencyBands(1, 2, 3, 4, 5, 6, 7), 440.0, 1.0, 2.0, 0.1),
        events.AudioFeatures(0.1, 0.5, 5.0, 1.0, 2.0, (0.0,) * 13, (0.0,) * 12, (0.0,) * 6),
        17.5,
    )
    _, (payload,) = encode_server_event(spectrum)
    assert isinstance(payload, dict)
    assert set(payload) == {"spectrum", "features", "timestamp"}
    inner: Any = payload["spectrum"]
    assert inner["rawSpectrum"] == [0, 255]
    assert inner["frequencyBands"] == {
        "sub": 1, "bass": 2, "lowMid": 3, "mid": 4, "highMid": 5, "treble": 6, "presence": 7
    }  # fmt: skip
    feedback = events.AiFeedback((events.FeedbackItem(80, "on the beat"),))
    assert encode_server_event(feedback) == ("ai-feedback", [[{"score": 80, "description": "on the beat"}]])


def test_an_acknowledgement_says_success_or_why_not() -> None:
    assert events.acknowledgement(events.MidiResponse(True, frame=96_000)) == {"success": True, "frame": 96_000}
    refused = events.MidiResponse(False, "deck B is not yours", "not_your_deck")
    assert events.acknowledgement(refused) == {
        "success": False,
        "error": "deck B is not yours",
        "code": "not_your_deck",
    }


@pytest.mark.parametrize("field", ["bpm", "volume", "position", "eq"])
def test_what_is_out_of_bounds_is_not_sent(field: str) -> None:
    deck = events.DeckStateUpdate("A", True, 128.0, 1.5, 0.8, 12.25, events.Equaliser(0.5, 0.5, 0.0), ())
    changed: Any = {field: float("nan")}
    with pytest.raises(ProtocolError, match=rf"^deck-state-update\.{field}: "):
        encode_server_event(attrs.evolve(deck, **changed))
