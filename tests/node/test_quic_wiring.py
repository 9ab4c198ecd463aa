"""Every setting of QUIC reaches it, and what must not be is refused before anything starts."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import attrs
import pytest

from wsactors.gateway.dev_certificate import CertificateFiles, DevelopmentCertificates
from wsactors.gateway.options import GatewayRefused
from wsactors.gateway.quic_server import QuicOptions
from wsactors.gateway.tls import make_certificate
from wsactors.media.quic.door import DoorOptions, HubOptions
from wsactors.media.quic.endpoint import EndpointOptions
from wsactors.node.context import NodeContext
from wsactors.node.gateway_settings import GatewaySettings, TlsSettings
from wsactors.node.quic_settings import QuicLimitSettings, QuicSettings
from wsactors.node.quic_wiring import certificates_of, quic_child, quic_options
from wsactors.node.settings import BadSetting, Settings
from wsactors.node.wiring import gateway_options, quic_gateway_options


def without_block(options: QuicOptions) -> QuicOptions:
    """Two functions are never equal."""
    hub = attrs.evolve(options.endpoint.hub, block=str)
    return attrs.evolve(options, endpoint=attrs.evolve(options.endpoint, hub=hub))


def test_the_defaults_are_the_options_own() -> None:
    found = without_block(quic_options(QuicSettings(), "127.0.0.1"))
    assert found == QuicOptions(EndpointOptions(port=4433, port_search=20))


def test_every_bound_reaches_the_endpoint() -> None:
    limits = QuicLimitSettings(
        connections=7, connections_per_address=6, retry_above=5.0, half_open=4, handshake_share=0.3,
        packets_per_address=20.0, packets_per_connection=200.0, flood_packets=0,
    )  # fmt: skip
    settings = QuicSettings(port=1, port_search=2, buffer_bytes=100_000, idle_seconds=9, backend="fast", limits=limits)
    door = DoorOptions(retry_above=5.0, half_open=4, handshake_share=0.3)
    hub = HubOptions(7, 6, 20.0, 200.0, door)
    endpoint = EndpointOptions("::", 1, 2, 100_000, 0, hub)
    assert without_block(quic_options(settings, "::")) == QuicOptions(endpoint, "fast", 9)


def test_an_ipv6_network_is_one_address() -> None:
    block = quic_options(QuicSettings(), "::").endpoint.hub.block
    assert block("2001:db8::1") == block("2001:db8::2") != block("2001:db8:0:1::1")


def test_half_a_certificate_is_refused() -> None:
    with pytest.raises(BadSetting, match="both cert and key"):
        QuicSettings(cert=Path("x.pem"))
    with pytest.raises(BadSetting, match="both cert and key"):
        QuicSettings(key=Path("x.pem"))


def test_an_address_that_others_reach_needs_a_word_for_it() -> None:
    settings = Settings(gateway=GatewaySettings(), quic=QuicSettings(enabled=True, host="0.0.0.0"))
    with pytest.raises(GatewayRefused, match=r"quic\.host = '0\.0\.0\.0'"):
        quic_child(NodeContext(settings))


def test_a_backend_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(GatewayRefused, match=r"wsactors\[qh3\]"):
        quic_child(NodeContext(Settings(quic=QuicSettings(enabled=True, backend="qh3"))))


def test_the_certificate_is_quic_s_own_or_the_gateway_s_or_made(tmp_path: Path) -> None:
    for name in ("quic", "gateway"):
        (tmp_path / f"{name}.pem").write_bytes(make_certificate(["localhost"]))
    ours, theirs = tmp_path / "quic.pem", tmp_path / "gateway.pem"
    gateway = gateway_options(GatewaySettings(tls=TlsSettings(cert=theirs, key=theirs)), None)
    plain = gateway_options(GatewaySettings(), None)

    own = certificates_of(quic_gateway_options(QuicSettings(cert=ours, key=ours), gateway))
    shared = certificates_of(quic_gateway_options(QuicSettings(), gateway))
    made = certificates_of(quic_gateway_options(QuicSettings(), plain))

    assert isinstance(own, CertificateFiles)
    assert isinstance(shared, CertificateFiles)
    assert own.identity().chain[0] != shared.identity().chain[0]
    assert isinstance(made, DevelopmentCertificates)
