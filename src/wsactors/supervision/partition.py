"""N equal actors behind one name: work is spread over them by key, and one key always meets the same one."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from typing import Any, Final

import attrs

from wsactors.actors import Pid, Via
from wsactors.actors.places import resolve
from wsactors.errors import SpecError
from wsactors.supervision.spec import ChildSpec, Restart, Shutdown
from wsactors.supervision.supervisor import Supervisor

__all__ = ["PartitionSupervisor", "Partitions", "stable_hash"]

MAX_PARTITIONS: Final = 1_024

Key = str | bytes | int | float | bool | None | Pid | tuple["Key", ...]
"""What may be a key: values that are written the same way in every process and on every node."""


def stable_hash(key: Key) -> int:
    """32 bits of ``key`` that are the same in every process, on every node, in every release. Never ``hash()``, which is salted.

    CRC-32 of a type-tagged text, mixed by a multiplication (Knuth, TAOCP 6.4: 2654435761) since CRC is linear in its input and
    keys that differ in one digit should not land in a pattern.

    Raises:
        TypeError: the key, or something in it, has no stable text.
    """
    crc = 0
    for part in _parts(key):
        crc = zlib.crc32(part, crc)
    return (crc ^ (crc >> 15)) * 2654435761 & 0xFFFFFFFF


def _parts(key: Any) -> Iterator[bytes]:
    match key:
        case str():
            yield b"s%d:" % len(key) + key.encode("utf-8", "surrogatepass")
        case bytes():
            yield b"b%d:" % len(key) + key
        case bool() | None:
            yield b"c" + repr(key).encode()
        case int() | float():
            # 1 == 1.0: equal keys must meet the same partition.
            yield b"n%r;" % (int(key) if isinstance(key, float) and key.is_integer() else key)
        case Pid():
            yield f"p{key.node}.{key.incarnation}.{key.serial};".encode()
        case tuple():
            yield b"(%d" % len(key)
            for item in key:
                yield from _parts(item)
        case _:
            raise TypeError(
                f"a partition key is text, bytes, a number, a Pid or a tuple of these, got {type(key).__qualname__}"
            )


@attrs.frozen
class Partitions:
    """The address book of a :class:`PartitionSupervisor`: which partition a key belongs to, and how to reach it.

    >>> COUNTERS = Partitions("counters", 8)
    >>> COUNTERS.index("user:42") == COUNTERS.index("user:42")
    True
    >>> cast(COUNTERS.via("user:42"), "seen")            # doctest: +SKIP
    """

    name: str
    count: int

    def __attrs_post_init__(self) -> None:
        name: object = self.name
        count: object = self.count
        if not isinstance(name, str) or not name:
            raise SpecError(f"partitions: name: expected a non-empty string, got {name!r}")
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_PARTITIONS:
            raise SpecError(f"partitions: count: expected 1 to {MAX_PARTITIONS}, got {count!r}")

    def index(self, key: Key) -> int:
        """The partition of ``key``, 0 to ``count`` - 1. An int is taken modulo ``count``, anything else is hashed."""
        if isinstance(key, int):
            return key % self.count
        return (stable_hash(key) * self.count) >> 32

    def child_name(self, index: int) -> str:
        """The registered name of one partition."""
        return f"{self.name}:{index}"

    def via(self, key: Key) -> Via:
        """A target for ``call``, ``cast`` and ``send``: whichever actor serves ``key`` at that moment."""
        return Via(self, key)

    def whereis(self, name: Any) -> Pid | None:
        """The actor that serves the key ``name`` now; None while it restarts."""
        process = resolve(self.child_name(self.index(name)))
        return None if process is None else process.pid

    def register(self, name: Any, pid: Pid) -> None:
        """Partitions are registered by their supervisor alone.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{self.name} takes no registrations: its PartitionSupervisor registers the partitions")

    def unregister(self, name: Any) -> None:
        """Nothing to forget: see ``register``."""

    def child_spec(
        self,
        child: ChildSpec,
        *,
        partition_argument: str | None = None,
        restart: Restart = "permanent",
        shutdown: Shutdown = "infinity",
    ) -> ChildSpec:
        """The spec of a :class:`PartitionSupervisor` for these partitions, each a ``child``; its id is ``name``."""
        kwargs = {"name": self.name, "child": child, "partitions": self.count, "partition_argument": partition_argument}
        return ChildSpec(self.name, PartitionSupervisor, (), kwargs, restart, shutdown=shutdown)


class PartitionSupervisor(Supervisor):
    """Keeps ``partitions`` equal children, one for one, each registered as ``"name:index"``; see :class:`Partitions`.

    Use it where one actor would be the bottleneck: a registry, a counter, a ``DynamicSupervisor`` that starts thousands.
    """

    async def init(
        self,
        name: str,
        child: ChildSpec,
        partitions: int = 0,
        partition_argument: str | None = None,
        intensity: int = 3,
        period: float = 5.0,
    ) -> object:
        """Start all partitions.

        ``partitions``: how many; 0 is one per processor. ``partition_argument``: the argument of the child's ``init`` that
        is given its index. Restarts are counted for all partitions together, as in every supervisor.
        """
        book = Partitions(name, partitions or os.cpu_count() or 1)
        specs = [self._spec(book, child, index, partition_argument) for index in range(book.count)]
        return await super().init("one_for_one", specs, intensity, period)

    @staticmethod
    def _spec(book: Partitions, child: ChildSpec, index: int, partition_argument: str | None) -> ChildSpec:
        if child.restart == "temporary":
            raise SpecError(
                "partitions: a temporary partition would leave its keys to nobody: use permanent or transient"
            )
        extra = {partition_argument: index} if partition_argument else {}
        return attrs.evolve(child, id=index, name=book.child_name(index), kwargs={**child.kwargs, **extra})
