"""From a battle's log back to the truths that its sound was made of, and so to the sound.

Whoever renders sets each `Step`'s truth at its frame, does without what a `Shed` names, and holds each second against its
`Hashed`. Nothing is asked of a clock, and songs are named by the hash of their samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import attrs

from .beatgrid import Beatgrid
from .command import Load
from .command_log import Applied, Began, Changed, Ended, Entry, Hashed, Known, LogError, Rebuilt, Shed
from .performance import LoadedSong, Performance
from .state import BattleState, from_wire


@attrs.frozen
class Step:
    """From the sound of this frame on, this is the truth."""

    frame: int
    state: BattleState


Told: TypeAlias = Step | Known | Shed | Rebuilt | Hashed | Ended


def replay(entries: Iterable[Entry]) -> Iterator[Told]:
    """The truths of a battle, in the order of the log, among what else there is to know.

    Raises `LogError` when the log does not begin with `Began`, or says what cannot have happened.
    """
    performance: Performance | None = None
    songs: dict[str, LoadedSong] = {}
    for entry in entries:
        if isinstance(entry, Began):
            performance = Performance(_state(entry))
            yield Step(entry.frame, performance.state)
            continue
        if performance is None:
            raise LogError("the log does not say how the battle began")
        match entry:
            case Known():
                songs[entry.song] = _song(entry)
                yield entry
            case Applied():
                yield _applied(performance, entry, songs)
            case Changed():
                performance.state = _state(entry)
                yield Step(entry.frame, performance.state)
            case _:
                yield entry


def _applied(performance: Performance, entry: Applied, songs: dict[str, LoadedSong]) -> Step:
    command = entry.command
    song = songs.get(command.song) if isinstance(command, Load) else None
    try:
        return Step(entry.sounded, performance.perform(command, entry.frame, decks=entry.decks, song=song))
    except ValueError as error:
        raise LogError(f"at frame {entry.frame} the log has what cannot be done: {error}") from None


def _state(entry: Began | Changed) -> BattleState:
    try:
        return from_wire(entry.truth)
    except ValueError as error:
        raise LogError(f"at frame {entry.frame} the log has no truth: {error}") from None


def _song(entry: Known) -> LoadedSong:
    try:
        grid = None if entry.grid is None else Beatgrid.from_wire(entry.grid)
    except ValueError as error:
        raise LogError(f"at frame {entry.frame} the log has no beatgrid: {error}") from None
    return LoadedSong(entry.frames, grid, entry.trim, entry.loop)
