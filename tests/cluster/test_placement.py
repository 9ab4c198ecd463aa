from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.cluster import jump_hash


@given(st.integers(), st.integers(1, 200))
def test_one_place_more_moves_a_key_there_or_not_at_all(key: int, places: int) -> None:
    before, after = jump_hash(key, places), jump_hash(key, places + 1)
    assert 0 <= before < places
    assert after in {before, places}


def test_places_get_about_the_same() -> None:
    counts = Counter(jump_hash(serial, 8) for serial in range(20_000))
    assert max(counts.values()) < 1.1 * min(counts.values())


def test_there_must_be_a_place() -> None:
    with pytest.raises(ValueError, match="at least one"):
        jump_hash(1, 0)
