"""What one client's session says to the namespaces that it is in, and they to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import attrs
import trio

from wsactors.actors import Down, Pid, TimerRef, is_normal
from wsactors.realtime.identity import ANONYMOUS, AuthRefused, User
from wsactors.realtime.limits import OK, MessageLimits, Verdict
from wsactors.wire import socketio as sio
from wsactors.wire.errors import ProtocolError
from wsactors.wire.plain import Plain

from .engineio_events import KICKED, SERVER_CLOSE
from .socketio_formats import frames_of
from .socketio_messages import CLIENT_LEFT, Lost, Said, refusal
from .socketio_socket import Socket

if TYPE_CHECKING:
    from .engineio_session import EngineSession
    from .socketio import SocketIo

MAX_NAMESPACES: Final = 32
"""Of one client at a time."""
_NONE: Final[frozenset[str]] = frozenset()


@attrs.frozen
class _ConnectDue:
    """To a session: somebody should have entered a namespace by now."""


class SocketIoConversation:
    """One client's session (a `wsactors.gateway.engineio_messages.EngineConversation`). It carries a `Socket` per namespace."""

    __slots__ = (
        "_app", "_decoder", "_due", "_entering", "_has_come", "_limits", "_session", "_size", "_sockets", "_version"
    )  # fmt: skip

    def __init__(self, app: SocketIo, session: EngineSession) -> None:
        self._app = app
        self._session = session
        self._decoder: sio.Decoder | None = None
        """While attachments of a packet are still to come."""
        self._size = 0
        """Of what has come of the packet."""
        self._sockets: tuple[Socket, ...] = ()
        """One nearly always, and `MAX_NAMESPACES` at most."""
        self._entering = _NONE
        self._has_come = False
        """Whether it has ever asked to be let in."""
        self._limits: tuple[MessageLimits, ...] = ()
        """What the client may still say: once for all of its users who may say as much, however many namespaces it is in."""
        self._version = session.handshake.version
        self._due: TimerRef | None = session.send_after(app.options.connect_timeout, session.pid, _ConnectDue())
        if self._version == 3:
            self._connect("/", None)  # in revision 4 of Socket.IO that goes without saying

    def __repr__(self) -> str:
        return f"<SocketIoConversation {sorted(socket.namespace for socket in self._sockets)}>"

    # -- what comes in --

    def received(self, data: str | bytes) -> None:
        """See `EngineConversation`."""
        self._size += len(data)
        packet = self._whole(data)
        if packet is None:
            return
        size, self._size = self._size, 0
        namespace, auth = packet.namespace, packet.data
        if self._version == 3 and "?" in namespace:
            namespace, _, query = namespace.partition("?")
            auth = dict(_fields(query)) if packet.type == sio.CONNECT else auth
        socket = self._in(namespace)
        verdict = self._count(socket, size)
        if packet.type == sio.CONNECT and (socket is None or socket.is_over) and namespace not in self._entering:
            self._connect(namespace, auth, verdict)
        elif packet.type == sio.CONNECT and self._version == 3:
            pass  # it says again what went without saying
        elif socket is None or packet.type in {sio.CONNECT, sio.CONNECT_ERROR}:
            raise ProtocolError("socket.io: not connected to this namespace, or already")
        elif not socket.is_over:
            self._say(socket, packet, verdict)

    def _whole(self, data: str | bytes) -> sio.Packet | None:
        """The packet that ``data`` completes."""
        decoder = self._decoder or sio.Decoder(max_bytes=self._session.options.max_message)
        packet = decoder.feed(data)
        self._decoder = decoder if packet is None else None
        return packet

    def _in(self, namespace: str) -> Socket | None:
        return next((socket for socket in self._sockets if socket.namespace == namespace), None)

    def _count(self, socket: Socket | None, size: int) -> Verdict:
        """Let a packet of ``size`` bytes count, and slow the client down if it sends more than it may in the long run."""
        options, now = self._app.limits_of(ANONYMOUS if socket is None else socket.user), trio.current_time()
        limits = next((each for each in self._limits if each.options is options or each.options == options), None)
        if limits is None:
            limits = MessageLimits(options, now)
            # More than there can be users at a time: a policy changes its mind, and the oldest is not needed any more.
            self._limits = (*self._limits[-MAX_NAMESPACES:], limits)
        verdict = limits.message(now, size, () if socket is None else self._app.shared_buckets(socket, now))
        if verdict.wait:
            self._session.slow_down(verdict.wait)
        return verdict

    def _say(self, socket: Socket, packet: sio.Packet, verdict: Verdict) -> None:
        node, data = self._session.node, packet.data
        match packet.type:
            case sio.EVENT if isinstance(data, list) and not verdict.taken:
                answer = self._app.namespaces[socket.namespace].too_fast(str(data[0]), verdict.wait)
                if answer is not None and packet.id is not None:
                    socket.send(sio.ACK, list(answer), packet.id)
            case sio.EVENT if isinstance(data, list):
                if not node.cast(socket.actor, Said(str(data[0]), data[1:], packet.id)):
                    self._session.close()  # it says more than its namespace can handle, or that is dying
            case sio.ACK if isinstance(data, list) and packet.id is not None:
                socket.acknowledge(packet.id, data)
            case _:
                self._drop(socket)
                node.cast(socket.actor, Lost(CLIENT_LEFT, may_return=False))

    def _connect(self, namespace: str, auth: Plain, verdict: Verdict = OK) -> None:
        if not verdict.taken:
            self._refuse(namespace, refusal("You send too fast. Try again later.", {"code": "rate"}))
        elif namespace not in self._app.namespaces:
            self._refuse(namespace, refusal("Invalid namespace"))
        elif len(self._sockets) + len(self._entering) >= MAX_NAMESPACES:
            self._refuse(namespace, refusal("Too many namespaces"))
        else:
            self._entering |= {namespace}
            self._session.start_soon(self._enter, namespace, {} if auth is None else auth)

    async def _enter(self, namespace: str, auth: dict[str, Plain]) -> None:
        """A task of the session's actor: somebody wants into ``namespace``."""
        app, session = self._app, self._session
        is_first, self._has_come = not self._has_come, True
        said = {key: value for key, value in auth.items() if key not in {"pid", "offset"}}
        try:
            with trio.fail_after(app.options.connect_timeout):
                user = await app.authenticate(app.namespaces[namespace], session, said, is_first=is_first)
        except AuthRefused as refused:
            return self._refuse(namespace, refusal(refused.message, {"code": refused.code}))
        except trio.TooSlowError:
            return self._refuse(namespace, refusal("Authentication took too long.", {"code": "timeout"}))
        if await self._recover(namespace, auth, user):
            return None
        socket = app.new_socket(namespace, user, self._version)
        refused_with = await app.start(socket, session.pid, said, session.handshake.query)
        if refused_with is not None:
            return self._refuse(namespace, refused_with)
        if session.is_closed:
            app.node.cast(socket.actor, Lost("transport close", may_return=False))
            return None
        self._carry(socket)
        return socket.enter(session.sink)

    async def _recover(self, namespace: str, auth: dict[str, Plain], user: User) -> bool:
        """Whether the client comes back to what it had, whole."""
        token, offset = auth.get("pid"), auth.get("offset")
        if not isinstance(token, str) or not isinstance(offset, str | None):
            return False
        app, session = self._app, self._session
        if not await app.may_return_as(token, user):
            return False
        socket = app.returning(token, namespace, user)
        if socket is None:
            return False
        missed = socket.missed(offset)
        if missed is None or session.is_closed:
            app.node.cast(socket.actor, Lost("transport close", may_return=False))
            return False
        socket.user = user
        self._carry(socket)
        socket.enter_again(session.sink, missed)
        app.returned(socket, session.pid)
        return True

    def _carry(self, socket: Socket) -> None:
        self._has_entered(socket.namespace)
        self._sockets += (socket,)
        self._session.monitor(socket.actor)
        if self._due is not None:
            self._session.cancel_timer(self._due)
            self._due = None
        socket.carrier = self
        self.belongs_to(socket.user)

    def _has_entered(self, namespace: str) -> None:
        self._entering = (self._entering - {namespace}) or _NONE

    def _drop(self, socket: Socket) -> None:
        self._sockets = tuple(each for each in self._sockets if each is not socket)

    # -- for sockets: a `Carrier` --

    def hang_up(self) -> None:
        """End the session."""
        self._session.close()

    def let_go(self, socket: Socket) -> None:
        """Another session carries it from now on; one that carries nothing is of no use."""
        self._drop(socket)
        if not self._sockets and not self._entering:
            self._session.close()

    def slow_down(self, seconds: float) -> None:
        """The client sends too fast."""
        self._session.slow_down(seconds)

    def belongs_to(self, user: User) -> None:
        """A client counts as that of the first who has said who he is, in whichever namespace."""
        if user.subject and not any(each.user.subject not in {"", user.subject} for each in self._sockets):
            self._session.belongs_to(user.subject)

    def _refuse(self, namespace: str, data: dict[str, Plain]) -> None:
        self._has_entered(namespace)
        # In revision 4 of Socket.IO a refusal is a text, or whatever data came with it.
        said = data if self._version == 4 else data.get("data") or data["message"]
        self._session.sink.offer(frames_of(sio.Packet(sio.CONNECT_ERROR, namespace, said)))

    # -- what else happens --

    def told(self, message: object) -> None:
        """See `EngineConversation`."""
        match message:
            case _ConnectDue() if not self._sockets:
                self._session.close()
            case Down(pid=Pid() as pid, reason=reason) if (socket := self._of_actor(pid)) is not None:
                self._drop(socket)
                if not is_normal(reason):
                    self._session.sink.offer(frames_of(sio.Packet(sio.DISCONNECT, socket.namespace)))
            case _:
                pass

    def _of_actor(self, pid: Pid) -> Socket | None:
        return next((socket for socket in self._sockets if socket.actor == pid), None)

    def closed(self, reason: str) -> None:
        """See `EngineConversation`."""
        said = "forced server close" if reason in {SERVER_CLOSE, KICKED} else reason
        for socket in self._sockets:
            self._drop(socket)
            socket.detach()
            self._app.node.cast(socket.actor, Lost(said, may_return=reason != KICKED))


def _fields(query: str) -> list[tuple[str, Any]]:
    try:
        return list(parse_qsl(query, keep_blank_values=True, max_num_fields=32))
    except ValueError:
        raise ProtocolError("socket.io: malformed query of a namespace") from None
