"""What a node sends on the namespace ``/battle``: events of a battle, and acknowledgements.

Units are the source's: pitch in per cent, volume and equaliser from 0 to 1 (0.5 is flat), the crossfader from -1 to 1,
positions in seconds, times in milliseconds of the node's clock. Frames are those of the timeline, 48,000 a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, TypeAlias

import attrs

from .battle_schema import (
    both,
    deck,
    from_payload,
    identity,
    listing,
    number,
    numbers,
    record,
    table,
    to_payload,
    words,
)
from .errors import ProtocolError
from .native_schema import boolean, integer, message_field, one_of, optional, refuse, text
from .plain import Plain

MAX_POINTS: Final = 4_096
"""Most points of a waveform, and bins of a spectrum."""
MAX_BEATS: Final = 10_000
"""Most beats that are told of a song."""
_ANY: Final = number()
_PART: Final = number(0, 1)
_FRAME: Final = integer(-(1 << 52), 1 << 52)
_NAMES: Final = optional(identity)


@attrs.frozen
class Equaliser:
    """The three knobs, 0 to 1; 0.5 is flat."""

    high: float = message_field(_PART)
    mid: float = message_field(_PART)
    low: float = message_field(_PART)


@attrs.frozen
class HotcueState:
    """A pad, and its place in the song in seconds."""

    active: bool = message_field(boolean)
    position: float = message_field(_ANY)


@attrs.frozen
class DeckStateUpdate:
    """A deck, as it is now."""

    EVENT: ClassVar[str] = "deck-state-update"
    deck: str = message_field(deck)
    is_playing: bool = message_field(boolean)
    bpm: float = message_field(number(0, 4_000))
    pitch: float = message_field(number(-100, 100))
    volume: float = message_field(_PART)
    position: float = message_field(_ANY)
    eq: Equaliser = message_field(record(Equaliser))
    hotcues: tuple[HotcueState, ...] = message_field(listing(record(HotcueState), 8))
    waveform: tuple[float, ...] = message_field(numbers(MAX_POINTS, -1, 1), ())
    beatgrid: tuple[float, ...] = message_field(numbers(MAX_BEATS), ())
    """Seconds of beats."""
    song: str | None = message_field(_NAMES, None)
    title: str | None = message_field(optional(words), None)
    duration: float | None = message_field(optional(number(0)), None)
    frame: int | None = message_field(optional(_FRAME), None)
    """At which this is so."""


@attrs.frozen
class BattleState:
    """The battle as a whole: told to whoever joins, and when it has changed."""

    EVENT: ClassVar[str] = "battle-state"
    battle_id: str = message_field(identity)
    phase: str = message_field(one_of("waiting", "playing", "paused", "over"))
    players: Mapping[str, str | None] = message_field(both(_NAMES))
    """Who sits at which deck."""
    crossfader: float = message_field(number(-1, 1))
    master_volume: float = message_field(_PART)
    frame: int = message_field(_FRAME)
    server_time: float = message_field(_ANY)
    you: str | None = message_field(optional(deck), None)
    """The deck of whoever is told; none: a spectator."""
    turn: str | None = message_field(optional(deck), None)
    round: int | None = message_field(optional(integer(0, 1_000)), None)
    remaining: float | None = message_field(optional(number(0)), None)
    """Seconds of the round."""
    spectators: int | None = message_field(optional(integer(0, 1 << 32)), None)
    decks: tuple[DeckStateUpdate, ...] = message_field(listing(record(DeckStateUpdate), 2), ())


@attrs.frozen
class MidiResponse:
    """What became of a command: of one's own as its acknowledgement, of all players' as an event."""

    EVENT: ClassVar[str] = "midi-response"
    success: bool = message_field(boolean)
    error: str | None = message_field(optional(words), None)
    code: str | None = message_field(_NAMES, None)
    deck: str | None = message_field(optional(deck), None)
    frame: int | None = message_field(optional(_FRAME), None)
    """The sample of the timeline at which it took effect."""


@attrs.frozen
class AudioSync:
    """Which frame is being played at which time of the node."""

    EVENT: ClassVar[str] = "audio-sync"
    frame: int = message_field(_FRAME)
    server_time: float = message_field(_ANY)
    sample_rate: int = message_field(integer(8_000, 192_000), 48_000)
    round_trip: float | None = message_field(optional(number(0)), None)
    """Milliseconds, as the node has measured it."""


@attrs.frozen
class BeatSync:
    """Where a deck is in the beat."""

    EVENT: ClassVar[str] = "beat-sync"
    deck: str = message_field(deck)
    bpm: float = message_field(number(0, 4_000))
    beat: float = message_field(_ANY)
    """Beats since the song's first downbeat."""
    frame: int = message_field(_FRAME)
    leader: bool = message_field(boolean, False)
    error: float | None = message_field(optional(_ANY), None)
    """Milliseconds by which it is late against the leader."""


