"""Deck and mixer: each holds the truth about itself, and tells its session when that changes.

A part that crashed starts anew, empty, at revision 0; its session still has what it was and gives it back. A session that
crashed asks its parts. Only when both go down in the same moment is a truth lost.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

import attrs

from wsactors.actors import UNHANDLED, Actor, Request
from wsactors.dj.clock import LEAD, soon
from wsactors.dj.state import Crossfader, DeckState
from wsactors.dj.timeline import SAMPLE_RATE
from wsactors.sessions.messages import (
    DeckTruth,
    GetState,
    LoadSong,
    MixerTruth,
    MoveCrossfader,
    PartChanged,
    Pause,
    Play,
    Refused,
    Report,
    Restore,
    Seek,
    SetGain,
    SetMaster,
    SetRate,
    SwingCrossfader,
)
from wsactors.sessions.options import BattleOptions

T = TypeVar("T", DeckTruth, MixerTruth)
MAX_AHEAD = 60 * SAMPLE_RATE
"""Frames into the future a command may be stamped for."""
MAX_WAITING = 64
"""Commands of one part that may wait for their frame."""


@attrs.frozen
class _Due:
    command: Any


class Part(Actor, Generic[T]):
    """What deck and mixer have in common: a truth, a revision, and a session to tell."""

    truth: T

    def _begin(self, options: BattleOptions, part: str, truth: T) -> None:
        self.truth = truth
        self._part = part
        self._session = options.part("session")
        self._revision = 0
        self._frame = 0
        self._waiting = 0
        self._tell()

    def handle_call(self, message: Any, caller: Request) -> Any:
        if isinstance(message, GetState):
            return self.truth
        return self._obey(message)

    def handle_cast(self, message: Any) -> Any:
        match message:
            case Report():
                self._tell()
                return None
            case Restore(revision, truth) if self._revision == 0 and isinstance(truth, type(self.truth)):
                self.truth, self._revision = truth, revision
                return None
            case Restore():
                return None  # somebody gave it a newer truth meanwhile
        return UNHANDLED if self._obey(message) is UNHANDLED else None

    def handle_info(self, message: Any) -> Any:
        match message:
            case _Due(command):
                self._waiting -= 1
                self._obey(command)
                return None
            case _:
                return UNHANDLED

    def _obey(self, command: Any) -> Any:
        """Carry out a command: the new truth, `Refused`, or UNHANDLED."""
        earliest = soon()
        frame = max(getattr(command, "at", None) or earliest, earliest)
        if frame > earliest + LEAD:
            return self._later(command, frame - earliest)
        try:
            changed = self._changed(command, frame)
        except ValueError as error:
            return Refused(str(error))
        if changed is None:
            return UNHANDLED
        self.truth = changed
        self._revision += 1
        self._frame = frame
        self._tell()
        return changed

    def _later(self, command: Any, frames: int) -> Any:
        """Keep a command until shortly before its frame: a truth is whole, and holds from now on, not from some day."""
        if frames > MAX_AHEAD:
            return Refused(f"a command may be at most {MAX_AHEAD // SAMPLE_RATE} seconds ahead")
        if self._waiting >= MAX_WAITING:
            return Refused(f"{MAX_WAITING} commands are already waiting for their time")
        self._waiting += 1
        # Due a little before the earliest moment that still reaches its frame exactly.
        self.send_after((frames - LEAD) / SAMPLE_RATE, self.pid, _Due(command))
        return self.truth

    def _changed(self, command: Any, frame: int) -> T | None:
        raise TypeError(f"{type(self).__name__} must define _changed")

    def _tell(self) -> None:
        self.node.cast(self._session, PartChanged(self._part, self._revision, self._frame, self.truth))


class Deck(Part[DeckTruth]):
    """One of a battle's two players. Commands: `LoadSong`, `Play`, `Pause`, `Seek`, `SetRate`, `SetGain`, `GetState`."""

    def init(self, side: Literal["a", "b"] = "a", battle: BattleOptions = BattleOptions()) -> None:  # noqa: B008 - frozen
        self._begin(battle, f"deck_{side}", DeckTruth())

    def _changed(self, command: Any, frame: int) -> DeckTruth | None:
        state = self.truth.state
        match command:
            case LoadSong(song, pcm, play):
                loaded = state.load(frame, song.id, pcm.frames, loop=song.loop)
                return DeckTruth(loaded.play(frame) if play else loaded, song, pcm)
            case Play():
                return self._with(state.play(frame))
            case Pause():
                return self._with(state.pause(frame))
            case Seek(seconds):
                return self._with(state.seek(frame, seconds * SAMPLE_RATE))
            case SetRate(rate):
                return self._with(state.with_rate(frame, rate))
            case SetGain(gain):
                return self._with(state.with_gain(gain))
            case _:
                return None

    def _with(self, state: DeckState) -> DeckTruth:
        return attrs.evolve(self.truth, state=state)


class Mixer(Part[MixerTruth]):
    """A battle's crossfader and master. Commands: `MoveCrossfader`, `SwingCrossfader`, `SetMaster`, `GetState`."""

    def init(self, battle: BattleOptions = BattleOptions()) -> None:  # noqa: B008 - frozen
        self._begin(battle, "mixer", MixerTruth())

    def _changed(self, command: Any, frame: int) -> MixerTruth | None:
        match command:
            case MoveCrossfader(position, seconds):
                moved = self.truth.crossfader.moved(frame, position, round(seconds * SAMPLE_RATE))
                return attrs.evolve(self.truth, crossfader=moved)
            case SwingCrossfader(seconds):
                swing = Crossfader(period=round(seconds * SAMPLE_RATE), origin=frame)
                return attrs.evolve(self.truth, crossfader=swing)
            case SetMaster(gain):
                DeckState().with_gain(gain)  # the same limits, checked in the same place
                return attrs.evolve(self.truth, master=gain)
            case _:
                return None
