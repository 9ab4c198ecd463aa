"""Who is there: an add-wins set of presences that replicas merge in any order, any number of times.

A presence is one member (a connection) under one key (a person): the key's *metas* are its members' metas, each marked by a
``phx_ref``. Every presence has the dot of the event that made it. A delta is some presences and a context; whoever merges it
takes the presences it never knew, and drops those of its own that the context covers but the delta does not hold. So a leave
removes exactly what it has seen, and a join that it has not seen wins. The structure is that of an add-wins observed-remove
set with deltas (Almeida et al., 2018), the vocabulary that of Phoenix.Tracker.

Nothing here waits or looks at a clock: the owner asks for the difference as often as it likes, and what came and went between
two questions was never there.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeAlias

import attrs

from wsactors.crdt.clocks import Context, Dot, RangeSet

__all__ = ["Delta", "Diff", "Meta", "Metas", "Presence", "PresenceSet"]

Meta: TypeAlias = dict[str, Any]
"""What a member says of itself, with ``phx_ref`` and, after an update, ``phx_ref_prev``. Shared: never change one."""
Metas: TypeAlias = dict[str, list[Meta]]
"""Metas by key."""
Diff: TypeAlias = tuple[Metas, Metas]
"""Joins and leaves. Apply the joins first: then a key whose meta was replaced never disappears."""

REF, PREVIOUS = "phx_ref", "phx_ref_prev"


class Presence:
    """One member under one key, as one event made it."""

    __slots__ = ("dot", "key", "member", "meta")

    def __init__(self, dot: Dot, key: str, meta: Meta, member: Hashable = None) -> None:
        self.dot = dot
        self.key = key
        self.meta = meta
        self.member = member
        """Who it is, on the replica where it joined; None elsewhere."""

    def __repr__(self) -> str:
        return f"Presence({self.dot}, {self.key!r}, {self.meta[REF]!r})"


@attrs.frozen(eq=False)
class Delta:
    """A part of one replica's knowledge, to be merged by others."""

    presences: tuple[Presence, ...]
    """Those that are there now."""
    context: Context
    """The events it tells about: a presence with one of these dots that is in neither of the other fields has left."""
    kept: Context = attrs.field(factory=Context)
    """Dots of presences that are there too, but are not repeated because the receiver said that it knows them."""

    def __bool__(self) -> bool:
        return any(known for _, known in self.context.items())


