"""Opening and closing sessions, finding them and joining them: what the layers above use.

await open_battle(node, BattleOptions("demo"), load_tree("supervisors/battle.toml", ["wsactors"]))
await open_stage(node, StageOptions("talk"), load_tree("supervisors/stage.toml", ["wsactors"]), opener=user)
membership = await SessionDirectory(node).join("demo", sink, owner)
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import trio

from wsactors.actors import Pid, Runtime
from wsactors.dj.timeline import PACKET
from wsactors.errors import CallExit, ChildError, MailboxFull, NoSuchSession, StartError
from wsactors.media.reports import Heard
from wsactors.media.tiers import TierChooser
from wsactors.realtime.identity import ANONYMOUS, Refused, User
from wsactors.sessions.listener import LEFT, Listener, Seat, Sink, Way, listeners_of, reserved
from wsactors.sessions.listener_metrics import ListenerMetrics
from wsactors.sessions.member import StageMembership, StageSeat, visitor_of
from wsactors.sessions.messages import SESSIONS, Leave, SessionCard
from wsactors.sessions.options import BattleOptions
from wsactors.sessions.stage_messages import Denied, Enter
from wsactors.sessions.stage_options import StageOptions
from wsactors.sessions.stage_room import Visitor
from wsactors.supervision import ChildSpec, TreeSpec, start_child, terminate_child
from wsactors.wire.native import Joined, Plain, SessionInfo, clip

BATTLES = "battles"
"""The registered name of the dynamic supervisor of all battles (``supervisors/sessions.toml``)."""
STAGES = "stages"
"""That of all stages and voice sessions."""
JOIN_TIMEOUT = 2.0

Options: TypeAlias = BattleOptions | StageOptions


def battle_tree(options: BattleOptions, template: TreeSpec) -> TreeSpec:
    """The tree of one battle: the template's children, told which battle they belong to and named after it.

    A child whose ``init`` takes ``battle``, ``owner`` or ``bitrate`` gets the options, the session actor's name, the
    bitrate; everything else is as the file says.
    """
    offered = {"battle": options, "owner": options.part("session"), "bitrate": options.bitrate}
    return _tree(f"battle {options.name}", options, template, offered)


def stage_tree(options: StageOptions, template: TreeSpec) -> TreeSpec:
    """Likewise that of a stage or a voice session, whose children may take ``stage``, the options."""
    return _tree(f"{options.kind} {options.name}", options, template, {"stage": options})


def _tree(name: str, options: Options, template: TreeSpec, offered: dict[str, Any]) -> TreeSpec:
    children = tuple(_told(child, offered, options) for child in template.children)
    return attrs.evolve(template, name=name, children=children)


def _told(child: ChildSpec, offered: dict[str, Any], options: Options) -> ChildSpec:
    init: Any = child.start.init
    wanted = inspect.signature(init).parameters.keys() & offered.keys()
    kwargs = {**child.kwargs, **{name: offered[name] for name in wanted}}
    return attrs.evolve(child, kwargs=kwargs, name=options.part(str(child.id)))


async def open_battle(node: Runtime, options: BattleOptions, template: TreeSpec) -> Pid:
    """Start a battle below the supervisor named `BATTLES`; the pid of its own supervisor.

    Raises `ValueError` when a session has the name already, `StartError` when a child does not start, `NoProcess`
    when the node has no tree of sessions.
    """
    return await _open(node, BATTLES, options, battle_tree(options, template))


async def open_stage(node: Runtime, options: StageOptions, template: TreeSpec, *, opener: User = ANONYMOUS) -> Pid:
    """Start a stage or a voice session below the supervisor named `STAGES`; the pid of its own supervisor.

    ``opener`` moderates it, if it is somebody. Raises as `open_battle`.
    """
    if not opener.anonymous:
        options = attrs.evolve(options, moderators=(*options.moderators, opener.subject))
    return await _open(node, STAGES, options, stage_tree(options, template))


async def close_stage(node: Runtime, stage: Pid) -> None:
    """Stop a stage, in order; its people learn that the session ended."""
    await terminate_child(_here(node, STAGES), stage)


async def _open(node: Runtime, supervisor: str, options: Options, tree: TreeSpec) -> Pid:
    if any(card.name == options.name for card in _cards(node)) or node.whereis(options.part("session")) is not None:
        raise ValueError(f"there is already a session named {options.name!r}: close it first, or choose another name")
    pid = await start_child(_here(node, supervisor), tree.child_spec(tree.name))
    if pid is None:
        raise StartError("ignore", options.name)
    return pid


def _cards(node: Runtime) -> list[SessionCard]:
    return [member.meta for member in node.groups.members(SESSIONS)]


async def close_battle(node: Runtime, battle: Pid) -> None:
    """Stop a battle, in order; its listeners learn that the session ended."""
    await terminate_child(_here(node, BATTLES), battle)


def _here(node: Runtime, name: str) -> Pid | str:
    """The pid of a name on this node: names alone would be ambiguous where a process runs several."""
    return node.whereis(name) or name


class Membership:
    """One connection's place in one session."""

    def __init__(self, node: Runtime, listener: Pid, seat: Seat, joined: Joined, tiers: int = 1) -> None:
        self._node = node
        self._listener = listener
        self._seat = seat
        self._joined = joined
        self._tiers = tiers
        self._chooser: TierChooser | None = None

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

    def hear(self, heard: Sequence[Heard], now: float) -> None:
        """The listener has reported: who loses much gets the sound at a lower bit rate, from the next frame on."""
        for each in heard:
            if each.track != self._joined.track or not each.frames:
                continue
            if self._chooser is None:
                self._chooser = TierChooser(self._tiers)
            before, self._seat.tier = self._seat.tier, self._chooser.hear(each.loss, now=now)
            if before != self._seat.tier:
                ListenerMetrics.of(self._node).tiers.add("up" if self._seat.tier < before else "down")

    def renew(self, user: User) -> None:
        """The user has shown who it is anew: here everybody has the same rights."""


