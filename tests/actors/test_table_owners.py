from __future__ import annotations

from typing import Any

import attrs
import pytest

from tests.actors.table_host import FakeHost, make
from wsactors.actors.tables import Tables, TableTransfer
from wsactors.errors import (
    BadRow,
    NoSuchTable,
    TableAccess,
    TableFull,
    TableGone,
    TableKindError,
    TableNameTaken,
)

# --- access, names, owners -------------------------------------------------------------------------------------------


def test_access_levels(host: FakeHost) -> None:
    owner, other = host.actor(), host.actor()
    with host.as_actor(owner):
        tables = {access: make(host, access=access) for access in ("public", "protected", "private")}
        for t in tables.values():
            t.insert(("a", 1))
    reads = [
        lambda t: t.get("a"), lambda t: t.lookup("a"), lambda t: "a" in t, lambda t: t.lookup_element("a", 1),
        lambda t: t.first(), lambda t: t.next("a"), lambda t: t.match(("a", 1)), lambda t: t.select(("a", 1)),
        lambda t: t.select_count(("a", 1)), lambda t: t.select_page(("a", 1), limit=1), lambda t: t.subscribe(),
        lambda t: t.explain(("a", 1)),
    ]  # fmt: skip
    writes = [
        lambda t: t.insert(("b", 1)), lambda t: t.insert_new(("c", 1)), lambda t: t.update_counter("a", 1),
        lambda t: t.update_element("a", (1, 1)), lambda t: t.take("b"), lambda t: t.delete("c"),
        lambda t: t.delete_object(("x", 1)), lambda t: t.select_delete(("x", 1)), lambda t: t.renew("a", 5),
        lambda t: t.clear(), lambda t: t.drop(),
    ]  # fmt: skip
    for caller in (other, None):
        with host.as_actor(caller):
            for use in reads if caller else reads[:-2]:
                use(tables["public"])
                use(tables["protected"])
                with pytest.raises(TableAccess):
                    use(tables["private"])
            for use in writes:
                for access in ("protected", "private"):
                    with pytest.raises(TableAccess):
                        use(tables[access])
            for t in tables.values():
                assert t.info().size == 1  # OTP lets everyone ask
                with pytest.raises(TableAccess):
                    t.set_heir(other)
                with pytest.raises(TableAccess):
                    t.give_away(other)
    with host.as_actor(other):
        for use in writes:
            use(tables["public"])
    assert tables["public"].gone
    with host.as_actor(owner):
        for use in [*reads, *writes]:
            use(tables["private"])


def test_a_ttl_does_not_open_a_private_table(host: FakeHost) -> None:
    owner = host.actor()
    with host.as_actor(owner):
        t = make(host, access="private")
        t.insert(("a", 1), ttl=1)
        host.time = 2
        host.settle()
        t.insert(("b", 1))
    for read in (t.get, t.lookup, t.member):
        with pytest.raises(TableAccess):
            read("b")


def test_names(host: FakeHost) -> None:
    t = host.tables.new("users")
    assert host.tables["users"] is t
    with pytest.raises(TableNameTaken):
        host.tables.new("users")
    t.drop()
    assert host.tables.whereis("users") is None
    with pytest.raises(NoSuchTable):
        host.tables["users"]
    assert host.tables.new("users") is not t


def test_a_table_dies_with_its_owner(host: FakeHost) -> None:
    owner = host.actor()
    with host.as_actor(owner):
        t = host.tables.new("mine")
        t.insert(("a", 1))
        cached = t.lookup
    host.kill(owner)
    assert host.tables.whereis("mine") is None
    assert len(host.tables) == 0
    for use in (lambda: cached("a"), lambda: t.get("a"), lambda: "a" in t, lambda: t.insert(("b", 1)), t.info, t.drop):
        with pytest.raises(TableGone):
            use()
    assert host.tables.owned_by(owner) == []