class PresenceSet:
    """The presences of one topic, as one replica knows them.

    ``replica`` names this set among all that it is ever merged with. A name is used by one set only: a node that was started
    again, or that made the topic again, comes with a new one, since its events count from 1 again.

    >>> present = PresenceSet("node-1")
    >>> present.join("ada", member=1, meta={"device": "phone"}, ref="F1")
    >>> present.take_diff()
    ({'ada': [{'device': 'phone', 'phx_ref': 'F1'}]}, {})
    """

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self._context = Context()
        self._clocks = self._context.of(replica)
        self._dots: dict[str, dict[int, Presence]] = {replica: {}}
        """Every presence, also of replicas that are down, by its dot."""
        self._own = self._dots[replica]
        self._members: dict[Hashable, dict[str, Presence]] = {}
        self._visible: dict[str, dict[Dot, Presence]] = {}
        self._down: set[str] = set()
        self._joined: dict[Dot, Presence] = {}
        self._left: dict[Dot, Presence] = {}
        self._published: Metas = {}
        self._republish: Metas = {}
        self._sent = 0
        self._removed = Context()

    # --- this replica's members -------------------------------------------------------------------------------

    def join(self, key: str, member: Hashable, meta: Mapping[str, Any], ref: str) -> None:
        """Show ``member`` under ``key``. If it is there already, its meta is replaced, as by `update`.

        ``ref`` becomes the meta's ``phx_ref``: unique among all that are there, and given by this server alone, so one that
        the meta brings along is overwritten.
        """
        keys = self._members.get(member)
        if keys is None:
            keys = self._members[member] = {}
        old = keys.get(key)
        shown = {**meta, REF: ref}
        if PREVIOUS in meta:
            del shown[PREVIOUS]
        if old is not None:
            # What nobody was told of cannot be what a client replaces.
            previous = old.meta.get(PREVIOUS) if old.dot in self._joined else old.meta[REF]
            if previous is not None:
                shown[PREVIOUS] = previous
        clock = self._clocks.last + 1
        self._clocks.add(clock)
        presence = keys[key] = self._own[clock] = Presence((self.replica, clock), key, shown, member)
        self._show(presence)
        if old is not None:
            self._remove(old)

    def update(self, key: str, member: Hashable, meta: Mapping[str, Any], ref: str) -> bool:
        """Replace the meta of ``member`` under ``key``, which stays visible throughout; False: it is not there."""
        if key not in self._members.get(member, ()):
            return False
        self.join(key, member, meta, ref)
        return True

    def leave(self, member: Hashable, key: str | None = None) -> bool:
        """Take ``member`` away from ``key``, or from every key it is under; False: it was not there."""
        keys = self._members.get(member)
        if keys is None or (key is not None and key not in keys):
            return False
        for presence in list(keys.values()) if key is None else [keys[key]]:
            self._drop(presence)
        return True

    # --- what is there ----------------------------------------------------------------------------------------

    def state(self) -> Metas:
        """Who is there now, changes of which nobody was told yet included."""
        return {key: [each.meta for each in held.values()] for key, held in self._visible.items()}

    def published(self) -> Metas:
        """Who was there at the last `take_diff`: what a newcomer gets, so that the next diff fits to it. Shared."""
        if self._republish:
            metas = self._published | self._republish
            for key, held in self._republish.items():
                if not held:
                    del metas[key]
            self._published, self._republish = metas, {}
        return self._published

    def keys_of(self, member: Hashable) -> tuple[str, ...]:
        """The keys under which a member of this replica is."""
        return tuple(self._members.get(member, ()))

    def metas(self, key: str) -> list[Meta]:
        """The metas under ``key`` now."""
        return [each.meta for each in self._visible.get(key, {}).values()]

    def take_diff(self) -> Diff:
        """Joins and leaves since the last time. What came and went in between appears in neither."""
        joins, leaves = _by_key(self._joined.values()), _by_key(self._left.values())
        for key in {**joins, **leaves}:
            held, new = self._visible.get(key, {}), joins.get(key, [])
            if not held and key not in self._published:
                self._republish.pop(key, None)  # nobody asked in between, and names of those who left would add up
                continue
            # As many as have just joined: these are they.
            self._republish[key] = new if len(held) == len(new) else [each.meta for each in held.values()]
        self._joined.clear()
        self._left.clear()
        return joins, leaves

    @property
    def changed(self) -> bool:
        """Whether `take_diff` would tell anything."""
        return bool(self._joined or self._left)

    @property
    def empty(self) -> bool:
        """Whether nobody is there, and nobody has to be told that."""
        return not (self._visible or self._joined or self._left)

    def __len__(self) -> int:
        """How many keys are there."""
        return len(self._visible)

    def __contains__(self, key: str) -> bool:
        return key in self._visible

    def __repr__(self) -> str:
        pending = f"{len(self._joined)} joined, {len(self._left)} left since"
        return f"<PresenceSet {self.replica}: {len(self)} keys, {pending}>"

    # --- other replicas ---------------------------------------------------------------------------------------

    def context(self) -> Context:
        """Which events this set knows; a peer's `delta` takes it."""
        return self._context.copy()

    def take_delta(self) -> Delta:
        """What happened here since the last time, for every peer."""
        context, first = self._removed, self._sent + 1
        self._removed, self._sent = Context(), self._clocks.last
        if self._sent >= first:
            context.of(self.replica).add(first, self._sent)
        fresh = []
        for clock in reversed(self._own):
            if clock < first:
                break
            fresh.append(self._own[clock])
        return Delta(tuple(reversed(fresh)), context)

    def delta(self, since: Context | None = None) -> Delta:
        """All that is known here, for a peer that knows ``since`` (default: nothing)."""
        fresh, kept = [], Context()
        for held in self._dots.values():
            for each in held.values():
                if since is not None and each.dot in since:
                    kept.add(each.dot)
                else:
                    fresh.append(each)
        return Delta(tuple(fresh), self.context(), kept)

    def merge(self, delta: Delta) -> Diff:
        """Know what ``delta`` tells; the joins and leaves that brings. `take_diff` tells them too.

        Raises:
            ValueError: the delta was made for a peer that knows more than this set does.
        """
        if not all(self._context.of(replica).covers(kept) for replica, kept in delta.kept.items()):
            raise ValueError("this delta was made for a peer that knows more: ask for one with this set's context()")
        holds = {each.dot: each for each in delta.presences}
        news = [each for dot, each in holds.items() if dot not in self._context]
        gone = [
            each
            for replica, covered in delta.context.items()
            for each in _covered(self._dots.get(replica, {}), covered)
            if each.dot not in holds and each.dot not in delta.kept
        ]
        self._context.update(delta.context)
        for each in news:
            presence = Presence(each.dot, each.key, each.meta)
            self._dots.setdefault(each.dot[0], {})[each.dot[1]] = presence
            self._show(presence)
        # Those whose replica is down come and go unseen.
        seen = [each for each in gone if each.dot[0] not in self._down]
        for each in gone:
            self._drop(each, told=True)
        return _by_key(each for each in news if each.dot[0] not in self._down), _by_key(seen)

    def replica_down(self, replica: str) -> Metas:
        """Hide what came from ``replica``, which may come back; the leaves that brings."""
        if replica in self._down:
            return {}
        held = self._dots.get(replica, {}).values()
        for each in held:
            self._hide(each)
        self._down.add(replica)
        return _by_key(held)

    def replica_up(self, replica: str) -> Metas:
        """Show what came from ``replica`` again; the joins that brings."""
        if replica not in self._down:
            return {}
        self._down.discard(replica)
        held = self._dots.get(replica, {}).values()
        for each in held:
            self._show(each)
        return _by_key(held)

    def forget(self, replica: str) -> Metas:
        """Drop what came from ``replica``, which will not come back; the leaves that brings.

        That it is down stays known, so that what a slower peer still tells of it is not shown. Its events do not stay known:
        peers for whom it lives must not learn from here that its presences left.
        """
        if replica == self.replica:
            raise ValueError("a replica cannot forget itself")
        leaves = self.replica_down(replica)
        self._dots.pop(replica, None)
        self._context.forget(replica)
        return leaves

    # --- one presence -----------------------------------------------------------------------------------------

    def _drop(self, presence: Presence, *, told: bool = False) -> None:
        """Remove it for good. ``told``: a peer said so, and tells the others itself."""
        keys = self._members.get(presence.member)
        if keys is not None and keys.get(presence.key) is presence:
            del keys[presence.key]
            if not keys:
                del self._members[presence.member]
        self._remove(presence, told=told)

    def _remove(self, presence: Presence, *, told: bool = False) -> None:
        replica, clock = presence.dot
        del self._dots[replica][clock]
        if not told and (clock <= self._sent or replica != self.replica):
            self._removed.add(presence.dot)
        if replica not in self._down:
            self._hide(presence)

    def _show(self, presence: Presence) -> None:
        dot, key = presence.dot, presence.key
        if dot[0] in self._down:
            return
        held = self._visible.get(key)
        if held is None:
            self._visible[key] = {dot: presence}
        else:
            held[dot] = presence
        if self._left.pop(dot, None) is None:
            self._joined[dot] = presence

    def _hide(self, presence: Presence) -> None:
        dot, key = presence.dot, presence.key
        held = self._visible[key]
        del held[dot]
        if not held:
            del self._visible[key]
        if self._joined.pop(dot, None) is None:
            self._left[dot] = presence


def _by_key(presences: Iterable[Presence]) -> Metas:
    metas: Metas = {}
    for each in presences:
        held = metas.get(each.key)
        if held is None:
            metas[each.key] = [each.meta]
        else:
            held.append(each.meta)
    return metas


def _covered(held: Mapping[int, Presence], covered: RangeSet) -> list[Presence]:
    """Those of one replica that a context covers, looking at the shorter of the two."""
    found: list[Presence] = []
    for first, last in covered.ranges():
        if last - first < len(held):
            found += (held[clock] for clock in range(first, last + 1) if clock in held)
        else:
            found += (each for clock, each in held.items() if first <= clock <= last)
    return found
