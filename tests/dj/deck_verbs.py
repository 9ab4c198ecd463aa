"""Any sequence of things done to a deck, for properties; and a deck that is stepped frame by frame, to compare with."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hypothesis import strategies as st

from wsactors.dj import deck_cues as cues
from wsactors.dj import deck_loops as loops
from wsactors.dj import deck_motion as motion
from wsactors.dj.beatgrid import Beatgrid
from wsactors.dj.deck import DeckState

FRAMES = 480_000
GRID = Beatgrid(300.0, 23_040.7)
Verb = Callable[[DeckState, int], DeckState]


def loaded(**changes: object) -> DeckState:
    """A deck with ten seconds of song, paused at its start."""
    deck = DeckState(**changes)  # type: ignore[arg-type]
    return deck.load(deck.frame, "song", FRAMES, grid=GRID)


def verb(function: Callable[..., DeckState], *arguments: object) -> Verb:
    """A verb with its arguments: what remains is the deck and the frame. One that is refused changes nothing."""

    def happen(deck: DeckState, frame: int) -> DeckState:
        try:
            return function(deck, frame, *arguments)
        except ValueError:
            return deck

    return happen


def with_arguments(
    function: Callable[..., DeckState], *arguments: st.SearchStrategy[object]
) -> st.SearchStrategy[Verb]:
    return st.tuples(*arguments).map(lambda given: verb(function, *given))


_beats = st.sampled_from([1 / 32, 1 / 16, 0.25, 1.0, 4.0])
_number = st.integers(1, 8)
_flag = st.booleans()
_seconds = st.floats(0.0, 1.0)
VERBS: st.SearchStrategy[Verb] = st.one_of(
    with_arguments(DeckState.play),
    with_arguments(DeckState.pause),
    with_arguments(DeckState.seek, st.floats(0, FRAMES)),
    with_arguments(DeckState.with_rate, st.floats(-4.0, 4.0)),
    with_arguments(lambda deck, frame, gain: deck.with_gain(gain), st.floats(0, 4)),
    with_arguments(cues.cue_press),
    with_arguments(cues.cue_release),
    with_arguments(cues.hotcue_press, _number),
    with_arguments(cues.hotcue_release, _number),
    with_arguments(loops.loop_in),
    with_arguments(loops.loop_out),
    with_arguments(loops.beat_loop, _beats),
    with_arguments(loops.roll, _beats),
    with_arguments(loops.loop_exit),
    with_arguments(loops.reloop),
    with_arguments(loops.loop_halve),
    with_arguments(loops.loop_double),
    with_arguments(motion.with_pitch, st.floats(-1.0, 1.0)),
    with_arguments(motion.with_keylock, _flag),
    with_arguments(lambda deck, frame, on: motion.with_quantize(deck, on), _flag),
    with_arguments(motion.brake, _seconds),
    with_arguments(motion.spin_up, _seconds),
    with_arguments(motion.reverse, _flag),
    with_arguments(motion.slip, _flag),
    with_arguments(motion.scratch, st.floats(-4.0, 4.0)),
    with_arguments(motion.release),
    with_arguments(motion.bend, st.floats(-1.0, 1.0)),
    with_arguments(motion.nudge, st.floats(-3000.0, 3000.0)),
    with_arguments(motion.beat_jump, st.sampled_from([-4.0, -0.5, 1.0, 8.0])),
)
SCRIPTS: st.SearchStrategy[list[tuple[int, Verb]]] = st.lists(st.tuples(st.integers(0, 30_000), VERBS), max_size=12)


def told(deck: DeckState, script: Iterable[tuple[int, Verb]]) -> list[DeckState]:
    """The truths of a script: each verb so many frames after the one before."""
    truths = [deck]
    frame = deck.frame
    for wait, happen in script:
        frame += wait
        truths.append(happen(truths[-1], frame))
    return truths


def stepped(deck: DeckState, frame: int) -> float:
    """Where the deck is at a frame, found by going there step by step, without any formula of the deck's for places."""
    position = deck.position
    for at in range(deck.frame, frame):
        position += (speed(deck, at) + speed(deck, at + 1)) / 2
    return position


def speed(deck: DeckState, frame: int) -> float:
    """The speed at a frame, from the legs as they are written down."""
    at = frame - deck.frame
    for leg in deck.legs:
        if at <= leg.frames:
            return deck.cruise + leg.begin + (leg.end - leg.begin) * at / leg.frames
        at -= leg.frames
    return deck.cruise
