"""Hypothesis strategies for plain values, shared by the tests of all codecs."""

from __future__ import annotations

from hypothesis import strategies as st

from wsactors.wire.plain import MAX_EXACT_INT, Plain

TEXTS: st.SearchStrategy[str] = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-MAX_EXACT_INT, MAX_EXACT_INT) | st.floats(allow_nan=False, allow_infinity=False)
TEXT_LEAVES: st.SearchStrategy[Plain] = st.none() | st.booleans() | NUMBERS | TEXTS


def nested(leaves: st.SearchStrategy[Plain]) -> st.SearchStrategy[Plain]:
    """``leaves`` in lists and maps."""
    return st.recursive(
        leaves, lambda each: st.lists(each, max_size=4) | st.dictionaries(TEXTS, each, max_size=4), max_leaves=12
    )


JSON_VALUES: st.SearchStrategy[Plain] = nested(TEXT_LEAVES)
"""Plain values without bytes."""
PLAIN_VALUES: st.SearchStrategy[Plain] = nested(TEXT_LEAVES | st.binary(max_size=20))
JSON_MAPS: st.SearchStrategy[dict[str, Plain]] = st.dictionaries(TEXTS, JSON_VALUES, max_size=4)
