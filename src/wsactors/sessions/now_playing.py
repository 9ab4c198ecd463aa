"""What a battle tells its listeners besides sound: which songs are on the decks, where they are, where the crossfader is.

The payload of the event ``"state"`` of the native protocol; ``docs/protocol.md`` lists its fields. Pure.
"""

from __future__ import annotations

from typing import Any, Final

from wsactors.dj.state import Crossfader
from wsactors.dj.timeline import SAMPLE_RATE
from wsactors.sessions.messages import DeckTruth, MixerTruth
from wsactors.wire.native import Event, Plain, clip, encode

STATE: Final = "state"
"""The event's name."""
INTERVAL: Final = 0.25
"""Seconds between two of them at least: a crossfader that moves is told four times a second."""
_TEXT: Final = 200


def state_key(session: str) -> tuple[str, str]:
    """The key under which it is offered: of those that wait for a slow reader only the newest is sent."""
    return (STATE, session)


def state_event(session: str, decks: dict[str, DeckTruth], mixer: MixerTruth, frame: int) -> bytes:
    """The encoded event: how things are at timeline frame ``frame``."""
    payload: dict[str, Plain] = {
        "frame": frame,
        "decks": [_deck(name, truth, frame) for name, truth in decks.items()],
        "crossfader": round(mixer.crossfader.at(frame), 3),
        "master": mixer.master,
    }
    return encode(Event(session, STATE, payload))


def moves(fader: Crossfader, frame: int) -> bool:
    """Whether the fader may be elsewhere after ``frame`` without anybody touching it."""
    return bool(fader.period) or frame < fader.origin + fader.length


def _deck(name: str, truth: DeckTruth, frame: int) -> Plain:
    state, song = truth.state, truth.song
    end = state.ends_at()
    deck: dict[str, Any] = {
        "deck": name,
        "title": "" if song is None else clip(song.title, _TEXT),
        "artist": "" if song is None else clip(song.artist, _TEXT),
        "playing": state.playing and (end is None or frame < end),
        "position": round(min(max(state.heard_at(frame), 0.0), float(state.frames)) / SAMPLE_RATE, 3),
        "duration": round(state.frames / SAMPLE_RATE, 3),
        "rate": state.rate,
        "loop": state.loop,
    }
    if song is not None and song.bpm is not None:
        deck["bpm"] = round(song.bpm * state.rate, 2)
    return deck
