"""Socket.IO on Engine.IO: which namespaces there are, who is in them, and what one client's session says to them."""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import attrs
import trio

from wsactors.actors import Down, Pid, Runtime, TimerRef, is_normal
from wsactors.errors import CallExit, CallTimeout, ChildError, MailboxFull, StartError
from wsactors.realtime.identity import ANONYMOUS, AuthRefused, Credentials, User
from wsactors.supervision import ChildSpec, DynamicSupervisor, start_child
from wsactors.wire import socketio as sio
from wsactors.wire.errors import ProtocolError
from wsactors.wire.plain import Plain

from .engineio_events import SERVER_CLOSE
from .socketio_namespace import CLIENT_LEFT, Connect, Lost, MayReturn, Namespace, Returned, Said, refusal
from .socketio_options import SocketIoOptions
from .socketio_rooms import Publisher, topics_of
from .socketio_socket import Offsets, RecoveryLog, Socket, frames_of

if TYPE_CHECKING:
    from .engineio_session import EngineSession

MAX_NAMESPACES: Final = 32
"""Of one client at a time."""


@attrs.frozen
class _ConnectDue:
    """To a session: somebody should have entered a namespace by now."""


class SocketIo:
    """The namespaces of one endpoint (a `wsactors.gateway.engineio_session.EngineApp`).

    Args:
        node: Where they live.
        options: How they are served.
        namespaces: Their classes, by name.
    """

    def __init__(self, node: Runtime, options: SocketIoOptions, namespaces: Mapping[str, type[Namespace]]) -> None:
        self.node = node
        self.options = options
        self.namespaces = namespaces
        self.arriving: dict[int, tuple[Socket, Pid]] = {}
        """Sockets that are being let in, and their sessions: messages are values, and a socket is none."""
        self.supervisor = f"socketio.{secrets.token_hex(6)}"
        """The name under which `child` must run."""
        self.publisher = Publisher(node, lambda namespace, sid: self._sockets.get((namespace, sid)))
        self._sockets: dict[tuple[str, str], Socket] = {}
        self._by_token: dict[str, Socket] = {}
        self._detached: dict[str, Socket] = {}
        self._numbers = itertools.count(1)
        self._formats = {
            name: kind.wire_format(name, Offsets() if kind.recovers else None) for name, kind in namespaces.items()
        }

    def __repr__(self) -> str:
        return f"<SocketIo {len(self._sockets)} clients, {len(self._detached)} of them away>"

    def child(self) -> ChildSpec:
        """The supervisor of the namespaces' actors."""
        return ChildSpec(
            "socketio", DynamicSupervisor, kwargs={"extra_args": (self,)}, name=self.supervisor, type="supervisor"
        )

    def open(self, session: EngineSession) -> SocketIoConversation:
        """See `EngineApp`."""
        return SocketIoConversation(self, session)

    # -- sockets --

    def new_socket(self, namespace: str, user: User, version: int) -> Socket:
        """A socket for a client of ``namespace``."""
        options = self.options
        recovers = self.namespaces[namespace].recovers and version == 4
        log = RecoveryLog(options.recovery_packets, options.recovery_bytes) if recovers else None
        return Socket(self._formats[namespace], user, log_of_sent=log, version=version)

    async def start(self, socket: Socket, session: Pid, auth: Plain) -> dict[str, Plain] | None:
        """Let a socket's namespace decide; None when it is let in, else the refusal."""
        number = next(self._numbers)
        self.arriving[number] = socket, session
        kind = self.namespaces[socket.namespace]
        pid = None
        try:
            spec = ChildSpec("socket", kind, (number,), restart="temporary", shutdown=1.0)
            pid = await start_child(self.supervisor, spec)
            if pid is not None:
                refused: dict[str, Plain] | None = await self.node.call(
                    pid, Connect(auth), timeout=self.options.connect_timeout
                )
                if refused is None:
                    self._sockets[socket.namespace, socket.sid] = socket
                    if socket.token:
                        self._by_token[socket.token] = socket
                        socket.place = topics_of(self.node).places.issue(socket.user, pid)
                return refused
        except CallTimeout:
            if pid is not None:
                self.node.exit(pid, "kill")
        except (ChildError, StartError, CallExit, MailboxFull):
            pass  # reported where it happened
        finally:
            del self.arriving[number]
        return refusal("The namespace could not let you in. Try again later.", {"code": "crash"})

    def forget(self, socket: Socket) -> None:
        """In the death step of its actor: a socket is over."""
        socket.end()
        self._sockets.pop((socket.namespace, socket.sid), None)
        self._by_token.pop(socket.token, None)
        self._detached.pop(socket.token, None)
        if socket.place:
            topics_of(self.node).places.void(owner=socket.actor)

    # -- coming back --

    def may_return(self, socket: Socket) -> bool:
        """Whether a socket without a session is kept for its client; the one that waits longest makes room."""
        if not socket.token or socket.is_over or self.options.max_detached < 1:
            return False
        if not topics_of(self.node).places.park(socket.actor, None, trio.current_time()):
            return False  # its user was kicked
        self._detached[socket.token] = socket
        if len(self._detached) > self.options.max_detached:
            oldest = self._detached.pop(next(iter(self._detached)))
            self.node.cast(oldest.actor, Lost("transport close", may_return=False))
        return True

    async def may_return_as(self, token: str, user: User) -> bool:
        """Whether ``user`` may have what the socket of ``token`` has missed; if not, that is forgotten. Another's token is
        left to `returning`."""
        socket = self._by_token.get(token)
        if socket is None or socket.user.subject != user.subject:
            return True
        try:
            if await self.node.call(socket.actor, MayReturn(user), timeout=self.options.connect_timeout):
                return True
        except (CallExit, CallTimeout, MailboxFull):
            return False
        self.node.cast(socket.actor, Lost("transport close", may_return=False))
        return False

    def returning(self, token: str, namespace: str, user: User) -> Socket | None:
        """The socket to which ``token`` is the key, taken from whichever session still carries it."""
        socket = self._by_token.get(token)
        if socket is None or socket.namespace != namespace or socket.is_over:
            return None
        places = topics_of(self.node).places
        try:
            places.redeem(socket.place, user, trio.current_time())
        except AuthRefused:  # another's, or void after a kick
            return None
        socket.place = places.issue(user, socket.actor)
        if socket.is_attached:
            # Its client is back before the old connection was found dead.
            socket.leave()
            socket.detach()
        return socket

    def returned(self, socket: Socket, session: Pid) -> None:
        """A session carries the socket again."""
        self._detached.pop(socket.token, None)
        self.node.cast(socket.actor, Returned(session))

    def recheck_seconds(self, user: User) -> float | None:
        """When to ask `may_stay` again; None: never."""
        with contextlib.suppress(LookupError):  # the topics are being started again
            return topics_of(self.node).permission.recheck_seconds(user)
        return None

    async def may_stay(self, user: User) -> bool:
        """Whether what ``user`` has shown is still good."""
        try:
            await topics_of(self.node).permission.stay(user)
        except AuthRefused:
            return False
        return True

    async def authenticate(self, kind: type[Namespace], session: EngineSession, auth: Plain) -> User:
        """Whose client it is. Raises `AuthRefused`."""
        if not kind.authenticates:
            return ANONYMOUS
        params = auth if isinstance(auth, dict) else {}
        handshake = session.handshake
        credentials = Credentials(
            token=_text(params.get("token")) or handshake.query.get("token", ""),
            api_key=_text(params.get("apikey")) or handshake.query.get("apikey", ""),
            params={**handshake.query, **params},
            address=handshake.address,
            origin=handshake.origin,
        )
        try:
            realtime = topics_of(self.node)
        except LookupError:
            raise AuthRefused("unavailable", "This node is not ready. Try again later.") from None
        return await realtime.authenticate(credentials)


