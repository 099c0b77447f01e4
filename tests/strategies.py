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

# --- the language of rules: texts that are sound syntax, over these values ---------------------------------------------

VALUES: dict[str, Value] = {
    "DEPTH": 7, "RATIO": 0.5, "NIL": 0, "BIG": 2**200, "PATTERN": "SSSL", "BETAS": (0.8, 0.95), "FLAG": True, "NONE": None,
}  # fmt: skip


def _joined(
    left: st.SearchStrategy[str], operators: list[str], right: st.SearchStrategy[str]
) -> st.SearchStrategy[str]:
    """Two operands, in brackets, or bare as far as precedence goes."""
    form = st.sampled_from(["({} {} {})", "{} {} {}", "({}{}{})"]) if operators[0] in "+-*/" else st.just("({} {} {})")
    return st.builds(lambda form, *parts: form.format(*parts), form, left, st.sampled_from(operators), right)


_DIGITS = (
    st.integers(-20, 20).map(str)
    | st.floats(-9, 9, width=16).map(repr)
    | st.sampled_from(["1_000", "0x1F", "1e300", "2**255"])
)
NUMBERS = st.recursive(
    _DIGITS | st.sampled_from(["DEPTH", "RATIO", "NIL", "BIG", "FLAG"]),
    lambda inner: (
        _joined(inner, ["+", "-", "*", "/", "//", "%"], inner)
        | st.builds("({}{})".format, st.sampled_from("-+"), inner)
        | st.builds("({} ** {})".format, inner, st.sampled_from(["2", "3", "-1", "0.5", "0", "NIL"]))
    ),
    max_leaves=6,
)
_CHAINS = st.builds(
    lambda first, rest: first + "".join(f" {how} {number}" for how, number in rest),
    NUMBERS,
    st.lists(st.tuples(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), NUMBERS), min_size=1, max_size=3),
)
_MEMBERS = st.builds(
    lambda number, how, others: f"{number} {how} ({', '.join(others)},)",
    NUMBERS,
    st.sampled_from(["in", "not in"]),
    st.lists(NUMBERS, min_size=1, max_size=3),
)
CONDITIONS = st.recursive(
    _CHAINS | _MEMBERS | st.sampled_from(["FLAG", "True", "not FLAG", "PATTERN == 'SSSL'", "BETAS != (0.8, 0.95)"]),
    lambda inner: (
        _joined(inner.map("({})".format), ["and", "or"], inner.map("({})".format)) | inner.map("not ({})".format)
    ),
    max_leaves=3,
)
_ANY = st.sampled_from([*VALUES, "'SSSL'", "''", "'\\u0041'", "1", "0.5", "()", "(7, 'x')", "None", "False", "UNKNOWN"])
MIXED = st.recursive(
    _ANY,
    lambda inner: (
        _joined(inner, ["+", "-", "*", "/", "//", "%"], inner)
        | _joined(inner, ["<", "<=", ">", ">=", "==", "!=", "in", "not in"], inner)
        | _joined(inner, ["and", "or"], inner)
        | st.builds("({}{})".format, st.sampled_from(["-", "+", "not "]), inner)
        | st.builds("({}, {})".format, inner, inner)
        | st.builds(
            "({} {} {} {} {})".format, inner, st.sampled_from(["==", "<"]), inner, st.sampled_from(["!=", "in"]), inner
        )
    ),
    max_leaves=5,
)
