"""What a stage or a voice session is told when it is opened."""

from __future__ import annotations

import zlib
from typing import Any, Final, Literal

import attrs

from wsactors.realtime.limits import Rate
from wsactors.sessions.options import check_name, check_title

StageKind = Literal["stage", "voice"]
Who = Literal["nobody", "moderators", "speakers", "everybody"]
"""Those who may do something: each word means the ones before it, too."""

MAX_TOPIC: Final = 120
"""Longest topic of a session, in characters."""
VOICE_PEOPLE: Final = 99
"""People in a voice session, if nothing else is said."""
STAGE_PEOPLE: Final = 5_000
STAGE_SPEAKERS: Final = 50
TRACKS: Final = 0x10000
"""Audio tracks that have the upper bits of their session's in common."""
MAX_SPEAKERS: Final = 4_000
NEWS: Final = 1_000
"""Messages a second that tell what has changed, to all together: each costs as much as several frames of sound."""
NEWS_SECONDS: Final = 2.0
"""But everybody knows after so long."""
COUNTS: Final = 100
"""The same for messages that tell nothing but how many listen: where many come and go, that is never twice the same."""
COUNT_SECONDS: Final = 5.0


def _between(low: float, high: float) -> Any:
    return [attrs.validators.ge(low), attrs.validators.le(high)]


@attrs.frozen
class BoardOptions:
    """The soundboard of a session: short clips that people play for everybody."""

    play: Who = "speakers"
    """Who may play a clip."""
    upload: Who = "moderators"
    """Who may add one."""
    clips: int = attrs.field(default=24, validator=_between(0, 100))
    """Most clips at a time; each takes up to 2 MB of memory."""
    seconds: int = attrs.field(default=10, validator=_between(1, 30))
    """Longest clip."""
    clip_bytes: int = attrs.field(default=1_000_000, validator=_between(1_000, 10_000_000))
    """Largest file."""
    plays: Rate = Rate(per_second=0.5, burst=4.0, debt=0.0)
    """How often one person may play a clip."""
    uploads: Rate = Rate(per_second=0.05, burst=3.0, debt=0.0)
    """How often one person may begin to upload one."""


@attrs.frozen
class StageOptions:
    """One stage, or one voice session: the same with everybody a speaker."""

    name: str = attrs.field(default="stage", validator=check_name)
    """What people join; part of addresses."""
    kind: StageKind = "stage"
    title: str = attrs.field(default="", validator=check_title)
    topic: str = attrs.field(default="", validator=attrs.validators.max_len(MAX_TOPIC))
    """What it is about, until a moderator says something else."""
    moderators: tuple[str, ...] = ()
    """The subjects of those who moderate, such as whoever has opened it."""
    moderator_roles: tuple[str, ...] = ("moderator",)
    """Roles, as tokens have them, with which one moderates."""
    first_moderates: bool = False
    """Whether somebody who comes while nobody moderates becomes a moderator, known or not. For rehearsals."""
    people: int = attrs.field(validator=_between(1, 100_000))
    """Most people at a time; moderators come in anyway."""
    speakers: int = attrs.field(validator=_between(1, MAX_SPEAKERS))
    """Most people on the stage at a time, moderators among them; these come anyway."""
    hands: int = attrs.field(default=500, validator=_between(0, 10_000))
    """Most hands up at a time."""
    push_to_talk: bool = False
    """Whether all but moderators have to hold a key while they speak."""
    loudest: int = attrs.field(default=6, validator=_between(1, 32))
    """How many voices are sent at a time: those of the loudest, and of priority speakers."""
    grace_seconds: float = attrs.field(default=30.0, validator=_between(0, 3600))
    """How long somebody whose connection broke keeps role, hand and place."""
    ban_seconds: float = attrs.field(default=300.0, validator=_between(0, 86_400))
    """How long somebody who was kicked stays out."""
    tell_seconds: float = attrs.field(default=0.2, validator=_between(0.05, 10))
    """Between two messages that tell what has changed, and how loud people are; longer where many listen."""
    board: BoardOptions = BoardOptions()

    @people.default
    def _people(self) -> int:
        return VOICE_PEOPLE if self.kind == "voice" else STAGE_PEOPLE

    @speakers.default
    def _speakers(self) -> int:
        return min(self.people, MAX_SPEAKERS) if self.kind == "voice" else STAGE_SPEAKERS

    @property
    def track(self) -> int:
        """The number of its first audio track; all have its upper 16 bits, by which a listener knows the session."""
        return zlib.crc32(self.name.encode()) & 0xFFFFFFFF & ~(TRACKS - 1)

    @property
    def mix_track(self) -> int:
        """The number of the track that has all voices in it."""
        return self.track + TRACKS - 1

    def tell_after(self, listeners: int) -> float:
        """Seconds between two messages that tell so many what has changed."""
        return max(self.tell_seconds, min(listeners / NEWS, NEWS_SECONDS))

    def count_after(self, listeners: int) -> float:
        """The same for messages that tell them only how many they are."""
        return max(self.tell_seconds, min(listeners / COUNTS, COUNT_SECONDS))

    def part(self, part: str) -> str:
        """The registered name of one of its actors."""
        return part_of(self.kind, self.name, part)


def part_of(kind: str, session: str, part: str) -> str:
    """The registered name of an actor of a session."""
    return f"{kind}:{session}:{part}"


def voice_options(name: str = "voice", **others: object) -> StageOptions:
    """A session in which everybody may speak."""
    return StageOptions(name, kind="voice", **others)  # type: ignore[arg-type]
