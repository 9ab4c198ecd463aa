"""What most tests of the runtime need: a node, or for tables alone a stand-in for it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.actors.table_host import FakeHost
from wsactors.supervision.node import Node


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("test") as node:
        yield node


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()
