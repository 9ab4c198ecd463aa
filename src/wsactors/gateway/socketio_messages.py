"""What the actors of namespaces are asked and told by sessions."""

from __future__ import annotations

from typing import Final

import attrs

from wsactors.actors import Pid
from wsactors.realtime.identity import User
from wsactors.wire.plain import Plain

CLIENT_LEFT: Final = "client namespace disconnect"


@attrs.frozen(eq=False)
class Connect:
    """Call: may the client come in? Answered with None, or a map for its CONNECT_ERROR."""

    __is_value__ = True

    auth: Plain = attrs.field(repr=False)


@attrs.frozen(eq=False)
class Said:
    """Cast: an event of the client; ``id`` is to be acknowledged."""

    __is_value__ = True

    event: str
    arguments: list[Plain] = attrs.field(repr=False)
    id: int | None


@attrs.frozen
class Lost:
    """Cast: the client is gone, for one of the protocol's reasons; ``may_return``: perhaps not for good."""

    reason: str
    may_return: bool


@attrs.frozen(eq=False)
class MayReturn:
    """Call: may the client come back to what it had, as ``user``? Answered with a bool."""

    __is_value__ = True

    user: User


@attrs.frozen
class Returned:
    """Cast: the client is back, in the session ``session``."""

    session: Pid


def refusal(message: str, data: Plain = None) -> dict[str, Plain]:
    """What a CONNECT_ERROR says."""
    return {"message": message} if data is None else {"message": message, "data": data}
