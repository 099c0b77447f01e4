"""One question to a language model's server, by the chat-completions protocol, bounded in time and size.

It knows nothing of parameters. Its errors are in our own words, because those of a server or a library may repeat the key.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

Message = Mapping[str, str]

TOTAL_S = 300.0  # for an answer: a model on a laptop's CPU, or one that thinks, may take minutes
CONNECT_S = 10.0
MAX_BYTES = 1_000_000  # of an answer, a model's thinking included
_CHUNK = 65_536
# What a server may refuse, and what is then left out of the question.
_OPTIONS: Mapping[str, Any] = {"response_format": {"type": "json_object"}, "temperature": 0.7}
_REFUSES_OPTIONS = (400, 422)
_FINAL = {
    401: "the key is refused",
    403: "it gives no access",
    404: "there is no such model, or the URL lacks its /v1",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said, and how many tokens it took where the server says so."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


class EndpointError(Exception):
    """The server gave no answer; `why` says the reason, `final` that asking again will not help."""

    def __init__(self, why: str, final: bool = False) -> None:
        super().__init__(why)
        self.why, self.final = why, final


class Endpoint:
    """Ask a model on a server. The key leaves this object only in a header of requests to that server.

    `total_s` bounds one question with its answer, in seconds.
    """

    def __init__(self, url: str, model: str, key: str = "", total_s: float = TOTAL_S) -> None:
        self.model, self.url, self.total_s = model, url, total_s
        self._key = key
        self._options = dict(_OPTIONS)

    def __str__(self) -> str:
        return f"{self.model} at {self.url}"

    def ask(self, messages: Sequence[Message]) -> Answer:
        """Return the model's answer within `total_s`. Raises EndpointError."""
        deadline = time.monotonic() + self.total_s
        status, body = self._post(messages, deadline)
        while status in _REFUSES_OPTIONS and self._options:
            named = [name for name in self._options if name.encode() in body]
            for name in named or list(self._options):
                del self._options[name]
            status, body = self._post(messages, deadline)
        if status != 200:
            raise EndpointError(_why(status), final=status in _FINAL or 300 <= status < 400)
        return _answer(body)

    def _post(self, messages: Sequence[Message], deadline: float) -> tuple[int, bytes]:
        import requests  # a fifth of a second, in the thread that needs it

        left = max(deadline - time.monotonic(), 0.1)
        try:
            with (
                requests.Session() as session,
                session.post(
                    f"{self.url}/chat/completions",
                    json={"model": self.model, "messages": list(messages), **self._options},
                    headers={"User-Agent": "optimize", "Accept-Encoding": "identity"},  # nothing that unpacks to more
                    auth=self._authorize,
                    timeout=(min(CONNECT_S, left), left),
                    stream=True,
                    allow_redirects=False,  # the key is for this server
                    proxies=_no_proxies() if _is_loopback(self.url) else None,
                ) as response,
            ):
                return response.status_code, _read(response.raw, deadline)
        except requests.exceptions.SSLError:
            raise EndpointError("its certificate is not trusted") from None
        except requests.exceptions.Timeout:
            raise EndpointError("no answer in time") from None
        except requests.exceptions.ConnectionError:
            raise EndpointError("no connection") from None

    def _authorize(self, request: Any) -> Any:
        """Add the key. Given as `auth`, so that requests does not take another one from ~/.netrc."""
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _read(raw: Any, deadline: float) -> bytes:
    """Return the body. Raises EndpointError if the server makes it too long, in size or in time."""
    body = bytearray()
    while chunk := raw.read1(_CHUNK):
        body += chunk
        if len(body) > MAX_BYTES:
            raise EndpointError(f"its answer is longer than {MAX_BYTES} bytes")
        if time.monotonic() > deadline:
            raise EndpointError("no answer in time")
    return bytes(body)


def _why(status: int) -> str:
    if 300 <= status < 400:
        return f"status {status}: it redirects, which is not followed"
    return f"status {status}" + (f": {_FINAL[status]}" if status in _FINAL else "")


def _answer(body: bytes) -> Answer:
    try:
        found = json.loads(body)
        text = found["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise EndpointError("its answer is not one of chat completions") from None
    if not isinstance(text, str):
        raise EndpointError("its answer has no text")
    usage = found.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Answer(text, _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))


def _count(found: object) -> int:
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 10**9 else 0


def _is_loopback(url: str) -> bool:
    """Tell whether the server is this machine, which is reached without the environment's proxy."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _no_proxies() -> Any:
    return {"http": None, "https": None, "all": None}
