"""Process groups (OTP's ``pg``) with metadata: who is in a group, and who wants to know when that changes.

As in ``pg`` an actor may join a group several times and is then listed as often; an empty group does not exist. Unlike ``pg``
each membership carries ``meta``, any value, which presence needs.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Literal

import attrs

from wsactors.actors.redact import safe_repr
from wsactors.actors.requests import append_exempt
from wsactors.errors import NoProcess

if TYPE_CHECKING:
    from wsactors.actors.pid import Pid


@attrs.frozen
class Member:
    """One membership."""

    pid: Pid
    meta: Any = None


@attrs.frozen
class GroupChange:
    """What a group's monitors receive: the members that joined or left, in one message per operation or death."""

    ref: GroupRef
    event: Literal["join", "leave"]
    group: Any
    members: tuple[Member, ...]


class GroupRef:
    """A monitor on a group."""

    __slots__ = ("_watcher", "group")

    def __init__(self, watcher: Pid, group: Any) -> None:
        self._watcher = watcher
        self.group = group

    def __repr__(self) -> str:
        return f"<GroupRef of {self._watcher} on {safe_repr(self.group, 60)}>"


class Groups:
    """The groups of one node. Names are any hashable value."""

    def __init__(self) -> None:
        self._members: dict[Any, list[Member]] = {}
        self._of: dict[Pid, dict[Any, None]] = {}
        self._monitors: dict[Any, dict[GroupRef, None]] = {}
        self._watching: dict[Pid, dict[GroupRef, None]] = {}

    def join(self, group: Any, pid: Pid, meta: Any = None) -> None:
        """Add a membership. Raises ``NoProcess`` for a dead pid."""
        self._own(pid)
        member = Member(pid, meta)
        self._members.setdefault(group, []).append(member)
        self._of.setdefault(pid, {})[group] = None
        self._tell("join", group, (member,))

    def leave(self, group: Any, pid: Pid) -> bool:
        """End the oldest membership of ``pid``; False when it has none."""
        members = self._members.get(group, [])
        member = next((member for member in members if member.pid is pid), None)
        if member is None:
            return False
        members.remove(member)
        if not any(other.pid is pid for other in members):
            self._of[pid].pop(group, None)
        if not members:
            del self._members[group]
        self._tell("leave", group, (member,))
        return True

    def update(self, group: Any, pid: Pid, meta: Any) -> bool:
        """Replace the metadata of the oldest membership of ``pid``: a leave and a join in one message each; False if none."""
        members = self._members.get(group, [])
        for index, member in enumerate(members):
            if member.pid is pid:
                members[index] = Member(pid, meta)
                self._tell("leave", group, (member,))
                self._tell("join", group, (members[index],))
                return True
        return False

    def members(self, group: Any) -> tuple[Member, ...]:
        """Every membership, oldest first."""
        return tuple(self._members.get(group, ()))

    def pids(self, group: Any) -> list[Pid]:
        """The members' pids, ready for ``send_many``."""
        return [member.pid for member in self._members.get(group, ())]

    def names(self) -> tuple[Any, ...]:
        """Every group that has a member."""
        return tuple(self._members)

    def monitor(self, watcher: Pid, group: Any) -> tuple[GroupRef, tuple[Member, ...]]:
        """The members now, and a ``GroupChange`` to ``watcher`` for every change from now on: nothing is missed in between."""
        self._own(watcher)
        ref = GroupRef(watcher, group)
        self._monitors.setdefault(group, {})[ref] = None
        self._watching.setdefault(watcher, {})[ref] = None
        return ref, self.members(group)

    def demonitor(self, ref: GroupRef) -> bool:
        """End a group monitor; False when it had ended."""
        watching = self._watching.get(ref._watcher)
        if watching is None or ref not in watching:
            return False
        del watching[ref]
        self._unwatch(ref)
        return True

    def _own(self, pid: Pid) -> None:
        process = pid._process
        if process is None:
            raise NoProcess(pid)
        extras = process.more()
        if extras.on_death is None:
            extras.on_death = OrderedDict()
        extras.on_death[self] = self._gone

    def _gone(self, pid: Pid) -> None:
        """The death step of a member or monitor, possibly both."""
        for ref in self._watching.pop(pid, ()):
            self._unwatch(ref)
        for group in self._of.pop(pid, ()):
            members = self._members[group]
            gone = tuple(member for member in members if member.pid is pid)
            self._members[group] = left = [member for member in members if member.pid is not pid]
            if not left:
                del self._members[group]
            self._tell("leave", group, gone)

    def _unwatch(self, ref: GroupRef) -> None:
        monitors = self._monitors[ref.group]
        del monitors[ref]
        if not monitors:
            del self._monitors[ref.group]

    def _tell(self, event: Literal["join", "leave"], group: Any, members: tuple[Member, ...]) -> None:
        for ref in self._monitors.get(group, ()):
            process = ref._watcher._process
            if process is not None:
                append_exempt(process, GroupChange(ref, event, group, members))
