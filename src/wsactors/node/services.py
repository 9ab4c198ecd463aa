"""The parts of a configured node that a supervisor file starts by name; each takes its settings from the node's context."""

from __future__ import annotations

from typing import Any, Final

from wsactors.actors import UNHANDLED, Actor, Down, Ignore, Pid
from wsactors.gateway import Address, Gateway
from wsactors.gateway.admin_site import admin_site
from wsactors.gateway.certificates import Certificates
from wsactors.gateway.options import GatewayRefused
from wsactors.node.auth_settings import authenticator, permission_options
from wsactors.node.context import NodeContext, context_of
from wsactors.node.realtime_settings import realtime_options
from wsactors.node.session_settings import SessionSettings, battle_options, session_tree_file, stage_options
from wsactors.node.wiring import (
    admin_http_options,
    gateway_options,
    serves_this_machine_only,
    state_folder,
)
from wsactors.realtime.start import RealtimeSupervisor
from wsactors.sessions.battle import PARTS
from wsactors.sessions.directory import BATTLES, STAGES, SessionDirectory, open_battle, open_stage
from wsactors.sessions.options import BattleOptions
from wsactors.sessions.stage import PARTS as STAGE_PARTS
from wsactors.sessions.stage_options import StageOptions
from wsactors.supervision import Supervisor, load_tree

__all__ = ["AdminHttp", "GatewayService", "QuicService", "RealtimeService", "Sessions"]

_LOOK_AGAIN: Final = 0.05
"""Seconds between two looks while the sessions' supervisor is being started again."""


class RealtimeService(RealtimeSupervisor):
    """The node's topics and channels."""

    async def init(self) -> object:  # type: ignore[override]  # the context has what it needs
        """Start them as the configuration says.

        Raises:
            ValueError: a channel class is none, or the shared secret is one that everybody knows.
            FileUnusable: a file with keys cannot be used.
        """
        settings = context_of(self.node.name).settings
        realtime = settings.realtime
        return await super().init(
            realtime_options(realtime),
            authenticator=authenticator(settings.auth, loopback=serves_this_machine_only(settings.gateway)),
            allowed_packages=tuple(settings.node.allowed_packages),
            permission=permission_options(settings.auth, realtime.rules, realtime.policy, realtime.rates),
        )


class GatewayService(Gateway):
    """The node's one port; does not start if ``gateway.enabled`` is false."""

    async def init(self) -> object:  # type: ignore[override]  # the context has what it needs
        """Open the port that the configuration names.

        Raises:
            GatewayRefused: the address may not be used, or no port is free.
        """
        context = context_of(self.node.name)
        settings = context.settings.gateway
        if not settings.enabled:
            return Ignore()
        packages, requires_login = tuple(context.settings.node.allowed_packages), not context.settings.auth.anonymous
        return await super().init(
            gateway_options(settings, state_folder(), packages, requires_login=requires_login),
            is_ready=context.health.is_ready,
            on_open=lambda address: _opened(context, address),
            directory=SessionDirectory(self.node),
            on_certificates=lambda certificates: _reload_with(context, certificates),
        )


class AdminHttp(Gateway):
    """Metrics and the admin API, on a port of their own; does not start if ``admin.http.enabled`` is false."""

    async def init(self) -> object:  # type: ignore[override]  # the context has what it needs
        """Open the port that the configuration names.

        Raises:
            GatewayRefused: the address may not be used, or no port is free.
        """
        context = context_of(self.node.name)
        settings = context.settings
        if not settings.admin.http.enabled:
            return Ignore()
        options = admin_http_options(settings, state_folder())
        token = settings.admin.http.token
        site = admin_site(None if token is None else token.reveal())
        return await super().init(
            options,
            is_ready=context.health.is_ready,
            on_open=lambda address: _opened_admin(context, address),
            site=site,
        )


