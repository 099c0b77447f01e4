"""How a row of choices goes on beyond its ends, and how the further choices get into the text of a search space."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import (
    Parameter,
    SearchSpaceError,
    Value,
    further_choices,
    load_space,
    parse_space,
    read_space,
    shipped_spaces,
    widened,
    widened_text,
)


@pytest.mark.parametrize(
    ("name", "choices", "below", "above"),
    [
        ("DEPTH", (1, 2, 3, 4), (), (5, 6)),  # equal steps; no whole number below 1
        ("DEPTH", (4, 6, 7, 8, 9, 10, 12), (3, 2), (14, 16)),
        ("BATCH", (65_536, 131_072, 262_144), (32_768, 16_384), (524_288, 1_048_576)),  # equal ratios
        ("WIDTH", (384, 512, 768, 1024, 1536), (256, 128), (2304, 3456)),  # multiples of what all are multiples of
        ("WIDTH", (64, 128, 192), (32, 16), (256, 320)),  # 0 is no width: what is left is halved
        ("COUNT", (0, 1, 2), (), (3, 4)),
        ("OFFSET", (-1, 0, 1), (-2, -3), (2, 3)),
        ("LAYERS", (8, 4, 2), (1,), (16, 32)),  # falling
        ("MATRIX_LR", (0.01, 0.02, 0.04), (0.005, 0.0025), (0.08, 0.16)),
        ("EMBEDDING_LR", (0.15, 0.3, 0.6, 0.9, 1.2), (0.075, 0.0375), (1.5, 1.8)),  # the steps of that end
        ("WEIGHT_DECAY", (0.0, 0.1, 0.2, 0.4), (), (0.8, 1.6)),
        ("SCALE", (0.1, 0.2, 0.3), (0.05, 0.025), (0.4, 0.5)),  # a step would be zero
        ("T", (-0.5, 0.0, 0.5), (-1.0, -1.5), (1.0, 1.5)),
        ("WARMDOWN_RATIO", (0.3, 0.5, 0.7, 0.9), (0.1, 0.0333), (1.0,)),  # a share
        ("WARMDOWN_RATIO", (0.15, 0.3, 0.5, 0.7, 0.9), (0.0,), (1.0,)),
        ("ASPECT_RATIO", (32, 48, 64, 80), (16, 8), (96, 112)),  # no share, whatever its name
        ("DROPOUT", (0.0, 0.1, 0.2), (), (0.3, 0.4)),
        ("DROPOUT", (0.5, 0.7, 0.9), (0.3, 0.1), (0.95, 0.975)),  # all of it dropped is no training
        ("BETA2", (0.9, 0.99, 0.999), (0.818, 0.743), (0.9995, 0.99975)),
        ("BIG", (2**60, 2**61, 2**62), (), ()),  # a list of choices can hold no more
        ("BIG", (1e300, 1e301, 1e308), (), ()),
    ],
)
def test_a_row_goes_on_as_it_has_come(
    name: str, choices: tuple[Value, ...], below: tuple[Value, ...], above: tuple[Value, ...]
) -> None:
    parameter = Parameter(name, choices)
    found = tuple(further_choices(parameter, end) for end in (min(choices), max(choices)))  # type: ignore[type-var]
    assert found == (below, above)
    assert all(type(each) is type(choices[0]) for row in found for each in row)


numbers = st.lists(st.floats(-1e9, 1e9).map(lambda each: float(f"{each:.3g}")), min_size=3, max_size=8, unique=True)
counts = st.lists(st.integers(0, 2**40), min_size=3, max_size=8, unique=True)


@given(st.sampled_from(["LR", "DROPOUT", "WARMUP_RATIO", "X"]), numbers | counts, st.booleans(), st.booleans())
def test_whatever_the_row_it_stays_a_row(name: str, values: list[float], falling: bool, up: bool) -> None:
    parameter = Parameter(name, tuple(sorted(values, reverse=falling)))
    end = max(values) if up else min(values)
    further = further_choices(parameter, end)
    wide = widened(parameter, end, further)
    assert wide.ordered
    assert set(parameter.choices) < set(wide.choices) or not further
    assert all(isinstance(each, int | float) and math.isfinite(each) for each in wide.choices)
    assert min(wide.choices) >= 0 or min(values) < 0  # type: ignore[type-var,operator]
    assert len({type(each) for each in wide.choices}) == 1


TEXT = """\
# mine
[parameters]
DEPTH = [2, 3, 4]  # layers ]
LR = [
  0.1,  # high, 7
  0.01, # low ]
]
OTHER = ["DEPTH = [1]", "b"]

[[rules]]
rule = "DEPTH > 0"
why = "always"
"""


PLACED = """\
[parameters]
dropout = { field = "Config.dropout", low = 0.0, high = 0.3, steps = 4 } # a range
heads = { key = "model.yaml:heads", choices = [2, 4, 8] }
"""


def test_a_parameter_that_is_written_elsewhere_stays_there() -> None:
    space = parse_space(PLACED, "space.toml")
    ends = (("dropout", 0.3, 0.4), ("heads", 8, 16))
    wider = {name: widened(space[name], end, (beyond,)) for name, end, beyond in ends}
    text = widened_text(PLACED, space, wider)
    assert 'dropout = { field = "Config.dropout", choices = [0.0, 0.1, 0.2, 0.3, 0.4] } # a range\n' in text
    assert 'heads = { key = "model.yaml:heads", choices = [2, 4, 8, 16] }\n' in text


def test_a_text_keeps_all_that_is_not_a_further_choice() -> None:
    space = parse_space(TEXT, "space.toml")
    wider = {"DEPTH": widened(space["DEPTH"], 4, (5,)), "LR": widened(space["LR"], 0.1, (1.0,))}
    text = widened_text(TEXT, space, wider)
    assert text == TEXT.replace("3, 4]", "3, 4, 5]").replace("LR = [\n", "LR = [1.0, \n")
    assert parse_space(text, "space.toml").rules == space.rules
    lower = widened_text(TEXT, space, {"LR": widened(space["LR"], 0.01, (0.001, 1e-4))})
    assert lower == TEXT.replace("0.01, # low", "0.01, 0.001, 1e-4, # low")


@pytest.mark.parametrize(
    "text", ["parameters = {DEPTH = [2, 3, 4], X = [1, 2]}\n", "[parameters]\n'DEPTH' = [2, 3, 4]\n"]
)
def test_a_text_that_is_written_in_another_way_is_left_alone(text: str) -> None:
    space = parse_space(text, "space.toml")
    with pytest.raises(SearchSpaceError, match=r"space.toml: DEPTH: its choices are not written as `DEPTH = \[...\]`"):
        widened_text(text, space, {"DEPTH": widened(space["DEPTH"], 4, (5,))})


@pytest.mark.parametrize("name", shipped_spaces())
def test_every_end_of_our_own_spaces_can_be_widened(name: str) -> None:
    space, text = load_space(name), read_space(name)
    for parameter in (p for p in space.parameters if p.ordered):
        for end in (parameter.choices[0], parameter.choices[-1]):
            if further := further_choices(parameter, end):
                wide = widened(parameter, end, further)
                assert parse_space(widened_text(text, space, {parameter.name: wide}), "x")[parameter.name] == wide
