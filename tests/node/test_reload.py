"""What SIGHUP changes, and what it leaves for the next start."""

from __future__ import annotations

import attrs

from wsactors.node.boot import Launch, reload
from wsactors.node.context import NodeContext
from wsactors.node.reload import applied, changed_keys
from wsactors.node.settings import AdminSettings, GatewaySettings, LoggingSettings, SessionSettings, Settings


def test_only_live_settings_are_taken_over() -> None:
    old = Settings()
    new = Settings(
        logging=LoggingSettings(level="debug", format="json"),
        gateway=GatewaySettings(port=1),
        admin=AdminSettings(allow_changes=True, enabled=False),
        sessions={"new": SessionSettings()},
    )

    made = applied(old, new)

    assert made.logging == LoggingSettings(level="debug", format="auto")
    assert made.admin == AdminSettings(allow_changes=True)
    assert made.gateway == old.gateway
    assert made.sessions == {}


def test_every_change_is_told_with_whether_it_took_effect() -> None:
    old = Settings()
    new = attrs.evolve(
        old,
        logging=LoggingSettings(level="debug"),
        gateway=attrs.evolve(old.gateway, limits=attrs.evolve(old.gateway.limits, connections=5)),
        sessions={"new": SessionSettings()},
    )

    assert dict(changed_keys(old, new)) == {
        "logging.level": True,
        "gateway.limits.connections": False,
        "sessions": False,
    }
    assert list(changed_keys(old, old)) == []


def test_what_else_is_read_again_is_told_once_the_settings_are() -> None:
    """The certificate, of which the settings only say where it lies."""
    context = NodeContext(Settings())
    seen: list[bool] = []
    context.reloads["certificate"] = lambda: seen.append(context.settings.admin.allow_changes)

    reload(Launch(Settings(), (), lambda: Settings(admin=AdminSettings(allow_changes=True))), context)

    assert seen == [True]
