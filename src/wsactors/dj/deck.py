"""The truth about one deck: a frozen value from which follows where it plays, and how fast, at any timeline frame.

It is an anchor (this source position, at this timeline frame), a speed of its own, and a few legs in which the speed
differs from that: a platter that brakes, spins up, is let go or pushed. A position is a sum of straight lines and
parabolas, computed from the anchor and never by adding up steps, so nothing drifts, a render process that was killed is
rebuilt from the truth alone, and a command may be carried out as of a frame that has gone by. Verbs make new values;
those of every player are methods here, the others functions in `deck_cues`, `deck_loops` and `deck_motion`.

Positions are source frames as float64 and may lie outside the song, where there is silence. A loop does not bend the
motion: `position_at` goes straight on, and `folded` says which place of the song that is.
"""

from __future__ import annotations

import math
from typing import Any, Self

import attrs

from wsactors.dj.beatgrid import Beatgrid
from wsactors.dj.timeline import SAMPLE_RATE
from wsactors.dsp.bounds import MAX_RATE

MAX_GAIN = 4.0
"""Largest linear gain of a deck or the master: +12 dB."""
HOTCUES = 8
"""Hotcues of a deck, numbered from 1."""
PITCH_RANGES = (0.08, 0.16, 0.5)
"""How far the pitch fader reaches: ±8, ±16 or ±50 per cent."""
MIN_LOOP = 64.0
"""Source frames of the shortest loop."""
MAX_LEGS = 8
MAX_LEG = 60 * SAMPLE_RATE
"""Frames of the longest leg: a minute."""
LOCK_SPEEDS = (0.5, 2.0)
"""Speeds between which the key can be kept; a platter that is slower, faster or backwards sounds like one."""
MAX_POSITION = float(1 << 40)
MAX_FRAME = 1 << 50


def number(name: str, value: object, low: float, high: float) -> float:
    """`value` as a float. Raises `ValueError` unless it is a number from `low` to `high`."""
    if type(value) not in {int, float} or not low <= value <= high:  # type: ignore[operator]
        raise ValueError(f"{name} must be a number from {low} to {high}, got {value!r}")
    return float(value)  # type: ignore[arg-type]


