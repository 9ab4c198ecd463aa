"""Supervision: child specs, supervisors of three kinds, trees from files, and the node that they all live in.

Each name is imported when first used: a program that builds its trees in code never loads the reader of supervisor files.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsactors.supervision.children import ChildCount as ChildCount
    from wsactors.supervision.children import ChildInfo as ChildInfo
    from wsactors.supervision.dynamic import DynamicSupervisor as DynamicSupervisor
    from wsactors.supervision.loader import load_tree as load_tree
    from wsactors.supervision.node import Node as Node
    from wsactors.supervision.partition import Partitions as Partitions
    from wsactors.supervision.partition import PartitionSupervisor as PartitionSupervisor
    from wsactors.supervision.partition import stable_hash as stable_hash
    from wsactors.supervision.requests import count_children as count_children
    from wsactors.supervision.requests import delete_child as delete_child
    from wsactors.supervision.requests import get_child_spec as get_child_spec
    from wsactors.supervision.requests import restart_child as restart_child
    from wsactors.supervision.requests import start_child as start_child
    from wsactors.supervision.requests import terminate_child as terminate_child
    from wsactors.supervision.requests import which_children as which_children
    from wsactors.supervision.spec import AutoShutdown as AutoShutdown
    from wsactors.supervision.spec import Backoff as Backoff
    from wsactors.supervision.spec import ChildSpec as ChildSpec
    from wsactors.supervision.spec import Restart as Restart
    from wsactors.supervision.spec import Shutdown as Shutdown
    from wsactors.supervision.spec import Strategy as Strategy
    from wsactors.supervision.spec import SupervisorOptions as SupervisorOptions
    from wsactors.supervision.supervisor import Supervisor as Supervisor
    from wsactors.supervision.tree import TreeSpec as TreeSpec
    from wsactors.supervision.tree import start_tree as start_tree

_HOME = {
    "children": "ChildCount ChildInfo",
    "dynamic": "DynamicSupervisor",
    "loader": "load_tree",
    "node": "Node",
    "partition": "PartitionSupervisor Partitions stable_hash",
    "requests": ("count_children delete_child get_child_spec restart_child start_child terminate_child which_children"),
    "spec": "AutoShutdown Backoff ChildSpec Restart Shutdown Strategy SupervisorOptions",
    "supervisor": "Supervisor",
    "tree": "TreeSpec start_tree",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}

__all__ = sorted(_MODULE_OF)  # noqa: PLE0605 - drawn from the table above; a test holds the re-exports against it


def __getattr__(name: str) -> object:
    """Import the module that owns ``name`` and hand out the name (PEP 562)."""
    try:
        module = _MODULE_OF[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value: object = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
