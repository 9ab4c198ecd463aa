"""The values around tables: what one is made of, what it tells about itself, and the messages it sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, get_args

import attrs

from wsactors.actors.pid import Pid
from wsactors.errors import BadRow, TableKindError

if TYPE_CHECKING:
    from wsactors.actors.table import Table

TableKind = Literal["set", "ordered_set", "bag", "duplicate_bag"]
Access = Literal["public", "protected", "private"]
Overflow = Literal["reject", "drop_oldest"]
ChangeKind = Literal["insert", "update", "delete", "expire", "clear", "drop"]

MAX_KEYPOS: Final = 255


class TableHost(Protocol):
    """What tables need from the runtime they live in."""

    @property
    def debug(self) -> bool:
        """Whether rows with mutable values in them are refused, as messages are."""
        ...

    def current(self) -> Pid | None:
        """The actor on whose behalf this code runs; None in a task that is no actor."""
        ...

    def now(self) -> float:
        """Seconds, never going back. TTLs are measured with it."""
        ...

    def send(self, pid: Pid, message: object) -> bool:
        """Put a message into a mailbox; False if it did not get in. Never raises, never waits.

        A ``TableTransfer`` is owed like a ``Down`` and must get past mailbox limits; a ``TableChange`` may be refused.
        """
        ...

    def alive(self, pid: Pid) -> bool:
        """Whether the actor lives. An actor in its death step does not."""
        ...

    def at_death(self, pid: Pid, call: Callable[[Pid], None]) -> None:
        """Have ``call(pid)`` run in the actor's death step. Asked for once or many times, it runs once."""
        ...


def _one_of(choices: Any) -> Any:
    allowed = get_args(choices)

    def check(_spec: object, field: Any, value: object) -> None:
        if value not in allowed:
            raise TableKindError(f"{field.name}= is one of {', '.join(allowed)}, not {value!r}")

    return check


def _positive(_spec: object, field: Any, value: Any) -> None:
    if value is not None and not (type(value) in (int, float) and value > 0):
        raise BadRow(f"{field.name}= is a number above zero or None, not {value!r}")


def _position(_spec: object, field: Any, value: Any) -> None:
    if type(value) is not int or not 0 <= value <= MAX_KEYPOS:
        raise BadRow(f"{field.name}= is the position of the key in a row, from 0 to {MAX_KEYPOS}, not {value!r}")


@attrs.frozen
class TableSpec:
    """How a table was asked for."""

    name: str | None = None
    """Found by ``tables[name]`` while the table lives; None for a table that is only passed around."""
    kind: TableKind = attrs.field(default="set", validator=_one_of(TableKind))
    """``set``: one row per key. ``ordered_set``: the same in term order. ``bag``: many rows per key, none twice.
    ``duplicate_bag``: many rows per key."""
    access: Access = attrs.field(default="protected", validator=_one_of(Access))
    """``public``: every actor reads and writes. ``protected``: every actor reads, the owner writes. ``private``: owner only."""
    keypos: int = attrs.field(default=0, validator=_position)
    """Position of the key in a row, counted from 0 as Python does (Erlang counts from 1)."""
    ttl: float | None = attrs.field(default=None, validator=_positive)
    """Seconds a row lives unless its insert says otherwise; None: for ever."""
    max_rows: int | None = attrs.field(default=None, validator=_positive)
    """Bound on the rows; None: as many as fit into memory."""
    overflow: Overflow = attrs.field(default="reject", validator=_one_of(Overflow))
    """What a write to a full table does: ``reject`` raises ``TableFull``, ``drop_oldest`` deletes the row whose key came
    first (a row written again keeps its age; not for the bags)."""
    max_subscriptions: int = attrs.field(default=10_000, validator=_positive)
    """Bound on change subscriptions."""

    def __attrs_post_init__(self) -> None:
        if self.overflow == "drop_oldest" and (self.max_rows is None or self.kind in ("bag", "duplicate_bag")):
            raise TableKindError('overflow="drop_oldest" needs max_rows= and a set or ordered_set')


@attrs.frozen
class TableInfo:
    """How a table is at this moment."""

    id: int
    name: str | None
    kind: TableKind
    access: Access
    keypos: int
    owner: Pid | None
    """None: made outside any actor; it lives as long as its node."""
    heir: Pid | None
    size: int
    """Rows held. Rows that expired and wait for the sweep count until it has been by (at most a moment)."""
    with_ttl: int
    """Rows that will expire."""
    max_rows: int | None
    overflow: Overflow
    bytes: int
    """Estimate of the memory of the table's own containers, without keys and rows."""
    subscriptions: int
    changes_missed: int
    """Change messages that subscribers with full mailboxes did not get."""
    rows_scanned: int
    """Rows that match and select have looked at since the table was made: what an index saves shows here."""
    rows_evicted: int
    """Rows dropped to make room (``overflow="drop_oldest"``)."""
    rows_expired: int


@attrs.frozen
class TableTransfer:
    """Message to an actor that now owns ``table``: as its heir, or because it was given away. OTP's ``ETS-TRANSFER``."""

    table: Table
    from_pid: Pid | None
    """The owner before; dead, if the table was inherited."""
    data: Any
    """What ``heir_data=`` or ``give_away(data)`` said."""


@attrs.frozen
class TableChange:
    """Message to a subscriber: what happened to one row it watches.

    ``insert`` (``row``), ``update`` (``old`` and ``row``), ``delete`` and ``expire`` (``old``); ``clear`` and
    ``drop`` are sent once for all rows and carry neither.
    """

    table: Table
    subscription: int
    """``Subscription.id``."""
    kind: ChangeKind
    key: Any
    old: tuple[Any, ...] | None
    row: tuple[Any, ...] | None
    missed: int
    """Changes lost right before this one because the subscriber's mailbox was full: not 0 means read the table again."""
