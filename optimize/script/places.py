"""Where the parameters of a search space stand in a workload, other than in constants of a module: reads, checks, writes.

`Location` says it as data; this module finds the place in the files and the command of a workload, reads its default, objects
where a value would not arrive, and writes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from optimize.errors import RenderError
from optimize.script import process_parameters as process
from optimize.script.config_files import find_key, write_keys
from optimize.script.config_overrides import pair_default, pair_overrides
from optimize.script.constants import Constant, bound_names, is_literal, read_constants
from optimize.script.environment_variables import env_default, env_writes
from optimize.script.owners import mentions
from optimize.script.parsers import FlagDefinition, find_flag, known_flags, parser_facts
from optimize.script.replacing import replaced_local
from optimize.script.spans import argument_objections, entry_objections, field_objections, find_entry, find_field
from optimize.script.spans_in_functions import find_argument, find_local
from optimize.script.word_order import place_of_words, rest_start
from optimize.text import meant
from optimize.trial import Value
from search_spaces import Location, SearchSpaceError, parse_expression

IN_PYTHON = ("field", "entry", "local", "argument")
IN_FILES = (*IN_PYTHON, "key")
_FIND: Mapping[str, Callable[[str, str, str], Constant]] = {
    "field": find_field,
    "entry": find_entry,
    "local": find_local,
    "argument": find_argument,
}
_OBJECTIONS: Mapping[str, Callable[[Mapping[str, str], str, str], Iterable[str]]] = {
    "field": field_objections,
    "entry": entry_objections,
    "local": replaced_local,
    "argument": argument_objections,
}
UNTYPED = ("fire", "merge_from_args")  # parsers that take any value, whatever the default is


@dataclass(frozen=True, slots=True)
class Placement:
    """The location of a parameter, and what its search space says of the default."""

    name: str
    location: Location
    declared: Value = None  # the default, where the text of the scripts does not say it


@dataclass(frozen=True, slots=True)
class Finder:
    """Finds constants of a module, and values elsewhere in its file by the names of their parameters."""

    places: tuple[Placement, ...]

    def __call__(self, text: str, where: str) -> dict[str, Constant]:
        found = dict(read_constants(text, where))
        for place in self.places:
            with suppress(RenderError):
                found[place.name] = _span(place, text, where)
        return found


@dataclass(frozen=True, slots=True)
class Places:
    """The places of one workload: `files` and `command` are its own, `read` those files that its parsers are looked for in."""

    files: Mapping[str, str]
    command: tuple[str, ...]
    placed: Mapping[str, Placement]
    read: Mapping[str, str]

    def default(self, name: str) -> Value:
        """Return the value of a parameter without us. Raises RenderError where nothing says it."""
        place = self.placed[name]
        try:
            return self._default(name)
        except RenderError:
            if place.declared is None or self.unreachable(name):
                raise
            return place.declared

    def problems(self, name: str) -> list[str]:
        """Return a line for each reason why a value would not arrive at its place."""
        try:
            lines = self.unreachable(name)
            if not lines:
                self.default(name)
            return lines
        except RenderError as error:
            return list(error.problems)

    def shared(self) -> Iterator[str]:
        """Yield a line for each place that two parameters name in different words, such as with and without its file."""
        first: dict[tuple[str, str], str] = {}
        for name, place in self.placed.items():
            with suppress(RenderError):
                file = self.file_of(name)
                where = (file or place.location.kind, _path(place.location).lstrip("+~"))
                definition = self.definition(name) if place.location.kind == "flag" else None
                where = (where[0], definition.names[0]) if definition else where
                if place.location.kind in IN_PYTHON:
                    where = (file, str(_span(place, self.files[file], file).start))
                if where in first:
                    yield f"{name}: {place.location}: {first[where]} is written there already. Remove one of them."
                first.setdefault(where, name)

    def unreachable(self, name: str) -> list[str]:
        """Return a line for each reason why this place cannot be written, whatever its default is."""
        kind, path = self.placed[name].location.kind, self.placed[name].location.path
        try:
            if kind in IN_FILES:
                file = self.file_of(name)
                _check_found(self.placed[name], self.files[file], file)
                return [_replaced(path, each) for each in self._objections(self.placed[name], file)]
        except RenderError as error:
            return list(error.problems)
        if kind == "env":
            writes = env_writes(path, self.files)
            return [
                f"{each}: sets the variable {path} itself, and so replaces a trial's value. Remove that line."
                for each in writes
            ]
        if why := process.cannot_append(self.command, self.files):
            return [f"command: {why}, so that {path} reaches it."]
        if kind == "override":
            pairs = pair_overrides(self.read)
            return [why] if pairs and (why := pairs.problem(path)) else []
        return list(self._flag_problems(name, path))

    def _flag_problems(self, name: str, flag: str) -> Iterator[str]:
        definition, facts = self.definition(name), parser_facts(self.read, self.command)
        if definition is None:
            if facts.known_only and "fire" not in facts.parsers:
                yield f"{flag}: no parser in the files defines it, and parse_known_args passes over it in silence. Correct it."
            return
        yield from _unusable(flag, definition)
        if definition.command and definition.command not in self.command:
            yield f"{flag}: belongs to the subcommand {definition.command}, which `command` does not name. Name it there."
        if line := definition.rewritten or (facts.rewritten or {}).get(definition.dest):
            yield f"{flag}: line {line} gives {definition.dest} another value, whatever the flag says. Remove that line."

    def refused(self, name: str, value: Value) -> str:
        """Return why a value cannot be one of this place, "" if it can."""
        place = self.placed[name]
        if place.location.kind == "env" and isinstance(value, bool | tuple):
            return "a variable of the environment is text. Use numbers or text, such as 0 and 1"
        pairs = pair_overrides(self.read) if place.location.kind == "override" else None
        if pairs and (why := pairs.refused(place.location.path, value)):
            return why
        definition = self.definition(name) if place.location.kind == "flag" else None
        if definition and definition.choices and value not in definition.choices:
            return f"the script's parser takes {', '.join(map(str, definition.choices))} only"
        if definition and definition.type == "int" and isinstance(value, float) and definition.parser not in UNTYPED:
            return "the script's parser takes whole numbers only"
        if isinstance(value, tuple) and definition and definition.style not in ("many", "repeated", "literal"):
            return "the script's parser takes one value. Use nargs in the script, or single values"
        try:
            self.with_values({name: value})
        except RenderError as error:
            return error.problems[0].removesuffix(".")
        return ""

    def definition(self, name: str) -> FlagDefinition | None:
        """Return how a parser of the files defines the flag of a parameter, None if none does."""
        return find_flag(self.read, self.placed[name].location.path, self.command)

    def file_of(self, name: str) -> str:
        """Return the file that has the place, "" for one of the process. Raises RenderError if there is none, or several."""
        location = self.placed[name].location
        if location.kind not in IN_FILES:
            return ""
        stated, _, path = location.path.rpartition(":")
        if stated and stated not in self.files:
            hint = meant(stated, self.files, path=True)
            raise RenderError(f"{stated}: is not among `files`. Name it in workload.toml (files = ...).{hint}")
        if stated:
            return stated
        python = [file for file in self.files if file.endswith(".py")]
        root, any_name = path.split(".")[0], location.kind == "argument"  # what is called may come from elsewhere
        named = [file for file in python if mentions(self.files[file], root)]
        bound = [file for file in named if any_name or root in bound_names(self.files[file], file)]
        found = [file for file in bound if _has(location, self.files[file], file)] if len(bound) > 1 else bound
        found = [
            file for file in found if file in self.read
        ] or found  # other scripts of the folder may have it as well
        if len(found) > 1:
            raise RenderError(f'{path}: is in {" and ".join(found)}. Say which: {location.kind} = "{found[0]}:{path}".')
        if not (found or bound):
            where = "" if any_name else " at module level"
            raise RenderError(f"{path}: no Python file of the workload has {root}{where}. Correct the path.")
        return (found or bound)[0]

    def with_values(self, values: Mapping[str, Value]) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return the command and the variables of a process with these values; those in files are left out."""
        command, variables = self.command, {}
        order = sorted(values, key=lambda name: self.placed[name].location.kind == "override")  # pairs come last
        for name in order:
            location, value = self.placed[name].location, values[name]
            if location.kind == "flag":
                command = self._with_flag(command, name, value)
            elif location.kind == "override":
                command = self._with_override(command, location.path, value)
            elif location.kind == "env":
                variables[location.path] = process.word_of(value)
        return command, variables

    def _with_override(self, command: Sequence[str], path: str, value: Value) -> tuple[str, ...]:
        pairs = pair_overrides(self.read)
        return pairs.with_pair(command, path, value) if pairs else process.with_override(command, path, value)

    def _with_flag(self, command: Sequence[str], name: str, value: Value) -> tuple[str, ...]:
        path, definition = self.placed[name].location.path, self.definition(name)
        facts = parser_facts(self.read, self.command)
        end = rest_start(command, facts, self.read)
        head = process.without_flag(command[:end], path, definition)
        at = place_of_words(head, definition, facts, self.read)
        kept = (*head, *command[end:])
        words = process.flag_words(path, definition, value)
        if at < len(kept) and definition is not None and definition.style == "many":
            raise RenderError(
                f"{path}: takes several words, so that {kept[at]} behind it would be one more. Give it one value."
            )
        return (*kept[:at], *words, *kept[at:])

    def finder(self, file: str) -> Finder:
        """Return what finds the values of this Python file."""
        return Finder(tuple(each for each in self._in(file) if each.location.kind in IN_PYTHON))

    def write_keys(self, file: str, text: str, values: Mapping[str, Value]) -> str:
        """Return the text of a config file with these values. Raises RenderError."""
        wanted = [(_path(self.placed[name].location), value) for name, value in values.items()]
        problems = [
            f"{file}: {path}: {value!r:.60} is no plain value." for path, value in wanted if not is_literal(value)
        ]
        if problems:
            raise RenderError(*problems)
        return write_keys(text, tuple(wanted), file) if wanted else text

    def _in(self, file: str) -> Iterator[Placement]:
        for name, place in self.placed.items():
            with suppress(RenderError):
                if self.file_of(name) == file:
                    yield place

    def _objections(self, place: Placement, file: str) -> Iterator[str]:
        objections = _OBJECTIONS.get(place.location.kind)
        if objections:
            yield from objections(self.files, file, _path(place.location))

    def _default(self, name: str) -> Value:
        location = self.placed[name].location
        if location.kind in IN_FILES:
            file = self.file_of(name)
            return _value(self.placed[name], self.files[file], file)
        if location.kind == "override" and (pairs := pair_overrides(self.read)):
            return pair_default(pairs, self.command, location.path, self.files)
        if location.kind == "override":
            return process.override_default(self.command, location.path, self.files)
        if location.kind == "env":
            return env_default(location.path, self.files)
        head = self.command[: rest_start(self.command, parser_facts(self.read, self.command), self.read)]
        known = known_flags(self.read, self.command)
        return process.flag_default(head, location.path, self.definition(name), known)


