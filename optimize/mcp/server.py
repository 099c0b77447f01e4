"""Serves the tools over stdio with the official SDK: registers them, refuses what they do not know, turns errors into lines.

Nothing about a study is kept here: a server that is killed loses nothing, and several may be about the same studies.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, InputRequiredResult, Tool, ToolAnnotations
from pydantic import Field, ValidationError

from optimize.commands.user_errors import problems_of
from optimize.config.versions import machine
from optimize.mcp.answers import answer
from optimize.mcp.tools import ServerFlags, StudyName, Tools
from optimize.reporting.hints import pasteable
from optimize.reporting.waiting import MOST_SECONDS, Patience

MOST_CALLS = 32  # that are answered at a time
MOST_LINES, MOST_LINE = 30, 500  # of an error, and characters of one
INSTRUCTIONS = """\
These tools tune the constants of one training script: they train it again and again with other values, keep what helps, and say
how sure that is. You have ideas; the tools do the numbers, the ledger, the kills and the confirmation.

1. check_setup: what may vary, and whether a person has allowed the script to run (workload.trusted).
2. start with trials=20 or so, then wait(until="end") as often as it says running; pass its `cursor` on as `after`.
   Meanwhile propose configurations of your own, and read_trial for what failed.
3. If the script has a seed, a search of 16 trials or more trains its best again with other seeds by itself. read_study:
   `confirmation.winner` is a trial that is really better than the baseline; null means that the gain may be luck. Then
   start(what="confirm") has a closer look, with more seeds.
4. If read_study has `edges`, widen_space and migrate look beyond the choices. export_best writes the winner out.

To change code, edit the script yourself and start a study of another name (start_from takes the best values along).\
"""


class _Server(MCPServer[Any]):
    """The SDK's server, which refuses arguments that a tool has not, and more calls at a time than it can answer."""

    _open = 0

    async def list_tools(self) -> list[Tool]:
        tools = await super().list_tools()
        for tool in tools:
            tool.input_schema["additionalProperties"] = False
        return tools

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        known = {tool.name: tool.input_schema.get("properties", {}) for tool in await self.list_tools()}
        if name not in known:
            raise ToolError(f"{name!r:.60}: no such tool. There are {', '.join(sorted(known))}.")
        if unknown := sorted(set(arguments) - set(known[name])):
            mine = ", ".join(known[name]) or "none"
            raise ToolError(f"{name}: it has no argument {', '.join(unknown)[:200]}. Its arguments: {mine}.")
        if self._open >= MOST_CALLS:
            raise ToolError(f"{name}: {MOST_CALLS} calls are being answered. Wait for their answers, then call again.")
        self._open += 1
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if isinstance(error.__cause__, ValidationError):
                raise ToolError("\n".join(_mistakes(name, error.__cause__))) from None
            raise
        finally:
            self._open -= 1


def _mistakes(tool: str, error: ValidationError) -> list[str]:
    """Return a line for each argument that is of the wrong kind, or too large."""
    found = error.errors(include_url=False, include_context=False)[:MOST_LINES]
    return [
        f"{tool}: {'.'.join(map(str, each['loc']))[:100]}: {each['msg']}, not {each['input']!r:.60}." for each in found
    ]


def serve(place: ServerFlags) -> None:
    """Serve one client on stdin and stdout until it closes them."""
    build(place).run("stdio")


def build(place: ServerFlags) -> MCPServer[Any]:
    """Return the server with its tools."""
    server = _Server(
        "optimize", instructions=INSTRUCTIONS, version=machine().get("optimize-train", ""), log_level="WARNING"
    )
    tools = Tools(place)
    reading, writing = ToolAnnotations(read_only_hint=True), ToolAnnotations(destructive_hint=False)
    added: list[tuple[Callable[..., dict[str, Any]], ToolAnnotations]] = [
        (tools.check_setup, reading),
        (tools.list_studies, reading),
        (tools.read_study, reading),
        (tools.read_trial, reading),
        (tools.propose, writing),
        (tools.start, writing),
        (tools.stop, writing),
        (tools.widen_space, writing),
        (tools.migrate, writing),
        (tools.export_best, writing),
        (tools.importance, reading),
        (tools.noise, reading),
    ]
    for tool, effect in added:
        server.add_tool(_answering(tool), annotations=effect, structured_output=False)
    server.add_tool(_waiting(tools), name="wait", annotations=reading, structured_output=False)
    return server


def _answering(tool: Callable[..., dict[str, Any]]) -> Callable[..., str]:
    """Return a tool that answers with text, and whose errors are lines."""

    @functools.wraps(tool)
    def answering(**arguments: Any) -> str:
        return answer(_told(lambda: tool(**arguments)))

    return answering


def _told(call: Callable[[], Any]) -> Any:
    """Return what a call returns. Raises ToolError with the lines of an error that a caller can mend."""
    try:
        return call()
    except Exception as error:
        problems = problems_of(error)
        if problems is None:
            raise
        lines = [pasteable(line)[:MOST_LINE] for line in problems]
        more = [f"and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
        raise ToolError("\n".join([*lines[:MOST_LINES], *more])) from None


def _waiting(tools: Tools) -> Callable[..., Any]:
    async def wait(
        study: StudyName = None,
        after: Annotated[
            str | None,
            Field(
                max_length=10_000, description="`cursor` of an earlier answer: what you know. Left out: all until now."
            ),
        ] = None,
        until: Annotated[
            Literal["event", "best", "end"],
            Field(
                description="event: a trial has ended. best: a better best, or a verdict. end: the process has ended."
            ),
        ] = "event",
        seconds: Annotated[float, Field(ge=0, le=MOST_SECONDS, description="At most so long.")] = MOST_SECONDS,
    ) -> str:
        """Wait for what happens to a study, and return it: trials that ended, a better best, a verdict, the end of its process.
        Returns after `seconds` at the latest, at once where no process drives the study (`running` is false). Nothing is told
        twice or left out if you give each answer's `cursor` to the next call as `after`."""
        patience = Patience(until, seconds)
        while True:
            look = functools.partial(tools.look, study, after, patience)
            told, pause, after = await anyio.to_thread.run_sync(_told, look)
            if pause is None:
                return answer(told)
            study = told["study"]  # which of several it is about stays the same
            await anyio.sleep(pause)

    return wait
