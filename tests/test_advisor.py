"""A study with an advisor, against a real HTTP server: its share, what is told and kept, where its key goes."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler

import pytest

from optimize.advisor import spent_of, tally
from optimize.trial import Job, Outcome, TrialStatus
from tests.advised_study import BEST, GOOD, KEY, advised, enlarge, studied, warnings
from tests.conftest import Driver, complete
from tests.model_server import Asked, completion, proposals, says, says_in_turn, send

pytestmark = pytest.mark.slow  # a whole study each, with a server beside it


@pytest.fixture(autouse=True)
def larger_space(driver: Driver) -> None:
    enlarge(driver)


def test_good_advice_is_tried_at_its_share_marked_and_counted(driver: Driver) -> None:
    with studied(driver, says(proposals(*GOOD))) as (study, asked):
        records = study.run(21)
    assert len(records) == 21
    assert len(advised(records)) == 4
    assert {record.source for record in advised(records)} == {"stub"}
    assert advised(records)[0].params == {"X": 2, "Y": 0.25, "PAIR": "(0.8, 0.95)"}
    assert advised(records)[0].value == min(record.value for record in records if record.value)
    assert not warnings(driver)
    counts = tally(records, driver.plan.workload.metric)
    assert (counts.advisor.proposed, counts.advisor.judged, counts.advisor.better) == (4, 4, 1)
    assert counts.sampler.proposed == 16
    line = study.line(records)
    assert "advice of stub: 4 of 20 proposed trials (20%); 1 of 4 became the best so far (25%)" in line
    assert f"{len(asked)} requests, 0 " in line or f"{len(asked) - 1} requests, 0 " in line
    assert "tokens in" in line


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_a_share_is_what_was_asked_for(driver: Driver, share: float) -> None:
    free = [{"X": x, "Y": y} for x in (2, 1, 4) for y in (0.1, 0.15, 0.2, 0.25, 0.3, 0.4)]

    def reply(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        send(handler, completion(proposals(*[free.pop() for _ in range(2)])))

    with studied(driver, reply, share=share) as (study, _):
        records = study.run(11)
    proposed = [record.kind for record in records if record.kind in ("advisor", "sampler")]
    assert len(proposed) == 10
    # at a share of 1 the first question waits for the first result, and the driver does not wait for the answer
    assert abs(proposed.count("advisor") - 10 * share) <= 1 + (share == 1.0)


def test_a_study_that_goes_on_keeps_the_share_of_all_its_proposals(driver: Driver) -> None:
    with studied(driver, says(proposals(*GOOD))) as (study, _):
        for trials in (4, 8, 12, 16, 21):
            records = study.run(trials)
    assert 3 <= len(advised(records)) <= 4
    assert study.advisor.spent.requests >= 3
    with driver.database() as database:
        kept = spent_of(database.study_attrs(database.find_study("s") or 0))
    assert kept == study.advisor.spent


def test_a_study_without_an_advisor_proposes_what_it_always_did(driver: Driver) -> None:
    driver.set(sampler="auto")
    driver.run(trials=12)
    with driver.open() as study:
        plain = [record.params for record in study.records()]
    driver.set(study="t")
    with studied(driver, lambda handler, asked: send(handler, b"", 500)) as (other, _):
        other.share = 0.0001  # never its turn
        records = other.run(12)
    assert [record.params for record in records] == plain


def test_prose_and_fences_around_the_json_do_not_matter(driver: Driver) -> None:
    text = f"Of course!\n```json\n{proposals(BEST)}\n```\nGood luck [1]."
    with studied(driver, says(text)) as (study, _):
        records = study.run(12)
    assert [record.params["X"] for record in advised(records)] == [2]


def test_what_is_refused_is_told_to_the_model_once_with_the_reason(driver: Driver) -> None:
    replies = says_in_turn(proposals({"X": 3}, {"X": 7}, BEST), *map(proposals, GOOD[1:]))
    with studied(driver, replies) as (study, asked):
        study.run(21)
    told = [each.question.partition("Refused of your last answer:\n")[2] for each in asked]
    assert len(told) > 2
    for line in (
        '{"X": 3}: it breaks the rule SIZE % X == 0 (the script halves its size)',
        '{"X": 7}: X: 7 is none of its choices: 1, 2, 3, 4',
    ):
        assert [line in each for each in told] == [False, True] + [False] * (len(told) - 2)
    assert study.advisor.spent.refused >= 2


def test_a_server_that_refuses_options_is_asked_without_them(driver: Driver) -> None:
    def reply(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        for option in ("temperature", "response_format"):
            if option in asked.body:
                send(handler, f"unsupported: {option}".encode(), 400)
                return
        says(proposals(BEST))(handler, asked)

    with studied(driver, reply) as (study, asked):
        records = study.run(8)
    assert len(advised(records)) == 1
    assert [sorted(each.body) for each in asked[:3]] == [
        ["messages", "model", "response_format", "temperature"],
        ["messages", "model", "response_format"],
        ["messages", "model"],
    ]


def test_the_key_travels_in_one_header_of_requests_to_that_server_alone(driver: Driver) -> None:
    with studied(driver, says(proposals(BEST))) as (study, asked):
        study.run(8)
    assert asked
    for each in asked:
        assert each.path == "/v1/chat/completions"
        assert [name for name, value in each.headers.items() if KEY in value] == ["Authorization"]
        assert KEY not in json.dumps(each.body)
    assert KEY not in repr(study.endpoint) + str(study.endpoint) + repr(vars(study.advisor))
    for path in driver.folder.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path


def test_a_question_holds_no_path_no_host_no_log_and_no_reason_of_a_failure(driver: Driver) -> None:
    private = "node17.example: /data/secret: no such file"

    def fails(job: Job) -> Outcome:
        outcome = Outcome(TrialStatus.OUT_OF_MEMORY, 1.0, private, log=private, slot="node17", device="a slot's model")
        return outcome if job.number == 2 else complete(job)

    with studied(driver, says(proposals(BEST)), train=fails) as (study, asked):
        study.run(8)
    sent = json.dumps([each.body for each in asked])
    assert "out_of_memory" in sent
    for word in ("node17", "secret", "slot", "a log", str(driver.folder), str(driver.settings.workload)):
        assert word not in sent
