"""Opening and closing sessions, finding them and joining them: what the layers above use.

await open_battle(node, BattleOptions("demo"), load_tree("supervisors/battle.toml", ["wsactors"]))
membership = await SessionDirectory(node).join("demo", sink, owner)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import trio

from wsactors.actors import Pid, Runtime
from wsactors.dj.timeline import PACKET
from wsactors.errors import CallExit, ChildError, NoSuchSession, StartError
from wsactors.realtime.identity import ANONYMOUS, Refused, User
from wsactors.sessions.listener import LEFT, Listener, Seat, Sink, listeners_of, reserved
from wsactors.sessions.messages import SESSIONS, Leave, SessionCard
from wsactors.sessions.options import BattleOptions
from wsactors.supervision import ChildSpec, TreeSpec, start_child, terminate_child
from wsactors.wire.native import Joined, Plain, SessionInfo, clip

BATTLES = "battles"
"""The registered name of the dynamic supervisor of all battles (``supervisors/sessions.toml``)."""
JOIN_TIMEOUT = 2.0


def battle_tree(options: BattleOptions, template: TreeSpec) -> TreeSpec:
    """The tree of one battle: the template's children, told which battle they belong to and named after it.

    A child whose ``init`` takes ``battle``, ``owner`` or ``bitrate`` gets the options, the session actor's name, the
    bitrate; everything else is as the file says.
    """
    offered = {"battle": options, "owner": options.part("session"), "bitrate": options.bitrate}
    children = tuple(_told(child, offered, options) for child in template.children)
    return attrs.evolve(template, name=f"battle {options.name}", children=children)


def _told(child: ChildSpec, offered: dict[str, Any], options: BattleOptions) -> ChildSpec:
    init: Any = child.start.init
    wanted = inspect.signature(init).parameters.keys() & offered.keys()
    kwargs = {**child.kwargs, **{name: offered[name] for name in wanted}}
    return attrs.evolve(child, kwargs=kwargs, name=options.part(str(child.id)))


async def open_battle(node: Runtime, options: BattleOptions, template: TreeSpec) -> Pid:
    """Start a battle below the supervisor named `BATTLES`; the pid of its own supervisor.

    Raises `ValueError` when a session has the name already, `StartError` when a child does not start, `NoProcess`
    when the node has no tree of sessions.
    """
    if node.whereis(options.part("session")) is not None:
        raise ValueError(f"there is already a session named {options.name!r}: close it first, or choose another name")
    spec = battle_tree(options, template).child_spec(f"battle {options.name}")
    pid = await start_child(_here(node, BATTLES), spec)
    if pid is None:
        raise StartError("ignore", options.name)
    return pid


async def close_battle(node: Runtime, battle: Pid) -> None:
    """Stop a battle, in order; its listeners learn that the session ended."""
    await terminate_child(_here(node, BATTLES), battle)


def _here(node: Runtime, name: str) -> Pid | str:
    """The pid of a name on this node: names alone would be ambiguous where a process runs several."""
    return node.whereis(name) or name


class Membership:
    """One connection's place in one session."""

    def __init__(self, node: Runtime, listener: Pid, seat: Seat, joined: Joined) -> None:
        self._node = node
        self._listener = listener
        self._seat = seat
        self._joined = joined

    @property
    def joined(self) -> Joined:
        """What to tell the client."""
        return self._joined

    @property
    def listener(self) -> Pid:
        """The listener actor."""
        return self._listener

    async def wait_ended(self) -> str:
        """Wait until the membership has ended, and why: ``"left"`` or ``"the session ended"``."""
        await self._seat.ended.wait()
        return self._seat.reason

    def when_ended(self, tell: Callable[[str], object]) -> None:
        """Have ``tell`` called with that reason when it ends; at once if it has. It must not wait."""
        self._seat.when_ended(tell)

    def leave(self, *, lost: bool = False) -> None:
        """End it from this side; no offer follows. May be called again, and after it has ended.

        ``lost``: the connection broke, and its user may be back in a moment.
        """
        del lost  # whoever only listens has nothing to come back to
        self._seat.give_up(LEFT)
        self._node.cast(self._listener, Leave())

    takes_speech = False
    """Whether people speak in this session."""

    async def act(self, action: str, args: Mapping[str, Plain]) -> Plain:
        """Do something in the session. Raises `Refused`."""
        await trio.lowlevel.checkpoint()
        raise Refused("refused", "In this session one only listens.")

    def speak(self, data: bytes, now: float) -> None:
        """Take an audio frame of the user: here nobody speaks, so it is dropped."""

    def renew(self, user: User) -> None:
        """The user has shown who it is anew: here everybody has the same rights."""


class SessionDirectory:
    """The sessions of a node, as a gateway sees them."""

    def __init__(self, node: Runtime) -> None:
        self._node = node

    async def sessions(self) -> Sequence[SessionInfo]:
        """The sessions that can be joined now, by name."""
        return [
            SessionInfo(card.name, clip(card.title), card.kind, len(self._node.groups.members(listeners_of(card.name))))
            for card in sorted(self._cards(), key=lambda card: card.name)
        ]

    async def join(
        self,
        name: str,
        sink: Sink,
        owner: Pid,
        *,
        history: int = 0,
        events: bool = True,
        user: User = ANONYMOUS,
        guest: str = "",
    ) -> Membership:
        """Make a listener in session `name` that offers every frame to `sink`; it ends with `owner` at the latest.

        `events` are messages other than sound, such as what is played (`wsactors.sessions.now_playing`), under keys of
        which the newest counts.

        `history` asks for a running start: so many of the latest packets are offered at once (150 at most, three seconds),
        so that players that buffer before they begin need not wait for them.
        Raises `NoSuchSession` when there is none of that name, or it takes no more listeners.
        """
        card = next((card for card in self._cards() if card.name == name), None)
        place = self._node.whereis(BattleOptions(name).part("listeners")) if card is not None else None
        if card is None or place is None:
            raise NoSuchSession("there is no session of that name: ask for the list of sessions")
        seat = Seat(sink, history, events=events)
        try:
            listener = await self._start(place, name, seat, owner)
        except (ChildError, StartError, CallExit) as error:
            raise NoSuchSession(f"the session takes no listener now: {type(error).__name__}") from None
        if listener is None:
            raise NoSuchSession("the session takes no listener now")
        joined = Joined(session=name, track=card.track, title=clip(card.title), frame=PACKET)
        return Membership(self._node, listener, seat, joined)

    async def _start(self, listeners: Pid, session: str, seat: Seat, owner: Pid) -> Pid | None:
        with reserved(seat) as number:
            arguments = {"session": session, "seat": number, "owner": owner}
            spec = ChildSpec("listener", Listener, kwargs=arguments, restart="temporary", shutdown=1.0)
            return await start_child(listeners, spec, timeout=JOIN_TIMEOUT)

    def _cards(self) -> list[SessionCard]:
        return [member.meta for member in self._node.groups.members(SESSIONS)]
