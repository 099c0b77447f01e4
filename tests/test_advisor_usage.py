"""What a model's answer may look like, what it is told, whose turn it is, and how all that is counted."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest

from optimize.advisor import ADVICE, Advisor, Spent, StudyView, advice_line, spent_of, tally
from optimize.advisor.advisor import MOST_OWED
from optimize.advisor.answer import MOST, params_of, read_proposals
from optimize.advisor.client import Endpoint
from optimize.advisor.prompt import Brief, effects, render_question
from optimize.search import open_sampler
from optimize.trial import Metric
from search_spaces import SearchSpaceError, parse_space
from storage import TrialRecord

SPACE = parse_space(
    """
    [parameters]
    DEPTH = [1, 2, 3, 4]
    RATE = [0.1, 0.2, 0.4]
    BETAS = [[0.8, 0.95], [0.9, 0.95]]
    BIAS = [true, false]
    PATTERN = ["L", "SL"]
    [[rules]]
    rule = "SIZE % DEPTH == 0"
    why = "whole layers"
    """,
    "space.toml",
)
BASELINE = {"DEPTH": 2, "RATE": 0.2, "BETAS": (0.8, 0.95), "BIAS": True, "PATTERN": "L"}
BRIEF = Brief(Metric(), SPACE, BASELINE, {"SIZE": 12}, {"DEPTH": "number of layers"})
A, B = {"DEPTH": 3}, {"RATE": 0.4}
START = datetime(2026, 1, 1, tzinfo=UTC)


def record(number: int, value: float | None = None, kind: str = "sampler", **more: object) -> TrialRecord:
    params = {p.name: p.encode(more.pop(p.name, BASELINE[p.name])) for p in SPACE.parameters}  # type: ignore[arg-type]
    given = {
        "state": "COMPLETE" if value is not None else "PRUNED",
        "finished": START + timedelta(minutes=number),
        **more,
    }
    return TrialRecord(number, number + 1, params=params, value=value, kind=kind, **given)  # type: ignore[arg-type]


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"proposals": [{"DEPTH": 3}, {"RATE": 0.4}]}',
        '[{"DEPTH": 3}, {"RATE": 0.4}]',
        '{"suggestions": [{"params": {"DEPTH": 3}, "why": "deeper"}, {"params": {"RATE": 0.4}}]}',
        'Try {"DEPTH": 3} first, then {"RATE": 0.4}.',
        'Sure [1]:\n```json\n{"proposals": [{"DEPTH": 3}, {"RATE": 0.4}]}\n```\nas {x} said.',
        'A draft: [{"DEPTH": 4}, {"DEPTH": 1}]. Better: {"proposals": [{"DEPTH": 3}, {"RATE": 0.4}]}',
        '<think>{"proposals": [{"DEPTH": 4}]}</think>{"proposals": [{"DEPTH": 3}, {"RATE": 0.4}]}',
    ],
)
def test_proposals_are_found_however_they_are_wrapped(text: str) -> None:
    assert read_proposals(text) == [A, B]


@pytest.mark.parametrize(
    "text",
    ["", "no", "{", "{}", "[]", "[1, 2]", '{"proposals": [{}]}', "[" * 200_000, '{"a":' * 50_000, "{[" * 50_000,
     '{"DEPTH": ' + "9" * 5000 + "}"],
)  # fmt: skip
def test_what_holds_no_proposal_is_none(text: str) -> None:
    assert read_proposals(text) == []


def test_an_answer_is_looked_at_up_to_a_limit() -> None:
    assert len(read_proposals(json.dumps([A] * 1000))) == MOST
    deep = read_proposals('{"DEPTH": ' + "[" * 300 + "]" * 300 + "}")
    assert "nested" in repr(deep)


def test_what_a_proposal_leaves_out_is_the_baselines() -> None:
    found = params_of({"BETAS": (0.9, 0.95), "DEPTH": 3.0}, SPACE, BASELINE)
    assert found == {**BASELINE, "BETAS": (0.9, 0.95), "DEPTH": 3}
    assert type(found["DEPTH"]) is int


@pytest.mark.parametrize(
    ("proposal", "why"),
    [
        ({"DEPTH": 5}, "DEPTH: 5 is none of its choices: 1, 2, 3, 4"),
        ({"DEPTH": "3"}, "DEPTH: '3' is none"),
        ({"DEPTH": True}, "DEPTH: True is none"),
        ({"BIAS": 1}, "BIAS: 1 is none"),
        ({"RATE": 0.3}, "RATE: 0.3 is none"),
        ({"RATE": float("nan")}, "RATE: nan is none"),
        ({"DEPTH": None}, "DEPTH: None is none"),
        ({"BETAS": 0.8}, "BETAS: 0.8 is none"),
        ({"WIDTH\n\x1b[2J": 5}, "there is no such parameter"),
    ],
)
def test_only_choices_count_and_the_reason_is_told(proposal: dict[str, object], why: str) -> None:
    with pytest.raises(SearchSpaceError) as caught:
        params_of(proposal, SPACE, BASELINE)  # type: ignore[arg-type]
    assert why in str(caught.value)
    assert "\x1b" not in str(caught.value)


# --- questions --------------------------------------------------------------------------------------------------------


def question(*records: TrialRecord, **more: object) -> str:
    view = StudyView(records, [{**BASELINE, "DEPTH": 4}], {**BASELINE, "RATE": 0.4})
    system, user = render_question(BRIEF, view, 2, **more)  # type: ignore[arg-type]
    assert (system["role"], user["role"]) == ("system", "user")
    return user["content"]


def test_a_question_tells_the_space_the_trials_and_the_samplers_view() -> None:
    records = [record(0, 2.0, "baseline"), record(1, 1.5, DEPTH=3), record(2, None, status="out_of_memory", RATE=0.4)]
    text = question(*records)
    for line in (
        "Metric: val_bpb, minimize it.",
        "DEPTH: [1, 2, 3, 4], baseline 2  (number of layers)",
        "BETAS: [[0.8, 0.95], [0.9, 0.95]], baseline [0.8, 0.95]",
        "SIZE % DEPTH == 0  (whole layers)",
        "SIZE = 12",
        '#1 {"DEPTH": 3} 1.500000',
        "#0 {} 2.000000",
        '#2 {"RATE": 0.4} out_of_memory',
        'Running:\n{"DEPTH": 4}',
        'The sampler would try next:\n{"RATE": 0.4}',
        "Give 2 proposals.",
    ):
        assert line in text, line
    assert text.index("#1") < text.index("#0")  # the best first
    assert "Refused" not in text


def test_a_question_says_which_parameters_matter_once_there_are_enough_trials() -> None:
    few = [record(n, 2.0 + n % 3, DEPTH=1 + n % 3) for n in range(8)]
    many = few + [record(n, 2.0 + n % 3, DEPTH=1 + n % 3, RATE=(0.1, 0.4)[n % 2]) for n in range(8, 30)]
    assert "explains" not in question(*few)
    found = effects(many, BRIEF)
    assert (found[0][0], found[0][2]) == ("DEPTH", 1)
    assert found[0][1] > 0.95
    assert all(share < 0.3 for _, share, _ in found[1:])
    assert f"DEPTH: {found[0][1]:.0%}, 1" in question(*many)


def test_bad_parameters_rank_last_and_failures_of_the_world_do_not_count() -> None:
    bad = [record(n, None, DEPTH=4) for n in range(10)]
    good = [record(n, 3.0, DEPTH=1) for n in range(10, 20)]
    world = [record(n, None, state="FAIL", RATE=0.1) for n in range(20, 40)]
    assert [(name, best) for name, _, best in effects(bad + good + world, BRIEF)] == [("DEPTH", 1)]


def test_a_question_stays_short_whatever_the_study_holds() -> None:
    many = [record(n, 2.0 + n, DEPTH=1 + n % 4) for n in range(2_000)]
    assert len(question(*many)) < 5_000


# --- whose turn it is -------------------------------------------------------------------------------------------------


def advisor(share: float = 0.2) -> Advisor:
    return Advisor(BRIEF, Endpoint("http://127.0.0.1:9/v1", "stub"), share, lambda line: None)


def turns(one: Advisor, count: int, silent: bool = False) -> list[str]:
    kinds = []
    for _ in range(count):
        kind = "advisor" if one._is_due(1) and not silent else "sampler"
        one.proposed(kind)
        kinds.append(kind)
    return kinds


@pytest.mark.parametrize(("share", "of"), [(0.2, 20), (1 / 3, 33), (0.07, 7), (0.5, 50), (1.0, 100)])
def test_a_share_is_kept_to_the_trial(share: float, of: int) -> None:
    assert turns(advisor(share), 100).count("advisor") == of


def test_the_share_is_one_of_all_the_studys_proposals_whoever_resumes_it() -> None:
    one = advisor()
    kinds = turns(one, 13)
    other = advisor()
    noise = [record(99, 1.0, "baseline"), record(98, 1.0, "advisor", taken_from="study x, trial 1"),
             record(97, None, "advisor", requeue_of=3)]  # fmt: skip
    other.resume([*noise, *(record(n, 1.0, kind) for n, kind in enumerate(kinds))], Spent())
    assert turns(one, 20) == turns(other, 20)


def test_what_a_silent_model_missed_is_made_up_for_in_part() -> None:
    one = advisor()
    turns(one, 500, silent=True)
    kinds = turns(one, 20)
    assert kinds[: int(MOST_OWED)] == ["advisor"] * int(MOST_OWED)
    assert kinds.count("advisor") <= MOST_OWED + 4


# --- counting ---------------------------------------------------------------------------------------------------------


def test_a_tally_counts_who_was_better_than_all_before_in_the_order_of_their_endings() -> None:
    records = [
        record(0, 2.0, "baseline"),
        record(1, 1.9, "sampler", finished=START + timedelta(hours=9)),  # the last to end: no better than 1.7 by then
        record(2, 1.8, "advisor"),
        record(3, 1.7, "sampler"),
        record(4, None, "advisor"),
        record(5, None, "sampler", state="FAIL"),
        record(6, 1.0, "advisor", taken_from="study x, trial 6", finished=START + timedelta(days=1)),
        record(7, None, "sampler", state="RUNNING", finished=None),
    ]
    counts = tally(records, Metric())
    assert (counts.advisor.proposed, counts.advisor.judged, counts.advisor.better) == (2, 2, 1)
    assert (counts.sampler.proposed, counts.sampler.judged, counts.sampler.better) == (4, 2, 1)
    assert counts.share == pytest.approx(1 / 3)
    up = tally(records, Metric("accuracy", "maximize"))
    assert (up.advisor.better, up.sampler.better) == (0, 0)


def test_a_studys_line_says_share_hit_rate_validity_and_cost() -> None:
    records = [record(0, 2.0, "baseline"), record(1, 1.9, "advisor"), *(record(n, 2.5) for n in range(2, 6))]
    spent = Spent("stub", 1, requests=3, failures=1, proposals=4, refused=1, tokens_in=12_345, tokens_out=67, off="why")
    assert advice_line(records, spent, Metric()) == (
        "advice of stub: 1 of 5 proposed trials (20%); 1 of 1 became the best so far (100%), of the sampler's 0 of 4 "
        "(0%); 3 of its 4 proposals were valid; 3 requests, 1 without a valid one; 12,345 tokens in, 67 out; switched off: why"
    )
    assert advice_line(records[:1], Spent(), Metric()) == ""


def test_what_was_spent_survives_the_database_and_strangers_attributes_do_no_harm() -> None:
    spent = Spent("stub", 1, 3, 1, 4, 1, 12, 6, "off")
    assert spent_of(json.loads(json.dumps({ADVICE: spent.attrs()}))) == spent
    for odd in ({}, {ADVICE: 7}, {ADVICE: {"requests": "many", "other": 1}}):
        assert spent_of(odd) == Spent()


# --- the sampler's side -----------------------------------------------------------------------------------------------


def test_a_sampler_says_why_not_without_drawing_and_previews_only_if_it_learns() -> None:
    constants = {"SIZE": 12}
    plain, asked = (open_sampler("random", SPACE, constants, seed=1) for _ in range(2))
    assert asked.why_not(BASELINE) == ""
    assert "not in the search space" in asked.why_not({"DEPTH": 1})
    assert asked.preview() is None
    assert asked.propose() == plain.propose()
    learning = open_sampler("auto", SPACE, constants, seed=1)
    assert SPACE.contains(learning.preview() or {})


def test_an_exhausted_sampler_has_no_preview() -> None:
    space = parse_space("[parameters]\nDEPTH = [1, 2, 3]", "tiny.toml")
    sampler = open_sampler("auto", space, {}, seed=1)
    for number in range(3):
        sampler.started(number, {"DEPTH": number + 1})
    assert sampler.preview() is None


def test_a_machine_without_a_thread_to_spare_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    one = Advisor(BRIEF, Endpoint("http://127.0.0.1:9/v1", "stub"), 1.0, said.append)

    def refuses(thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", refuses)
    one.look_ahead(1, 1, lambda: StudyView(()))
    assert one.advise(lambda params: "") is None
    assert "no thread" in said[0]
