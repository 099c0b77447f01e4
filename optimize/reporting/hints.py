"""Every command that is printed, as a user can paste it where it is printed.

`command_line` writes one. Rooms below this one, `storage` and `search_spaces` write it between backticks, such as
`optimize status --study night`, and `pasteable` replaces it when the line is printed. Both begin with what started this process
(`program.py`), and add the flags of this call that the command needs to find the same study. `optimize_command` is for documents
that are read elsewhere.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from shlex import quote

from optimize.config.environment import has_password, in_notebook
from optimize.config.settings import Settings
from optimize.reporting.program import CONSTRAINTS, by_uvx, in_shell, installer, make, near, program, tool
from optimize.script.command import HASH_SEED, RUN, RUN_BESIDE

Flags = Mapping[str, object]
"""Flag without its dashes -> value; True stands for a flag without a value, a tuple repeats it, None and False leave it out."""

_FIELDS = {
    "storage": "storage",
    "study": "study",
    "profile": "profile",
    "workload": "workload",
    "space": "search_space",
}
_TRAINING_FIELDS = {
    "hours": "hours",
    "executor": "executor",
    "slots": "slots",
    "gpus": "gpus",
    "mixed-devices": "mixed_devices",
    "log": "log",
}
_SEARCH_FIELDS = {  # without --from, --prior and --no-prior: the study has begun so
    "trials": "trials",
    "until-worth": "until_worth",
    "seed": "seed",
    "sampler": "sampler",
    "starts": "starts",
    "pruning": "pruning",
    "pruner": "pruner",
    "advisor": "advisor",
    "advisor-share": "advisor_share",
}
SWITCHES = frozenset((  # flags without a value
    "trust", "now", "bundle", "artifacts", "json", "expose", "yes", "repair", "mixed-devices", "starts", "no-starts", "no-prior",
    "pruning", "no-pruning", "uv", "no-uv", "set-aside", "probe", "detach", "no-seed",
))  # fmt: skip
_PLACE = ("storage", "runs")  # where the studies are
_PLAN = ("profile", "workload", "space", "executor", "slots", "gpus", "mixed-devices")
CARRIED: Mapping[str, Sequence[str]] = {  # command -> flags of this call that another command about the same study needs
    **dict.fromkeys(("status", "show", "importance", "noise", "wait", "export", "report", "stop"), _PLACE),
    **dict.fromkeys(("backup", "copy", "clean", "import"), _PLACE),
    "dashboard": (*_PLACE, "host", "expose"),
    **dict.fromkeys(("run", "confirm"), (*_PLACE, *_PLAN, "backup")),
    "check": (*_PLACE, *_PLAN),
    **dict.fromkeys(("migrate", "propose", "mcp"), (*_PLACE, *_PLAN[:3])),
    "prepare": _PLAN[:2],
    "restore": ("runs",),
    "autoresearch": (),
    "init": (),
    "space init": (),
    **dict.fromkeys(("space widen", "space export"), _PLACE),
}  # fmt: skip
_WHICH = frozenset(("study", "storage"))
_TRAINING = _WHICH | {"profile", "workload", "space", *_TRAINING_FIELDS}
_SEARCH = _TRAINING | {*_SEARCH_FIELDS, "from", "prior", "no-prior", "no-starts", "no-pruning"}
# Command -> target of the Makefile, and the flags that it has variables for.
TARGETS: Mapping[str, tuple[str, frozenset[str]]] = {
    "run": ("optimize", _SEARCH | {"trust", "set-aside", "confirm", "backup"}),
    "confirm": ("confirm", _TRAINING | {"trust", "set-aside", "finalists", "seeds", "scale", "backup"}),
    "prepare": ("prepare", frozenset(("profile", "workload", "trust"))),
    "check": ("check", _SEARCH | {"repair", "set-aside"}),
    "status": ("status", _WHICH),
    "show": ("show", _WHICH | {"n"}),
    "export": ("export", _WHICH | {"bundle", "artifacts", "set-aside"}),
    "report": ("report", _WHICH),
    "stop": ("stop", _WHICH | {"now"}),
    "dashboard": ("dashboard", frozenset(("storage", "port"))),
}
# Command -> parameters of the function of that name in notebook.py: as a command it would block the cell, and show no picture.
CALLS: Mapping[str, Sequence[str]] = {
    "run": ("profile", "study", "trials", "hours", "backup", "workload", "advisor"),
    "dashboard": (),
}
_NUMBERS = frozenset(("trials", "hours"))
_AGAIN = "..."  # in `optimize ... --trust`: the words of this call
_COMMAND = re.compile(r"`(optimize|pip|optuna|ray|mlflow|tensorboard) ([^`]+)`")


def command_line(command: str, flags: Flags | None = None, about: int | str | None = None) -> str:
    """Return a command line for the shell in the current folder; `about` is the trial or the study that it is about."""
    return _pasted(command, () if about is None else (str(about),), flags or {})


def optimize_command(command: str, flags: Flags, about: int | str | None = None) -> str:
    """Return a command line of `optimize`, for a document that is read elsewhere: it names no place of this machine."""
    shown = _given(flags)
    return " ".join(["optimize", command, *([] if about is None else [quote(str(about))]), *_words(shown)])


def pasteable(line: str) -> str:
    """Return a line whose commands between backticks can be pasted; other text stays as it is."""
    return _COMMAND.sub(lambda found: f"`{_replaced(found[1], found[2]) or found[0][1:-1]}`", line)


def training_command(files: Collection[str], python: str = "python") -> str:
    """Return what trains a trial again in the folder where its files were written, with this Python.

    `files`: what it left. Where a run.sh is not among it, the folder has one (`to_take_away`).
    """
    name = RUN_BESIDE if RUN_BESIDE in files else RUN
    if name not in files and "train.py" not in files:
        return f"PYTHONHASHSEED={HASH_SEED} {python} train.py"
    return f"sh {name}" if python == "python" else f"PYTHON={python} sh {name}"


def best_command(folder: Path) -> str:
    """Return the line that trains the best again from here, or its folder where it has no script for that."""
    name = next((each for each in (RUN_BESIDE, RUN) if (folder / each).is_file()), None)
    return in_shell(f"sh {quote(str(folder / name))}") if name else str(folder)


def given_flags(settings: Settings, search: bool = False) -> Flags:
    """Return the flags of this call, so that the same command goes on in the same way.

    With `search` also those that only a command that searches has.
    """
    fields = _FIELDS | _TRAINING_FIELDS | (_SEARCH_FIELDS if search else {})
    given: dict[str, object] = {}
    for flag, field in fields.items():
        if settings.origins.get(field) == "flag":
            value = getattr(settings, field)
            given[flag if value is not False else f"no-{flag}"] = True if isinstance(value, bool) else value
    if settings.origins.get("advisor") == "flag" and search and settings.advisor is None:
        given["advisor"] = "none"
    return {**given, "runs": settings.runs}


def study_flags(settings: Settings) -> Flags:
    """Return the flags by which a command finds the stored study."""
    storage = settings.storage if settings.origins.get("storage") == "flag" else None
    return {"study": settings.study, "storage": storage, "runs": settings.runs}


def without_server() -> Flags:
    """Return what keeps a database server of this call out of a command; a file stays in."""
    storage = str(parse_flags(sys.argv[1:])[1].get("storage", "sqlite:"))
    return {} if storage.startswith("sqlite:") else {"storage": None}


def begun_flags(study: str, command: object) -> Flags:
    """Return the flags that a study was begun with; `command` is what is stored of it, if anything is."""
    try:
        words = shlex.split(command) if isinstance(command, str) else []
    except ValueError:
        words = []
    return {"study": study, **parse_flags(words[2:])[1], **{"study": study}}


def parse_flags(words: Sequence[str]) -> tuple[Sequence[str], Flags]:
    """Return the arguments and the flags of a command line, without the command."""
    arguments: list[str] = []
    flags: dict[str, object] = {}
    rest = list(words)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("--"):
            arguments.append(name + equals + value)
        elif name[2:] in SWITCHES:
            flags[name[2:]] = True
        elif equals or rest:
            value, before = value if equals else rest.pop(0), flags.get(name[2:])
            flags[name[2:]] = (
                (*before, value) if isinstance(before, tuple) else (value,) if name in ("--log", "--prior") else value
            )
    return arguments, flags


def _replaced(name: str, text: str) -> str:
    """Return a command between backticks as it can be pasted, "" if it is none of ours."""
    try:
        words = shlex.split(text)
    except ValueError:
        return ""
    if name == "pip":
        return _install(words) if words[:1] == ["install"] else ""
    if name != "optimize":
        return in_shell(f"{tool(name)} {text}")
    if words[:1] == [_AGAIN]:
        command, arguments, flags = _this_call()
        return _pasted(command, arguments, {**flags, **parse_flags(words[1:])[1]})
    command, rest = _command_of(words)
    return _pasted(command, *parse_flags(rest)) if command in CARRIED else ""


def _install(words: Sequence[str]) -> str:
    if by_uvx():  # it makes an environment for each call
        command, arguments, flags = _this_call()
        return in_shell(" ".join([program(words[1:]), command, *map(quote, arguments), *_words(flags)]))
    versions = ["-c", near(CONSTRAINTS)] if CONSTRAINTS.is_file() else []
    return in_shell(" ".join([installer(), *versions, *map(quote, words[1:])]))


def _this_call() -> tuple[str, Sequence[str], Flags]:
    command, rest = _command_of(sys.argv[1:])
    arguments, flags = parse_flags(rest)
    shown = [word for word in arguments if not has_password(word)]
    return command, shown, {name: value for name, value in flags.items() if not has_password(str(value))}


def _command_of(words: Sequence[str]) -> tuple[str, Sequence[str]]:
    length = 2 if words[:1] == ["space"] else 1
    return " ".join(words[:length]), words[length:]


def _pasted(command: str, arguments: Sequence[str], flags: Flags) -> str:
    shown = {**_given(flags), **_carried(command, flags)}
    if call := in_notebook() and _of_cell(command, arguments, shown):
        return call
    return in_shell(_of_make(command, arguments, shown) or _of_program(command, arguments, shown))


def _carried(command: str, flags: Flags) -> Flags:
    """Return the flags of this call that this command needs as well; None as a flag's value keeps it out."""
    _, mine = parse_flags(sys.argv[1:])
    names = [name for name in CARRIED.get(command, ()) if name in mine and name not in flags]
    return _given({name: mine[name] for name in names if not (name == "storage" and has_password(str(mine[name])))})


