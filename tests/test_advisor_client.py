"""One question to a server: every way in which servers frame an answer, and what becomes of what is no answer."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from optimize.advisor.client import Answer, Endpoint, EndpointError
from tests.model_server import Asked, completion, model_server, says, send

QUESTION = [{"role": "user", "content": "what next?"}]
RETRY_S = 120.0


def chunked(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    """As servers do that write before they know how long it will be."""
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.send_header("Connection", "close")
    handler.end_headers()
    body = completion("yes")
    for part in (body[:7], body[7:], b""):
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
    handler.close_connection = True


def until_closed(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(completion("yes"))


@pytest.mark.parametrize("reply", [says("yes"), chunked, until_closed], ids=["length", "chunked", "until closed"])
def test_an_answer_is_read_however_it_is_framed(reply) -> None:  # type: ignore[no-untyped-def]
    with model_server(reply) as server:
        assert Endpoint(server.url, "stub", "", RETRY_S).ask(QUESTION) == Answer("yes", 1000, 10)


def test_a_server_that_tells_no_usage_or_nonsense_costs_nothing_known() -> None:
    body = json.loads(completion("yes"))
    for usage in (None, "much", {"prompt_tokens": -5, "completion_tokens": True}, {"prompt_tokens": 10**30}):
        text = json.dumps({**body, "usage": usage}).encode()
        with model_server(lambda handler, asked, text=text: send(handler, text)) as server:  # type: ignore[misc]
            assert Endpoint(server.url, "stub", "", RETRY_S).ask(QUESTION) == Answer("yes")


def test_without_a_key_there_is_no_authorization_not_even_one_of_a_netrc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with model_server(says("yes")) as server:
        Endpoint(server.url, "stub", "", RETRY_S).ask(QUESTION)
    assert "Authorization" not in server.asked[0].headers


def test_a_proxy_of_the_environment_is_not_for_this_machines_own_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with model_server(says("yes")) as server:
        assert Endpoint(server.url, "stub", "", RETRY_S).ask(QUESTION).text == "yes"


def test_refused_options_are_remembered_and_the_rest_is_an_error_in_our_own_words() -> None:
    def picky(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        send(handler, b"bad: sk-secret", 400)

    with model_server(picky) as server:
        endpoint = Endpoint(server.url, "stub", "sk-secret", RETRY_S)
        for _ in range(2):
            with pytest.raises(EndpointError) as caught:
                endpoint.ask(QUESTION)
            assert caught.value.why == "status 400"
    assert [len(each.body) for each in server.asked] == [4, 2, 2]
