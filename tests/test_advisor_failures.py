"""A model's server that is dead, slow, silly or hostile: the study goes on, and one line says so."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler

import pytest

from optimize.advisor import StudyView
from optimize.advisor.advisor import MOST_FAILURES
from optimize.advisor.client import MAX_BYTES
from tests.advised_study import BEST, GOOD, KEY, RETRY_S, Study, advised, enlarge, studied, warnings
from tests.conftest import Driver
from tests.model_server import Asked, Reply, model_server, proposals, says, says_in_turn, send
from tests.zoo import eventually

pytestmark = pytest.mark.slow  # a whole study each, with a server beside it


@pytest.fixture(autouse=True)
def larger_space(driver: Driver) -> None:
    enlarge(driver)


def hangs(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    handler.over.wait(RETRY_S)  # type: ignore[attr-defined]


def drips(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    try:
        while not handler.over.wait(0.05):  # type: ignore[attr-defined]
            handler.wfile.write(b" ")
            handler.wfile.flush()
    except OSError:
        return


def is_huge(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b" " * MAX_BYTES)
    except OSError:
        return


def closes(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    handler.close_connection = True


def cuts_short(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def status(code: int) -> Reply:
    return lambda handler, asked: send(handler, json.dumps({"error": {"message": KEY}}).encode(), code)


REFUSED = "none of its proposals can be tried"
USELESS: dict[str, tuple[Reply, str]] = {
    "breaks a rule": (says(proposals({"X": 3})), REFUSED),
    "an empty object": (says(proposals({})), "no JSON object"),
    "repeats": (says(proposals({"X": 4})), REFUSED),
    "an unknown choice": (says(proposals({"X": 7})), REFUSED),
    "an unknown name": (says(proposals({"Z": 1})), REFUSED),
    "a number as text": (says(proposals({"X": "2"})), REFUSED),
    "true is not 1": (says(proposals({"X": True})), REFUSED),
    "not JSON": (says("I would try a larger X."), "no JSON object"),
    "nothing": (says(""), "no JSON object"),
    "nested": (says("[" * 50_000), "no JSON object"),
    "no text": (lambda handler, asked: send(handler, b'{"choices": [{"message": {"content": null}}]}'), "no text"),
    "no completion": (lambda handler, asked: send(handler, b"<html>hello</html>"), "not one of chat completions"),
    "500": (status(500), "status 500"),
    "429": (status(429), "status 429"),
    "401": (status(401), "the key is refused"),
    "404": (status(404), "no such model"),
    "closes": (closes, "no connection"),
    "cuts short": (cuts_short, ""),
    "huge": (is_huge, f"longer than {MAX_BYTES} bytes"),
}


@pytest.mark.parametrize("what", USELESS)
def test_useless_advice_costs_one_line_and_the_study_goes_on(driver: Driver, what: str) -> None:
    reply, why = USELESS[what]
    with studied(driver, reply, share=0.5) as (study, asked):
        records = study.run(8)
    assert [record.state for record in records] == ["COMPLETE"] * 8
    assert not advised(records)
    assert len(warnings(driver)) == 1
    assert why in warnings(driver)[0]
    assert "The sampler proposes instead" in warnings(driver)[0]
    assert KEY not in "".join(driver.said)
    assert 1 <= len(asked) <= MOST_FAILURES
    assert study.advisor.spent.failures >= 1


@pytest.mark.parametrize("code", [401, 403, 404, 307])
def test_what_will_not_get_better_is_not_asked_again(driver: Driver, code: int) -> None:
    with studied(driver, status(code), share=0.5) as (study, asked):
        records = study.run(8)
    assert len(asked) == 1
    assert "It is not asked again" in warnings(driver)[0]
    assert f"switched off: status {code}" in study.line(records)


def test_after_five_failures_in_a_row_the_model_is_switched_off_and_the_report_says_so(driver: Driver) -> None:
    with studied(driver, status(500), share=1.0) as (study, asked):
        records = study.run(10)
    assert len(asked) == MOST_FAILURES
    assert f"switched off: {MOST_FAILURES} failures in a row, the last: status 500" in study.line(records)
    assert len(warnings(driver)) == 1


def test_a_failure_is_followed_by_a_rest(driver: Driver) -> None:
    with studied(driver, status(500), share=1.0, rest_s=3600) as (study, asked):
        study.run(8)
    assert len(asked) == 1


def test_a_model_that_recovers_is_listened_to(driver: Driver) -> None:
    replies = [status(500), status(500), *(says(proposals(each)) for each in GOOD)]
    with studied(driver, lambda handler, asked: replies.pop(0)(handler, asked)) as (study, _):
        records = study.run(21)
    assert len(advised(records)) >= 2
    assert len(warnings(driver)) == 1


def test_a_redirect_is_not_followed_and_takes_the_key_nowhere(driver: Driver) -> None:
    with model_server(says(proposals(BEST))) as elsewhere:
        away = f"{elsewhere.url}/chat/completions"
        with studied(driver, lambda handler, asked: send(handler, b"", 302, Location=away)) as (study, asked):
            records = study.run(12)
        assert not elsewhere.asked
    assert len(asked) == 1
    assert not advised(records)


@pytest.mark.parametrize("reply", [hangs, drips], ids=["hangs", "drips"])
def test_a_server_that_takes_for_ever_is_not_waited_for(driver: Driver, reply: Reply) -> None:
    with model_server(reply) as server:
        study = Study(driver, server.url, share=0.5, total_s=0.5)
        records = study.run(8)
    assert [record.state for record in records] == ["COMPLETE"] * 8
    assert len(warnings(driver)) == 1
    assert "no answer in time" in warnings(driver)[0]


def test_a_request_that_never_ends_is_given_up_and_no_second_one_is_begun_beside_it(driver: Driver) -> None:
    """Its header comes byte by byte, so that no timeout between two bytes ever ends it."""

    def drips_its_header(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        try:
            while not handler.over.wait(0.02):  # type: ignore[attr-defined]
                handler.wfile.write(b"H")
                handler.wfile.flush()
        except OSError:
            return

    with model_server(drips_its_header) as server:
        study = Study(driver, server.url, share=1.0, total_s=10 * RETRY_S)
        advisor = study.advisor
        advisor.look_ahead(1, 1, lambda: StudyView(()))
        assert eventually(lambda: server.asked, RETRY_S)
        study.endpoint.total_s = 0.0  # from here on it has taken too long
        for _ in range(10):
            assert advisor.advise(lambda params: "") is None
            advisor.look_ahead(1, 1, lambda: StudyView(()))
        assert len(server.asked) == 1
    assert "no answer in time" in advisor.spent.off
    assert len(warnings(driver)) == 1


def test_one_answer_that_was_refused_is_asked_for_again_at_once_and_costs_no_line(driver: Driver) -> None:
    with studied(driver, says_in_turn(proposals({"X": 7}), proposals(*GOOD)), rest_s=3600) as (study, asked):
        records = study.run(16)
    assert "X: 7 is none of its choices" in asked[1].question
    assert advised(records)
    assert not warnings(driver)
