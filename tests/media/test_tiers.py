from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from wsactors.media.tiers import TierChooser, TierOptions


def test_heavy_loss_goes_down_at_once_and_light_loss_after_a_second_look() -> None:
    chooser = TierChooser(4)
    assert [chooser.hear(loss, now=at) for at, loss in enumerate([0.0, 0.2, 0.05, 0.0, 0.05, 0.05])] == [
        0,
        1,
        1,
        1,
        1,
        2,
    ]
    assert [chooser.hear(0.5, now=10.0) for _ in range(5)] == [3] * 5


def test_it_goes_up_after_a_while_and_ever_more_slowly_where_that_was_a_mistake() -> None:
    chooser = TierChooser(2)
    went_up = []
    for second in range(600):
        before = chooser.tier
        # The link does not carry the best tier.
        chooser.hear(0.2 if before == 0 else 0.0, now=float(second))
        if before == 1 and chooser.tier == 0:
            went_up.append(second)
    pauses = [after - before for before, after in itertools.pairwise(went_up)]
    assert 10 <= went_up[0] <= 12
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 120
    assert len(went_up) < 10


@given(st.lists(st.floats(0, 1), max_size=200), st.integers(1, 5))
def test_a_tier_is_always_one_there_is_and_moves_by_one(losses: list[float], count: int) -> None:
    chooser, before = TierChooser(count, TierOptions(wait=3.0)), 0
    for second, loss in enumerate(losses):
        tier = chooser.hear(loss, now=float(second))
        assert 0 <= tier < count
        assert abs(tier - before) <= 1
        before = tier
