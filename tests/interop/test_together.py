"""Stock clients of Phoenix, Supabase and Socket.IO and an actor talk on one topic."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.interop.children import ROOT, Line
from tests.interop.conftest import BootNode

TREES = [str(ROOT / "supervisors/node.toml"), str(Path(__file__).with_name("greeter.toml"))]


def test_clients_of_three_protocols_and_an_actor(
    boot_interop_node: BootNode, run_js: Callable[..., list[Line]]
) -> None:
    settings = (f"node.trees={json.dumps(TREES)}", 'node.allowed_packages=["wsactors","tests"]')
    with boot_interop_node(*settings) as node:
        lines = run_js("together.mjs", node.http, "together", "any")

    assert [line["from"] for line in lines] == ["phoenix", "supabase", "socketio"]
    for line in lines:
        said = line["from"]
        for name, seen in line["seen"].items():
            assert seen["greeting"] == [{"hello": said}, {"bytes": 3}], name
            if name != said:
                assert (seen["text"], seen["data"]) == ([{"from": said, "text": "hé 😀"}], [[1, 0, 255]]), name
            else:
                assert set(seen) == {"greeting"}, "nobody hears himself"
