"""Agents over MCP, with real servers, real drivers and the SDK's own client: nothing is lost whatever a client does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from optimize.study.stored import find_study
from storage import open_database
from tests.forked import ROOT, Forked, run_forked

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mcp")]

# As examples/ten_lines, with less text and a seed; it does not begin before it may.
SCRIPT = """\
import collections, math, pathlib, random, time

ORDER = 1
PRIOR = 4.0
SEED = 0

while pathlib.Path("GATE").exists():
    time.sleep(0.01)
text = b"".join(path.read_bytes() for path in sorted(pathlib.Path(collections.__file__).parent.glob("*.py")))
at = random.Random(SEED).randrange(500)
train, val = text[at : at + 8_000], text[at + 8_000 : at + 9_000]
seen = collections.Counter(train[i : i + n] for n in range(ORDER + 2) for i in range(len(train)))


def chance(past, byte):
    shorter = chance(past[1:], byte) if past else 1 / 256
    return (seen[past + byte] + PRIOR * shorter) / (seen[past] + PRIOR)


print(f"val_bpb: {-sum(math.log2(chance(val[max(i - ORDER, 0) : i], val[i : i + 1])) for i in range(len(val))) / len(val)}")
"""


class Folder:
    """A folder with a training script that `optimize init` has prepared."""

    def __init__(self, path: Path) -> None:
        self.path, self.gate, self.log = path, path / "GATE", path / "server.log"
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(path / "config")}
        (path / "mine").mkdir()
        (path / "mine" / "train.py").write_text(SCRIPT.replace("GATE", str(self.gate)))

    def optimize(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run_forked(words, cwd=self.path / "mine", env=self.env)

    def prepare(self) -> None:
        """What a person does: write the two files, read the script, allow it to run."""
        self.optimize("init", "train.py", "--direction", "minimize").check_returncode()
        self.optimize("prepare", "--trust").check_returncode()

    def states(self) -> dict[str, int]:
        with closing(open_database(self.path / "mine" / "runs" / "optuna.db")) as database:
            stored = find_study(database, "mine-cpu", self.path / "mine" / "runs")
            assert not stored.is_driven()
            return {state: count for state, count in database.counts(stored.study_id).items() if count}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


class Agent:
    """The SDK's client over stdio, which counts its calls, but for waits that end because the machine is slow."""

    def __init__(self, client: Client) -> None:
        self.client, self.calls = client, 0

    async def call(self, tool: str, **arguments: Any) -> Any:
        self.calls += 1
        answer = await self.client.call_tool(tool, arguments)
        (content,) = answer.content
        text = content.text  # type: ignore[union-attr]
        assert len(text) <= 21_000
        return text if answer.is_error else json.loads(text)


def test_from_a_prepared_script_to_a_confirmed_winner_in_ten_calls(folder: Folder) -> None:
    folder.optimize("init", "train.py", "--direction", "minimize").check_returncode()
    words = ["-m", "optimize", "mcp"]
    server = StdioServerParameters(command=sys.executable, args=words, env=folder.env, cwd=folder.path / "mine")

    async def session() -> Agent:
        async with Client(stdio_client(server)) as client:
            agent = Agent(client)
            tools = (await client.list_tools()).tools
            assert all(each.description and len(each.description) > 60 for each in tools)
            assert all(each.input_schema["additionalProperties"] is False for each in tools)
            setup = await agent.call("check_setup")
            assert (setup["workload"]["trusted"], setup["workload"]["seed"]) == (False, "SEED")
            refused = await agent.call("start", trials=6)
            assert "only a person can. Ask for that: read its scripts, then give, once: `" in refused
            assert "prepare --trust`" in refused
            assert not (folder.path / "mine" / "runs").exists()
            await anyio.to_thread.run_sync(folder.optimize, "prepare", "--trust")  # type: ignore[attr-defined]
            agent.calls = 0
            await to_a_winner(agent)
            return agent

    assert anyio.run(session).calls <= 10


