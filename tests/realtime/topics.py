"""A protocol for tests: every message is one line of JSON, and a client is a list of what it got."""

from __future__ import annotations

import json
from typing import Any

from wsactors.realtime.outlet import Joined
from wsactors.realtime.publication import PresenceDiff, PresenceState, Publication
from wsactors.wire.plain import Plain, textual


class JsonLines:
    """The format. ``encoded`` counts what it had to encode."""

    def __init__(self) -> None:
        self.encoded = 0

    def publication(self, publication: Publication) -> bytes | None:
        self.encoded += 1
        return _line("publication", publication.event, textual(publication.payload), publication.offset)

    def presence_state(self, state: PresenceState) -> bytes | None:
        return _line("state", state.metas)

    def presence_diff(self, diff: PresenceDiff) -> bytes | None:
        return _line("diff", diff.joins, diff.leaves)


def _line(*parts: Any) -> bytes:
    return json.dumps(parts).encode()


LINES = JsonLines()


class Client:
    """The outlet of one channel, and its sink."""

    def __init__(self, wire_format: JsonLines = LINES) -> None:
        self.format = wire_format
        self.got: list[Any] = []
        self.sink = self

    def offer(self, data: bytes, key: object = None) -> bool:
        self.got.append(json.loads(data))
        return True

    def joined(self, joined: Joined) -> None:
        self.got.append(["joined", joined.response, joined.recovered])
        self.position = joined.epoch, joined.offset
        if joined.presence is not None:
            self.offer(joined.presence.encode(self.format) or b"")
        for publication in joined.missed:
            self.offer(publication.encode(self.format) or b"")

    def reply(self, ref: Any, status: str, response: Plain) -> None:
        self.got.append(["reply", ref, status, response])

    def push(self, event: str, payload: Plain) -> None:
        self.got.append(["push", event, payload])

    def closed(self, reason: str, *, crashed: bool) -> None:
        self.got.append(["closed", reason, crashed])

    def of(self, kind: str) -> list[Any]:
        return [each[1:] for each in self.got if each[0] == kind]

    @property
    def offsets(self) -> list[int]:
        return [each[-1] for each in self.of("publication")]
