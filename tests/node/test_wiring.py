"""Every setting of the gateway reaches it, and the two agree on what they are called and on the defaults."""

from __future__ import annotations

import gc
from pathlib import Path

import attrs
import pytest
import trio

from wsactors.gateway.engineio_options import EngineOptions
from wsactors.gateway.options import GatewayOptions, GatewayRefused, Limits, RequestRates, TlsOptions
from wsactors.gateway.socketio_options import SocketIoOptions
from wsactors.node import boot
from wsactors.node.boot import new_node
from wsactors.node.engineio_settings import EngineIoSettings, NamespaceSettings, SocketIoSettings
from wsactors.node.gateway_settings import RequestRateSettings
from wsactors.node.secret import Secret
from wsactors.node.session_settings import SessionSettings, stage_options
from wsactors.node.settings import (
    AdminHttpSettings,
    AdminSettings,
    BadSetting,
    GatewaySettings,
    LimitSettings,
    NodeSettings,
    Settings,
    TlsSettings,
)
from wsactors.node.wiring import admin_http_options, gateway_options, state_folder
from wsactors.sessions.stage_options import BoardOptions, StageOptions, voice_options
from wsactors.supervision import Node


def names(cls: type) -> set[str]:
    return {field.name for field in attrs.fields(cls)}


def test_settings_and_options_have_the_same_names() -> None:
    assert names(GatewaySettings) - {"enabled"} == names(GatewayOptions) - {"state_directory", "requires_login"}
    assert names(TlsSettings) == names(TlsOptions)
    assert names(LimitSettings) == names(Limits)
    assert names(RequestRateSettings) == names(RequestRates)


def test_settings_and_options_have_the_same_defaults() -> None:
    assert gateway_options(GatewaySettings(), None) == GatewayOptions()


def test_every_setting_arrives(tmp_path: Path) -> None:
    settings = GatewaySettings(
        host="0.0.0.0",
        port=1,
        port_search=2,
        allow_anonymous_public=True,
        allowed_hosts=("a",),
        allowed_origins=("https://b",),
        tls=TlsSettings(mode="on", cert=tmp_path / "c", key=tmp_path / "k", key_password=Secret("hunter2")),
        limits=LimitSettings(connections=3),
        rates=RequestRateSettings(requests=7.0, http2_frames_burst=8.0),
        engineio=EngineIoSettings(ping_interval=4.0),
        socketio=SocketIoSettings(
            namespaces={"any": NamespaceSettings(path="/chat", handler="radio:Chat")}, max_detached=5
        ),
    )

    options = gateway_options(settings, tmp_path, ("radio",))

    for name in names(GatewaySettings) - {"enabled", "tls", "limits", "rates", "drain", "engineio", "socketio"}:
        assert getattr(options, name) == getattr(settings, name)
    assert options.tls.key_password == "hunter2"
    assert options.tls.cert == tmp_path / "c"
    assert options.limits.connections == 3
    assert options.rates == RequestRates(requests=7.0, http2_frames_burst=8.0)
    assert options.engineio == EngineOptions(ping_interval=4.0)
    assert options.socketio == SocketIoOptions(
        namespaces={"/chat": "radio:Chat"}, allowed_packages=("radio",), max_detached=5
    )
    assert "hunter2" not in repr(options)


def test_the_nodes_own_settings_arrive() -> None:
    node = new_node(NodeSettings(name="n", shutdown_timeout=3.0, debug=True, watchdog_seconds=0.25))

    assert (node.name, node.shutdown_timeout, node.sched.debug) == ("n", 3.0, True)
    assert node.watchdog is not None
    assert node.watchdog.threshold == 0.25
    assert new_node(NodeSettings(watchdog_seconds=0)).watchdog is None
    # An embedded node and one run by the command look equally closely.
    default, embedded = new_node(NodeSettings()).watchdog, Node("embedded").watchdog
    assert default is not None
    assert embedded is not None
    assert default.threshold == embedded.threshold


def test_the_collector_looks_at_few_objects_at_a_time_and_hardly_ever_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    tuned: list[tuple[int, int, int]] = []
    monkeypatch.setattr(boot, "set_up_logging", lambda _: None)
    monkeypatch.setattr(trio, "run", lambda *_: tuned.append(gc.get_threshold()))
    before = gc.get_threshold()
    try:
        boot.run_node(boot.Launch(Settings(node=NodeSettings(gc_threshold=1_000)), [], Settings))
    finally:
        gc.set_threshold(*before)

    ((young, middle_every, old_every),) = tuned
    assert young == 1_000
    assert young * middle_every <= 4_000
    assert young * middle_every * old_every >= 5_000_000


@pytest.mark.parametrize("seconds", [-1, 0.001, 61, float("nan")])
def test_a_watchdog_that_cannot_work_is_refused(seconds: float) -> None:
    with pytest.raises(BadSetting, match="expected 0 or a number"):
        NodeSettings(watchdog_seconds=seconds)


def test_the_state_folder_follows_the_environment() -> None:
    assert state_folder({"XDG_STATE_HOME": "/s", "HOME": "/h"}) == Path("/s/wsactors")
    assert state_folder({"HOME": "/h"}) == Path("/h/.local/state/wsactors")
    assert state_folder({}) is None


def test_an_admin_port_that_others_reach_needs_a_token() -> None:
    def options(**http: object) -> GatewayOptions:
        admin = AdminSettings(http=AdminHttpSettings(**http))  # type: ignore[arg-type]
        return admin_http_options(Settings(gateway=GatewaySettings(tls=TlsSettings(mode="on")), admin=admin), None)

    assert not options().uses_tls
    with pytest.raises(GatewayRefused, match=r"admin\.http\.token"):
        options(host="0.0.0.0")
    public = options(host="0.0.0.0", token=Secret("x" * 16))
    assert public.uses_tls
    assert public.allowed_origins == ()
    with pytest.raises(BadSetting, match="16 characters"):
        options(token=Secret("short"))


def test_every_setting_of_a_stage_reaches_it() -> None:
    settings = SessionSettings(
        kind="stage", title="T", topic="about", moderators=("ann",), moderator_roles=("host",), first_moderates=True, people=7,
        speakers=3, hands=2, push_to_talk=True, loudest=4, grace_seconds=5.0, ban_seconds=6.0, board_play="nobody",
        board_upload="everybody", clips=8, clip_seconds=9, clip_bytes=10_000,
    )  # fmt: skip
    assert stage_options("talk", settings) == StageOptions(
        "talk", "stage", "T", "about", ("ann",), ("host",), True, 7, 3, 2, True, 4, 5.0, 6.0,
        board=BoardOptions("nobody", "everybody", 8, 9, 10_000),
    )  # fmt: skip
    assert stage_options("lounge", SessionSettings(kind="voice")) == voice_options("lounge", title="lounge")
    assert stage_options("talk", SessionSettings(kind="stage")) == StageOptions("talk", title="talk")
    with pytest.raises(BadSetting, match="at most 4000"):
        SessionSettings(kind="voice", people=5_000)