async def to_a_winner(agent: Agent) -> None:
    choices = {p["name"]: p["choices"] for p in (await agent.call("check_setup"))["search_space"]["parameters"]}
    begun = await agent.call("start", trials=5)
    assert (begun["study"], begun["state"]) == ("mine-cpu", "running")
    idea = {"ORDER": choices["ORDER"][-1], "PRIOR": choices["PRIOR"][0]}
    (queued,) = (await agent.call("propose", configurations=[idea]))["proposals"]
    assert queued["queued"]
    told = await until_end(agent, begun["cursor"])
    ended = {each["trial"]["number"]: each["trial"] for each in told["events"] if each["event"] == "trial_end"}
    assert sorted(ended) == [0, 1, 2, 3, 4]
    assert ended[queued["number"]]["params"] == idea  # taken in while it ran
    await agent.call("start", what="confirm", seeds=3, finalists=1)
    told = await until_end(agent, told["cursor"])
    assert [each for each in told["events"] if each["event"] == "verdict"]
    study = await agent.call("read_study")
    winner = study["confirmation"]["winner"]
    assert winner is not None
    assert (study["best"]["number"], study["best_confirmed"], study["driver"]) == (winner, True, None)
    assert (await agent.call("noise"))["confirmation"]["deviation"] == study["confirmation"]["noise"] > 0


async def until_end(agent: Agent, cursor: str) -> Any:
    told = await agent.call("wait", until="end", after=cursor)
    while told["running"]:
        agent.calls -= 1
        told = await agent.call("wait", until="end", after=cursor)  # once more from the same moment: all is told again
    return told


