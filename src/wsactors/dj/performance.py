"""What commands do to a battle: from one truth to the next, at a frame. Pure, so a log of commands gives the same truths again.

A `Performance` keeps what the truth does not need to know and commands do: the beats that were tapped. Who may give a command,
and at which frame it happens, has been decided before (`wsactors.dj.permission`, `wsactors.dj.stamp`). `panel` says where a
control stands, for soft take-over and for buttons that toggle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import attrs

from . import command as say
from . import deck_cues, deck_loops, deck_motion, sync
from .beatgrid import Beatgrid
from .command import Command, DeckCommand, PrivateCommand
from .deck import DeckState
from .state import BattleState
from .strip import MAX_BEAT, MIN_BEAT, Phones, Strip
from .timeline import SAMPLE_RATE

JOG: Final = 0.25
"""How much of its own speed a wheel turned by its rim adds to a deck that plays."""
NUDGE: Final = 0.08
"""How much speed a nudge button adds."""
MAX_TAPS: Final = 64
TAP_PAUSE: Final = 3 * SAMPLE_RATE
"""Frames after which a tap begins anew."""

_DeckVerb: TypeAlias = Callable[[DeckState, int, Any], DeckState]


@attrs.frozen
class LoadedSong:
    """What is known of a song when it is put on a deck."""

    frames: int
    """How long it is, in source frames."""
    grid: Beatgrid | None = None
    trim: float = 1.0
    """The linear gain that makes it as loud as others."""
    loop: bool = False
    """Whether it was made to repeat without a seam."""


def _jog(deck: DeckState, frame: int, said: say.Jog) -> DeckState:
    if deck.playing and deck.touch is None:
        return deck_motion.bend(deck, frame, min(1.0, max(-1.0, said.speed * JOG)))
    if said.speed == 0.0:
        return deck_motion.release(deck, frame)
    return deck if deck.playing else deck_motion.scratch(deck, frame, said.speed)


def _scratch(deck: DeckState, frame: int, said: say.Scratch) -> DeckState:
    return deck_motion.release(deck, frame) if said.speed is None else deck_motion.scratch(deck, frame, said.speed)


def _grid(deck: DeckState) -> Beatgrid:
    if deck.grid is None:
        raise ValueError("the song has no beatgrid: analyse it, or tap one")
    return deck.grid


_GRID_VERBS: Final[Mapping[str, Callable[[Beatgrid], Beatgrid]]] = {
    "double": Beatgrid.doubled,
    "halve": Beatgrid.halved,
    "three_halves": Beatgrid.three_halves,
    "two_thirds": Beatgrid.two_thirds,
}

_VERBS: Final[Mapping[type[DeckCommand], _DeckVerb]] = {
    say.Eject: lambda deck, at, _: deck.eject(at),
    say.Play: lambda deck, at, _: deck.play(at),
    say.Pause: lambda deck, at, _: deck.pause(at),
    say.Cue: lambda deck, at, said: (deck_cues.cue_press if said.pressed else deck_cues.cue_release)(deck, at),
    say.Hotcue: lambda deck, at, said: (deck_cues.hotcue_press if said.pressed else deck_cues.hotcue_release)(
        deck, at, said.number
    ),
    say.SetHotcue: lambda deck, at, said: deck_cues.hotcue_set(deck, at, said.number),
    say.ClearHotcue: lambda deck, _, said: deck_cues.with_hotcue(deck, said.number, None),
    say.Seek: lambda deck, at, said: deck.seek(at, said.position),
    say.BeatJump: lambda deck, at, said: deck_motion.beat_jump(deck, at, said.beats),
    say.LoopIn: lambda deck, at, _: deck_loops.loop_in(deck, at),
    say.LoopOut: lambda deck, at, _: deck_loops.loop_out(deck, at),
    say.LoopBeats: lambda deck, at, said: deck_loops.beat_loop(deck, at, said.beats),
    say.LoopRoll: lambda deck, at, said: (
        deck_loops.roll(deck, at, said.beats) if said.pressed else deck_loops.loop_exit(deck, at)
    ),
    say.HalveLoop: lambda deck, at, _: deck_loops.loop_halve(deck, at),
    say.DoubleLoop: lambda deck, at, _: deck_loops.loop_double(deck, at),
    say.ExitLoop: lambda deck, at, _: deck_loops.loop_exit(deck, at),
    say.Reloop: lambda deck, at, _: deck_loops.reloop(deck, at),
    say.Slip: lambda deck, at, said: deck_motion.slip(deck, at, said.on),
    say.Reverse: lambda deck, at, said: deck_motion.reverse(deck, at, said.on),
    say.Brake: lambda deck, at, said: deck_motion.brake(deck, at, said.seconds),
    say.SpinUp: lambda deck, at, said: deck_motion.spin_up(deck, at, said.seconds),
    say.Pitch: lambda deck, at, said: deck_motion.with_pitch(deck, at, said.value),
    say.PitchRange: lambda deck, _, said: deck_motion.with_pitch_range(deck, said.percent / 100),
    say.Keylock: lambda deck, at, said: deck_motion.with_keylock(deck, at, said.on),
    say.Quantize: lambda deck, _, said: deck_motion.with_quantize(deck, said.on),
    say.Jog: _jog,
    say.Scratch: _scratch,
    say.Nudge: lambda deck, at, said: deck_motion.bend(deck, at, said.amount * NUDGE),
    say.Sync: lambda deck, _, said: deck_motion.with_sync(deck, said.on),
    say.Lead: lambda deck, _, __: deck_motion.with_sync(deck, False),
    say.ScaleGrid: lambda deck, _, said: deck_motion.with_grid(deck, _GRID_VERBS[said.by](_grid(deck))),
    say.ShiftGrid: lambda deck, _, said: deck_motion.with_grid(deck, _grid(deck).shifted(said.beats)),
    say.Downbeat: lambda deck, at, _: deck_motion.with_grid(deck, _grid(deck).with_downbeat(deck.heard_at(at))),
    say.Gain: lambda deck, _, said: deck.with_gain(said.value),
}

_STRIP_VERBS: Final[Mapping[type[DeckCommand], Callable[[Strip, Any], Strip]]] = {
    say.Volume: lambda strip, said: attrs.evolve(strip, volume=said.value),
    say.Eq: lambda strip, said: strip.with_band(said.band, said.value),
    say.Kill: lambda strip, said: strip.with_kill(said.band, said.on),
    say.Sweep: lambda strip, said: attrs.evolve(strip, sweep=said.value),
    say.Pfl: lambda strip, said: attrs.evolve(strip, pfl=said.on),
}


class Performance:
    """A battle that is being played: the truth, and what leads from one to the next."""

    def __init__(self, state: BattleState) -> None:
        self.state = state
        self._taps: dict[str, list[tuple[int, float]]] = {}

    def perform(
        self, command: Command, frame: int, *, decks: tuple[str, ...] = say.DECKS, song: LoadedSong | None = None
    ) -> BattleState:
        """Carry out a command as of a timeline frame; the truth from there on.

        ``decks`` are those of whoever gave it (whose headphones are meant), and ``song`` is what a `Load` puts on the deck.

        Raises:
            ValueError: It is not possible now; the text says why, for whoever gave it. Nothing has changed.
        """
        if isinstance(command, DeckCommand):
            state = self._on_deck(command, frame, song)
        elif isinstance(command, PrivateCommand):
            state = _in_phones(self.state, command, decks)
        else:
            state = _in_mix(self.state, command, frame)
        self.state = _kept_in_time(state, frame)
        return self.state

    def settle(self, frame: int) -> BattleState:
        """Let a deck that is synced follow the other, which may have drifted or braked since. To be done now and then."""
        self.state = _kept_in_time(self.state, frame)
        return self.state

    def _on_deck(self, command: DeckCommand, frame: int, song: LoadedSong | None) -> BattleState:
        name = command.deck
        deck: DeckState = getattr(self.state, name)
        strip: Strip = getattr(self.state, f"strip_{name}")
        if (turn := _STRIP_VERBS.get(type(command))) is not None:
            return _with(self.state, **{f"strip_{name}": turn(strip, command)})
        if isinstance(command, say.Load):
            if song is None:
                raise ValueError("this song is not ready: load it again in a moment")
            loaded = deck.load(frame, command.song, song.frames, loop=song.loop, grid=song.grid)
            self._taps.pop(name, None)
            return _with(self.state, **{name: loaded, f"strip_{name}": attrs.evolve(strip, trim=song.trim)})
        if isinstance(command, say.TapGrid):
            return _with(self.state, **{name: self._tapped(name, deck, frame)})
        changes: dict[str, Any] = {name: _VERBS[type(command)](deck, frame, command)}
        if isinstance(command, say.Sync) and command.on:
            # Two decks that follow each other would follow nobody.
            other = "b" if name == "a" else "a"
            changes[other] = deck_motion.with_sync(getattr(self.state, other), False)
        return _with(self.state, **changes)

    def _tapped(self, name: str, deck: DeckState, frame: int) -> DeckState:
        if deck.song is None or not deck.playing:
            raise ValueError("tap along while the song plays")
        taps = self._taps.get(name, [])
        if taps and not 0 < frame - taps[-1][0] <= TAP_PAUSE:
            taps = []
        taps = [*taps, (frame, deck.heard_at(frame))][-MAX_TAPS:]
        if len(taps) > 1:
            places = [place for _, place in taps]
            grid = deck.grid if deck.grid is not None else Beatgrid.of(120.0, places[0])
            deck = deck_motion.with_grid(deck, grid.tapped(places))
        self._taps[name] = taps
        return deck


def _with(state: BattleState, **changes: Any) -> BattleState:
    return attrs.evolve(state, **changes)


def _in_mix(state: BattleState, command: Command, frame: int) -> BattleState:
    match command:
        case say.MoveCrossfader(position):
            return _with(state, crossfader=state.crossfader.moved(frame, position))
        case say.CrossfaderCurve(curve):
            return _with(state, crossing=attrs.evolve(state.crossing, curve=curve))
        case say.ReverseCrossfader(on):
            return _with(state, crossing=attrs.evolve(state.crossing, reverse=on))
        case say.MasterVolume(value):
            return _with(state, bus=attrs.evolve(state.bus, volume=value))
        case say.SwitchEffect(effect, on):
            return _with(state, bus=state.bus.switched(effect, on))
        case say.TuneEffect(effect, parameter, value):
            return _with(state, bus=state.bus.tuned(effect, parameter, value))
        case say.OrderEffects(effects):
            return _with(state, bus=state.bus.ordered(effects))
    raise ValueError("there is no such command")


def _in_phones(state: BattleState, command: PrivateCommand, decks: tuple[str, ...]) -> BattleState:
    changes: dict[str, Any] = {}
    for name in decks:
        phones: Phones = getattr(state, f"phones_{name}")
        match command:
            case say.CueMix(value):
                changes[f"phones_{name}"] = attrs.evolve(phones, mix=value)
            case say.CueVolume(value):
                changes[f"phones_{name}"] = attrs.evolve(phones, volume=value)
    return _with(state, **changes)


def _kept_in_time(state: BattleState, frame: int) -> BattleState:
    """The synced deck on the other one's beat, and the effects on that of whichever leads."""
    a, b = state.a, state.b
    if a.synced:
        a = sync.follow(b, a, frame)
    elif b.synced:
        b = sync.follow(a, b, frame)
    first, second = (b, a) if a.synced or not a.playing else (a, b)
    leader = first if first.playing else second
    beat = state.bus.beat
    if leader.playing and leader.grid is not None and leader.rate:
        beat = min(max(leader.grid.beat / abs(leader.rate), MIN_BEAT), MAX_BEAT)
    bus = state.bus if beat == state.bus.beat else attrs.evolve(state.bus, beat=beat)
    return state if (a is state.a and b is state.b and bus is state.bus) else _with(state, a=a, b=b, bus=bus)


