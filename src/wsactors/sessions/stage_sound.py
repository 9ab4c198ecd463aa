"""The voices of a stage on their way to everybody: the tracks of its people in the forwarder. Pure: ``now`` comes in."""

from __future__ import annotations

from collections import Counter
from typing import Final

from wsactors.media.forwarder import Forwarded, Forwarder, ForwarderOptions
from wsactors.media.speakers import SpeakersOptions
from wsactors.sessions.stage_messages import BoardSound
from wsactors.sessions.stage_options import TRACKS, StageOptions
from wsactors.sessions.stage_rules import Person, may_be_heard
from wsactors.wire.native import FLAG_DISCONTINUITY, AudioFrame

PACKET: Final = 960
"""Samples in a packet of the soundboard: 20 ms."""
TICK: Final = 0.1
"""Seconds between two looks for speakers that fell silent without a word."""
_USABLE: Final = TRACKS - 1
"""The last track is that of the mix."""
_SPARE: Final = 1_000
"""Tracks beyond those of speakers: moderators come to the stage in any case."""


class StageSound:
    """The tracks of one session.

    Args:
        options: Of the session.
        used: How many tracks the session has had before it was restarted; their numbers are not used again.
    """

    def __init__(self, options: StageOptions, used: int = 0) -> None:
        self._options = options
        self._tracks: dict[int, int] = {}
        self._people: dict[int, Person] = {}
        self._begin(used)

    def _begin(self, used: int) -> None:
        base = self._options.track
        used %= _USABLE - 1
        tracks = min(self._options.speakers + _SPARE, _USABLE)
        speakers = SpeakersOptions(last=self._options.loudest)
        self._forwarder = Forwarder(ForwarderOptions(speakers=speakers, tracks=tracks), first_track=base + used)
        self.board = self._forwarder.add_track("board", "music", role=0)
        """The soundboard's track."""
        self.used = used + 1
        self._tracks.clear()
        people, self._people = self._people, {}
        for person in people.values():
            self.follow(person, 0.0)

    def track_of(self, person: int) -> int:
        """The track of somebody; 0: none."""
        return self._tracks.get(person, 0)

    def follow(self, person: Person, now: float) -> list[Forwarded]:
        """Somebody is like this from now on; what listeners are to be told."""
        if not person.on_stage:
            return self.forget(person.id, now)
        before = self._people.get(person.id)
        self._people[person.id] = person
        if person.id not in self._tracks:
            self._add(person)
            return []
        track = self._tracks[person.id]
        self._forwarder.set_role(track, int(person.role), priority=person.priority)
        if before is not None and may_be_heard(before) and not may_be_heard(person):
            return self._forwarder.hush(track, now)
        return []

    def _add(self, person: Person) -> None:
        if self.used >= _USABLE:  # once in a very long life: everybody's numbers begin anew
            self._begin(0)
            return
        try:
            track = self._forwarder.add_track(person.id, "voice", int(person.role), person.priority)
        except ValueError:
            return  # more moderators than anybody has: they are seen, and not heard
        self._tracks[person.id] = track
        self.used += 1

    def forget(self, person: int, now: float) -> list[Forwarded]:
        """Somebody speaks no more; what listeners are to be told."""
        self._people.pop(person, None)
        track = self._tracks.pop(person, None)
        return [] if track is None else self._forwarder.remove_track(track, now)

    def speak(self, person: int, frame: AudioFrame, now: float) -> list[Forwarded]:
        """What everybody gets because somebody has said this."""
        track = self._tracks.get(person)
        return [] if track is None else self._forwarder.put(track, frame, now)

    def play(self, sound: BoardSound, now: float) -> list[Forwarded]:
        """What everybody gets because the soundboard plays this."""
        flags = FLAG_DISCONTINUITY if sound.starts else 0
        frame = AudioFrame(0, sound.number & 0xFFFFFFFF, sound.number * PACKET, sound.packet, sound.level, flags)
        found = self._forwarder.put(self.board, frame, now)
        return found + self._forwarder.hush(self.board, now) if sound.ends else found

    def tick(self, now: float) -> list[Forwarded]:
        """What everybody gets because time has passed."""
        return self._forwarder.tick(now)

    def late_join(self, now: float) -> list[Forwarded]:
        """What somebody who comes now gets at once."""
        return self._forwarder.late_join(now)

    @property
    def is_busy(self) -> bool:
        """Whether anybody is heard, so that `tick` is needed."""
        return next(self._forwarder.speaking(), None) is not None

    def drops(self) -> Counter[str]:
        """Frames that went nowhere, by reason."""
        return self._forwarder.all_drops()

    def __len__(self) -> int:
        return len(self._tracks)
