from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsactors.wire import native
from wsactors.wire.errors import ProtocolError
from wsactors.wire.native import MAX_REPORTED_TRACKS, Probe, ReceiverReport, TrackReport

u32 = st.integers(0, 2**32 - 1)
counts = st.integers(0, native.MAX_EXACT_INT)
times = st.floats(0, 1e9)
tracks = st.builds(
    TrackReport, u32, u32, counts, counts, counts, counts, counts, counts, counts, times, times, counts
)  # fmt: skip
PLAIN = {"track": 1, "highest": 2, "received": 3}


@given(st.lists(tracks, max_size=MAX_REPORTED_TRACKS), u32, times)
def test_a_report_comes_back_as_it_was(found: list[TrackReport], probe: int, held: float) -> None:
    report = ReceiverReport(tuple(found), probe, held)
    assert native.decode_client(native.encode(report)) == report


@given(u32)
def test_a_probe_comes_back_as_it_was(nonce: int) -> None:
    assert native.decode_server(native.encode(Probe(nonce))) == Probe(nonce)


@pytest.mark.parametrize(
    "body",
    [
        {"tracks": [PLAIN] * (MAX_REPORTED_TRACKS + 1)},
        {"tracks": [{**PLAIN, "lost": -1}]},
        {"tracks": [{**PLAIN, "jitter": float("nan")}]},
        {"tracks": [{**PLAIN, "buffer": float("inf")}]},
        {"tracks": [{**PLAIN, "mood": "fine"}]},
        {"tracks": [{"track": 1}]},
        {"tracks": 3},
        {"tracks": [], "held": -1.0},
        {},
    ],
)
def test_what_is_no_report_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="report"):
        native.decode_client(msgpack.packb({"t": "report", **body}))


def test_a_node_s_probe_is_not_a_client_s_to_send_and_version_1_knows_neither() -> None:
    with pytest.raises(ProtocolError):
        native.decode_client(native.encode(Probe(1)))
    with pytest.raises(ProtocolError):
        native.decode_client(native.encode(ReceiverReport(())), 1)
