from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dj.commands import commands
from wsactors.dj import command as dj
from wsactors.dj.beatgrid import Beatgrid
from wsactors.dj.command_log import (
    Applied,
    Began,
    Changed,
    Ended,
    Entry,
    Hashed,
    Known,
    LogError,
    LogWriter,
    Rebuilt,
    Shed,
    read_log,
)
from wsactors.dj.performance import LoadedSong, Performance
from wsactors.dj.replay import Step, replay
from wsactors.dj.state import BattleState, to_wire

GRID = Beatgrid.of(125.0)
SONG = LoadedSong(48_000 * 180, GRID, trim=0.7)


def began(state: BattleState = BattleState()) -> Began:  # noqa: B008 - frozen
    truth: Any = to_wire(state)
    return Began(0, "final", 3, truth)


def known(song: str) -> Known:
    grid: Any = GRID.to_wire()
    return Known(0, song, bytes(32), SONG.frames, grid, SONG.trim)


@given(
    st.lists(st.tuples(commands, st.integers(0, 48_000), st.sampled_from([("a",), ("b",), ("a", "b")])), max_size=25)
)
def test_a_log_leads_to_the_same_truths_again(script: list[tuple[dj.Command, int, tuple[str, ...]]]) -> None:
    live, frame = Performance(BattleState()), 0
    entries: list[Entry] = [began(), known("song")]
    steps = [Step(0, live.state)]
    first: list[tuple[dj.Command, int, tuple[str, ...]]] = [
        (dj.Load("a", "song"), 0, ("a",)),
        (dj.Play("a"), 0, ("a",)),
    ]
    for command, pause, decks in [*first, *script]:
        frame += pause
        with suppress(ValueError):
            state = live.perform(command, frame, decks=decks, song=SONG)
            if isinstance(command, dj.Load):
                entries.append(known(command.song))
            entries.append(Applied(frame, frame + 4_800, "ana", decks, command))
            steps.append(Step(frame + 4_800, state))
    found, ends = read_log(b"".join(map(LogWriter().take, [*entries, Ended(frame, "over")])))
    assert ends == "well"
    assert [told for told in replay(found) if isinstance(told, Step)] == steps


def test_what_else_changed_the_sound_is_told_in_its_place() -> None:
    performance = Performance(BattleState())
    other = performance.perform(dj.MasterVolume(0.5), 0)
    others: list[Any] = [Shed(10, ("effects",)), Rebuilt(20), Hashed(0, 48_000, bytes(16)), Ended(48_000, "over")]
    truth: Any = to_wire(other)
    assert list(replay([began(), *others[:2], Changed(30, truth), *others[2:]])) == [
        Step(0, BattleState()), *others[:2], Step(30, other), *others[2:]
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([Rebuilt(3)], "how the battle began"),
        ([Began(0, "x", 3, ["nonsense"])], "no truth"),
        ([began(), Changed(5, None)], "frame 5 the log has no truth"),
        ([began(), Known(5, "song", bytes(32), 9, [1, 2])], "no beatgrid"),
        ([began(), Applied(5, 5, "ana", ("a",), dj.Load("a", "song"))], "not ready"),
        (
            [began(), Applied(5, 5, "ana", ("a",), dj.LoopOut("a")), Applied(6, 6, "ana", ("a",), dj.Reloop("a"))],
            "no loop",
        ),
    ],
)
def test_what_cannot_have_happened_is_no_battle(entries: list[Entry], words: str) -> None:
    with pytest.raises(LogError, match=words):
        list(replay(entries))