class SocketIoConversation:
    """One client's session (a `wsactors.gateway.engineio_session.EngineConversation`)."""

    __slots__ = ("_app", "_decoder", "_due", "_entering", "_session", "_sockets", "_version")

    def __init__(self, app: SocketIo, session: EngineSession) -> None:
        self._app = app
        self._session = session
        self._decoder = sio.Decoder(max_bytes=session.options.max_message)
        self._sockets: dict[str, Socket] = {}
        self._entering: frozenset[str] = frozenset()
        self._version = session.handshake.version
        self._due: TimerRef | None = session.send_after(app.options.connect_timeout, session.pid, _ConnectDue())
        if self._version == 3:
            self._connect("/", None)  # in revision 4 of Socket.IO that goes without saying

    def __repr__(self) -> str:
        return f"<SocketIoConversation {sorted(self._sockets)}>"

    # -- what comes in --

    def received(self, data: str | bytes) -> None:
        """See `EngineConversation`."""
        packet = self._decoder.feed(data)
        if packet is None:
            return
        namespace, auth = packet.namespace, packet.data
        if self._version == 3 and "?" in namespace:
            namespace, _, query = namespace.partition("?")
            auth = dict(_fields(query)) if packet.type == sio.CONNECT else auth
        socket = self._sockets.get(namespace)
        if packet.type == sio.CONNECT and (socket is None or socket.is_over) and namespace not in self._entering:
            self._connect(namespace, auth)
        elif packet.type == sio.CONNECT and self._version == 3:
            pass  # it says again what went without saying
        elif socket is None or packet.type in {sio.CONNECT, sio.CONNECT_ERROR}:
            raise ProtocolError("socket.io: not connected to this namespace, or already")
        elif not socket.is_over:
            self._say(socket, packet)

    def _say(self, socket: Socket, packet: sio.Packet) -> None:
        node, data = self._session.node, packet.data
        match packet.type:
            case sio.EVENT if isinstance(data, list):
                if not node.cast(socket.actor, Said(str(data[0]), data[1:], packet.id)):
                    self._session.close()  # it says more than its namespace can handle, or that is dying
            case sio.ACK if isinstance(data, list) and packet.id is not None:
                socket.acknowledge(packet.id, data)
            case _:
                self._drop(socket)
                node.cast(socket.actor, Lost(CLIENT_LEFT, may_return=False))

    def _connect(self, namespace: str, auth: Plain) -> None:
        if namespace not in self._app.namespaces:
            self._refuse(namespace, refusal("Invalid namespace"))
        elif len(self._sockets) + len(self._entering) >= MAX_NAMESPACES:
            self._refuse(namespace, refusal("Too many namespaces"))
        else:
            self._entering |= {namespace}
            self._session.start_soon(self._enter, namespace, {} if auth is None else auth)

    async def _enter(self, namespace: str, auth: dict[str, Plain]) -> None:
        """A task of the session's actor: somebody wants into ``namespace``."""
        app, session = self._app, self._session
        said = {key: value for key, value in auth.items() if key not in {"pid", "offset"}}
        try:
            with trio.fail_after(app.options.connect_timeout):
                user = await app.authenticate(app.namespaces[namespace], session, said)
        except AuthRefused as refused:
            return self._refuse(namespace, refusal(refused.message, {"code": refused.code}))
        except trio.TooSlowError:
            return self._refuse(namespace, refusal("Authentication took too long.", {"code": "timeout"}))
        if await self._recover(namespace, auth, user):
            return None
        socket = app.new_socket(namespace, user, self._version)
        refused_with = await app.start(socket, session.pid, said)
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
        self._carry(socket)
        socket.user = user
        socket.enter_again(session.sink, missed)
        app.returned(socket, session.pid)
        return True

    def _carry(self, socket: Socket) -> None:
        self._entering -= {socket.namespace}
        self._sockets[socket.namespace] = socket
        self._session.monitor(socket.actor)
        if self._due is not None:
            self._session.cancel_timer(self._due)
            self._due = None
        socket.hang_up = self._session.close
        socket.leave = lambda: self._let_go(socket)

    def _let_go(self, socket: Socket) -> None:
        """Another session carries it from now on; one that carries nothing is of no use."""
        self._drop(socket)
        if not self._sockets and not self._entering:
            self._session.close()

    def _drop(self, socket: Socket) -> None:
        if self._sockets.get(socket.namespace) is socket:
            del self._sockets[socket.namespace]

    def _refuse(self, namespace: str, data: dict[str, Plain]) -> None:
        self._entering -= {namespace}
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
        return next((socket for socket in self._sockets.values() if socket.actor == pid), None)

    def closed(self, reason: str) -> None:
        """See `EngineConversation`."""
        said = "forced server close" if reason == SERVER_CLOSE else reason
        for socket in tuple(self._sockets.values()):
            self._drop(socket)
            socket.detach()
            self._app.node.cast(socket.actor, Lost(said, may_return=True))


def _text(value: Plain) -> str:
    return value if isinstance(value, str) else ""


def _fields(query: str) -> list[tuple[str, Any]]:
    try:
        return list(parse_qsl(query, keep_blank_values=True, max_num_fields=32))
    except ValueError:
        raise ProtocolError("socket.io: malformed query of a namespace") from None
