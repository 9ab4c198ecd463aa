from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest

from wsactors.dj import command as dj
from wsactors.dj.beatgrid import Beatgrid
from wsactors.dj.clock import LEAD
from wsactors.dj.command_log import (
    Applied,
    Began,
    Ended,
    Entry,
    Hashed,
    Known,
    LogError,
    LogWriter,
    PcmHasher,
    Rebuilt,
    Shed,
    read_log,
)
from wsactors.dj.engine import Engine
from wsactors.dj.performance import LoadedSong, Performance
from wsactors.dj.rerender import rerender
from wsactors.dj.state import BattleState, to_wire

SECONDS = 5
START = 48_000 * 1_000 + 480
GRID = Beatgrid.of(125.0)
SONG = LoadedSong(48_000 * 20, GRID, trim=0.8)


def song(seed: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    noise = np.random.default_rng(seed).standard_normal((SONG.frames, 2)).cumsum(axis=0)
    noise -= np.linspace(noise[0], noise[-1], len(noise))
    samples: np.ndarray[Any, np.dtype[np.int16]] = (noise / np.abs(noise).max() * 20_000).astype(np.int16)
    return samples


SONGS = {"one": song(1), "two": song(2)}
SCRIPT: list[tuple[float, dj.Command]] = [
    (0.0, dj.Load("a", "one")), (0.0, dj.Load("b", "two")), (0.05, dj.Play("a")), (0.3, dj.Keylock("a", True)),
    (0.31, dj.Pitch("a", 0.4)), (0.5, dj.Play("b")), (0.6, dj.Sync("b", True)), (0.7, dj.MoveCrossfader(0.1)),
    (0.9, dj.Eq("a", "low", -1.0)), (1.0, dj.SwitchEffect("echo", True)), (1.1, dj.Hotcue("a", 1)),
    (1.3, dj.LoopBeats("a", 0.25)), (1.7, dj.DoubleLoop("a")), (2.0, dj.ExitLoop("a")),
    (2.1, dj.Scratch("b", -1.5)), (2.15, dj.Scratch("b", 2.0)),
    (2.3, dj.Scratch("b", None)), (2.6, dj.Sweep("b", 0.4)), (2.8, dj.Kill("b", "low", True)), (3.0, dj.BeatJump("a", 4.0)),
    (3.2, dj.SwitchEffect("reverb", True)), (3.4, dj.Reverse("a", True)), (3.6, dj.Reverse("a", False)),
    (3.8, dj.MoveCrossfader(0.9)), (4.0, dj.Brake("a", 0.5)), (4.3, dj.Volume("b", 0.6)), (4.5, dj.CueMix(0.5)),
]  # fmt: skip


def battle(*, dies_at: float | None = None) -> tuple[list[Entry], list[np.ndarray[Any, Any]]]:
    """A battle as it is played and logged: its log, and its sound second by second as far as that is hashed."""
    performance = Performance(BattleState())
    truth: Any = to_wire(performance.state)
    grid: Any = GRID.to_wire()
    entries: list[Entry] = [Began(START, "final", 3, truth)]
    entries += [Known(START, name, bytes(32), SONG.frames, grid, SONG.trim) for name in SONGS]
    engine, hasher = Engine(SONGS, START, performance.state), PcmHasher(START)
    script, sound, made = list(SCRIPT), [], list[np.ndarray[Any, Any]]()
    while engine.frame < START + SECONDS * 48_000:
        now = engine.frame - LEAD + 960
        while script and START + script[0][0] * 48_000 <= now + LEAD:
            at, command = script.pop(0)
            # It took effect as of what its player heard, and was in the sound a little later.
            frame, sounded = START + int(at * 48_000) - 3_000, max(now + LEAD + 37, engine.frame)
            state = performance.perform(command, frame, song=SONG)
            entries.append(Applied(frame, sounded, "ana", dj.DECKS, command))
            assert engine.set_state(sounded, state)
        if dies_at is not None and engine.frame >= START + dies_at * 48_000:
            dies_at = None
            engine = Engine(SONGS, engine.frame + 960, performance.state)
            hasher = PcmHasher(engine.frame)
            entries.append(Rebuilt(engine.frame))
            made.clear()
        made.append(engine.render(480))
        for each in hasher.take(np.ascontiguousarray(made[-1]).data):
            entries.append(each)
            whole = np.concatenate(made)
            sound.append(whole[: each.frames])
            made = [whole[each.frames :]]
    entries.append(Ended(engine.frame, "over"))
    data = b"".join(map(LogWriter().take, entries))
    return read_log(data)[0], sound


@pytest.mark.parametrize(("block", "dies_at"), [(480, None), (960, None), (256, 2.5)])
def test_a_battle_rendered_again_from_its_log_is_the_same_to_the_bit(block: int, dies_at: float | None) -> None:
    entries, sound = battle(dies_at=dies_at)
    again = list(rerender(entries, lambda known: SONGS[known.song], block=block))
    assert [second.is_equal for second in again] == [True] * len(sound)
    assert len(again) >= SECONDS - 2
    for one, other in zip(again, sound, strict=True):
        assert np.array_equal(one.sound, other)
        assert np.abs(one.sound).max() > 0.01


def test_a_battle_that_was_tampered_with_is_not_the_same() -> None:
    entries, _ = battle()
    at = next(
        at for at, entry in enumerate(entries) if isinstance(entry, Applied) and isinstance(entry.command, dj.Sweep)
    )
    entry = entries[at]
    assert isinstance(entry, Applied)
    changed = attrs.evolve(entry, command=dj.Scratch("b", -1.49))
    again = list(rerender([*entries[:at], changed, *entries[at + 1 :]], lambda known: SONGS[known.song]))
    assert [second.is_equal for second in again[:3]] == [True, True, False]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (Hashed(START - 48_000, 48_000, bytes(16)), "no sound"),
        (Hashed(START, 48_000 * 3_600, bytes(16)), "no sound"),
        (Hashed(START, 0, bytes(16)), "no sound"),
        (Shed(START, ("effects",)), "left out"),
    ],
)
def test_what_cannot_be_rendered_is_refused(entry: Entry, words: str) -> None:
    truth: Any = to_wire(BattleState())
    with pytest.raises(LogError, match=words):
        list(rerender([Began(START, "final", 3, truth), entry], lambda known: SONGS[known.song]))


def test_what_was_shed_without_being_heard_changes_nothing() -> None:
    truth: Any = to_wire(BattleState())
    assert (
        list(rerender([Began(START, "x", 3, truth), Shed(START, ("analysis",))], lambda known: SONGS[known.song])) == []
    )