class SessionDirectory:
    """The sessions of a node, as a gateway sees them."""

    def __init__(self, node: Runtime) -> None:
        self._node = node
        self._metrics = ListenerMetrics.of(node)

    async def sessions(self) -> Sequence[SessionInfo]:
        """The sessions that can be joined now, by name."""
        return [
            SessionInfo(card.name, clip(card.title), card.kind, len(self._node.groups.members(listeners_of(card.name))))
            for card in sorted(_cards(self._node), key=lambda card: card.name)
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
        transport: str = "",
    ) -> Membership | StageMembership:
        """Make a listener in session `name` that offers every frame to `sink`; it ends with `owner` at the latest.

        `events` are messages other than sound, such as what is played (`wsactors.sessions.now_playing`), under keys of
        which the newest counts.

        `history` asks for a running start: so many of the latest packets are offered at once (150 at most, three seconds),
        so that players that buffer before they begin need not wait for them. A stage gives what a jitter buffer needs, and
        all voices in one stream to who wants no events.

        `user` is who it is; `guest` tells those apart who are nobody in particular, by a secret of their connection;
        `transport` is what brings the sound there, for the node's metrics (`wsactors.sessions.listener_metrics`).
        Raises `NoSuchSession` when there is none of that name, or it takes no more listeners; `Refused` when it does not
        take this one.
        """
        metrics, began = self._metrics, trio.current_time()
        way = Way(transport, lambda: metrics.first_sound.observe(trio.current_time() - began))
        found: Membership | StageMembership
        try:
            card = self._card(name)
            if card.stage is None:
                found = await self._join_battle(card, Seat(sink, history, events=events, way=way), owner)
            else:
                visitor = visitor_of(card.stage, user, guest or secrets.token_hex(16))
                found = await self._join_stage(card.stage, sink, owner, visitor, events=events, way=way)
        except NoSuchSession:
            metrics.joins.add("no_session")
            raise
        except Refused as refusal:
            metrics.joins.add(refusal.code)
            raise
        metrics.joins.add("ok")
        metrics.join_seconds.observe(trio.current_time() - began)
        return found

    def _card(self, name: str) -> SessionCard:
        card = next((card for card in _cards(self._node) if card.name == name), None)
        if card is None:
            raise NoSuchSession("there is no session of that name: ask for the list of sessions")
        return card

    async def _join_battle(self, card: SessionCard, seat: Seat, owner: Pid) -> Membership:
        listener = await self._start(BattleOptions(card.name), seat, owner)
        joined = Joined(session=card.name, track=card.track, title=clip(card.title), frame=PACKET)
        return Membership(self._node, listener, seat, joined, card.tiers)

    async def _join_stage(
        self, options: StageOptions, sink: Sink, owner: Pid, visitor: Visitor, *, events: bool, way: Way
    ) -> StageMembership:
        session = self._node.whereis(options.part("session"))
        try:
            answer = await self._node.call(session or options.part("session"), Enter(visitor), JOIN_TIMEOUT)
        except (CallExit, MailboxFull) as error:
            raise NoSuchSession(f"the session takes no listener now: {type(error).__name__}") from None
        if isinstance(answer, Denied):
            raise Refused(answer.code, answer.text)
        seat = StageSeat(sink, answer.person, visitor, events=events, way=way)
        listener = await self._start(options, seat, owner)
        track = options.track if events else options.mix_track
        joined = Joined(session=options.name, track=track, title=clip(options.title or options.name))
        return StageMembership(self._node, listener, seat, joined, options)

    async def _start(self, options: Options, seat: Seat, owner: Pid) -> Pid:
        """Start the listener of a seat. Raises `NoSuchSession`."""
        listeners = self._node.whereis(options.part("listeners"))
        if listeners is None:
            raise NoSuchSession("the session takes no listener now")
        with reserved(seat) as number:
            arguments = {"session": options.name, "seat": number, "owner": owner}
            spec = ChildSpec("listener", Listener, kwargs=arguments, restart="temporary", shutdown=1.0)
            try:
                listener = await start_child(listeners, spec, timeout=JOIN_TIMEOUT)
            except (ChildError, StartError, CallExit) as error:
                raise NoSuchSession(f"the session takes no listener now: {type(error).__name__}") from None
        if listener is None:
            raise NoSuchSession("the session takes no listener now")
        return listener
