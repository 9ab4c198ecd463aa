"""What the stages and voice sessions of a node count, put together when somebody looks."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Mapping
from typing import Final, Protocol

from wsactors.actors import Runtime
from wsactors.realtime.metrics import Metrics

_RESULTS: Final = (
    "ok", "refused", "unauthorized", "not_found", "not_joined", "too_many", "too_large", "rate", "overloaded",
)  # fmt: skip
_FRAMES: Final = (
    "forwarded", "role", "muted", "elsewhere", "joining", "rate", "malformed", "left", "silence", "place", "late", "stale",
    "duplicate", "overlap", "leaps", "unknown",
)  # fmt: skip
"""What becomes of a speaker's frame; ``silence`` and ``place`` are as it should be."""
_ROLES: Final = ("audience", "speaker", "moderator")


class Counting(Protocol):
    """A session actor, as its node's metrics see it."""

    def frames(self) -> Counter[str]:
        """What became of frames, since it started."""
        ...

    def roles(self) -> Mapping[str, int]:
        """How many are there in each role."""
        ...


class StageMetrics:
    """The metrics of all stages of one node."""

    def __init__(self, metrics: Metrics) -> None:
        self._living: dict[int, Counting] = {}
        self._ended: Counter[str] = Counter()
        self.joins = metrics.counter(
            "wsactors_stage_joins_total",
            "Joins of stages and voice sessions, by what became of them.",
            "result",
            _RESULTS,
        )
        self.acts = metrics.counter(
            "wsactors_stage_acts_total", "What people wanted to do there, by what became of it.", "result", _RESULTS
        )
        metrics.total(
            "wsactors_voice_frames_total",
            "Audio frames of speakers, by what became of them.",
            self._frames,
            "result",
        )
        metrics.gauge("wsactors_stage_people", "People in stages and voice sessions.", self._people, "role")

    @classmethod
    def of(cls, node: Runtime) -> StageMetrics:
        """Those of ``node``; made when first asked for."""
        found = _of_nodes.get(node)
        if found is None:
            found = _of_nodes[node] = cls(Metrics.of(node))
        return found

    def begin(self, stage: Counting) -> None:
        """A session actor has started."""
        self._living[id(stage)] = stage

    def end(self, stage: Counting) -> None:
        """It is no more; what it has counted stays counted."""
        if self._living.pop(id(stage), None) is not None:
            self._ended += stage.frames()

    def _frames(self) -> Mapping[str, float]:
        total = sum((each.frames() for each in self._living.values()), Counter(self._ended))
        found: dict[str, float] = dict.fromkeys(_FRAMES, 0)
        for result, count in total.items():
            name = result if result in found else "other"
            found[name] = found.get(name, 0) + count
        return found

    def _people(self) -> Mapping[str, float]:
        found: dict[str, float] = dict.fromkeys(_ROLES, 0)
        for each in self._living.values():
            for role, count in each.roles().items():
                found[role] += count
        return found


_of_nodes: weakref.WeakKeyDictionary[Runtime, StageMetrics] = weakref.WeakKeyDictionary()
