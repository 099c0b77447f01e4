"""Whatever search space is written: it loads as it stands, or every mistake is named; proposals are feasible and new."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import json_to_distribution

from optimize.errors import SpaceExhausted, StudyError
from optimize.search.candidates import Chooser, Lattice
from search_spaces import ScriptConstant, SearchSpace, SearchSpaceError, Value, draft_space, parse_space
from search_spaces.choices import Choices, choices_for
from storage.sql import param_row
from tests.spaces import configurations
from tests.strategies import CONDITIONS, FINITE, VALUES

PATH = "x/y.toml"
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=10).filter(str.isprintable)
WHOLE = st.integers(-9, 9) | st.integers(-(2**63), 2**63 - 1)
ELEMENTS = st.one_of(st.integers(-3, 3), FINITE, WORDS, st.booleans())
TUPLES = st.recursive(
    st.lists(ELEMENTS, max_size=2), lambda inner: st.lists(inner, min_size=1, max_size=2), max_leaves=3
)


def as_value(raw: object) -> Value:
    return tuple(map(as_value, raw)) if isinstance(raw, list) else raw  # type: ignore[return-value]


def several(
    of: st.SearchStrategy[object], by: Callable[[object], object] = as_value
) -> st.SearchStrategy[list[object]]:
    return st.lists(of, min_size=2, max_size=4, unique_by=by)  # type: ignore[arg-type]


CHOICES = st.one_of(
    several(WHOLE),
    several(FINITE),
    several(st.integers(-9, 9) | FINITE, float),  # type: ignore[arg-type]
    st.sampled_from([[True, False], [False, True]]),
    several(WORDS),
    several(TUPLES),
)
NAMES = st.sampled_from(["A", "DEPTH", "lr", "é", "_b1", "RATIO"])


def toml(raw: object) -> str:
    """A value as TOML has it."""
    if isinstance(raw, list | tuple):
        return f"[{', '.join(map(toml, raw))}]"
    if isinstance(raw, dict):
        return "{ " + ", ".join(f"{toml(name)} = {toml(value)}" for name, value in raw.items()) + " }"
    return json.dumps(raw, ensure_ascii=False) if isinstance(raw, str | bool) else repr(raw)


@dataclass
class Written:
    """A search space before it is text; a choice or value may be any text of TOML."""

    parameters: dict[str, list[object] | str]
    rules: list[tuple[str, str]] = field(default_factory=list)  # (expression, what else stands in its table)
    starts: list[str] = field(default_factory=list)

    def text(self) -> str:
        lines = ["[parameters]"]
        lines += [f"{toml(n)} = {c if isinstance(c, str) else toml(c)}" for n, c in self.parameters.items()]
        lines += [f"[[rules]]\nrule = {toml(rule)}\n{more}" for rule, more in self.rules]
        lines += [f"[[start]]\n{start}" for start in self.starts]
        return "\n".join(lines) + "\n"


@st.composite
def spaces(draw: st.DrawFn) -> Written:
    """A sound space: up to four parameters of any kind, rules and starts."""
    parameters = draw(st.dictionaries(NAMES, CHOICES, min_size=1, max_size=4))
    rules = draw(st.lists(CONDITIONS.filter(named), max_size=2))
    starts = []
    for source in draw(st.lists(WORDS.map(str.strip).filter(bool), max_size=2)):
        given = {
            n: draw(st.sampled_from(parameters[n]))
            for n in draw(st.sets(st.sampled_from(sorted(parameters)), min_size=1))
        }
        starts.append(f"source = {toml(source)}\nparams = {toml(given)}")
    return Written(dict(parameters), [(rule, "why = 'because'") for rule in rules], starts)


def named(rule: str) -> bool:
    return any(name in rule for name in VALUES) and len(rule) < 300


def choices_of(written: list[object]) -> tuple[Value, ...]:
    """The choices as the script has them: a whole number among fractions is a fraction."""
    real = any(isinstance(raw, float) for raw in written)
    return tuple(float(raw) if real and isinstance(raw, int) else as_value(raw) for raw in written)


@pytest.mark.slow
@settings(max_examples=80)
@given(spaces())
def test_a_sound_space_loads_as_it_stands(written: Written) -> None:
    space = parse_space(written.text(), PATH)
    expected = {name: choices_of(choices) for name, choices in written.parameters.items() if isinstance(choices, list)}
    assert {p.name: repr(p.choices) for p in space.parameters} == {
        name: repr(choices) for name, choices in expected.items()
    }
    assert [rule.text for rule in space.rules] == [rule.strip() for rule, _ in written.rules]
    assert len(space.starts) == len(written.starts)
    assert (
        space.fingerprint()
        == parse_space(written.text().replace("\n", "  # a comment\n\n"), "other.toml").fingerprint()
    )


@pytest.mark.slow
@settings(max_examples=60)
@given(spaces(), st.integers(0, 99))
def test_every_configuration_comes_back_from_the_database_s_text_as_it_was(written: Written, seed: int) -> None:
    space = parse_space(written.text(), PATH)
    rng = random.Random(seed)
    for params in [{p.name: rng.choice(p.choices) for p in space.parameters} for _ in range(5)]:
        encoded, stored = space.encode(params), {}
        for name, value in encoded.items():
            row = param_row(name, value, space.stored_choices[name])
            stored[name] = json_to_distribution(row["distribution_json"]).to_external_repr(row["param_value"])
        assert repr(space.decode(stored)) == repr(params)
        assert space.contains(params)
        assert space.nearest(params) == (params, ())


# --- mistakes ---------------------------------------------------------------------------------------------------------

BAD_CHOICES = (
    "[1]", "[]", "[1, 'x']", "[1, true]", "[1, 1.0]", "[0.0, -0.0]", "[nan, 1]", "[1, inf]",
    "[1, 9223372036854775808]", '["a\\u0007", "b"]', '["\\u001b[2J", "b"]', "[[[[[1]]]], 2]", "1", "'x'", "{ a = 1 }",
    "[1979-05-27, 2]", "[{ a = 1 }, 2]", "[['x', nan], ['y']]", "[[1], [true]]",
)  # fmt: skip
BAD_RULES = (
    ("A.real > 1", "why = 'w'"), ("1 == 1", "why = 'w'"), ("A + 1", "why = 'w'"), ("A = = 1", "why = 'w'"),
    ("A > 1", ""), ("A > 1", "why = ''"), ("A > 1", "why = 1"), ("A > 1", "why = 'w'\nwhy_not = 1"),
    ("", "why = 'w'"), ("A > 1\n", 'why = "a\\u0007"'), ("9**9**9 < A(", "why = 'w'"),
)  # fmt: skip
BAD_STARTS = (
    "source = 'x'", "source = 'x'\nparams = {}", "source = 'x'\nparams = { unheard_of = 1 }",
    "source = 'x'\nparams = { sure = nan }", "params = { sure = 1 }", "source = ''\nparams = { sure = 1 }",
    "source = 'x'\nparams = { sure = 'x' }", "source = 'x'\nparams = [1]",
    "source = 'x'\nparams = { sure = 1 }\nval_bpb = '1'", "source = 'x'\nparams = { sure = 1 }\nscript = 1",
    "source = 'x'\nparams = { sure = 1 }\nx = 1",
)  # fmt: skip
BAD_NAMES = ("a b", "1a", "", "class", "x-y", "ﬁ", "a.b")


@pytest.mark.slow
@settings(max_examples=80)
@given(
    spaces(),
    st.dictionaries(st.sampled_from("PQRSTUVW"), st.sampled_from(BAD_CHOICES), max_size=6),
    st.lists(st.sampled_from(BAD_NAMES), unique=True, max_size=1),
    st.lists(st.sampled_from(BAD_RULES), max_size=4),
    st.lists(st.sampled_from(BAD_STARTS), max_size=4),
)
def test_every_mistake_is_named_at_once_and_nothing_else(
    written: Written, choices: dict[str, str], names: list[str], rules: list[tuple[str, str]], starts: list[str]
) -> None:
    sound_rules, sound_starts = len(written.rules), len(written.starts)
    written.parameters |= {"sure": [1, 2], **choices, **{name: [1, 2] for name in names}}
    written.rules += rules
    written.starts += starts
    expected = {*choices, *(repr(name) for name in names)}
    expected |= {f"rule {sound_rules + i + 1}" for i in range(len(rules))}
    expected |= {f"start {sound_starts + i + 1}" for i in range(len(starts))}
    lines: tuple[str, ...] = ()
    try:
        parse_space(written.text(), PATH)
    except SearchSpaceError as error:
        lines = error.problems
    assert all(line.startswith(f"{PATH}: ") and line.isprintable() for line in lines)
    assert {line.split(": ")[1] for line in lines} == expected


# --- what is proposed -------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(spaces(), st.integers(0, 99), st.sampled_from(["A", "DEPTH", "RATIO", "lr"]))
def test_the_chooser_proposes_every_feasible_configuration_once_and_no_other(
    written: Written, seed: int, ruled: str
) -> None:
    rng = random.Random(seed)
    written = replace(written, parameters={**written.parameters, ruled: [0, 1, 7]}, starts=[])
    space = parse_space(written.text(), PATH)
    lattice = Lattice(space, VALUES)
    feasible = [repr(params) for params in configurations(space) if computed_feasible(space, params)]
    chooser = Chooser(lattice, rng, None, lambda point: rng.random() < 0.2, lambda params: rng.random() < 0.2)
    chosen = []
    for _ in range(len(feasible) if len(feasible) < 40 else 10):
        params = lattice.params(chooser.choose(lambda: lattice.uniform(rng), 2))
        chooser.saw(params)
        chosen.append(repr(params))
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(feasible)
    if len(chosen) == len(feasible):
        with pytest.raises(SpaceExhausted if feasible else StudyError, match=PATH):
            chooser.choose(lambda: lattice.uniform(rng), 2)


def computed_feasible(space: SearchSpace, params: dict[str, Value]) -> bool:
    try:
        return all(rule.holds({**VALUES, **params}) for rule in space.rules)
    except SearchSpaceError:
        return False


@settings(max_examples=60)
@given(
    st.dictionaries(
        NAMES | st.sampled_from(["n_head", "betas", "weight_decay", "BATCH_SIZE"]),
        WHOLE | FINITE | TUPLES.map(as_value),
        min_size=1,
    )
)
def test_a_drafted_space_loads_with_exactly_the_choices_that_were_proposed(values: dict[str, Value]) -> None:
    draft = draft_space([ScriptConstant(name, value) for name, value in values.items()], {}, [])
    if not draft.varied:
        return
    space = parse_space(draft.text, PATH)
    assert list(space.names) == list(draft.varied)
    for parameter in space.parameters:
        proposed = choices_for(parameter.name, values[parameter.name], values)
        assert isinstance(proposed, Choices)
        assert repr(parameter.choices) == repr(choices_of(list(proposed.values)))