def _of_program(command: str, arguments: Sequence[str], flags: Flags) -> str:
    return " ".join([program(), command, *map(quote, arguments), *_words(flags)])


def _of_make(command: str, arguments: Sequence[str], flags: Flags) -> str:
    """Return the target of the Makefile, "" where it cannot say the same."""
    target, known = TARGETS.get(command, ("", frozenset()))
    shown = {**({"n": arguments[0]} if command == "show" and arguments else {}), **flags}
    if not make() or not target or (arguments and command != "show") or not known.issuperset(shown):
        return ""
    values = {name.upper().replace("-", "_"): _make_value(value) for name, value in shown.items()}
    if any(mark in value for value in values.values() for mark in "'$\\"):  # which make would not pass on as it is
        return ""
    return " ".join([make(), target, *(f"{name}={quote(value)}" for name, value in values.items())])


def _of_cell(command: str, arguments: Sequence[str], flags: Flags) -> str:
    """Return the statement that does the same in a cell, "" if there is none."""
    known, given = CALLS.get(command), dict(flags)
    if known is None or arguments or by_uvx():
        return ""
    if given.pop("trust", False) and "/" not in str(given.get("workload", "")):  # naming a folder accepts its commands
        return ""
    rest = {name: given.pop(name) for name in [*given] if name not in known}
    if rest and (command != "run" or not rest.keys().isdisjoint(("runs", "storage"))):
        return ""  # its picture would be of another place
    words = [f"{name}={_literal(name, str(value))}" for name, value in given.items()]
    words += [f"more={shlex.split(' '.join(_words(rest)))}"] if rest else []
    return f"from optimize import notebook; notebook.{command}({', '.join(words)})"


def _literal(name: str, value: str) -> str:
    """Return a value as Python writes it. What a database tells of a study may be anything."""
    return value if name in _NUMBERS and re.fullmatch(r"\d+(\.\d+)?", value, re.ASCII) else repr(value)


def _make_value(value: object) -> str:
    """A Makefile's variable holds several values with a blank between."""
    return "1" if value is True else " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _words(flags: Flags) -> list[str]:
    return [
        f"--{name}" if value is True else f"--{name} {quote(str(value))}"
        for name, values in flags.items()
        for value in (values if isinstance(values, tuple) else (values,))
    ]


def _given(flags: Flags) -> dict[str, object]:
    default = str(Settings().runs)
    return {
        name: value
        for name, value in flags.items()
        if value is not None and value is not False and not (name == "runs" and str(value) == default)
    }
