"""A supervision tree as a value: what a supervisor file says, ready to be printed, compared or started."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Protocol

import attrs

from wsactors.actors import Pid
from wsactors.supervision.spec import ChildSpec, Restart, Shutdown, SupervisorOptions
from wsactors.supervision.supervisor import Supervisor

__all__ = ["Starter", "TreeSpec", "start_tree"]


@attrs.frozen(eq=False)
class TreeSpec:
    """One supervisor, its children, and the trees below it. Starts nothing by itself.

    >>> tree = load_tree("supervisors/dev.toml", ["myapp"])      # doctest: +SKIP
    >>> await node.start_tree(tree)                              # doctest: +SKIP
    """

    name: str
    """The file's name without ``.toml``."""
    file: str
    options: SupervisorOptions
    children: tuple[ChildSpec, ...] = ()
    """In start order; a nested tree is a ``Supervisor`` child."""
    subtrees: Mapping[Any, TreeSpec] = attrs.field(factory=dict)
    """The trees of the children that are trees, by child id."""

    def init_arguments(self) -> dict[str, Any]:
        """What ``Supervisor.init`` takes for this tree."""
        return {
            "strategy": self.options.strategy,
            "children": self.children,
            "intensity": self.options.intensity,
            "period": self.options.period,
            "auto_shutdown": self.options.auto_shutdown,
            "backoff": self.options.backoff,
        }

    def child_spec(
        self,
        child_id: Hashable = None,
        *,
        restart: Restart = "permanent",
        shutdown: Shutdown = "infinity",
        significant: bool = False,
        name: str | None = None,
    ) -> ChildSpec:
        """This tree as a child of another supervisor; ``child_id`` defaults to the tree's name."""
        return ChildSpec(
            self.name if child_id is None else child_id,
            Supervisor,
            kwargs=self.init_arguments(),
            restart=restart,
            shutdown=shutdown,
            significant=significant,
            name=name,
            type="supervisor",
        )

    def walk(self) -> Iterator[tuple[int, ChildSpec]]:
        """Every child with its depth (0 for this supervisor's own), each before its children: the order in which they start."""
        pending = [(0, self, spec) for spec in reversed(self.children)]
        while pending:
            depth, tree, spec = pending.pop()
            yield depth, spec
            below = tree.subtrees.get(spec.id)
            if below is not None:
                pending.extend((depth + 1, below, child) for child in reversed(below.children))

    def longest_stop(self) -> float:
        """Seconds an ordered stop may take at worst: children stop one after the other, so their limits add up.

        ``math.inf`` if a worker, or a supervisor that is no tree of a file, may take for ever. Each kill that follows a
        limit adds the node's ``kill_grace`` at most.
        """
        total = 0.0
        for spec in self.children:
            below = self.subtrees.get(spec.id)
            own = math.inf if spec.shutdown == "infinity" else 0.0 if spec.shutdown == "brutal_kill" else spec.shutdown
            total += min(own, below.longest_stop()) if below is not None else own
        return total


class Starter(Protocol):
    """Whoever can spawn: an actor, or a node."""

    async def spawn(self, cls: Any, /, *args: Any, **options: Any) -> Any:
        """Start an actor."""
        ...


async def start_tree(starter: Starter, tree: TreeSpec, *, name: str | None = None, link: bool = False) -> Pid:
    """Start the whole tree and return its top supervisor's pid, once every child runs.

    Raises:
        StartError: a child did not start; those before it have been stopped again, in reverse order.
    """
    pid: Pid = await starter.spawn(Supervisor, kwargs=tree.init_arguments(), name=name, link=link)
    return pid
