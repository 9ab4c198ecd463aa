"""SIGHUP: which settings a running node takes over, and which have to wait for its next start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from wsactors.node.settings import Settings

__all__ = ["applied", "changed_keys"]


def changed_keys(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, bool]]:
    """The dotted keys whose values differ, each with whether it is live."""
    for field in attrs.fields(type(old)):
        before, after = getattr(old, field.name), getattr(new, field.name)
        key = f"{path}{field.name}"
        if before == after:
            continue
        if attrs.has(type(before)):
            yield from changed_keys(before, after, f"{key}.")
        else:
            yield key, bool(field.metadata.get("live"))


def applied(old: Settings, new: Settings) -> Settings:
    """``old`` with the live settings of ``new``."""
    made: Settings = _merge(old, new)
    return made


def _merge(old: Any, new: Any) -> Any:
    changes: dict[str, Any] = {}
    for field in attrs.fields(type(old)):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if attrs.has(type(before)):
            changes[field.name] = _merge(before, after)
        elif field.metadata.get("live") and not isinstance(before, Mapping):
            changes[field.name] = after
    return attrs.evolve(old, **changes)