@attrs.frozen
class VisualizationData:
    """What there is to draw: a stretch of the waveform, and the spectrum from 0 to 1."""

    EVENT: ClassVar[str] = "visualization-data"
    waveform: tuple[float, ...] = message_field(numbers(MAX_POINTS, -1, 1))
    spectrum: tuple[float, ...] = message_field(numbers(MAX_POINTS, 0, 1))
    timestamp: float = message_field(_ANY)


@attrs.frozen
class AudioVisualization(VisualizationData):
    """The same, by the name that the source's page listens for."""

    EVENT: ClassVar[str] = "audio-visualization"


@attrs.frozen
class FrequencyBands:
    """Mean level of seven bands, 0 to 255."""

    sub: float = message_field(number(0, 255))
    bass: float = message_field(number(0, 255))
    low_mid: float = message_field(number(0, 255))
    mid: float = message_field(number(0, 255))
    high_mid: float = message_field(number(0, 255))
    treble: float = message_field(number(0, 255))
    presence: float = message_field(number(0, 255))


@attrs.frozen
class ProcessedSpectrum:
    """The spectrum of one window, and what follows from it; frequencies in Hz."""

    raw_spectrum: tuple[int, ...] = message_field(listing(integer(0, 255), MAX_POINTS))
    """0 is -90 dB, 255 is -10 dB."""
    frequency_bands: FrequencyBands = message_field(record(FrequencyBands))
    dominant_frequency: float = message_field(number(0))
    spectral_centroid: float = message_field(number(0))
    spectral_rolloff: float = message_field(number(0))
    zero_crossing_rate: float = message_field(number(0))


@attrs.frozen
class AudioFeatures:
    """What a judge listens to."""

    rms: float = message_field(_ANY)
    peak_level: float = message_field(_ANY)
    crest_factor: float = message_field(_ANY)
    spectral_centroid: float = message_field(number(0))
    spectral_bandwidth: float = message_field(number(0))
    mfcc: tuple[float, ...] = message_field(numbers(13, exactly=True))
    chroma: tuple[float, ...] = message_field(numbers(12, exactly=True))
    tonnetz: tuple[float, ...] = message_field(numbers(6, exactly=True))
    momentary_loudness: float | None = message_field(optional(_ANY), None)
    """LUFS."""
    short_loudness: float | None = message_field(optional(_ANY), None)


@attrs.frozen
class SpectrumData:
    """The analysis of the master."""

    EVENT: ClassVar[str] = "spectrum-data"
    spectrum: ProcessedSpectrum = message_field(record(ProcessedSpectrum))
    features: AudioFeatures = message_field(record(AudioFeatures))
    timestamp: float = message_field(_ANY)


@attrs.frozen
class FeedbackItem:
    """A score from 0 to 100, in words."""

    score: float = message_field(number(0, 100))
    description: str = message_field(words)


@attrs.frozen
class AiFeedback:
    """What the judge says. Its payload is the list itself."""

    EVENT: ClassVar[str] = "ai-feedback"
    items: tuple[FeedbackItem, ...] = message_field(listing(record(FeedbackItem), 32))


