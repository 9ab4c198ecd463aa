"""What the actors of a battle say to each other, and what others may say to them. All frozen; times are timeline frames.

Commands go to a deck (``options.part("deck_a")``) or to the mixer (``options.part("mixer")``), by `call` when the answer
matters (the new truth, or `Refused`), else by `cast`. `at` is the timeline frame at which they take effect, at most a
minute ahead; None, and any frame before that, is as soon as the render process can follow: a tenth of a second. What a
part was told for later is forgotten when it crashes before.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from wsactors.actors import Pid
from wsactors.dj.song import Pcm, Song
from wsactors.dj.state import Crossfader, DeckState
from wsactors.sessions.stage_options import StageOptions

# -- commands to a deck -----------------------------------------------------------------------------------------------


@attrs.frozen
class LoadSong:
    """Put a song on the deck, at its start and paused; `play` lets it run."""

    song: Song
    pcm: Pcm = attrs.field(eq=False)
    play: bool = False
    at: int | None = None


@attrs.frozen
class Play:
    """Start, or go on."""

    at: int | None = None


@attrs.frozen
class Pause:
    """Stop, keeping the place."""

    at: int | None = None


@attrs.frozen
class Seek:
    """Jump to a place in the song, in seconds."""

    seconds: float
    at: int | None = None


@attrs.frozen
class SetRate:
    """Change the speed: 1.0 is as recorded, up to ±4."""

    rate: float
    at: int | None = None


@attrs.frozen
class SetGain:
    """Change the deck's gain: 1.0 leaves it as it is, up to 4 (+12 dB)."""

    gain: float
    at: int | None = None


# -- commands to the mixer --------------------------------------------------------------------------------------------


@attrs.frozen
class MoveCrossfader:
    """Send the crossfader to a place (−1 deck a, +1 deck b), gliding for `seconds`."""

    position: float
    seconds: float = 0.0
    at: int | None = None


@attrs.frozen
class SwingCrossfader:
    """Let the crossfader swing between the ends by itself, once there and back in `seconds`, beginning at deck a."""

    seconds: float
    at: int | None = None


@attrs.frozen
class SetMaster:
    """Change the gain of everything, 0 to 4."""

    gain: float
    at: int | None = None


@attrs.frozen
class GetState:
    """Call to any part: its truth (`DeckTruth` or `MixerTruth`)."""


@attrs.frozen
class Refused:
    """Answer to a command that cannot be carried out; the text says why, to whoever gave it."""

    text: str


# -- truths -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class DeckTruth:
    """All there is to know about one deck."""

    state: DeckState = attrs.field(factory=DeckState)
    song: Song | None = None
    pcm: Pcm | None = attrs.field(default=None, eq=False)


@attrs.frozen
class MixerTruth:
    """All there is to know about the mixer."""

    crossfader: Crossfader = attrs.field(factory=Crossfader)
    master: float = 1.0


Truth: TypeAlias = DeckTruth | MixerTruth


@attrs.frozen
class PartChanged:
    """A part tells its session, by cast: this is the truth from `frame` on. Revision 0: it has just started anew."""

    part: str
    revision: int
    frame: int
    truth: Truth


@attrs.frozen
class Report:
    """The session asks a part, by cast, to tell its truth (again)."""


@attrs.frozen
class Restore:
    """The session gives a part that has started anew the truth it had."""

    revision: int
    truth: Truth


# -- listeners --------------------------------------------------------------------------------------------------------


@attrs.frozen
class Leave:
    """Cast to a listener: it ends."""


@attrs.frozen
class SessionCard:
    """What a session shows of itself: the metadata of its place in the group `SESSIONS`."""

    name: str
    title: str
    kind: str
    track: int
    stage: StageOptions | None = None
    """What a stage or a voice session was told; None: it is another kind."""
    tiers: int = 1
    """At how many bit rates a listener may get it."""
    operated: bool = False
    """Whether it answers the calls of `wsactors.sessions.battle_messages`; another would crash at them."""


SESSIONS = "sessions"
"""The process group of all session actors of a node."""


@attrs.frozen
class GetStatus:
    """Call to the session: `Status`."""


@attrs.frozen
class Status:
    """How a session is."""

    listeners: int
    packets: int
    """Fanned out since the session actor started."""
    gaps: int
    """Times the timeline jumped between two of them."""
    render_process: int | None
    """Its process id, when one is up."""
    host: Pid | None
