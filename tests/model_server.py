"""A language model's server on loopback, real HTTP: it answers as a test says, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def question(self) -> str:
        return str(self.body["messages"][-1]["content"])


Reply = Callable[[BaseHTTPRequestHandler, Asked], None]
"""Writes the response, or leaves it."""


@dataclass
class ModelServer:
    """Where it is, what was asked, and what hanging requests wait for."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def model_server(reply: Reply) -> Iterator[ModelServer]:
    """Serves until the block is left; whoever hangs then is let go."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = Asked(self.path, dict(self.headers), body)
            server.asked.append(asked)
            self.over = server.over
            reply(self, asked)

        def log_message(self, *words: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        server = ModelServer(f"http://127.0.0.1:{http.server_address[1]}/v1")
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            http.shutdown()
            thread.join()


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def says(text: str, usage: bool = True) -> Reply:
    """A model that always says this."""
    return lambda handler, asked: send(handler, completion(text, usage))


def says_in_turn(*texts: str) -> Reply:
    """One that says the next of these each time, and the last again and again."""
    left = list(texts)
    return lambda handler, asked: send(handler, completion(left.pop(0) if len(left) > 1 else left[0]))


def completion(text: str, usage: bool = True) -> bytes:
    told = {"usage": {"prompt_tokens": 1000, "completion_tokens": 10}} if usage else {}
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}], **told}).encode()


def proposals(*params: dict[str, Any]) -> str:
    return json.dumps({"proposals": list(params)})
