"""Commands to one deck."""

from __future__ import annotations

from typing import ClassVar

import attrs

from wsactors.wire.native_schema import boolean, message_field, one_of, optional, text

from .command_fields import (
    BALANCE,
    BEATS,
    GRID_FACTORS,
    MAX_SONG_ID,
    MAX_SOURCE_FRAME,
    NUMBER,
    SPEED,
    DeckCommand,
    percent,
    real,
)

# -- playback ----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Load(DeckCommand):
    """Put a song on the deck."""

    KIND: ClassVar[str] = "load"
    song: str = message_field(text(MAX_SONG_ID, empty=False))


@attrs.frozen
class Eject(DeckCommand):
    """Take the song off."""

    KIND: ClassVar[str] = "eject"


@attrs.frozen
class Play(DeckCommand):
    """Start."""

    KIND: ClassVar[str] = "play"


@attrs.frozen
class Pause(DeckCommand):
    """Stop, and keep the place."""

    KIND: ClassVar[str] = "pause"


@attrs.frozen
class Cue(DeckCommand):
    """The CUE button goes down, or up again: what it does then is up to CDJ manners."""

    KIND: ClassVar[str] = "cue"
    pressed: bool = message_field(boolean, True)


@attrs.frozen
class Hotcue(DeckCommand):
    """A hotcue's pad goes down, or up again: it jumps there, or is set when it is empty."""

    KIND: ClassVar[str] = "hotcue"
    number: int = message_field(NUMBER)
    pressed: bool = message_field(boolean, True)


@attrs.frozen
class SetHotcue(DeckCommand):
    """Set a hotcue where the deck is, also over another."""

    KIND: ClassVar[str] = "set_hotcue"
    number: int = message_field(NUMBER)


@attrs.frozen
class ClearHotcue(DeckCommand):
    """Forget a hotcue."""

    KIND: ClassVar[str] = "clear_hotcue"
    number: int = message_field(NUMBER)


@attrs.frozen
class Seek(DeckCommand):
    """Go to a place in the song."""

    KIND: ClassVar[str] = "seek"
    position: float = message_field(real(0.0, MAX_SOURCE_FRAME))
    """In source frames."""


@attrs.frozen
class BeatJump(DeckCommand):
    """Go so many beats further, or back."""

    KIND: ClassVar[str] = "beat_jump"
    beats: float = message_field(real(-128.0, 128.0))


# -- loops -------------------------------------------------------------------------------------------------------------


@attrs.frozen
class LoopIn(DeckCommand):
    """A loop begins here."""

    KIND: ClassVar[str] = "loop_in"


@attrs.frozen
class LoopOut(DeckCommand):
    """The loop ends here: go back to where it begins."""

    KIND: ClassVar[str] = "loop_out"


@attrs.frozen
class LoopBeats(DeckCommand):
    """Loop so many beats from here."""

    KIND: ClassVar[str] = "loop_beats"
    beats: float = message_field(BEATS)


@attrs.frozen
class LoopRoll(DeckCommand):
    """Loop so many beats while the pad is held; the song goes on underneath."""

    KIND: ClassVar[str] = "loop_roll"
    beats: float = message_field(BEATS)
    pressed: bool = message_field(boolean, True)


@attrs.frozen
class HalveLoop(DeckCommand):
    """Half the loop."""

    KIND: ClassVar[str] = "halve_loop"


@attrs.frozen
class DoubleLoop(DeckCommand):
    """Twice the loop."""

    KIND: ClassVar[str] = "double_loop"


@attrs.frozen
class ExitLoop(DeckCommand):
    """Play on beyond the loop's end."""

    KIND: ClassVar[str] = "exit_loop"


@attrs.frozen
class Reloop(DeckCommand):
    """Enter the last loop again."""

    KIND: ClassVar[str] = "reloop"


# -- motion ------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Slip(DeckCommand):
    """Whether the song goes on underneath loops, scratches and reverse."""

    KIND: ClassVar[str] = "slip"
    on: bool = message_field(boolean)


@attrs.frozen
class Reverse(DeckCommand):
    """Whether it plays backwards."""

    KIND: ClassVar[str] = "reverse"
    on: bool = message_field(boolean)


@attrs.frozen
class Brake(DeckCommand):
    """Stop as a platter does whose motor is off."""

    KIND: ClassVar[str] = "brake"
    seconds: float = message_field(real(0.05, 8.0), 1.0)


@attrs.frozen
class SpinUp(DeckCommand):
    """Start as a platter does whose motor is on again."""

    KIND: ClassVar[str] = "spin_up"
    seconds: float = message_field(real(0.05, 8.0), 0.5)


@attrs.frozen
class Pitch(DeckCommand):
    """Move the pitch fader."""

    KIND: ClassVar[str] = "pitch"
    value: float = message_field(BALANCE)
    """-1 is the slow end of the fader's range, 1 the fast one."""


@attrs.frozen
class PitchRange(DeckCommand):
    """How far the pitch fader reaches."""

    KIND: ClassVar[str] = "pitch_range"
    percent: int = message_field(percent)


@attrs.frozen
class Keylock(DeckCommand):
    """Whether the key stays when the tempo changes."""

    KIND: ClassVar[str] = "keylock"
    on: bool = message_field(boolean)


@attrs.frozen
class Quantize(DeckCommand):
    """Whether cues and loops keep to the beat."""

    KIND: ClassVar[str] = "quantize"
    on: bool = message_field(boolean)


@attrs.frozen
class Jog(DeckCommand):
    """Turn the jog wheel by its rim: pushes a deck that plays, moves one that stands. 0 lets go."""

    KIND: ClassVar[str] = "jog"
    speed: float = message_field(SPEED)
    """Of the wheel; 1 is that of a record that plays."""


@attrs.frozen
class Scratch(DeckCommand):
    """Hold the platter and move it; None lets go."""

    KIND: ClassVar[str] = "scratch"
    speed: float | None = message_field(optional(SPEED))
    """Of the hand; 1 is that of a record that plays."""


@attrs.frozen
class Nudge(DeckCommand):
    """Be a little faster, or slower, for as long as the button is held. 0 lets go."""

    KIND: ClassVar[str] = "nudge"
    amount: float = message_field(BALANCE)


@attrs.frozen
class Sync(DeckCommand):
    """Whether the deck follows the other one's beat."""

    KIND: ClassVar[str] = "sync"
    on: bool = message_field(boolean)


@attrs.frozen
class Lead(DeckCommand):
    """This deck's tempo counts."""

    KIND: ClassVar[str] = "lead"


# -- beatgrid ----------------------------------------------------------------------------------------------------------


@attrs.frozen
class ScaleGrid(DeckCommand):
    """The song's tempo was misread."""

    KIND: ClassVar[str] = "scale_grid"
    by: str = message_field(one_of(*GRID_FACTORS))


@attrs.frozen
class ShiftGrid(DeckCommand):
    """The song's beats are later by so much, in beats."""

    KIND: ClassVar[str] = "shift_grid"
    beats: float = message_field(BALANCE)


@attrs.frozen
class Downbeat(DeckCommand):
    """The beat nearest to here is the first of a bar and of a phrase."""

    KIND: ClassVar[str] = "downbeat"


@attrs.frozen
class TapGrid(DeckCommand):
    """A beat is here."""

    KIND: ClassVar[str] = "tap_grid"
