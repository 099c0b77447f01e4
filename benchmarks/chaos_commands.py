"""Is anything half there or lost when a command other than `run` is killed? python benchmarks/chaos_commands.py [--smoke]

`chaos.py` kills drivers; this kills the commands that confirm, take away, bring in and begin. For each, on a fresh copy of a
small study with artifacts and a confirmation: it is killed with -9 when it makes its n-th step on the disk or the network
(writing a file, a rename, a folder, a database or a connection opened), n being drawn evenly, half of the time with a delay of
up to 0.1 s; then it is called again, and left alone. So no moment depends on how fast the machine is. Of the `--kills`
strikes at each command:

    struck        calls that were killed; the others had ended before their last step was made
    half          results that were there, but not whole, after the kill
    refused       second calls that failed, although there was no whole result yet
    lost          results that the second call did not make as an unharmed call makes them
    harmed        original studies, or their artifacts, that changed
    tracebacks    in what the second calls printed
    strays        for information: hidden files and folders that lie about in the end; the next write removes old ones

All but struck and strays must be 0, or the exit code is 1, and a line names the step: the same `--seed` strikes there again.
`copy` is tried to a file and to a PostgreSQL (that of `tests/postgres.py`; skipped where there is none), `autoresearch` needs git.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from chaos_stage import (
    ROOT,
    Result,
    Stage,
    bundle,
    cleaned,
    confirmed,
    folder_of,
    hidden,
    on_server,
    report,
    studies,
    text_of,
)

FAULTS, FACTS = ("half", "refused", "lost", "harmed", "tracebacks"), ("struck", "strays")
SCRIPT = """import random
X = 4
Y = 0.5
SEED = 42
value = 1.0 + abs(X - 2) / 10 + abs(Y - 0.25) + random.Random(SEED).random() / 1000
print(f"---\\nval_bpb:          {value:.6f}\\nnum_steps:        4")
"""
SPACE, WIDER = (
    "[parameters]\nX = [1, 2, 3, 4]\nY = [0.125, 0.25, 0.5]\n",
    "[parameters]\nX = [1, 2, 3, 4, 5]\nY = [0.125, 0.25, 0.5]\n",
)
TABLE = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n" + "".join(
    f"a{n}\t1.{n:04d}\t1\tkeep\tX {n} -> {n + 1}\n" for n in range(300)
)


@dataclass(frozen=True)
class Case:
    """A command, and what it makes: None while that is not there, anything else is compared with the unharmed call's."""

    words: str
    result: Callable[[Stage], Result]
    original: Callable[[Stage], Result] = lambda stage: studies(stage.runs, "s")
    base: str = "confirmed"
    servers: bool = False
    name: str = field(default="")

    @property
    def title(self) -> str:
        return self.name or " ".join(self.words.split()[: 2 if self.words.startswith("space") else 1])


SAME = "--profile ./profile.toml --workload ./workload"
CASES = (
    Case(f"confirm {SAME} --trust --space ./space.toml --study s --finalists 2 --seeds 2", confirmed, base="tuned"),
    Case(f"migrate s --to wide {SAME} --space ./wider.toml", lambda stage: studies(stage.runs, "wide")),
    Case("import table.tsv --study new", lambda stage: studies(stage.runs, "new")),
    Case("copy --study s --to there/optuna.db", lambda stage: studies(stage.folder / "there", "s", "s/confirm")),
    Case("copy --study s --to-runs there", on_server, servers=True, name="copy to a server"),
    Case("export --study s --bundle --artifacts --to b.zip", bundle),
    Case("export --study s", lambda stage: (stage.runs / "s" / "results.tsv").read_text("utf-8"), name="export again"),
    Case("report --study s --to page", report),
    Case("backup kept", lambda stage: studies(stage.folder / "kept", "s", "s/confirm")),
    Case("restore backup --runs back", lambda stage: studies(stage.folder / "back", "s", "s/confirm")),
    Case("space init workload/train.py --to mine.toml", text_of("mine.toml")),
    Case("autoresearch ar --profile h100 --from ./mirror --commit HEAD", folder_of("ar")),
    Case("clean --study s --yes", cleaned, original=lambda stage: studies(stage.folder / "backup", "s")),
)  # fmt: skip


# --- striking ---------------------------------------------------------------------------------------------------------


