"""Every setting of a load run, as attrs classes; ``config/load.toml`` mirrors them key by key.

They are read by the node's own loader (:mod:`wsactors.node.config`): closed, strict, with the key that was probably meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from wsactors.node.fields import BadSetting, between, matches, section, setting, zero_or
from wsactors.node.secret import Secret

__all__ = [
    "GroupSettings", "HarnessSettings", "LoadSettings", "ReportSettings", "StageSettings", "TargetSettings",
    "ThresholdSettings", "as_document",
]  # fmt: skip

Behaviour = Literal["join", "listen", "chat", "churn", "stall"]
Transport = Literal["native", "phoenix", "socketio"]
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,30}[A-Za-z0-9])?")


def _short_names(_: Any, attribute: attrs.Attribute[Any], value: Mapping[str, object]) -> None:
    for name in value:
        if not _NAME.fullmatch(name):
            raise BadSetting(attribute.name, f"expected short names of letters, digits, '_' and '-', got {name!r}")


def _at_least_zero(_: Any, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not 0 <= value <= 1e12:
        raise BadSetting(attribute.name, f"expected a number that is not negative, got {value!r}")


@attrs.frozen
class TargetSettings:
    """Whom to load."""

    url: str = setting(
        "ws://127.0.0.1:8080",
        "The node's address, ws:// or wss://; each transport adds its own path unless its group names one.",
        check=matches(r"wss?://[^\s/?#@]+/?", "an address such as ws://127.0.0.1:8080"),
    )
    certificate: Path | None = setting(
        None, "PEM file that the node's certificate is checked against, for wss://; empty = the system's authorities."
    )
    connections_per_second: float = setting(
        0.0,
        "Most new connections in a second, reconnects included; 0 = no cap. A target beyond this machine needs one.",
        check=zero_or(0.01, 1e6),
    )
    messages_per_second: float = setting(
        0.0,
        "Most messages that all users together may be set to send in a second; 0 = no cap. A target beyond this machine "
        "needs one. A run that would send more does not start: slowing senders down would falsify the latencies.",
        check=zero_or(0.01, 1e6),
    )


@attrs.frozen
class HarnessSettings:
    """The harness itself."""

    processes: int = setting(
        2, "Processes that share the users; no more than the cores you can spare.", check=between(1, 64)
    )
    drain_seconds: float = setting(
        1.0, "Seconds at the end in which nobody sends and what is under way may still arrive.", check=between(0, 60)
    )
    connect_timeout: float = setting(
        10.0, "Seconds from the first packet of a connection to the answer to its join.", check=between(0.1, 300)
    )
    max_lag: float = setting(
        0.1,
        "Seconds: when one in a hundred of the harness' own delays (its loop, its senders) is longer, the harness is the limit.",
        check=between(0.001, 60),
    )
    max_cpu: float = setting(
        0.9,
        "Share of a core: when one of its processes used more than this, the harness is the limit.",
        check=between(0.05, 1),
    )
    accept_limit: bool = setting(
        False, "Judge the thresholds all the same when the harness was the limit, instead of exit code 7."
    )


@attrs.frozen
class StageSettings:
    """One stretch of the run's shape; stages follow each other in the order of the file."""

    users: int = setting(100, "Users there are at the end of this stage.", check=between(0, 1_000_000))
    seconds: float = setting(10.0, "How long the stage lasts.", check=between(0, 86_400))
    spawn_rate: float = setting(
        0.0, "Users that come (or go) per second until the number is reached; 0 = evenly over the stage.",
        check=zero_or(0.01, 1e6),
    )  # fmt: skip


