"""Who is on a topic, as the node tells it: one state, then diffs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Meta: TypeAlias = Mapping[str, Any]


class PresenceMirror:
    """Keys and their metas, in the order in which they came.

    Example:
        >>> mirror = PresenceMirror()
        >>> mirror.take_state({"ann": [{"phx_ref": "1", "mood": "good"}]})
        >>> mirror.take_diff({"ann": [{"phx_ref": "2", "mood": "best", "phx_ref_prev": "1"}]}, {"ann": [{"phx_ref": "1"}]})
        >>> mirror.metas("ann")
        ({'phx_ref': '2', 'mood': 'best', 'phx_ref_prev': '1'},)
    """

    def __init__(self) -> None:
        self._metas: dict[str, dict[Any, Meta]] = {}
        self.is_known = False
        """Whether a state has come on the present connection; else this is how it was on the one before."""

    def __len__(self) -> int:
        return len(self._metas)

    def __contains__(self, key: object) -> bool:
        return key in self._metas

    @property
    def keys(self) -> tuple[str, ...]:
        """Who is there."""
        return tuple(self._metas)

    def metas(self, key: str) -> tuple[Meta, ...]:
        """The metas of one key's connections; empty when it is not there."""
        return tuple(self._metas.get(key, {}).values())

    def take_state(self, state: Mapping[str, Sequence[Meta]]) -> None:
        """Forget what was, know this."""
        self._metas = {}
        self.is_known = True
        self._add(state)

    def take_diff(self, joins: Mapping[str, Sequence[Meta]], leaves: Mapping[str, Sequence[Meta]]) -> None:
        """Joins first, so that a key whose meta changes is there all the time."""
        self._add(joins)
        for key, metas in leaves.items():
            known = self._metas.get(key)
            if known is None:
                continue
            for meta in metas:
                known.pop(meta.get("phx_ref"), None)
            if not known:
                del self._metas[key]

    def clear(self) -> None:
        """Nothing is known any more."""
        self._metas = {}
        self.is_known = False

    def _add(self, state: Mapping[str, Sequence[Meta]]) -> None:
        for key, metas in state.items():
            if metas:
                known = self._metas.setdefault(key, {})
                for meta in metas:
                    known[meta.get("phx_ref")] = meta