# -- where controls stand ----------------------------------------------------------------------------------------------


def panel(state: BattleState, command: Command, frame: int) -> float | None:
    """The value that ``command`` would change: of a knob where it stands, of a switch 1 or 0; None for what is neither."""
    if isinstance(command, DeckCommand):
        return _deck_panel(getattr(state, command.deck), getattr(state, f"strip_{command.deck}"), command)
    match command:
        case say.MoveCrossfader():
            return state.crossfader.at(frame)
        case say.ReverseCrossfader():
            return float(state.crossing.reverse)
        case say.MasterVolume():
            return state.bus.volume
        case say.SwitchEffect(effect):
            return float(state.bus.effect(effect).on)
        case say.TuneEffect(effect, parameter):
            value: float = getattr(state.bus.effect(effect), parameter)
            return value
    return None


def _deck_panel(deck: DeckState, strip: Strip, command: DeckCommand) -> float | None:
    match command:
        case say.Play() | say.Pause():
            return float(deck.playing)
        case say.Pitch():
            return (deck.rate - 1.0) / deck.pitch_range
        case say.Gain():
            return deck.gain
        case say.Sync():
            return float(deck.synced)
        case say.Slip() | say.Reverse() | say.Keylock() | say.Quantize():
            return float(getattr(deck, command.KIND))
        case say.Volume() | say.Sweep() | say.Pfl():
            return float(getattr(strip, command.KIND))
        case say.Eq(_, band):
            return float(getattr(strip, band))
        case say.Kill(_, band):
            return float(getattr(strip, f"kill_{band}"))
    return None
