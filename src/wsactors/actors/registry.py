"""Local names: one live actor per name, gone in the step in which it dies."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from wsactors.actors.death import is_ending
from wsactors.actors.last_step import at_death
from wsactors.actors.pid import Via
from wsactors.errors import NameTaken, NoProcess

if TYPE_CHECKING:
    from wsactors.actors.pid import Pid


def take_name(own: Registry, name: str | Via, pid: Pid) -> None:
    """Bind a name of the node's own registry, or one of another. That one may not see deaths: it is told, in the death step.

    Raises:
        NameTaken, NoProcess, or what the other registry raises.
    """
    if not isinstance(name, Via):
        own.register(name, pid)
        return
    process = pid._process
    if process is None or is_ending(pid):
        raise NoProcess(pid)
    name.registry.register(name.name, pid)
    if not isinstance(name.registry, Registry):
        at_death(pid, ("via", id(name.registry), name.name), partial(_left, name))


def _left(name: Via, pid: Pid) -> None:
    if name.registry.whereis(name.name) is pid:
        name.registry.unregister(name.name)


class Registry:
    """The names of one node. Satisfies ``NameRegistry``, so one of your own works in ``Via`` too, and loses its dead as well."""

    def __init__(self) -> None:
        self._pids: dict[str, Pid] = {}

    @property
    def names(self) -> Mapping[str, Pid]:
        """A live read-only view."""
        return MappingProxyType(self._pids)

    def whereis(self, name: str) -> Pid | None:
        """The live actor of that name."""
        return self._pids.get(name)

    def register(self, name: str, pid: Pid) -> None:
        """Bind a name to a live actor; the same pair twice is fine.

        Raises:
            NameTaken: it is another actor's.
            NoProcess: the pid is dead, or its exit is already under way.
        """
        if not name or not isinstance(name, str):
            raise TypeError(f"a registered name is a non-empty str, got {name!r}")
        holder = self._pids.get(name)
        if holder is pid:
            return
        if holder is not None:
            raise NameTaken(name, holder)
        process = pid._process
        if process is None or is_ending(pid):
            raise NoProcess(pid)
        extras = process.more()
        if process.sched.runtime.registry is self:
            if extras.names is None:
                extras.names = {}
            extras.names[name] = None
        else:
            if extras.on_death is None:
                extras.on_death = OrderedDict()
            extras.on_death[self] = self._gone
        self._pids[name] = pid

    def unregister(self, name: str) -> None:
        """Forget a name; unknown names are ignored."""
        pid = self._pids.pop(name, None)
        if pid is not None and pid._process is not None:
            extras = pid._process.extras
            if extras is not None and extras.names is not None:
                extras.names.pop(name, None)

    def _gone(self, pid: Pid) -> None:
        """The death step of an actor named here and perhaps not by its node."""
        for name in [name for name, holder in self._pids.items() if holder is pid]:
            del self._pids[name]

    def forget(self, name: str, pid: Pid) -> None:
        """The death step: drop the name if it is still ``pid``'s."""
        if self._pids.get(name) is pid:
            del self._pids[name]
