"""Every decision of a supervisor, as functions of values: one ``case`` per rule of OTP, with time and chance passed in.

Source of the rules: Erlang/OTP 25 ``supervisor.erl`` (``do_restart/3``, ``add_restart/1``, ``do_auto_shutdown/2``,
``shutdown/1``). Two deviations: the intensity window is a float and exact, where OTP truncates to whole seconds; and there
may be a pause before a restart (:class:`~wsactors.supervision.spec.Backoff`).
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Hashable, Iterable, Sequence

import attrs

from wsactors.supervision.spec import AutoShutdown, Backoff, Restart, Shutdown, Strategy

__all__ = ["Action", "RestartWindow", "Verdict", "affected", "ends_supervisor", "on_exit", "pause", "stopped_well"]


class Action(enum.Enum):
    """What becomes of a child that ended by itself."""

    RESTART = "restart"
    KEEP = "keep"
    """Its spec stays, without a process: ``restart_child`` can start it again."""
    DROP = "drop"
    """The spec goes too."""


@attrs.frozen
class Verdict:
    """What to do about a child that ended, and whether its end is an error worth a report."""

    action: Action
    report: bool


def on_exit(restart: Restart, reason: object) -> Verdict:
    """The restart rule.

    >>> on_exit("transient", "normal")
    Verdict(action=<Action.KEEP: 'keep'>, report=False)
    """
    match restart, reason:
        case "permanent", _:
            return Verdict(Action.RESTART, report=True)
        case "transient", "normal" | "shutdown" | ("shutdown", _):
            return Verdict(Action.KEEP, report=False)
        case "transient", _:
            return Verdict(Action.RESTART, report=True)
        case "temporary", "normal" | "shutdown" | ("shutdown", _):
            return Verdict(Action.DROP, report=False)
        case _:
            return Verdict(Action.DROP, report=True)


def stopped_well(restart: Restart, shutdown: Shutdown, reason: object) -> bool:
    """Whether a child that its supervisor stopped ended the way it was asked to; if not, that is an error to report."""
    match shutdown, restart, reason:
        case "brutal_kill", _, "killed":
            return True
        case "brutal_kill", "permanent", _:
            return False
        case _, _, "shutdown":
            return True
        case _, "permanent", _:
            return False
        case _, _, "normal" | ("shutdown", _):
            return True
        case _:
            return False


def affected(strategy: Strategy, ids: Sequence[Hashable], crashed: Hashable) -> Sequence[Hashable]:
    """The ids (in start order) that are stopped and started again because ``crashed`` ended; it is among them."""
    match strategy:
        case "one_for_one":
            return [crashed]
        case "rest_for_one":
            return ids[ids.index(crashed) :]
        case "one_for_all":
            return ids


def ends_supervisor(auto_shutdown: AutoShutdown, *, significant: bool, others_active: Iterable[bool]) -> bool:
    """Whether the supervisor ends because a child ended that will not be restarted.

    ``others_active`` tells of each other *significant* child whether it runs or is being restarted.
    """
    match auto_shutdown, significant:
        case "never", _:
            return False
        case _, False:
            return False
        case "any_significant", _:
            return True
        case _:
            return not any(others_active)


class RestartWindow:
    """The restarts of one supervisor, all its children together, that still count.

    A group restart is one request. ``intensity=3`` grants three in any ``period`` seconds, both ends included, and refuses
    the fourth. Memory: one float per granted restart, at most ``intensity``.
    """

    __slots__ = ("_granted", "intensity", "period")

    def __init__(self, intensity: int, period: float) -> None:
        self.intensity = intensity
        self.period = period
        self._granted: deque[float] = deque()

    def __len__(self) -> int:
        return len(self._granted)

    def __repr__(self) -> str:
        return f"<RestartWindow {len(self)} of {self.intensity} in {self.period:g} s>"

    def request(self, now: float) -> bool:
        """Count one restart at ``now`` (seconds, never decreasing). False: too many, the supervisor must give up."""
        granted = self._granted
        while granted and now - granted[0] > self.period:
            granted.popleft()
        if len(granted) >= self.intensity:
            return False
        granted.append(now)
        return True

    def would_refuse(self, at: float) -> bool:
        """Whether a restart at ``at``, later than any counted one, is sure to be refused; counts nothing."""
        return sum(at - moment <= self.period for moment in self._granted) >= self.intensity


def pause(backoff: Backoff, row: int, chance: float) -> float:
    """Seconds before restart number ``row`` (from 0) in a row; ``chance`` is a random number, 0 <= chance < 1.

    >>> [pause(Backoff(initial=0.5, maximum=3, jitter=0), row, 0.9) for row in range(4)]
    [0.5, 1.0, 2.0, 3]
    """
    # 64 doublings are past any maximum; beyond 1023 the power itself would overflow.
    longest = min(backoff.maximum, backoff.initial * backoff.factor ** min(row, 64))
    return longest * (1 - backoff.jitter * chance)


def next_row(backoff: Backoff, row: int, lived: float) -> int:
    """How many restarts in a row the next one follows, after a child that lived ``lived`` seconds."""
    return 0 if lived >= backoff.reset_after else row + 1
