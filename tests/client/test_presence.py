from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wsactors.client.presence import PresenceMirror

changes = st.lists(
    st.tuples(st.sampled_from(["join", "leave", "update"]), st.sampled_from("abc"), st.integers(0, 3)), max_size=30
)


@given(changes, st.lists(st.integers(0, 30), max_size=5))
def test_a_mirror_that_gets_all_diffs_shows_what_is_there(history: list[Any], cuts: list[int]) -> None:
    """However changes are gathered into diffs, and wherever the state came in between."""
    there: dict[str, dict[str, Any]] = {}
    mirror = PresenceMirror()
    mirror.take_state({})
    serial = 0
    for number, (change, key, device) in enumerate(history):
        if number in cuts:
            mirror.take_state({name: list(metas.values()) for name, metas in there.items()})
        old = there.get(key, {}).get(str(device))
        joins: dict[str, Any] = {}
        leaves: dict[str, Any] = {}
        if change != "join" and old is not None:
            leaves[key] = [old]
            del there[key][str(device)]
        if change == "update" or (change == "join" and old is None):
            serial += 1
            meta = {"phx_ref": f"r{serial}", "device": device}
            joins[key] = [meta]
            there.setdefault(key, {})[str(device)] = meta
        there = {name: metas for name, metas in there.items() if metas}
        mirror.take_diff(joins, leaves)

        assert {name: sorted(meta["phx_ref"] for meta in mirror.metas(name)) for name in mirror.keys} == {
            name: sorted(meta["phx_ref"] for meta in metas.values()) for name, metas in there.items()
        }
        assert len(mirror) == len(there)


def test_a_key_whose_meta_changes_is_there_all_the_time() -> None:
    mirror = PresenceMirror()
    mirror.take_state({"ann": [{"phx_ref": "1"}]})
    seen = []

    class Watched(dict[str, Any]):
        def items(self) -> Any:
            seen.append("ann" in mirror)
            return super().items()

    mirror.take_diff(Watched(ann=[{"phx_ref": "2"}]), Watched(ann=[{"phx_ref": "1"}]))

    assert seen == [True, True]
    assert [meta["phx_ref"] for meta in mirror.metas("ann")] == ["2"]