def test_heir_gets_the_table_and_a_message(host: FakeHost) -> None:
    owner, heir, other = host.actor(), host.actor(), host.actor()
    with host.as_actor(owner):
        t = host.tables.new("legacy", heir=heir, heir_data="look after it")
        t.insert(("a", 1))
    host.kill(owner)
    assert host.mail[heir] == [TableTransfer(t, owner, "look after it")]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        host.mail[heir][0].data = "no"
    assert t.owner == heir
    assert host.tables["legacy"] is t
    with host.as_actor(heir):
        t.insert(("b", 2))
    with host.as_actor(other), pytest.raises(TableAccess):
        t.insert(("c", 2))
    host.kill(heir)  # the heir of a heir is itself, and dead
    assert t.gone


def test_a_dead_heir_inherits_nothing(host: FakeHost) -> None:
    owner, heir = host.actor(), host.actor()
    with host.as_actor(owner):
        t = make(host, heir=heir)
    host.kill(heir)
    host.kill(owner)
    assert t.gone


def test_owner_and_heir_may_be_taken_back(host: FakeHost) -> None:
    owner, heir = host.actor(), host.actor()
    with host.as_actor(owner):
        t = make(host, heir=heir)
        t.set_heir(None)
    host.kill(owner)
    assert t.gone
    assert host.mail[heir] == []


def test_give_away_and_the_heir_survives_it(host: FakeHost) -> None:
    giver, taker, heir = host.actor(), host.actor(), host.actor()
    with host.as_actor(giver):
        t = make(host, heir=heir, heir_data="hd")
        t.give_away(taker, "gd")
        with pytest.raises(TableAccess):
            t.insert(("a", 1))
    assert host.mail[taker] == [TableTransfer(t, giver, "gd")]
    host.kill(giver)
    assert not t.gone
    host.kill(taker)
    assert host.mail[heir] == [TableTransfer(t, taker, "hd")]


def test_give_away_refuses_the_dead_and_oneself(host: FakeHost) -> None:
    owner, dead = host.actor(), host.actor()
    host.kill(dead)
    with host.as_actor(owner):
        t = make(host)
        for pid in (dead, owner):
            with pytest.raises(TableAccess):
                t.give_away(pid)
    assert t.owner == owner


def test_a_table_made_outside_actors_lives_as_long_as_the_node(host: FakeHost) -> None:
    t = make(host)
    with host.as_actor(host.actor()), pytest.raises(TableAccess):
        t.insert(("a", 1))
    t.insert(("a", 1))
    host.tables.drop_all()
    assert t.gone
    assert len(host.tables) == 0


def test_the_dying_cannot_make_tables(host: FakeHost) -> None:
    dead = host.actor()
    host.kill(dead)
    with host.as_actor(dead), pytest.raises(Exception, match="dying"):
        make(host)
    assert len(host.tables) == 0


def test_the_registry_forgets_everything_of_the_dead(host: FakeHost) -> None:
    for _ in range(50):
        pid = host.actor()
        with host.as_actor(pid):
            t = host.tables.new("t", access="public")
            t.insert([(n, n) for n in range(100)], ttl=3)
            t.subscribe()
        host.kill(pid)
    host.settle()
    tables = host.tables
    assert (tables._tables, tables._names, tables._owned, tables._subscribed) == ({}, {}, {}, {})
    assert not tables._graveyard
    assert len(tables._expiring) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "heap"}, {"access": "open"}, {"keypos": -1}, {"keypos": True}, {"ttl": 0}, {"max_rows": -1},
        {"overflow": "drop_oldest"}, {"overflow": "drop_oldest", "max_rows": 5, "kind": "bag"}, {"overflow": "?"},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(host: FakeHost, options: Any) -> None:
    with pytest.raises((TableKindError, BadRow)):
        host.tables.new(**options)
    assert len(host.tables) == 0


def test_tables_are_bounded_in_number(host: FakeHost) -> None:
    tables = Tables(host, max_tables=2)
    first = tables.new()
    tables.new()
    with pytest.raises(TableFull):
        tables.new()
    first.drop()
    tables.new()
