"""One question to a language model's server, by the chat-completions protocol: text in, text out, all of it bounded.

It knows nothing of parameters. What goes wrong is told in words of ours: those of a server or a library may repeat a key.
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
    """What the model said, and what that cost where the server tells."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


class EndpointError(Exception):
    """No answer, and why; `final` if asking again will not help."""

    def __init__(self, why: str, final: bool = False) -> None:
        super().__init__(why)
        self.why, self.final = why, final


class Endpoint:
    """A model on a server. The key leaves this object in one header of requests to that server only."""

    def __init__(self, url: str, model: str, key: str = "", total_s: float = TOTAL_S) -> None:
        self.model, self.url, self.total_s = model, url, total_s
        self._key = key
        self._options = dict(_OPTIONS)

    def __str__(self) -> str:
        return f"{self.model} at {self.url}"

    def ask(self, messages: Sequence[Message]) -> Answer:
        """The model's answer, within `total_s`. Raises EndpointError."""
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
        """Given as `auth`, so that no ~/.netrc is asked for another."""
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _read(raw: Any, deadline: float) -> bytes:
    """The body, whatever a server does to make it long in size or in time."""
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
    """A proxy of the environment is for the world outside."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _no_proxies() -> Any:
    return {"http": None, "https": None, "all": None}