def _unusable(flag: str, definition: FlagDefinition) -> Iterator[str]:
    if definition.positional:
        yield f"{flag}: is a positional argument of the script. Only flags can be tuned: make it one, such as --name."
    if definition.style == "broken":
        yield (
            f"{flag}: type=bool makes True of every text (line {definition.line}). "
            "Use action=argparse.BooleanOptionalAction in the script."
        )
    if definition.style in ("other", "rest"):
        yield f"{flag}: is counted, or does something of its own (line {definition.line}). Give it a value, such as --name=1."


def _path(location: Location) -> str:
    return location.path.rpartition(":")[2]


def _span(place: Placement, text: str, where: str) -> Constant:
    return _FIND[place.location.kind](text, _path(place.location), where)


def _has(location: Location, text: str, file: str) -> bool:
    with suppress(RenderError):
        _span(Placement("", location), text, file)
        return True
    return False


def _check_found(place: Placement, text: str, file: str) -> None:
    if place.location.kind == "key":
        find_key(text, _path(place.location), file)
    else:
        _span(place, text, file)


def _value(place: Placement, text: str, file: str) -> Value:
    if place.location.kind == "key":
        return find_key(text, _path(place.location), file).value
    span = _span(place, text, file)
    try:
        return parse_expression(span.expression).evaluate({})
    except SearchSpaceError:
        raise RenderError(
            f"{file}:{span.line}: {place.location.path}: `{span.expression:.60}` is not a literal. "
            "Give it a plain value, or write its default in the search space: baseline = ..."
        ) from None


def _replaced(path: str, statement: str) -> str:
    return f"{path}: {statement} may replace a trial's value. Remove that, or tune what it takes the value from."
