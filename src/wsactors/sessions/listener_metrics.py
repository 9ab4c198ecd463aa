"""What a node counts of its listeners: who comes and by what, how soon they hear, and how well, as they themselves report.

Reports come from listeners, so they are counted as far as they can be true: shares are shares, times have a bound, and more
frames than time has brought count as none at all.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Final

from wsactors.actors import Runtime
from wsactors.media.reports import Heard
from wsactors.realtime.metrics import OTHER, Histogram, Metrics, Reading

TRANSPORTS: Final = ("websocket", "webtransport", "quic", "http")
"""By what listeners come; anything else counts as `OTHER`."""
_RESULTS: Final = (
    "ok", "no_session", "refused", "unauthorized", "not_found", "not_joined", "too_many", "too_large", "rate", "overloaded",
)  # fmt: skip
_FRAMES: Final = ("came", "recovered", "lost")
_SHARES: Final = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
_TIMES: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0)
MOST_SECONDS: Final = 10.0
"""As which any longer time counts that a listener reports."""
MOST_FRAMES: Final = 110.0
"""Frames a second that one track can have brought: packets of 10 ms, and some that were late."""
_SPARE_FRAMES: Final = 150
"""And at once, after a hold-up."""


class ListenerMetrics:
    """The metrics of all listeners of one node."""

    def __init__(self, metrics: Metrics) -> None:
        self._here = dict.fromkeys((*TRANSPORTS, OTHER), 0)
        metrics.gauge(
            "wsactors_listeners", "Listeners of sessions, by what brings them the sound.", self.here, "transport"
        )
        self.joins = metrics.counter(
            "wsactors_session_joins_total",
            "Joins of sessions of all kinds, by what became of them.",
            "result",
            _RESULTS,
        )
        self.join_seconds = metrics.histogram("wsactors_session_join_seconds", "How long successful joins took.")
        self.first_sound = metrics.histogram(
            "wsactors_first_sound_seconds",
            "From the request to join until the first sound was handed to the network, where there was any to be heard.",
            _TIMES,
        )
        self.tiers = metrics.counter(
            "wsactors_tier_changes_total", "Listeners who were given another bit rate.", "direction", ("down", "up")
        )
        self.late = metrics.histogram(
            "wsactors_fan_out_late_seconds",
            "How late sound was handed to listeners against the time of their phase.",
            _TIMES,
        )
        self.too_late = 0
        """Frames that were dropped for some of the listeners, as their time was long over."""
        metrics.total(
            "wsactors_fan_out_dropped_total", "Frames that a phase of listeners did not get.", lambda: self.too_late
        )
        self.reports = metrics.counter(
            "wsactors_hearing_reports_total",
            "What listeners reported of one track, by whether it could be true.",
            "result",
            ("taken", "implausible"),
        )
        self.frames = metrics.counter(
            "wsactors_hearing_frames_total",
            "Frames that listeners reported: those that came, those heard from a copy, and those not heard.",
            "result",
            _FRAMES,
        )

        def histogram(name: str, help_: str, bounds: tuple[float, ...] = _TIMES) -> Histogram:
            return metrics.histogram(f"wsactors_hearing_{name}", help_, bounds)

        self.loss = histogram("loss_share", "Part of a track's frames that did not come, in each report.", _SHARES)
        self.concealed = histogram("concealed_share", "Part of what was played that was guessed.", _SHARES)
        self.jitter = histogram("jitter_seconds", "How much the ways of frames differ.")
        self.buffer = histogram("buffer_seconds", "How long frames wait at the listener before they are played.")
        self.delay = histogram(
            "delay_seconds", "From a sample's time on the node until it is played, where that is known."
        )
        self.rtt = histogram("rtt_seconds", "To a listener and back, smoothed.")

    @classmethod
    def of(cls, node: Runtime) -> ListenerMetrics:
        """Those of ``node``; made when first asked for."""
        found = _of_nodes.get(node)
        if found is None:
            found = _of_nodes[node] = cls(Metrics.of(node))
        return found

    def enter(self, transport: str) -> Callable[[], None]:
        """A listener has come; to be called when it has gone."""
        label = transport if transport in self._here else OTHER
        self._here[label] += 1

        def leave() -> None:
            self._here[label] -= 1

        return leave

    def here(self) -> Reading:
        """How many listen now, by transport."""
        return dict(self._here)

    def hear(self, heard: Iterable[Heard], rtt: float | None) -> list[Heard]:
        """A listener has reported; what of it can be true."""
        taken = [each for each in heard if self._take(each)]
        if taken and rtt is not None:
            self.rtt.observe(rtt)
        return taken

    def _take(self, heard: Heard) -> bool:
        if heard.frames > heard.seconds * MOST_FRAMES + _SPARE_FRAMES:
            self.reports.add("implausible")
            return False
        self.reports.add("taken")
        if not heard.frames:  # nobody speaks there: what it says about ways and waiting is of before
            return True
        missed = round(heard.residual * heard.frames)
        self.frames.add("came", heard.frames - heard.lost)
        self.frames.add("recovered", heard.lost - missed)
        self.frames.add("lost", missed)
        self.loss.observe(heard.loss)
        self.concealed.observe(heard.concealed)
        self.jitter.observe(min(MOST_SECONDS, heard.jitter / 1e3))
        self.buffer.observe(min(MOST_SECONDS, heard.buffer / 1e3))
        if heard.delay is not None:
            self.delay.observe(heard.delay)
        return True


_of_nodes: weakref.WeakKeyDictionary[Runtime, ListenerMetrics] = weakref.WeakKeyDictionary()
