"""What the four facts say of a script without a seed that could be another: what training it again gives, in each case."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.test_four_facts import LUCKY, of, told
from tests.test_notes import BASE, BETTER


@pytest.mark.parametrize(
    ("about", "end"),
    [
        ({}, "such as SEED = 1."),
        ({"again": ""}, "such as SEED = 1. As it is, every training is the same."),
        (
            {"again": "the script sets no seed: its value differs"},
            "SEED = 1. The script sets no seed: its value differs.",
        ),
    ],
)
def test_what_a_script_without_a_seed_gives_again_is_said_as_it_is(about: dict[str, str], end: str) -> None:
    (line,) = told(BASE, BETTER, about={"seed": "", **about}).next.more
    assert line.startswith("To confirm it, the script needs a seed that can be changed")
    assert line.endswith(end)


def test_a_study_with_a_verdict_is_not_told_that_it_has_no_seed() -> None:
    later = replace(BETTER, number=4, value=0.9)
    found = told(BASE, BETTER, later, verdict=of(replace(LUCKY, gain=0.01)), about={"seed": ""})
    assert not any("seed that can be changed" in line for line in found.next.more)
    found = told(BASE, BETTER, verdict=of(), about={"seed": ""})
    assert [re.sub(r"^optimize ([a-z]+).*", r"\1", line) for _, line in found.commands] == ["confirm"]
