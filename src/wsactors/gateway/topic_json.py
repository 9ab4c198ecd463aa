"""Publications and presence as JSON, for everything that is plain HTTP. Bytes in a payload become ``{"$binary": base64}``."""

from __future__ import annotations

from typing import Any

from wsactors.actors.log import log
from wsactors.realtime.publication import Metas, Publication
from wsactors.wire.errors import ProtocolError
from wsactors.wire.json_door import dumps
from wsactors.wire.plain import Plain


def publication_map(publication: Publication) -> dict[str, Plain]:
    """What a client is told of one."""
    found: dict[str, Any] = {
        "topic": publication.topic,
        "event": publication.event,
        "payload": publication.payload,
        "epoch": publication.epoch,
        "offset": publication.offset,
        "at": publication.at,
    }
    if publication.id:
        found["id"] = publication.id
    if publication.meta is not None:
        found["meta"] = dict(publication.meta)
    return found


def presence_map(metas: Metas) -> dict[str, Plain]:
    """Who is present: the metas of each key."""
    return {key: [dict(meta) for meta in each] for key, each in metas.items()}


def text_of(value: Plain) -> bytes | None:
    """``value`` as JSON; None, and a line in the log, if it is an actor's that no client could read."""
    try:
        return dumps(value)
    except ProtocolError as error:
        log(__name__, "warning", "not_deliverable", reason=str(error))
        return None
