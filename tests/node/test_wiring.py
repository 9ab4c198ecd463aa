"""Every setting of the gateway reaches it, and the two agree on what they are called and on the defaults."""

from __future__ import annotations

from pathlib import Path

import attrs

from wsactors.gateway.options import GatewayOptions, Limits, TlsOptions
from wsactors.node.secret import Secret
from wsactors.node.settings import GatewaySettings, LimitSettings, TlsSettings
from wsactors.node.wiring import gateway_options, state_folder


def names(cls: type) -> set[str]:
    return {field.name for field in attrs.fields(cls)}


def test_settings_and_options_have_the_same_names() -> None:
    assert names(GatewaySettings) - {"enabled"} == names(GatewayOptions) - {"state_directory"}
    assert names(TlsSettings) == names(TlsOptions)
    assert names(LimitSettings) == names(Limits)


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
    )

    options = gateway_options(settings, tmp_path)

    for name in names(GatewaySettings) - {"enabled", "tls", "limits"}:
        assert getattr(options, name) == getattr(settings, name)
    assert options.tls.key_password == "hunter2"
    assert options.tls.cert == tmp_path / "c"
    assert options.limits.connections == 3
    assert "hunter2" not in repr(options)


def test_the_state_folder_follows_the_environment() -> None:
    assert state_folder({"XDG_STATE_HOME": "/s", "HOME": "/h"}) == Path("/s/wsactors")
    assert state_folder({"HOME": "/h"}) == Path("/h/.local/state/wsactors")
    assert state_folder({}) is None
