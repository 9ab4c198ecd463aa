from __future__ import annotations

from typing import Any

import pytest

from tests.actors.table_host import FakeHost
from wsactors.actors.semaphore import Semaphores
from wsactors.errors import NotInActor, TableFull, TableKindError


def make(host: FakeHost) -> Semaphores:
    return Semaphores(host.tables.new("semaphores", access="public"))


def test_never_more_holders_than_the_limit(host: FakeHost) -> None:
    s = make(host)
    assert [s.acquire("a", 3) for _ in range(5)] == [True, True, True, False, False]
    assert s.held("a") == 3
    s.release("a")
    assert s.acquire("a", 3)
    assert not s.acquire("a", 3)
    assert s.acquire("b", 1)  # another name, another semaphore
    assert not s.acquire("a", 2)  # a limit below what is held refuses and does not cut
    assert s.held("a") == 3


def test_releasing_too_often_does_not_make_room(host: FakeHost) -> None:
    s = make(host)
    s.release("a")
    s.release("a")
    assert s.acquire("a", 1)
    assert not s.acquire("a", 1)


def test_free_semaphores_take_no_memory(host: FakeHost) -> None:
    s = make(host)
    for n in range(100):
        assert s.acquire(n, 1)
        s.release(n)
        assert not s.acquire(("never", n), 0)
    assert len(host.tables["semaphores"]) == 0


def test_a_dead_holder_gives_its_linked_places_back_and_only_those(host: FakeHost) -> None:
    s = make(host)
    a, b = host.actor(), host.actor()
    for pid, linked in [(a, True), (a, True), (b, True), (b, False)]:
        with host.as_actor(pid):
            assert s.acquire("x", 4, linked=linked)
    host.kill(a)
    assert s.held("x") == 2
    with host.as_actor(b):
        s.release("x", linked=True)
        s.release("x", linked=True)  # has none any more: ignored
    assert s.held("x") == 1
    host.kill(b)
    assert s.held("x") == 1
    s.release("x")
    assert s.held("x") == 0
    assert host.tables._at_death == {}


def test_holding(host: FakeHost) -> None:
    s = make(host)
    pid = host.actor()
    with host.as_actor(pid):
        with s.holding("a", 1):
            with pytest.raises(TableFull), s.holding("a", 1):
                pass
            assert s.held("a") == 1
        assert s.held("a") == 0
        with pytest.raises(ZeroDivisionError), s.holding("a", 1):
            raise ZeroDivisionError
    assert s.held("a") == 0
    with s.holding("a", 1):  # outside actors too
        assert s.held("a") == 1
    with host.as_actor(pid), s.holding("a", 1):
        host.kill(pid)  # died in the block: given back at once, and not a second time at its end
        assert s.held("a") == 0
        assert s.acquire("a", 1)
    assert s.held("a") == 1


def test_needs_an_actor_to_link_to_and_a_public_set(host: FakeHost) -> None:
    with pytest.raises(NotInActor):
        make(host).acquire("a", 1, linked=True)
    options: Any
    for options in ({"access": "protected"}, {"access": "public", "kind": "bag"}, {"access": "public", "keypos": 1}):
        with pytest.raises(TableKindError):
            Semaphores(host.tables.new(**options))


def test_the_death_of_a_holder_after_the_table_is_harmless(host: FakeHost) -> None:
    s, pid = make(host), host.actor()
    with host.as_actor(pid):
        s.acquire("a", 1, linked=True)
    host.tables["semaphores"].drop()
    host.kill(pid)


def test_a_row_spoilt_by_others_does_not_break_a_death_step(host: FakeHost) -> None:
    s, pid = make(host), host.actor()
    with host.as_actor(pid):
        s.acquire("a", 1, linked=True)
        s.acquire("b", 1, linked=True)
    host.tables["semaphores"].insert(("a", "nonsense"))
    host.kill(pid)
    assert (s.held("a"), s.held("b")) == (0, 0)
