"""Addresses: pids, and the home that makes those of a restarted node differ from the old ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Protocol, runtime_checkable

import attrs

if TYPE_CHECKING:
    from wsactors.actors.process import Process


@attrs.frozen(slots=True)
class Home:
    """The node a pid belongs to: its name, and the incarnation that never repeats, so a restarted node's pids never alias."""

    name: str
    incarnation: int


class Pid:
    """The opaque address of one actor. Compare, hash, print and send it; never build one.

    It stays valid (as a value) after the actor died: sends to it are dropped, calls fail with ``NoProcess``.
    """

    __slots__ = ("_home", "_process", "serial")

    _home: Home
    _process: Process | None
    serial: int

    @property
    def node(self) -> str:
        """Name of the node it lives on."""
        return self._home.name

    @property
    def incarnation(self) -> int:
        """Which run of that node."""
        return self._home.incarnation

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if other.__class__ is not Pid:
            return NotImplemented
        return self.serial == other.serial and self._home == other._home

    def __hash__(self) -> int:
        return hash(self.serial)

    def __repr__(self) -> str:
        return f"<{self._home.name}.{self.serial}>"

    def __copy__(self) -> Pid:
        return self

    def __deepcopy__(self, memo: Any) -> Pid:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Pid is not picklable; it travels between nodes in the runtime's own encoding")


@runtime_checkable
class NameRegistry(Protocol):
    """What ``Via`` needs: a place that knows live pids by key."""

    def whereis(self, name: Any) -> Pid | None:
        """The live pid of ``name``, or None."""
        ...

    def register(self, name: Any, pid: Pid) -> None:
        """Bind ``name``; raises ``NameTaken`` if it is bound to another live actor."""
        ...

    def unregister(self, name: Any) -> None:
        """Forget ``name``; unknown names are ignored."""
        ...


@attrs.frozen
class Via:
    """A target resolved through a registry of your own at the moment of the send, as OTP's ``{via, Module, Name}``.

    >>> await call(Via(partitions, "user:42"), "status")            # doctest: +SKIP
    """

    registry: NameRegistry = attrs.field(eq=False)
    name: Any


def new_pid(home: Home, serial: int) -> Pid:
    """A fresh address; only the runtime makes them."""
    pid = Pid.__new__(Pid)
    pid._home = home
    pid.serial = serial
    pid._process = None
    return pid


Target = Pid | str | Via
"""Whatever ``send``, ``cast``, ``call`` and ``monitor`` accept."""