@attrs.frozen
class GroupSettings:
    """Users of one kind."""

    behaviour: Behaviour = setting(
        "listen",
        "join = join, leave at once, come again; listen = join and take everything; chat = listen and send; churn = listen, "
        "leave after a while, come again; stall = listen, but stop reading now and then.",
    )
    transport: Transport = setting("native", "The protocol: native, phoenix or socketio.")
    weight: float = setting(
        1.0, "Share of all users that are of this kind, relative to the other groups.", check=between(0, 1e6)
    )
    fixed_count: int = setting(
        0, "Exactly so many users of this kind, taken before the others are shared out; 0 = by weight.",
        check=between(0, 1_000_000),
    )  # fmt: skip
    topic: str = setting(
        "load:{}",
        "What they join; {} becomes a number below `topics`.",
        check=matches(r"[^\s]{1,120}", "1 to 120 letters"),
    )
    topics: int = setting(1, "Among how many topics the users of this group spread out.", check=between(1, 1_000_000))
    audio: bool = setting(False, "The topic is a session with sound (native only): its frames are what is measured.")
    presence: bool = setting(False, "native, socketio: whether they are shown as present, and follow who else is.")
    path: str = setting(
        "", "Path (and query) of the endpoint; empty = the transport's usual one.",
        check=matches(r"(?:/[!-~]{0,500})?", "a path such as /ws"),
    )  # fmt: skip
    token: Secret | None = setting(None, "Access token to authenticate with, if the node asks for one.", secret=True)
    rate: float = setting(1.0, "chat: messages one user sends per second.", check=between(0.001, 10_000))
    message_bytes: int = setting(120, "chat: length of a message's text.", check=between(60, 1_000_000))
    stay_seconds: float = setting(10.0, "churn: average seconds until a user leaves.", check=between(0.05, 86_400))
    away_seconds: float = setting(1.0, "join, churn: average seconds until it comes again.", check=between(0, 86_400))
    cut_share: float = setting(
        0.5, "churn: share of the partings that are a cut line instead of a goodbye.", check=between(0, 1)
    )
    stall_seconds: float = setting(5.0, "stall: seconds without reading.", check=between(0.01, 86_400))
    stall_every: float = setting(
        10.0, "stall: seconds from one stall's end to the next one's start.", check=between(0.01, 86_400)
    )


def _limit(doc: str) -> Any:
    return setting(None, doc, check=_at_least_zero)


@attrs.frozen
class ThresholdSettings:
    """What must hold at the end; empty = not judged. A broken one makes the exit code 6."""

    latency_p50_ms: float | None = _limit(
        "Milliseconds from when a message should have been sent to its arrival, median."
    )
    latency_p99_ms: float | None = _limit("The same, 99th percentile.")
    latency_max_ms: float | None = _limit("The same, the longest.")
    audio_late_p99_ms: float | None = _limit("Milliseconds that audio frames come after their time, 99th percentile.")
    join_p99_ms: float | None = _limit("Milliseconds from connecting to having joined, 99th percentile.")
    first_message_p99_ms: float | None = _limit("Milliseconds from connecting to the first message, 99th percentile.")
    loss_share: float | None = _limit("Messages that never came, as a share of those that should have.")
    failed_share: float | None = _limit("Attempts to connect and join that failed, as a share of all.")
    disconnects: float | None = _limit("Connections that the other side ended.")
    unsent: float | None = _limit("Messages that were due and could not be sent.")
    min_messages: float | None = _limit("At least so many messages must have arrived, so that silence is no success.")
    min_users: float | None = _limit("At least so many users must have been joined at the same time.")


@attrs.frozen
class ReportSettings:
    """Where the results go."""

    title: str = setting(
        "Load run", "What the report is headed with.", check=matches(r".{0,200}", "at most 200 characters")
    )
    json: str = setting("load-report.json", "File for programs, in the current directory; empty = none.")
    html: str = setting("load-report.html", "File for people, self-contained, in the current directory; empty = none.")


@attrs.frozen
class LoadSettings:
    """A whole load run, as one value."""

    target: TargetSettings = section(TargetSettings, "Whom to load.")
    harness: HarnessSettings = section(HarnessSettings, "The harness itself.")
    thresholds: ThresholdSettings = section(ThresholdSettings, "What must hold at the end.")
    report: ReportSettings = section(ReportSettings, "Where the results go.")
    stages: Mapping[str, StageSettings] = attrs.field(
        factory=dict, kw_only=True, validator=_short_names,
        metadata={"doc": "The run's shape: one [stages.NAME] after the other."},
    )  # fmt: skip
    users: Mapping[str, GroupSettings] = attrs.field(
        factory=dict, kw_only=True, validator=_short_names,
        metadata={"doc": "Who takes part: [users.NAME], one for each kind of user."},
    )  # fmt: skip

    def __attrs_post_init__(self) -> None:
        if not self.stages:
            raise BadSetting("stages", "expected at least one [stages.NAME] with users and seconds")
        if not self.users:
            raise BadSetting("users", "expected at least one [users.NAME] with a behaviour")
        for name, group in self.users.items():
            if group.audio and (group.transport != "native" or group.behaviour == "chat"):
                raise BadSetting("users", f"{name}: audio is for native listeners; nobody sends sound yet")
            if group.presence and group.transport == "phoenix":
                raise BadSetting("users", f"{name}: in Phoenix the channel decides who is present; leave presence out")


def as_document(value: Any) -> Any:
    """Settings as plain data that the loader takes again, secrets included: for the harness' own processes and nobody else."""
    match value:
        case Mapping():
            return {key: as_document(item) for key, item in value.items()}
        case Secret():
            return value.reveal()
        case Path():
            return str(value)
        case _ if attrs.has(type(value)):
            return {field.name: as_document(getattr(value, field.name)) for field in attrs.fields(type(value))}
        case _:
            return value
