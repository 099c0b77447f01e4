"""From a model's answer to proposals: finds the JSON in the prose around it, and turns its values into choices of the space.

It does not check whether a proposal is new and keeps the rules: the sampler does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from optimize.trial import Value
from search_spaces import SearchSpace, SearchSpaceError
from storage import one_line

Proposal = Mapping[str, Value]

MOST = 8  # proposals of one answer that are read
MAX_CHARS = 100_000
_TRIES = 300  # places at which JSON may begin
_DEPTH = 8  # of lists and objects within each other
_END_OF_THINKING = "</think>"


def read_proposals(text: str) -> list[Proposal]:
    """Return the proposals in an answer, in its order; [] if there is none.

    A proposal is an object, however it is wrapped. Where an answer holds several lists of objects, the last one counts,
    because models draft before they decide.
    """
    shown = text[-MAX_CHARS:].rpartition(_END_OF_THINKING)[2]
    found = [(value, list(_objects(value))) for value in _json_values(shown)]
    lists = [objects for value, objects in found if objects and objects != [value]]
    chosen = lists[-1] if lists else [each for _, objects in found for each in objects]
    return [{name: _literal(value) for name, value in each.items()} for each in chosen[:MOST]]


def params_of(proposal: Proposal, space: SearchSpace, baseline: Mapping[str, Value]) -> dict[str, Value]:
    """Return the whole configuration that a proposal means; what it leaves out has the baseline's value.

    Raises SearchSpaceError with a line for each value that is no choice.
    """
    params, problems = dict(baseline), []
    for name, value in proposal.items():
        try:
            parameter = space[name]
            params[name] = parameter.decode(parameter.encode(value))
        except SearchSpaceError as error:
            problems.append(
                f"{one_line(name, 60)}: there is no such parameter." if name not in space.names else str(error)
            )
    if problems:
        raise SearchSpaceError(*problems[:MOST])
    return params


def _json_values(text: str) -> Iterator[Any]:
    """Yield every outermost JSON object and array in the text."""
    decoder, at = json.JSONDecoder(), 0
    for _ in range(_TRIES):
        at = min((i for i in (text.find("{", at), text.find("[", at)) if i >= 0), default=-1)
        if at < 0:
            return
        try:
            value, at = decoder.raw_decode(text, at)
            yield value
        except (ValueError, RecursionError):
            at += 1


def _objects(value: Any, depth: int = _DEPTH) -> Iterator[Mapping[str, Any]]:
    """Yield the innermost objects: no parameter's value is an object, so what holds one is a wrapper."""
    if depth and isinstance(value, list):
        for each in value:
            yield from _objects(each, depth - 1)
    elif depth and isinstance(value, dict):
        wrapped = [each for each in value.values() if _is_wrapping(each)]
        yield from _objects(wrapped, depth - 1) if wrapped else [value] if value else []


def _is_wrapping(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(each, dict) for each in value))


def _literal(value: Any, depth: int = _DEPTH) -> Value:
    """Return JSON as literals of a script, an array as a tuple. What is nested deeper than any choice becomes a text."""
    if not isinstance(value, list | dict):
        return value  # type: ignore[no-any-return]
    return tuple(_literal(each, depth - 1) for each in value) if depth and isinstance(value, list) else "(nested)"
