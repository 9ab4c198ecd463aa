"""The places of a stage: which connections each person has, which of them speaks, and what each does not want to hear."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from wsactors.actors import Pid
from wsactors.realtime.identity import Refused
from wsactors.sessions.fan_out import FanOut
from wsactors.sessions.member import StageSeat
from wsactors.sessions.stage_rules import Person

ELSEWHERE: Final = "elsewhere"
MAX_HUSHED: Final = 100
"""People whom one listener may choose not to hear."""


class Seats:
    """The seats of one session, by listener. ``plain``: has those who get each voice by itself."""

    def __init__(self, plain: FanOut[StageSeat, Any]) -> None:
        self._seats: dict[Pid, StageSeat] = {}
        self._of: dict[int, list[Pid]] = {}
        self._hushing: dict[Pid, None] = {}
        self._mixed: dict[Pid, StageSeat] = {}
        self._plain = plain

    def __len__(self) -> int:
        return len(self._seats)

    def __iter__(self) -> Iterator[StageSeat]:
        return iter(self._seats.values())

    def get(self, listener: Pid) -> StageSeat | None:
        """The seat of that listener."""
        return self._seats.get(listener)

    def of(self, person: int) -> list[Pid]:
        """The listeners of somebody, the one who came last at the end."""
        return self._of.get(person, [])

    def mixed(self) -> Iterable[StageSeat]:
        """Those that get all voices in one stream."""
        return self._mixed.values()

    def mix(self, listener: Pid, *, on: bool) -> None:
        """Let somebody have all voices in one stream, or each by itself."""
        seat = self._seats[listener]
        seat.mixed = on
        if on:
            self._plain.leave(seat)
            self._mixed[listener] = seat
        else:
            self._mixed.pop(listener, None)
            self._plain.enter(seat)

    def mixes(self, most: int) -> tuple[bool, tuple[int, ...]]:
        """Whether the mix of all is wanted, and by the speakers of which tracks that of the others.

        Speakers beyond ``most`` get each voice by itself: in the mix of all they would hear themselves.
        """
        tracks = self.mixing[:most]
        for listener, seat in tuple(self._mixed.items()):
            if seat.own and seat.own not in tracks:
                self.mix(listener, on=False)
        return any(not seat.own for seat in self._mixed.values()), tracks

    @property
    def mixing(self) -> tuple[int, ...]:
        """The tracks of speakers who want a mix without themselves, who asked first at the beginning."""
        return tuple(dict.fromkeys(seat.own for seat in self._mixed.values() if seat.own))

    def listeners(self) -> list[Pid]:
        """Everybody's."""
        return list(self._seats)

    def add(self, listener: Pid, seat: StageSeat) -> None:
        """Somebody sits down."""
        self._seats[listener] = seat
        self._of.setdefault(seat.person, []).append(listener)
        self.mix(listener, on=seat.mixed)
        if seat.hushed:
            self._hushing[listener] = None

    def remove(self, listener: Pid) -> StageSeat | None:
        """Somebody has left; which seat that was."""
        seat = self._seats.pop(listener, None)
        self._hushing.pop(listener, None)
        self._mixed.pop(listener, None)
        if seat is not None:
            self._plain.leave(seat)
            left = self._of[seat.person]
            left.remove(listener)
            if not left:
                del self._of[seat.person]
        return seat

    def follow(self, person: Person, silenced: str, own: int) -> None:
        """Somebody has changed: ``silenced`` says why they are not heard, ``own`` is their track. Of several connections,
        the newest speaks.
        """
        listeners = self.of(person.id)
        for listener in listeners:
            seat = self._seats[listener]
            seat.silenced = silenced or (ELSEWHERE if listener is not listeners[-1] else "")
            if seat.own != own:
                seat.own = own
                seat.choose()
        for listener in self._hushing:
            seat = self._seats[listener]
            if seat.hushed.get(person.id, own) != own:
                seat.hushed[person.id] = own
                seat.choose()

    def hush(self, listener: Pid, person: Person, track: int, *, on: bool) -> None:
        """Have somebody not sent to that listener. Raises `Refused`."""
        seat = self._seats[listener]
        if on and person.id not in seat.hushed and len(seat.hushed) >= MAX_HUSHED:
            raise Refused("too_many", f"At most {MAX_HUSHED} people can be left out.")
        if on:
            seat.hushed[person.id] = track
            self._hushing[listener] = None
        else:
            seat.hushed.pop(person.id, None)
        seat.choose()
