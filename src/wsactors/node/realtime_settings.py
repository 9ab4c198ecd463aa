"""The settings of topics and channels (:mod:`wsactors.node.settings`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from wsactors.gateway.socketio_options import ROOMS
from wsactors.node.auth_settings import PolicySettings, RateSettings, RuleSettings
from wsactors.node.fields import between, matches, section, setting
from wsactors.realtime.options import RealtimeOptions, TopicOptions

__all__ = ["RealtimeSettings", "TopicSettings", "realtime_options"]


@attrs.frozen
class TopicSettings:
    """Topics whose names match."""

    match: str = setting(
        "*",
        "The topic's name; a * at its end stands for anything.",
        check=matches(r"[^*]{0,254}\*?", "a name, with * at most at its end"),
    )
    channel: str = setting(
        "wsactors.realtime.channel:Channel",
        "The actor class of one client's membership, from an allowed package; this one publishes whatever a client sends.",
        check=matches(r"[\w.]+:\w+", '"module:Class"'),
    )
    private: bool = setting(False, "Only who is allowed by a rule of its own may join.")
    history: int = setting(100, "Publications kept for those who come back; 0 keeps none.", check=between(0, 1_000_000))
    history_seconds: float = setting(300.0, "How long a publication is kept.", check=between(0, 86_400))
    slow: Literal["disconnect", "drop_oldest", "latest"] = setting(
        "disconnect",
        "What becomes of a reader whose buffer is full: it is disconnected and may resume, loses the oldest, or gets only the "
        "newest of each event.",
    )
    presence: bool = setting(True, "Whether members can be seen.")
    presence_interval: float = setting(
        0.2, "Seconds over which changes of presence are gathered into one message.", check=between(0.01, 60)
    )
    presence_bytes: int = setting(4096, "Bytes of one member's presence, an estimate.", check=between(64, 1_000_000))
    max_members: int = setting(100_000, "Members on this node.", check=between(1, 10_000_000))
    linger: float = setting(60.0, "Seconds that a topic without members is kept.", check=between(0, 86_400))


@attrs.frozen
class RealtimeSettings:
    """Topics and channels."""

    topics: Mapping[str, TopicSettings] = attrs.field(
        factory=dict,
        kw_only=True,
        metadata={
            "doc": "Kinds of topics, one table each: [realtime.topics.NAME]. The first that matches counts; what none matches is "
            "no topic. Without any, every name is one."
        },
    )
    rules: Mapping[str, RuleSettings] = attrs.field(
        factory=dict,
        kw_only=True,
        metadata={
            "doc": "Who may do what, one table each: [realtime.rules.NAME]. The first that is for the user and topic and names "
            "what is asked decides. What none decides is allowed on public topics, and forbidden on private ones."
        },
    )
    policy: PolicySettings = section(PolicySettings, "Who decides what no rule decides.")
    rates: RateSettings = section(RateSettings, "How much a connection, an address and the clients of a topic may ask.")
    max_topics: int = setting(100_000, "Topics on this node.", check=between(1, 10_000_000))
    max_channels: int = setting(200_000, "Memberships of all clients on this node.", check=between(1, 10_000_000))
    relay_partitions: int = setting(4, "Actors that share the work of sending.", check=between(1, 64))
    history_bytes: int = setting(
        268_435_456,
        "Bytes that all topics together keep of their past, an estimate; when they are used up, the oldest gives way.",
        check=between(0, 1e12),
    )
    payload_bytes: int = setting(3_000_000, "Bytes of one publication, an estimate.", check=between(64, 67_108_864))
    join_seconds: float = setting(5.0, "Seconds in which a join must be decided.", check=between(0.1, 300))


def realtime_options(settings: RealtimeSettings) -> RealtimeOptions:
    """What topics and channels take."""
    topics = tuple(TopicOptions(**attrs.asdict(topics)) for topics in settings.topics.values()) or (TopicOptions(),)
    return RealtimeOptions(
        topics=(ROOMS, *topics),  # nobody but a namespace lets clients into its rooms, whatever the file says
        max_topics=settings.max_topics,
        max_channels=settings.max_channels,
        relay_partitions=settings.relay_partitions,
        history_bytes=settings.history_bytes,
        payload_bytes=settings.payload_bytes,
        join_seconds=settings.join_seconds,
    )