class Wire:
    """A client that writes and reads lines itself, so that it can do what none should."""

    def __init__(self, folder: Folder) -> None:
        pipe, log = subprocess.PIPE, folder.log.open("a")
        with log:
            self.process = Forked(
                ["mcp"], cwd=folder.path / "mine", env=folder.env, stdin=pipe, stdout=pipe, stderr=log
            )
        self._id = 0
        self._answers: dict[object, Any] = {}
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "wire", "version": "1"}}
        assert "result" in self.read(self.send("initialize", hello))
        self.write(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))

    def write(self, line: str | bytes) -> None:
        assert self.process.stdin is not None
        raw = line if isinstance(line, bytes) else line.encode()
        self.process.stdin.buffer.write(raw + b"\n")  # type: ignore[attr-defined]
        self.process.stdin.buffer.flush()  # type: ignore[attr-defined]

    def send(self, method: str, params: Any) -> int:
        self._id += 1
        self.write(json.dumps({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}))
        return self._id

    def ask(self, tool: str, **arguments: Any) -> int:
        return self.send("tools/call", {"name": tool, "arguments": arguments})

    def read(self, number: int) -> Any:
        """The answer of this number; others, which may come first, are kept."""
        while number not in self._answers:
            answer = self.any()
            self._answers[answer.get("id")] = answer
        return self._answers.pop(number)

    def any(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert len(line) < 45_000  # of which JSON in JSON takes half
        return json.loads(line)

    def told(self, number: int) -> Any:
        """What a tool has answered: a document, or the text of an error."""
        result = self.read(number)["result"]
        text = result["content"][0]["text"]
        return text if result.get("isError") else json.loads(text)

    def call(self, tool: str, **arguments: Any) -> Any:
        return self.told(self.ask(tool, **arguments))

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(60)


@pytest.fixture
def wires(folder: Folder) -> Iterator[list[Wire]]:
    folder.prepare()
    found = [Wire(folder), Wire(folder)]
    yield found
    folder.gate.unlink(missing_ok=True)
    for each in found:
        each.process.kill()
        with each.process:
            pass


def test_of_two_at_once_that_die_flood_and_talk_nonsense_nothing_is_lost(folder: Folder, wires: list[Wire]) -> None:
    one, two = wires
    folder.gate.touch()
    begun = one.call("start", trials=5)
    assert begun["state"] == "running"
    busy = two.call("start", trials=5)
    assert f"process {begun['pid']}" in busy
    assert busy.startswith("Error executing tool start: study mine-cpu: ")
    assert "Stop it: `" in busy

    nonsense(two)
    flood(two)

    ideas = [{"ORDER": 2}, {"PRIOR": 2.0}, {"ORDER": 3}, {"ORDER": 2}]
    asked = [(wire, wire.ask("propose", configurations=[idea])) for idea in ideas for wire in wires]
    told = [wire.told(number)["proposals"][0] for wire, number in asked]
    assert sorted(each["number"] for each in told if each["queued"]) == [1, 2, 3]
    assert {each["number"] for each in told} == {1, 2, 3}

    one.ask("wait", until="end")
    os.kill(one.process.pid, signal.SIGKILL)
    folder.gate.unlink()
    while (ended := two.call("wait", until="end", after=begun["cursor"]))["running"]:
        pass
    assert sorted(each["trial"]["number"] for each in ended["events"] if each["event"] == "trial_end") == list(range(5))
    assert folder.states() == {"COMPLETE": 5}
    assert two.end() == 0
    assert "Traceback" not in folder.log.read_text()


def nonsense(wire: Wire) -> None:
    """Lines that are no request, and requests that make no sense: each is refused, and none changes anything."""
    for line in (
        "",
        "{",
        "hello",
        "[]",
        "null",
        b"\xff\xfe\x00",
        "[" * 5_000,
        '{"jsonrpc": "2.0", "id": {}, "method": 7}',
    ):
        wire.write(line)
    assert "error" in wire.read(wire.send("no/such/method", {}))
    for tool, arguments, words in REFUSED:
        told = wire.call(tool, **arguments)
        assert isinstance(told, str), tool
        assert words in told, (tool, told)
        assert len(told) < 4_000


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("nothing", {}, "no such tool. There are check_setup"),
    ("read_study", {"trust": True}, "read_study: it has no argument trust. Its arguments: study, latest."),
    ("start", {"trust": True, "trials": 9}, "start: it has no argument trust."),
    ("start", {"what": "rm -rf"}, "start: what: Input should be 'search' or 'confirm', not 'rm -rf'."),
    ("start", {"trials": 0}, "start: trials: Input should be greater than or equal to 1, not 0."),
    ("start", {"study": "../../etc"}, "not a name for a study"),
    ("start", {"study": "new", "space": "/etc/passwd"}, "/etc/passwd"),
    ("start", {"study": "new", "start_from": "nobody"}, "nobody"),
    ("propose", {"configurations": [{"ORDER": 2}, {}]}, "propose: configurations.1: Dictionary should have at least 1 item"),
    ("propose", {"configurations": [{"ORDER": 2}, {"ORDER": 99, "X": 1}]}, "configuration 2: ORDER: 99 is none of its choices"),
    ("propose", {"configurations": [{"ORDER": [[["x" * 99_999]]]}]}, "is none of its choices"),
    ("propose", {"configurations": [{"ORDER": 2}] * 21}, "propose: configurations: List should have at most 20 items"),
    ("read_trial", {"number": 10**12}, "there is no trial 1000000000000"),
    ("read_trial", {"number": "first"}, "read_trial: number: Input should be a valid integer"),
    ("wait", {"after": "yesterday"}, "'yesterday' is no cursor"),
    ("wait", {"seconds": 1e9}, "wait: seconds: Input should be less than or equal to 50"),
    ("migrate", {"study": "mine-cpu", "to": "mine-cpu"}, "exists already"),
    ("widen_space", {}, "its trials do not show that better ones lie beyond"),
    ("stop", {"study": "no"}, "there is no such study"),
]  # fmt: skip


def flood(wire: Wire) -> None:
    """Far more calls than it answers at a time, all of them before the first answer is read."""
    asked = {wire.ask("list_studies") for _ in range(100)}
    answers = [wire.any() for _ in asked]
    assert {each["id"] for each in answers} == asked
    texts = [each["result"]["content"][0]["text"] for each in answers]
    assert all('"name":"mine-cpu"' in text or "calls are being answered" in text for text in texts)
    assert wire.call("list_studies")["studies"][0]["name"] == "mine-cpu"
