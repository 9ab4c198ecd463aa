"""A node to supervise in. A test in which time passes takes ``autojump_clock`` itself: pytest-trio looks no further."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from tests.supervision._world import World
from wsactors.actors.process_actor import Attached
from wsactors.supervision.node import Node


@pytest.fixture(autouse=True)
def _unconfigured_structlog() -> Iterator[None]:
    """``structlog.testing.capture_logs`` leaves structlog configured, which other tests would notice."""
    was = structlog.is_configured()
    yield
    if not was:
        structlog.reset_defaults()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("test") as node:
        yield node


@pytest.fixture
async def me(node: Node) -> AsyncIterator[Attached]:
    async with node.attach() as me:
        yield me
