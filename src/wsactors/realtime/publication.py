"""What is fanned out on a topic: publications and presence, each encoded once per wire format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias
from weakref import WeakValueDictionary

import attrs

from wsactors.wire.plain import Plain

if TYPE_CHECKING:
    from wsactors.actors import Pid

Meta: TypeAlias = dict[str, Any]
"""One connection's presence: plain values, and ``phx_ref``; after an update also ``phx_ref_prev``."""
Metas: TypeAlias = Mapping[str, Sequence[Meta]]
"""Presences by key."""


class Format(Protocol):
    """How one protocol writes what many receive alike. Compared by identity: one object per set of bytes."""

    def __hash__(self) -> int: ...

    def publication(self, publication: Publication, /) -> bytes | None:
        """The whole bytes for a sink; None when such clients cannot have it."""
        ...

    def presence_state(self, state: PresenceState, /) -> bytes | None:
        """The same for everybody who is present; sent to whoever joins."""
        ...

    def presence_diff(self, diff: PresenceDiff, /) -> bytes | None:
        """The same for a change."""
        ...


@attrs.frozen
class Position:
    """A place in a topic's history."""

    epoch: str
    """Which history: it changes when a topic has lost its past."""
    offset: int
    """Of the last publication seen, from 1; 0 is before the first."""


@attrs.frozen(eq=False)
class _EncodedOnce:
    """Remembers its bytes per wire format."""

    __is_value__ = True

    _encoded: dict[Any, bytes | None] = attrs.field(factory=dict, init=False, repr=False)

    def encode(self, wire_format: Format) -> bytes | None:
        """The bytes for receivers of ``wire_format``, made once."""
        try:
            return self._encoded[wire_format]
        except KeyError:
            data = self._encoded[wire_format] = self._bytes_for(wire_format)
            return data

    def _bytes_for(self, wire_format: Format) -> bytes | None:
        raise NotImplementedError


@attrs.frozen(eq=False, kw_only=True)
class Publication(_EncodedOnce):
    """One message on one topic."""

    topic: str
    event: str
    payload: Plain
    """May be, or contain, ``bytes``."""
    offset: int = 0
    """Its place in the topic's history, from 1; 0: the topic keeps none."""
    epoch: str = ""
    sender: Pid | None = None
    """The channel that published it; None: an actor, or REST."""
    exclude: Pid | None = None
    """The channel that does not get it: its sender, who did not ask for its own."""
    id: str = ""
    at: float = 0.0
    """When it was published, Unix time in seconds."""
    meta: Mapping[str, Any] | None = None
    """What a protocol wants to travel along."""
    key: object = None
    """How it waits for slow readers: see `wsactors.realtime.sinks`."""

    def _bytes_for(self, wire_format: Format) -> bytes | None:
        return wire_format.publication(self)


@attrs.frozen(eq=False)
class PresenceState(_EncodedOnce):
    """Who is present on a topic, as of the last diff."""

    topic: str
    metas: Metas
    key: object = attrs.field(default=None, init=False)
    exclude: object = attrs.field(default=None, init=False)

    def _bytes_for(self, wire_format: Format) -> bytes | None:
        return wire_format.presence_state(self)


@attrs.frozen(eq=False)
class PresenceDiff(_EncodedOnce):
    """Who came and who went since the last diff. An update is a join with ``phx_ref_prev`` and a leave of the old ref."""

    topic: str
    joins: Metas
    leaves: Metas
    key: object = attrs.field(default=None, init=False)
    exclude: object = attrs.field(default=None, init=False)

    def _bytes_for(self, wire_format: Format) -> bytes | None:
        return wire_format.presence_diff(self)


class ToActors:
    """The format of actors: a message is the thing itself."""

    def publication(self, publication: Publication, /) -> Any:
        """As it is."""
        return publication

    def presence_state(self, state: PresenceState, /) -> Any:
        """As it is."""
        return state

    def presence_diff(self, diff: PresenceDiff, /) -> Any:
        """As it is."""
        return diff


TO_ACTORS: Final = ToActors()


class _WithoutPresence:
    """A format for those who do not see who is present; everything else they get as the others, the same bytes."""

    def __init__(self, wire_format: Format) -> None:
        self._format = wire_format
        self.protocol: str = getattr(wire_format, "protocol", "other")

    def publication(self, publication: Publication, /) -> bytes | None:
        return publication.encode(self._format)

    def presence_state(self, _state: PresenceState, /) -> bytes | None:
        return None

    def presence_diff(self, _diff: PresenceDiff, /) -> bytes | None:
        return None


class _PresenceAlone(_WithoutPresence):
    """The rest: for those who have asked to see it after they had joined."""

    def publication(self, _publication: Publication, /) -> bytes | None:
        return None

    def presence_state(self, state: PresenceState, /) -> bytes | None:
        return state.encode(self._format)

    def presence_diff(self, diff: PresenceDiff, /) -> bytes | None:
        return diff.encode(self._format)


_without_presence: WeakValueDictionary[int, _WithoutPresence] = WeakValueDictionary()
"""By the id of the format, which nobody else can have while this one holds it."""


def without_presence(wire_format: Format) -> Format:
    """``wire_format`` less presence: one object for each."""
    found = _without_presence.get(id(wire_format))
    if found is None:
        found = _without_presence[id(wire_format)] = _WithoutPresence(wire_format)
    return found


_presence_alone: WeakValueDictionary[int, _PresenceAlone] = WeakValueDictionary()


def presence_alone(wire_format: Format) -> Format:
    """What `without_presence` leaves out: one object for each."""
    found = _presence_alone.get(id(wire_format))
    if found is None:
        found = _presence_alone[id(wire_format)] = _PresenceAlone(wire_format)
    return found