class QuicService(Supervisor):
    """The node's UDP port for QUIC and WebTransport; does not start if ``quic.enabled`` or ``gateway.enabled`` is false."""

    async def init(self) -> object:
        """Open the port that the configuration names.

        Raises:
            GatewayRefused: the address may not be used, its certificate cannot be, or wsactors[media] is missing.
            EndpointRefused: no port is free.
        """
        context = context_of(self.node.name)
        settings = context.settings
        if not settings.quic.enabled or not settings.gateway.enabled:
            return Ignore()
        try:
            from wsactors.node.quic_wiring import quic_child
        except ModuleNotFoundError as missing:
            raise GatewayRefused(
                f"quic.enabled needs {missing.name}: pip install 'wsactors[media]', or set quic.enabled = false"
            ) from missing
        return await super().init("one_for_one", [quic_child(context)], intensity=5, period=10.0)


def _opened_admin(context: NodeContext, address: Address) -> None:
    context.admin_http = address


def _opened(context: NodeContext, address: Address) -> None:
    context.gateway = address


def _reload_with(context: NodeContext, certificates: Certificates) -> None:
    context.reloads["certificate"] = certificates.reload


class Sessions(Actor):
    """Opens the sessions that the configuration names, and opens them again when their supervisor has been started again."""

    async def init(self) -> None:
        """Open them all.

        Raises:
            StartError: a session's actors do not start.
            TreeError: a session's supervisor file is wrong.
            LookupError: nothing that the node boots can hold sessions.
        """
        self._watched: dict[str, Pid] = {}
        missing = {name for name in self._by_supervisor() if self.node.whereis(name) is None}
        if missing:
            raise LookupError(
                f"sessions are configured, but no tree has started {min(missing)!r}; add sessions.toml before this"
            )
        await self._open()

    async def handle_info(self, message: Any) -> Any:
        """Their supervisor went down with them: its own supervisor starts it again in a moment."""
        match message:
            case Down() | "look again":
                await self._open()
            case _:
                return UNHANDLED
        return None

    def _by_supervisor(self) -> dict[str, dict[str, SessionSettings]]:
        """The sessions that are configured, by the name of the supervisor that holds their kind."""
        found: dict[str, dict[str, SessionSettings]] = {}
        for name, session in context_of(self.node.name).settings.sessions.items():
            found.setdefault(BATTLES if session.kind == "battle" else STAGES, {})[name] = session
        return found

    async def _open(self) -> None:
        """Open those that are not open; look again later if what is left of an earlier run is in the way."""
        waiting = False
        for supervisor, sessions in self._by_supervisor().items():
            pid = self.node.whereis(supervisor)
            if pid is None:
                waiting = True
                continue
            if pid != self._watched.get(supervisor):
                self._watched[supervisor] = pid
                self.monitor(pid)
            for name, session in sessions.items():
                waiting = not await self._open_one(name, session, pid) or waiting
        if waiting:
            self.send_after(_LOOK_AGAIN, self.pid, "look again")

    async def _open_one(self, name: str, session: SessionSettings, supervisor: Pid) -> bool:
        """Open it if it is not open; False: an earlier one of that name is not gone yet."""
        options = battle_options(name, session) if session.kind == "battle" else stage_options(name, session)
        living = self._living(options)
        if living:
            return any(supervisor in ancestors for ancestors in living)
        template = load_tree(session_tree_file(session), context_of(self.node.name).settings.node.allowed_packages)
        if isinstance(options, BattleOptions):
            await open_battle(self.node, options, template)
        else:
            await open_stage(self.node, options, template)
        return True

    def _living(self, options: BattleOptions | StageOptions) -> list[tuple[Pid, ...]]:
        """The ancestors of each of the session's actors that has its name."""
        parts = ("session", *PARTS) if isinstance(options, BattleOptions) else ("session", *STAGE_PARTS)
        pids = [self.node.whereis(options.part(part)) for part in parts]
        return [self.node.statistics_of(pid).ancestors for pid in pids if pid is not None]