def between(low: float, high: float) -> Any:
    """A field that holds a float from `low` to `high`."""

    def check(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        number(attribute.name, value, low, high)

    return check


def whole(low: int, high: int) -> Any:
    """A field that holds a whole number from `low` to `high`."""

    def check(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{attribute.name} must be a whole number from {low} to {high}, got {value!r}")

    return check


def as_float(value: Any) -> Any:
    """A converter: whole numbers become floats, so that equal truths are equal on the wire."""
    return float(value) if type(value) is int else value


def _flag(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if type(value) is not bool:
        raise ValueError(f"{attribute.name} must be true or false, got {value!r}")


_POSITION = between(-MAX_POSITION, MAX_POSITION)
_SPEED = between(-MAX_RATE, MAX_RATE)


def _check_song(_instance: object, _attribute: object, value: Any) -> None:
    if not (value is None or isinstance(value, str)):
        raise ValueError(f"a song's id is a text, got {value!r}")


def _check_grid(_instance: object, _attribute: object, value: Any) -> None:
    if not (value is None or isinstance(value, Beatgrid)):
        raise ValueError(f"a deck's grid is a Beatgrid, got {value!r}")


def _check_legs(_instance: object, _attribute: object, value: object) -> None:
    if not isinstance(value, tuple) or len(value) > MAX_LEGS or not all(isinstance(leg, Leg) for leg in value):
        raise ValueError(f"a motion has at most {MAX_LEGS} legs")


def _check_hotcues(_instance: object, _attribute: object, value: object) -> None:
    if not isinstance(value, tuple) or len(value) != HOTCUES:
        raise ValueError(f"a deck has {HOTCUES} hotcues")
    for each in value:
        if each is not None:
            number("a hotcue", each, 0.0, MAX_POSITION)


def _check_range(_instance: object, _attribute: object, value: object) -> None:
    if value not in PITCH_RANGES:
        raise ValueError(f"a pitch range is one of {PITCH_RANGES}, got {value!r}")


@attrs.frozen
class Leg:
    """A stretch in which the speed differs from the deck's own: by `begin` at first, by `end` at last, evenly between."""

    frames: int = attrs.field(validator=whole(1, MAX_LEG))
    begin: float = attrs.field(converter=as_float, validator=between(-2 * MAX_RATE, 2 * MAX_RATE))
    end: float = attrs.field(converter=as_float, validator=between(-2 * MAX_RATE, 2 * MAX_RATE))

    def travelled(self, frames: float) -> float:
        """Source frames gained (or lost) in its first `frames` frames."""
        return self.begin * frames + (self.end - self.begin) * frames * frames / (2 * self.frames)

    def excess(self, frames: float) -> float:
        """By how much the speed differs after `frames` of its frames."""
        return self.begin + (self.end - self.begin) * frames / self.frames


@attrs.frozen
class DeckState:
    """What one deck plays. Make new ones with the verbs; each takes the timeline frame at which it happens.

    A verb for a frame before the anchor happens at the anchor: what was before is no longer known.
    """

    song: str | None = attrs.field(default=None, validator=_check_song)
    """The id of the loaded song; None is an empty deck."""
    frames: int = attrs.field(default=0, validator=whole(0, int(MAX_POSITION)))
    """How long the loaded song is, in source frames."""
    playing: bool = attrs.field(default=False, validator=_flag)
    position: float = attrs.field(default=0.0, converter=as_float, validator=_POSITION)
    """The source frame that is at the head at timeline frame `frame`."""
    frame: int = attrs.field(default=0, validator=whole(-MAX_FRAME, MAX_FRAME))
    """The timeline frame of the anchor."""
    rate: float = attrs.field(default=1.0, converter=as_float, validator=_SPEED)
    """Where the pitch fader stands, in source frames per timeline frame; 1.0 is the recorded speed."""
    gain: float = attrs.field(default=1.0, converter=as_float, validator=between(0.0, MAX_GAIN))
    loop: bool = attrs.field(default=False, validator=_flag)
    """Whether the whole song repeats without a seam, as it was made to."""
    grid: Beatgrid | None = attrs.field(default=None, validator=_check_grid)
    legs: tuple[Leg, ...] = attrs.field(default=(), validator=_check_legs)
    """What the speed does from the anchor on, one after the other, before it is the deck's own."""
    touch: float | None = attrs.field(default=None, validator=attrs.validators.optional(_SPEED))
    """The speed of the hand that holds the platter; None when nobody does."""
    bend: float = attrs.field(default=0.0, converter=as_float, validator=between(-1.0, 1.0))
    """Speed added while somebody pushes (or holds back) the platter's rim."""
    reverse: bool = attrs.field(default=False, validator=_flag)
    keylock: bool = attrs.field(default=False, validator=_flag)
    """Whether the key stays when the speed changes."""
    quantize: bool = attrs.field(default=False, validator=_flag)
    """Whether points are set on beats, and jumps keep the beat."""
    pitch_range: float = attrs.field(default=PITCH_RANGES[0], validator=_check_range)
    cue: float = attrs.field(default=0.0, converter=as_float, validator=between(0.0, MAX_POSITION))
    """The cue point."""
    hotcues: tuple[float | None, ...] = attrs.field(default=(None,) * HOTCUES, validator=_check_hotcues)
    preview: int | None = attrs.field(default=None, validator=attrs.validators.optional(whole(0, HOTCUES)))
    """The button that lets a paused deck play while it is held: 0 is CUE, 1 to 8 a hotcue."""
    loop_in: float | None = attrs.field(default=None, validator=attrs.validators.optional(_POSITION))
    loop_out: float | None = attrs.field(default=None, validator=attrs.validators.optional(_POSITION))
    looping: bool = attrs.field(default=False, validator=_flag)
    """Whether the stretch from `loop_in` to `loop_out` repeats."""
    slip: bool = attrs.field(default=False, validator=_flag)
    """Whether the song goes on silently behind loops, scratches, jumps and reverse, to be come back to."""
    rolling: bool = attrs.field(default=False, validator=_flag)
    """Whether the loop is a roll: it ends where the song would be without it."""
    shadow: float | None = attrs.field(default=None, validator=attrs.validators.optional(_POSITION))
    """The source frame at the anchor of the song that goes on silently; None when none does."""
    synced: bool = attrs.field(default=False, validator=_flag)
    """Whether it follows the other deck's beat."""

    def __attrs_post_init__(self) -> None:
        if self.looping and (self.loop_in is None or self.loop_out is None or self.loop_out - self.loop_in < MIN_LOOP):
            raise ValueError(f"a loop needs an in and an out point, at least {MIN_LOOP:g} frames after it")

    # -- arithmetic --

    @property
    def cruise(self) -> float:
        """The speed when no leg changes it: the hand's if there is one, the fader's if it plays, else 0."""
        if self.touch is not None:
            return self.touch
        if not self.playing or self.song is None:
            return 0.0
        return (-self.rate if self.reverse else self.rate) + self.bend

    def speed_at(self, frame: int) -> float:
        """Source frames per timeline frame at timeline frame `frame`."""
        at = frame - self.frame
        for leg in self.legs:
            if at < leg.frames:
                return self.cruise + leg.excess(max(0, at))
            at -= leg.frames
        return self.cruise

    def position_at(self, frame: int) -> float:
        """The source frame at the head at timeline frame `frame`, as if there were no loop (see `heard_at`)."""
        at = frame - self.frame
        position = self.position + at * self.cruise
        begin = 0
        for leg in self.legs:
            position += leg.travelled(float(min(max(at - begin, 0), leg.frames)))
            begin += leg.frames
        return position

    @property
    def region(self) -> tuple[float, float] | None:
        """The stretch that repeats, if any does."""
        if self.looping and self.loop_in is not None and self.loop_out is not None:
            return self.loop_in, self.loop_out
        return (0.0, float(self.frames)) if self.loop and self.frames else None

    @property
    def catches(self) -> tuple[bool, bool]:
        """Whether the loop's end and its start send the head back: not one it has already passed at the anchor."""
        region = self.region
        if region is None:
            return False, False
        return self.position < region[1] or not self.looping, self.position >= region[0]

    def folded(self, position: float) -> float:
        """The place of the song that a position of this motion is: the loop's turns taken away."""
        region = self.region
        if region is None:
            return position
        start, end = region
        above, below = self.catches
        if (position >= end and above) or (position < start and below):
            return start + (position - start) % (end - start)
        return position

    def heard_at(self, frame: int) -> float:
        """The source frame heard at timeline frame `frame`: `position_at`, folded by the loop."""
        return self.folded(self.position_at(frame))

    def shadow_at(self, frame: int) -> float | None:
        """Where the song that goes on silently is at timeline frame `frame`."""
        if self.shadow is None:
            return None
        shadow = self.shadow + (frame - self.frame) * self.rate
        return shadow % self.frames if self.loop and self.frames else shadow

    @property
    def legs_end(self) -> int:
        """The timeline frame at which the last leg is over."""
        return self.frame + sum(leg.frames for leg in self.legs)

    def still_from(self) -> int | None:
        """The timeline frame from which on it stands still; None if it goes on moving."""
        return self.legs_end if self.cruise == 0.0 else None

    def lock_from(self) -> int | None:
        """The timeline frame from which on its key is kept; None if it is not."""
        low, high = LOCK_SPEEDS
        cruise = self.cruise
        if not self.keylock or self.touch is not None or not low <= cruise <= high:
            return None
        since = at = self.frame
        for leg in self.legs:
            at += leg.frames
            if not (low <= cruise + leg.begin <= high and low <= cruise + leg.end <= high):
                since = at
        return since

    def ends_at(self) -> int | None:
        """The timeline frame at which the song runs out; None if it never does (paused, looping, backwards, empty)."""
        if self.song is None or self.cruise <= 0.0 or (self.region is not None and self.catches[0]):
            return None
        if self.position >= self.frames:
            return self.frame
        low, high = self.frame, self.legs_end
        if self.position_at(high) < self.frames:
            left = (self.frames - self.position_at(high)) / self.cruise
            return high + max(0, math.ceil(left)) if left < MAX_FRAME else None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.position_at(middle) < self.frames else (low, middle)
        return high

    # -- verbs --

    def anchored(self, frame: int, **changes: Any) -> Self:
        """The same motion, told from timeline frame `frame` on; with `changes`, another from there."""
        frame = max(frame, self.frame)
        legs = self._legs_from(frame)
        moved: dict[str, Any] = {
            "position": self.heard_at(frame),
            "frame": frame,
            "legs": legs,
            "shadow": self.shadow_at(frame),
        }
        return attrs.evolve(self, **(moved | changes))

    def _legs_from(self, frame: int) -> tuple[Leg, ...]:
        at = frame - self.frame
        rest = []
        for leg in self.legs:
            if at < leg.frames:
                done = max(0, at)
                rest.append(Leg(leg.frames - done, leg.excess(done), leg.end))
            at -= leg.frames
        return tuple(rest)

    def load(
        self, frame: int, song: str | None, frames: int, *, loop: bool = False, grid: Beatgrid | None = None
    ) -> Self:
        """Put a song of `frames` source frames on the deck, at its start and paused, without cues or loops.

        Where faders stand and switches are set stays, except that nobody touches the platter.
        """
        return type(self)(
            song, frames, frame=max(frame, self.frame), rate=self.rate, gain=self.gain, loop=loop and song is not None,
            grid=grid, keylock=self.keylock, quantize=self.quantize, pitch_range=self.pitch_range, slip=self.slip,
            synced=self.synced,
        )  # fmt: skip

    def eject(self, frame: int) -> Self:
        """Take the song off."""
        return self.load(frame, None, 0)

    def play(self, frame: int) -> Self:
        """Start, or go on, at `frame`; with slip, where the song has gone on to meanwhile. Ends a preview by going on."""
        if self.song is None or (self.playing and self.preview is None):
            return self
        deck = self.anchored(frame, playing=True, preview=None)
        if self.playing or not self.slip:
            return deck
        if deck.shadow is not None:
            deck = attrs.evolve(deck, position=deck.shadow)
        return attrs.evolve(deck, shadow=deck.position)

    def pause(self, frame: int) -> Self:
        """Stop at `frame`, keeping the place."""
        return self.anchored(frame, playing=False, legs=(), bend=0.0, preview=None)

    def seek(self, frame: int, position: float) -> Self:
        """Jump to source frame `position`; raises `ValueError` outside the song."""
        place = number("position", position, 0.0, float(self.frames))
        return self.anchored(frame, position=place, shadow=None if self.shadow is None else place)

    def with_rate(self, frame: int, rate: float) -> Self:
        """Change the speed from `frame` on, without a jump; raises `ValueError` beyond ±4."""
        return self.anchored(frame, rate=rate)

    def with_gain(self, gain: float) -> Self:
        """Change the gain (linear, 0 to 4)."""
        return attrs.evolve(self, gain=gain)
