"""From what a controller says to what its DJ means: one `Mapper` for each controller.

It asks the *panel* where controls are now: a function that is given a command and says what value it would change (1 or 0
for what is on or off), or None when that is not known. The panel shows what has been sent before it is asked again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from wsactors.wire.midi import TOP_7, TOP_14, ControlChange, MidiMessage, Note, Pairs, PitchBend, Turn

from .command import COMMANDS, Command, Jog, Nudge, Pause, Play, Scratch
from .mapping import HELD, SWITCHES, Control, ControllerMapping, is_of_a_deck

Panel: TypeAlias = Callable[[Command], float | None]
TOLERANCE: Final = 0.025
"""How near a knob has to be to its control to take it over, as a part of its range: three steps of 127."""
_BALANCED: Final = frozenset({"pitch", "eq", "sweep", "crossfader"})
_SPANS: Final = {"gain": 4.0}
_Key: TypeAlias = tuple[Any, ...]


class Takeover:
    """Keeps a knob from jumping: it has its control only once it has been where that is, or has passed it."""

    def __init__(self) -> None:
        # One entry for each knob and deck.
        self._knobs: dict[_Key, tuple[float, float | None]] = {}

    def allows(self, key: _Key, value: float, current: float | None, tolerance: float) -> bool:
        """Whether a knob that is at ``value`` now moves its control, which is at ``current``."""
        before, sent = self._knobs.get(key, (None, None))
        has_it = current is None or (sent is not None and abs(current - sent) <= tolerance)
        if not has_it and current is not None:
            passed = before is not None and (before - current) * (value - current) <= 0
            has_it = passed or abs(value - current) <= tolerance
        self._knobs[key] = (value, value if has_it else None)
        return has_it


class Mapper:
    """Turns messages into commands. ``takeover`` overrules the mapping's own."""

    def __init__(self, mapping: ControllerMapping, panel: Panel, *, takeover: bool | None = None) -> None:
        self._mapping = mapping
        self._panel = panel
        self._takeover = Takeover() if (mapping.takeover if takeover is None else takeover) else None
        self._pairs = Pairs()
        self._touched: set[str] = set()

    def take(self, message: MidiMessage, deck: str | None = None) -> tuple[Command, ...]:
        """The commands that a message means; often one, none for what is not mapped.

        ``deck`` says whose message it is where the protocol does; else its channel does.
        """
        match message:
            case Note(channel, note, velocity):
                control = self._mapping.find("button", channel, note)
                return (
                    () if control is None else self._button(control, self._deck(control, channel, deck), velocity > 0)
                )
            case ControlChange(channel):
                control, turn = self._knob(message)
                return () if control is None else self._turned(control, self._deck(control, channel, deck), turn)
            case PitchBend(channel, value):
                control = self._mapping.find("wheel", channel)
                return () if control is None else self._wheel(control, self._deck(control, channel, deck), value)

    def _deck(self, control: Control, channel: int, deck: str | None) -> str | None:
        return control.deck or deck or self._mapping.channels.get(channel)

    def _knob(self, message: ControlChange) -> tuple[Control | None, Turn]:
        control = self._mapping.find("knob", message.channel, message.controller)
        high = control
        if control is None and 32 <= message.controller < 64:
            high = self._mapping.find("knob", message.channel, message.controller - 32)
        if high is not None and high.bits == 14:
            return high, self._pairs.take(message)[1]
        return control, Turn(message.value, TOP_7)

    # -- buttons --

    def _button(self, control: Control, deck: str | None, pressed: bool) -> tuple[Command, ...]:
        if is_of_a_deck(control.does):
            return () if deck is None else self._deck_button(control, deck, pressed)
        return self._pushed(control, {}, pressed)

    def _deck_button(self, control: Control, deck: str, pressed: bool) -> tuple[Command, ...]:
        match control.does:
            case "touch":
                (self._touched.add if pressed else self._touched.discard)(deck)
                return (Scratch(deck, 0.0 if pressed else None),)
            case "nudge":
                return (Nudge(deck, dict(control.values)["amount"] if pressed else 0.0),)
            case "play":
                on = self._switched(control, Play(deck), pressed)
                return () if on is None else (Play(deck),) if on else (Pause(deck),)
        return self._pushed(control, {"deck": deck}, pressed)

    def _pushed(self, control: Control, about: dict[str, Any], pressed: bool) -> tuple[Command, ...]:
        make: Callable[..., Command] = COMMANDS[control.does]
        fields = about | dict(control.values)
        if control.does in HELD:
            if control.mode != "click":
                return (make(**fields, pressed=pressed),)
            return (make(**fields, pressed=True), make(**fields, pressed=False)) if pressed else ()
        if control.does in SWITCHES:
            on = self._switched(control, make(**fields, on=True), pressed)
            return () if on is None else (make(**fields, on=on),)
        return (make(**fields),) if pressed else ()

    def _switched(self, control: Control, asked: Command, pressed: bool) -> bool | None:
        """What a switch is to be now; None: as it is."""
        if control.mode == "hold":
            return pressed
        return not self._panel(asked) if pressed else None

    # -- knobs and wheels --

    def _turned(self, control: Control, deck: str | None, turn: Turn) -> tuple[Command, ...]:
        fields = dict(control.values)
        if is_of_a_deck(control.does):
            if deck is None:
                return ()
            fields["deck"] = deck
        place = turn.balance if control.does in _BALANCED | {"gain"} else turn.knob
        if control.invert:
            place = -place if control.does in _BALANCED | {"gain"} else 1.0 - place
        # A gain's knob goes from a quarter to four times: the same number of decibels on both sides.
        value = 4.0**place if control.does == "gain" else place
        fields["position" if control.does == "crossfader" else "value"] = value
        make: Callable[..., Command] = COMMANDS[control.does]
        command = make(**fields)
        if self._takeover is not None:
            span = _SPANS.get(control.does, 2.0 if control.does in _BALANCED else 1.0)
            key = (control.does, deck if is_of_a_deck(control.does) else None, control.values)
            if not self._takeover.allows(key, value, self._panel(command), TOLERANCE * span):
                return ()
        return (command,)

    def _wheel(self, control: Control, deck: str | None, value: int) -> tuple[Command, ...]:
        if deck is None:
            return ()
        speed = Turn(value, TOP_14).balance * control.speed * (-1 if control.invert else 1)
        return (Scratch(deck, speed) if deck in self._touched else Jog(deck, speed),)