@attrs.frozen
class TransitionDetected:
    """Somebody has gone from one deck to the other."""

    EVENT: ClassVar[str] = "transition-detected"
    id: int = message_field(integer(0, 1 << 32))
    player: str = message_field(deck)
    source: str = message_field(deck)
    target: str = message_field(deck)
    start_frame: int = message_field(_FRAME)
    end_frame: int = message_field(_FRAME)


@attrs.frozen
class ScoreUpdate:
    """Where the battle stands."""

    EVENT: ClassVar[str] = "score-update"
    scores: Mapping[str, float] = message_field(both(_ANY))
    votes: Mapping[str, float] | None = message_field(optional(both(_ANY)), None)
    transition: int | None = message_field(optional(integer(0, 1 << 32)), None)
    parts: Mapping[str, float] | None = message_field(optional(table(32)), None)
    """Of the transition's score."""


@attrs.frozen
class BattleStart:
    """It begins."""

    EVENT: ClassVar[str] = "battle-start"
    battle_id: str = message_field(identity)
    players: Mapping[str, str | None] = message_field(both(_NAMES))
    frame: int = message_field(_FRAME)
    server_time: float = message_field(_ANY)


@attrs.frozen
class BattleEnd:
    """It is over."""

    EVENT: ClassVar[str] = "battle-end"
    battle_id: str = message_field(identity)
    reason: str = message_field(words)
    scores: Mapping[str, float] = message_field(both(_ANY))
    winner: str | None = message_field(optional(deck), None)
    """None: nobody."""
    recording: str | None = message_field(optional(text(2_048)), None)
    """Its address."""


@attrs.frozen
class AudioStreamAnswer:
    """Not a WebRTC session, which this node does not speak: where the sound is instead."""

    EVENT: ClassVar[str] = "audio-stream-answer"
    type: str = message_field(one_of("webtransport"))
    url: str | None = message_field(optional(text(2_048)), None)
    """Of WebTransport; None when the node has none."""
    stream: str | None = message_field(optional(text(2_048)), None)
    """Of an Ogg Opus stream that any player plays."""
    message: str = message_field(
        words, "this node sends no sound by WebRTC: open the address by WebTransport, or play the stream"
    )


ServerEvent: TypeAlias = (
    DeckStateUpdate | BattleState | MidiResponse | AudioSync | BeatSync | VisualizationData | AudioVisualization
    | SpectrumData | AiFeedback | TransitionDetected | ScoreUpdate | BattleStart | BattleEnd | AudioStreamAnswer
)  # fmt: skip
_CLASSES: Final[tuple[type[ServerEvent], ...]] = (
    DeckStateUpdate, BattleState, MidiResponse, AudioSync, BeatSync, VisualizationData, AudioVisualization,
    SpectrumData, AiFeedback, TransitionDetected, ScoreUpdate, BattleStart, BattleEnd, AudioStreamAnswer,
)  # fmt: skip
SERVER_EVENTS: Final = {cls.EVENT: cls for cls in _CLASSES}


def encode_server_event(message: ServerEvent) -> tuple[str, list[Plain]]:
    """The event and its arguments. Raises `ProtocolError` when a field is out of its bounds; the caller is at fault."""
    payload = to_payload(message, message.EVENT)
    return message.EVENT, [payload["items"] if isinstance(message, AiFeedback) else payload]


def acknowledgement(response: MidiResponse) -> dict[str, Plain]:
    """What a ``midi-command`` is acknowledged with: ``{success, error}``, and the frame."""
    return to_payload(response, MidiResponse.EVENT)


def decode_server_event(event: str, arguments: Sequence[Any]) -> ServerEvent:
    """What a node says, for a client. Raises `ProtocolError`, nothing else, whatever it is."""
    cls = SERVER_EVENTS.get(event)
    if cls is None:
        raise ProtocolError("unknown event")
    if len(arguments) != 1:
        raise refuse(event, "one argument")
    payload = {"items": arguments[0]} if cls is AiFeedback else arguments[0]
    found: ServerEvent = from_payload(cls, payload, event)
    return found
