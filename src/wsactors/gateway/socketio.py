"""Socket.IO on Engine.IO: which namespaces there are, who is in them, and who may come back."""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import trio

from wsactors.actors import Pid, Runtime
from wsactors.errors import CallExit, CallTimeout, ChildError, MailboxFull, StartError
from wsactors.realtime.addresses import counted_address
from wsactors.realtime.identity import ANONYMOUS, AuthRefused, Credentials, User
from wsactors.realtime.limits import Bucket, LimitOptions
from wsactors.realtime.service import Realtime
from wsactors.supervision import ChildSpec, DynamicSupervisor, start_child
from wsactors.wire.plain import Plain

from .socketio_conversation import SocketIoConversation
from .socketio_formats import Offsets
from .socketio_messages import Connect, Lost, MayReturn, Returned, refusal
from .socketio_namespace import Namespace
from .socketio_options import SocketIoOptions
from .socketio_rooms import Publisher, topics_of
from .socketio_socket import RecoveryLog, Socket

if TYPE_CHECKING:
    from .engineio_session import EngineSession


class SocketIo:
    """The namespaces of one endpoint (a `wsactors.gateway.engineio_messages.EngineApp`).

    Args:
        node: Where they live.
        options: How they are served.
        namespaces: Their classes, by name.
    """

    def __init__(self, node: Runtime, options: SocketIoOptions, namespaces: Mapping[str, type[Namespace]]) -> None:
        self.node = node
        self.options = options
        self.namespaces = namespaces
        self.arriving: dict[int, tuple[Socket, Pid, Mapping[str, str]]] = {}
        """Sockets that are being let in, and their sessions: messages are values, and a socket is none."""
        self.supervisor = f"socketio.{secrets.token_hex(6)}"
        """The name under which `child` must run."""
        self.publisher = Publisher(node, lambda namespace, sid: self._sockets[namespace].get(sid))
        self._sockets: dict[str, dict[str, Socket]] = {name: {} for name in namespaces}
        """By namespace and id."""
        self._by_token: dict[str, Socket] = {}
        self._detached: dict[str, Socket] = {}
        self._numbers = itertools.count(1)
        self._formats = {
            name: kind.wire_format(name, Offsets() if kind.recovers else None) for name, kind in namespaces.items()
        }

    def __repr__(self) -> str:
        clients = sum(map(len, self._sockets.values()))
        return f"<SocketIo {clients} clients, {len(self._detached)} of them away>"

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
        recovers = options.recovery_seconds > 0 and self.namespaces[namespace].recovers and version == 4
        log = RecoveryLog(options.recovery_packets, options.recovery_bytes) if recovers else None
        return Socket(self._formats[namespace], user, log_of_sent=log, version=version)

    async def start(
        self, socket: Socket, session: Pid, auth: Plain, query: Mapping[str, str]
    ) -> dict[str, Plain] | None:
        """Let a socket's namespace decide; None when it is let in, else the refusal. ``query``: of its address."""
        number = next(self._numbers)
        self.arriving[number] = socket, session, query
        kind = self.namespaces[socket.namespace]
        pid = None
        try:
            spec = ChildSpec("socket", kind, (number,), restart="temporary", shutdown=1.0)
            pid = await start_child(self.supervisor, spec)
            if pid is not None:
                refused: dict[str, Plain] | None = await self.node.call(
                    pid, Connect(auth), timeout=self.options.connect_timeout
                )
                if refused is None and not socket.is_over:  # else it was sent away at once, and has been forgotten
                    self._sockets[socket.namespace][socket.sid] = socket
                    if socket.token:
                        self._by_token[socket.token] = socket
                        topics_of(self.node).places.hold(socket.user, pid)
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
        self._sockets[socket.namespace].pop(socket.sid, None)
        self._detached.pop(socket.token, None)
        if self._by_token.pop(socket.token, None) is not None:
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
            places.retake(socket.actor, user, trio.current_time())
        except AuthRefused:  # another's, or void after a kick
            return None
        places.hold(user, socket.actor)
        if socket.carrier is not None:
            # Its client is back before the old connection was found dead.
            socket.carrier.let_go(socket)
            socket.detach()
        return socket

    def returned(self, socket: Socket, session: Pid) -> None:
        """A session carries the socket again."""
        self._detached.pop(socket.token, None)
        self.node.cast(socket.actor, Returned(session))

    def renewed(self, socket: Socket, user: User) -> None:
        """The client has shown a new token: who comes back as it must be ``user``, too, and a kick of that one meets it."""
        socket.renew(user)
        topics_of(self.node).places.rebind(socket.actor, user)

    def limits_of(self, user: User) -> LimitOptions:
        """How much ``user`` may say on one connection."""
        if user.limits is not None:
            return user.limits
        with contextlib.suppress(LookupError):  # the topics are being started again
            return Realtime.of(self.node).permission.options.limits
        return _USUAL

    def shared_buckets(self, socket: Socket, now: float) -> list[Bucket]:
        """What all clients of one address pay from, if the topics do not see to that."""
        if not self.namespaces[socket.namespace].counted_by_topics:
            with contextlib.suppress(LookupError):
                return Realtime.of(self.node).permission.shared.buckets(socket.user.address, None, now)
        return []

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

    async def authenticate(
        self, kind: type[Namespace], session: EngineSession, auth: Plain, *, is_first: bool = True
    ) -> User:
        """Whose client it is. ``is_first``: whether it has shown nothing on this connection so far; what follows is counted.

        Raises:
            AuthRefused: it may not come in, or has shown too many tokens (code ``rate``).
        """
        if not kind.authenticates:
            return User(address=counted_address(session.handshake.address))
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
        if not is_first and (credentials.token or credentials.api_key):
            realtime.permission.showing(session.pid, ANONYMOUS)
        return await realtime.authenticate(credentials)


_USUAL: Final = LimitOptions()


def _text(value: Plain) -> str:
    return value if isinstance(value, str) else ""
