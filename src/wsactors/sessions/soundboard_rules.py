"""The soundboard of a session: who may add and play clips, how often, and how much of it is kept. Pure: ``now`` comes in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from wsactors.dj.timeline import SAMPLE_RATE
from wsactors.realtime.identity import Refused
from wsactors.realtime.limits import Bucket, Rate
from wsactors.sessions.stage_messages import AddClip, Clip, ClipReady, PlayClip
from wsactors.sessions.stage_options import BoardOptions, Who
from wsactors.sessions.stage_room import Key
from wsactors.sessions.stage_rules import Args, Person, Role, short_name
from wsactors.wire.native import Plain

BOARD_ACTIONS: Final = frozenset({"upload", "play", "delete"})
MAX_UPLOADS: Final = 4
"""Files that may be on their way at a time."""
UPLOAD_SECONDS: Final = 60.0
"""In which a file has come, or makes room for another."""
MAX_BUCKETS: Final = 1_000
ALL_PLAYS: Final = Rate(per_second=2.0, burst=10.0, debt=0.0)
"""How often all people together may play a clip."""


@attrs.define
class _Upload:
    name: str
    size: int
    since: float
    data: bytearray = attrs.field(factory=bytearray, repr=False)


class Board:
    """The clips of one session.

    Args:
        options: Of the board.
        rows: What a journal has kept.
    """

    def __init__(self, options: BoardOptions, rows: Mapping[Key, Any]) -> None:
        self._options = options
        self.clips: dict[int, Clip] = {int(key[1]): clip for key, clip in sorted(rows.items()) if key[0] == "clip"}
        self._next = max(self.clips, default=0) + 1
        self._decoding: dict[int, None] = {}
        self._uploads: OrderedDict[int, _Upload] = OrderedDict()
        self._buckets: OrderedDict[tuple[str, str], Bucket] = OrderedDict()
        self._all_plays: Bucket | None = None

    def rows(self) -> Iterable[tuple[Key, Any]]:
        """What a journal would hold now."""
        return ((("clip", number), clip) for number, clip in self.clips.items())

    def payload(self) -> dict[str, Plain]:
        """What people are told: the event ``stage_clips``."""
        return {
            "clips": [
                {"clip": clip.id, "name": clip.name, "seconds": round(clip.frames / SAMPLE_RATE, 2), "by": clip.by}
                for clip in self.clips.values()
            ]
        }

    def upload(self, who: Person, args: Args, now: float) -> AddClip | int:
        """A piece of a file: the whole of it when this was the last one, else how many bytes have come. Raises `Refused`."""
        name, size, at, data = _typed(args, name=str, size=int, at=int, data=bytes)
        _allow(who, self._options.upload)
        if at == 0:
            self._begin(who, name, size, now)
        upload = self._uploads.get(who.id)
        if upload is None or at != len(upload.data) or not data or at + len(data) > upload.size:
            self._uploads.pop(who.id, None)
            raise Refused("refused", "This piece does not follow the one before. Begin again.")
        upload.data += data
        if len(upload.data) < upload.size:
            return len(upload.data)
        del self._uploads[who.id]
        number, self._next = self._next, self._next + 1
        self._decoding[number] = None
        return AddClip(number, upload.name, who.id, bytes(upload.data))

    def _begin(self, who: Person, name: str, size: int, now: float) -> None:
        options = self._options
        if not 0 < size <= options.clip_bytes:
            raise Refused("too_large", f"A clip has at most {options.clip_bytes} bytes.")
        if len(self.clips) + len(self._decoding) >= options.clips:
            raise Refused("too_many", f"There are {options.clips} clips already. Delete one first.")
        self._pay("upload", who, options.uploads, now)
        while self._uploads and next(iter(self._uploads.values())).since + UPLOAD_SECONDS <= now:
            self._uploads.popitem(last=False)
        self._uploads.pop(who.id, None)
        if len(self._uploads) >= MAX_UPLOADS:
            raise Refused("overloaded", "Others are uploading. Try again in a moment.")
        shown = short_name(name) or "Clip"
        self._uploads[who.id] = _Upload(shown, size, now)

    def ready(self, ready: ClipReady) -> bool:
        """A file was decoded, or could not be; whether there is a clip now."""
        expected = self._decoding.pop(ready.id, ready) is None
        if ready.clip is None or not expected:
            return False
        self.clips[ready.id] = ready.clip
        return True

    def play(self, who: Person, args: Args, now: float) -> PlayClip:
        """Play a clip for everybody. Raises `Refused`."""
        (number,) = _typed(args, clip=int)
        _allow(who, self._options.play)
        if who.server_muted:
            raise Refused("unauthorized", "You were muted by a moderator.")
        clip = self._clip(number)
        self._all_plays = self._all_plays or Bucket(ALL_PLAYS, now)
        if not self._all_plays.look(now).taken:
            raise Refused("rate", "Too many clips at a time. Wait a moment.")
        self._pay("play", who, self._options.plays, now)
        self._all_plays.pay()
        return PlayClip(clip)

    def delete(self, who: Person, args: Args) -> int:
        """Forget a clip; which one. Raises `Refused`."""
        (number,) = _typed(args, clip=int)
        _allow(who, self._options.upload)
        clip = self._clip(number)
        if who.role is not Role.MODERATOR and clip.by != who.id:
            raise Refused("unauthorized", "Only moderators delete the clips of others.")
        del self.clips[clip.id]
        return clip.id

    def forget(self, person: int) -> None:
        """Somebody has left: what they were uploading is of no use."""
        self._uploads.pop(person, None)

    def lost_decoder(self) -> list[ClipReady]:
        """Whoever decodes has started anew: nothing of what was given to it will come."""
        lost, self._decoding = self._decoding, {}
        return [ClipReady(number, 0, None, "the decoder was restarted") for number in lost]

    def _clip(self, number: int) -> Clip:
        clip = self.clips.get(number)
        if clip is None:
            raise Refused("not_found", "There is no such clip.")
        return clip

    def _pay(self, what: str, who: Person, rate: Rate, now: float) -> None:
        bucket = self._buckets.pop((what, who.key), None) or Bucket(rate, now)
        self._buckets[what, who.key] = bucket
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        if not bucket.take(now).taken:
            raise Refused("rate", "Not so often. Wait a moment.")


_ALLOWED: Final[Mapping[Who, Callable[[Person], bool]]] = {
    "nobody": lambda _: False,
    "moderators": lambda who: who.role is Role.MODERATOR,
    "speakers": lambda who: who.on_stage,
    "everybody": lambda _: True,
}


def _allow(who: Person, allowed: Who) -> None:
    if not _ALLOWED[allowed](who):
        raise Refused("unauthorized", f"Here {allowed} may do that.")


def _typed(args: Args, **kinds: type) -> list[Any]:
    """The values of ``args``, which has these and no others. Raises `Refused`."""
    if args.keys() != kinds.keys():
        raise Refused("refused", f"This action takes {', '.join(kinds)}.")
    for name, kind in kinds.items():
        if type(args[name]) is not kind:
            raise Refused("refused", f"{name} has a value that it cannot have.")
    return [args[name] for name in kinds]