def strike_often(
    case: Case, bases: dict[str, Stage], kills: int, chance: random.Random, servers: Servers
) -> tuple[Counter[str], list[str]]:
    found, details, base = Counter[str](), list[str](), bases[case.base]
    words = shlex.split(case.words)
    with trial_of(base, case, servers) as stage:
        ended = stage.call(words)
        if ended.returncode:
            raise SystemExit(f"{case.title}: fails when nobody kills it: {ended.stderr}")
        whole, steps = case.result(stage), int((stage.folder / "steps").read_text())
    assert whole is not None, case.title
    original = case.original(base)
    for _ in range(kills):
        at, delay = chance.randint(1, steps), chance.choice((0.0, chance.uniform(0.001, 0.1)))
        with trial_of(base, case, servers) as stage:
            struck = stage.call(words, at, delay)
            found["struck"] += struck.returncode == -signal.SIGKILL
            before = case.result(stage)
            again = stage.call(words)
            faults = {
                "half": before not in (None, whole),
                "refused": again.returncode != 0 and before != whole,
                "lost": case.result(stage) != whole,
                "harmed": case.original(stage) != original,
                "tracebacks": "Traceback" in again.stderr,
            }
            found.update(name for name, is_so in faults.items() if is_so)
            found["strays"] += len(hidden(stage.folder) - hidden(base.folder))
            if any(faults.values()):
                named = [name for name, is_so in faults.items() if is_so]
                details.append(f"step {at} of {steps}, {delay:.3f} s: {named}: {again.stderr.strip()[-300:]}")
    return found, details


class Servers:
    """New databases of one PostgreSQL."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        sys.path.insert(0, str(ROOT))
        from tests.postgres import Server, binaries

        folder = binaries()
        self.server = Server(folder) if folder else None
        if self.server:
            stack.callback(self.server.remove)


@contextlib.contextmanager
def trial_of(base: Stage, case: Case, servers: Servers) -> Iterator[Stage]:
    """A copy of the stage that goes when it has served."""
    folder = base.folder.with_name("struck")
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(servers.server.database()) if case.servers and servers.server else ""
        try:
            yield base.copy(folder, url)
        finally:
            shutil.rmtree(folder)


# --- the stages -------------------------------------------------------------------------------------------------------


def prepare(folder: Path) -> dict[str, Stage]:
    """`tuned`, a study of six trials; `confirmed`, the same with a confirmation and a backup."""
    tuned = Stage(folder / "tuned")
    (tuned.folder / "workload").mkdir(parents=True)
    for name, text in {
        "workload/train.py": SCRIPT, "space.toml": SPACE, "wider.toml": WIDER, "table.tsv": TABLE,
        "profile.toml": 'sampler = "random"\npruning = false\n[slots]\ndevice = "cpu"\ncount = 2\n',
    }.items():  # fmt: skip
        (tuned.folder / name).write_text(text, "utf-8")
    _mirror(tuned.folder / "mirror")
    _must(tuned, f"run {SAME} --trust --space ./space.toml --study s --trials 6")
    both = tuned.copy(folder / "confirmed", "")
    _must(both, CASES[0].words)
    _must(both, "backup backup")
    return {"tuned": tuned, "confirmed": both}


def _must(stage: Stage, words: str) -> None:
    ended = stage.call(shlex.split(words))
    if ended.returncode:
        raise SystemExit(f"optimize {words}: {ended.stderr}")


def _mirror(folder: Path) -> None:
    """A repository of autoresearch's form."""
    if shutil.which("git") is None:
        return
    shutil.copytree(ROOT / "tests" / "replicas" / "macos", folder)
    text = (folder / "train.py").read_text("utf-8")
    for fork, upstream in (
        ("2**16", "2**19"),
        ("DEPTH = 4", "DEPTH = 8"),
        ("DEVICE_BATCH_SIZE = 16", "DEVICE_BATCH_SIZE = 128"),
        ('"L"', '"SSSL"'),
    ):
        text = text.replace(fork, upstream, 1)
    (folder / "train.py").write_text(text, "utf-8")
    for words in ("init --quiet", "add -A", "-c user.name=x -c user.email=x@localhost commit --quiet -m x"):
        subprocess.run(["git", "-C", folder, *words.split()], check=True, capture_output=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="See the docstring.")
    parser.add_argument(
        "--commands", default="", help="only those whose name has one of these words, such as copy,restore"
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="a kill of each of three: does it still work?")
    given = parser.parse_args()
    if given.smoke:
        given.commands, given.kills = "migrate,backup,restore", 1
    wanted = [case for case in CASES if any(word in case.title for word in given.commands.split(","))]
    folder, total = Path(tempfile.mkdtemp(prefix="chaos-commands-")), Counter[str]()
    with contextlib.ExitStack() as stack:
        servers, bases = Servers(stack), prepare(folder)
        for case in wanted:
            if (case.servers and not servers.server) or (case.title == "autoresearch" and shutil.which("git") is None):
                print(f"{case.title}: skipped, what it needs is not here")
                continue
            chance = random.Random(f"{given.seed} {case.title}")
            found, details = strike_often(case, bases, given.kills, chance, servers)
            print(f"{case.title}: {line(found)}", *details[:20], sep="\n    ", flush=True)
            total.update(found)
    good = not any(total[name] for name in FAULTS)
    shutil.rmtree(folder)
    print(line(total))
    return 0 if good else 1


def line(found: Counter[str]) -> str:
    return " ".join(f"{name}={found[name]}" for name in (*FAULTS, *FACTS))


if __name__ == "__main__":
    sys.exit(main())
