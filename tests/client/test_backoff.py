from __future__ import annotations

import random
import statistics

from hypothesis import given
from hypothesis import strategies as st

from wsactors.client.backoff import Backoff, Retry


@given(st.floats(0.001, 10), st.floats(0.001, 100), st.integers(2, 200), st.floats(0, 1))
def test_pauses_are_bounded_by_a_doubling_limit_and_then_it_gives_up(
    first: float, longest: float, attempts: int, chance: float
) -> None:
    backoff = Backoff(Retry(first=first, longest=longest, attempts=attempts), lambda: chance)

    pauses = [backoff.failed() for _ in range(attempts)]

    assert pauses[-1] is None
    for number, pause in enumerate(pauses[:-1]):
        assert pause is not None
        assert 0 <= pause <= min(longest, first * 2.0**number)


def test_full_jitter_spreads_over_the_whole_pause() -> None:
    chance = random.Random(1)
    pauses = []
    for _ in range(2_000):
        backoff = Backoff(Retry(first=1.0, longest=1.0), chance.random)
        pauses.append(backoff.failed() or 0.0)

    assert 0.45 < statistics.mean(pauses) < 0.55
    assert min(pauses) < 0.01 < 0.99 < max(pauses)


def test_it_begins_anew_only_after_a_connection_that_lasted() -> None:
    backoff = Backoff(Retry(first=1.0, longest=100.0, stable=5.0), lambda: 1.0)

    assert [backoff.failed() for _ in range(3)] == [1.0, 2.0, 4.0]
    backoff.lasted(4.9)  # a node that welcomes everybody and then fails
    assert backoff.failed() == 8.0
    backoff.lasted(5.0)
    assert backoff.failed() == 1.0


def test_without_a_bound_it_never_gives_up() -> None:
    backoff = Backoff(Retry(attempts=None), lambda: 1.0)

    assert [backoff.failed() for _ in range(5_000)][-1] == 8.0
