"""What values may look like: strategies that several property tests draw from."""

from __future__ import annotations

from hypothesis import strategies as st

from optimize.trial import Value

FINITE = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ATOMS: st.SearchStrategy[Value] = (
    st.none() | st.booleans() | st.integers() | FINITE | st.sampled_from([-0.0, 1e-300, 1, 1.0, True, "True"]) | TEXTS
)
LITERALS: st.SearchStrategy[Value] = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6
)
