"""What is said to the actors of a stage, and among them. All frozen."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from wsactors.actors import Pid
from wsactors.dj.song import Pcm
from wsactors.sessions.stage_room import Visitor
from wsactors.wire.native import AudioFrame, Plain


@attrs.frozen
class Enter:
    """Call to the session: somebody is at the door. Answer: `Entered` or `Denied`."""

    visitor: Visitor


@attrs.frozen
class Entered:
    """They may come in, and are called by this number."""

    person: int


@attrs.frozen
class Denied:
    """No; the code is for programs, the text for people."""

    code: str
    text: str


@attrs.frozen
class Act:
    """Call to the session: the user of the listener ``listener`` wants something. Answer: `Done` or `Denied`."""

    __is_value__ = True  # nobody changes the arguments: they come from a decoder

    listener: Pid
    action: str
    args: Mapping[str, Plain]


@attrs.frozen
class Done:
    """It was done; what there is to say about it."""

    __is_value__ = True  # made for this answer

    answer: Plain = None


@attrs.frozen
class Spoken:
    """Cast to the session: a frame of the user of ``listener``."""

    listener: Pid
    frame: AudioFrame


@attrs.frozen
class Renew:
    """Cast to the session: the user of ``listener`` has shown who it is anew."""

    listener: Pid
    visitor: Visitor


@attrs.frozen
class KeeperUp:
    """The keeper of a session's table has started, with an empty table."""


@attrs.frozen
class GetStage:
    """Call to the session: `StageStatus`."""


@attrs.frozen
class StageStatus:
    """How a stage is."""

    listeners: int
    people: int
    on_stage: int
    hands: int
    tracks: int
    frames: int
    """Fanned out since the session actor started."""
    dropped: tuple[tuple[str, int], ...]
    """Frames of speakers that went to nobody, by reason."""


# -- one stream of all voices -----------------------------------------------------------------------------------------


@attrs.frozen
class MixerUp:
    """Cast to the session: the mixer has started, and knows of nobody who wants a mix."""


@attrs.frozen
class MixFor:
    """Cast to the mixer: who wants a mix."""

    whole: bool = False
    """Somebody who only listens."""
    tracks: tuple[int, ...] = ()
    """The speakers of these tracks: each wants the others."""


@attrs.frozen
class MixFrame:
    """Cast to the mixer: a frame that everybody gets."""

    frame: AudioFrame


@attrs.frozen
class MixSound:
    """Cast to the session: the next frame of the mix, coded; empty: not wanted."""

    whole: bytes = attrs.field(repr=False)
    own: tuple[tuple[int, bytes], ...] = attrs.field(repr=False)
    """For the speaker of each track."""


# -- soundboard -------------------------------------------------------------------------------------------------------


@attrs.frozen
class Clip:
    """A sound that can be played."""

    id: int
    name: str
    by: int
    """Who has uploaded it."""
    frames: int
    pcm: Pcm = attrs.field(eq=False, repr=False)


@attrs.frozen
class AddClip:
    """Cast to the soundboard: decode this file. Answered to the session by `ClipReady`."""

    id: int
    name: str
    by: int
    data: bytes = attrs.field(repr=False)


@attrs.frozen
class ClipReady:
    """Cast to the session: the clip, or why there is none."""

    id: int
    by: int
    clip: Clip | None
    error: str = ""


@attrs.frozen
class BoardUp:
    """Cast to the session: the soundboard has started, and decodes nothing that was given to one before it."""


@attrs.frozen
class PlayClip:
    """Cast to the soundboard."""

    clip: Clip


@attrs.frozen
class BoardSound:
    """Cast to the session: 20 ms of what the soundboard plays, as one Opus packet."""

    number: int
    """Counts the packets of the board's clock, those that were not played included."""
    packet: bytes = attrs.field(repr=False)
    level: int
    starts: bool = False
    """Whether nothing was played just before."""
    ends: bool = False
    """Whether nothing is played after it."""
