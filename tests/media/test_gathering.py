from __future__ import annotations

import pytest

from wsactors.media.gathering import Gathering
from wsactors.supervision import Node


def test_what_is_gathered_leaves_at_the_end_once() -> None:
    gathering = Gathering()
    left: list[str] = []
    for _ in range(2):
        with gathering:
            assert gathering.is_on
            gathering.at_end(lambda: left.append("one"))
            gathering.at_end(lambda: left.append("two"))
            assert not left
        assert not gathering.is_on
        assert left == ["one", "two"]
        left.clear()


def test_what_is_gathered_leaves_when_somebody_fails_meanwhile() -> None:
    gathering = Gathering()
    left: list[str] = []
    with pytest.raises(LookupError), gathering:
        gathering.at_end(lambda: left.append("all the same"))
        raise LookupError
    assert left == ["all the same"]
    assert not gathering.is_on


async def test_each_node_has_its_own() -> None:
    async with Node("one") as one, Node("two") as two:
        assert Gathering.of(one) is Gathering.of(one)
        assert Gathering.of(one) is not Gathering.of(two)
