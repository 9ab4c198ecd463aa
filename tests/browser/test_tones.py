"""The analysis that judges the browsers, judged itself: it must see what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from tests.browser.tones import RATE, STEPS, ToneBattle, ToneSource, is_cyclic, listen, order_of, phase_jumps

SECONDS = 6


def played(*, fade_at: float | None = None) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    source = ToneSource(ToneBattle.make(7))
    blocks = []
    for first in range(0, SECONDS * RATE, 960):
        if fade_at is not None and first == int(fade_at * RATE) // 960 * 960:
            source.fade(1, 1)
        blocks.append(source.block(first))
    return np.concatenate(blocks)


def test_the_sequence_of_the_deck_that_is_up_is_found_and_the_other_is_not() -> None:
    sound = played()
    battle = ToneBattle.make(7)
    for channel in (0, 1):
        assert is_cyclic(order_of(listen(sound, "a", channel), battle.sequences["a", channel]))
        assert order_of(listen(sound, "b", channel), battle.sequences["b", channel]) == []


def test_swapped_channels_and_a_wrong_order_are_noticed() -> None:
    sound = played()
    battle = ToneBattle.make(7)
    assert not is_cyclic(order_of(listen(sound[:, ::-1], "a", 0), battle.sequences["a", 0]))
    assert not is_cyclic(order_of(listen(sound[::-1], "a", 0), battle.sequences["a", 0]))
    assert not is_cyclic(list(range(STEPS - 1)))


def test_a_crossfade_brings_the_other_deck() -> None:
    sound = played(fade_at=2)
    level_a, level_b = (listen(sound, deck, 0).level for deck in "ab")
    assert level_a[50] > 0.15 > 0.02 > level_a[-50]
    assert level_b[50] < 0.02 < 0.15 < level_b[-50]


@pytest.mark.parametrize("samples", [128, 480, 960, 1_920])
@pytest.mark.parametrize("what", ["lost", "doubled", "silenced and shifted"])
def test_a_jump_of_any_block_is_found_where_it_is(samples: int, what: str) -> None:
    sound = played()
    at = 3 * RATE
    match what:
        case "lost":
            broken = np.concatenate([sound[:at], sound[at + samples :]])
        case "doubled":
            broken = np.concatenate([sound[:at], sound[at - samples :]])
        case _:
            broken = np.concatenate([sound[:at], np.zeros((samples, 2)), sound[at:]])
    for channel in (0, 1):
        assert len(phase_jumps(sound, channel)) == 0
        assert np.abs(phase_jumps(broken, channel) - 3).min(initial=9) < 0.4


def test_a_clock_that_is_steadily_off_is_no_jump() -> None:
    sound = played()
    slow = np.interp(np.arange(0, len(sound) - 1, 1.002), np.arange(len(sound)), sound[:, 0])
    assert len(phase_jumps(np.stack([slow, slow], axis=1), 0)) == 0
