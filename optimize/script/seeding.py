"""Tells, by a script's words, which of the random numbers that it draws have no seed: then it gives another value each time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from optimize.script.files_read import files_imported
from optimize.text import listed

SEEDED = "seeded.py"  # the start that `init` drafts for a script that sets no seed
START_SEED = "START_SEED"  # its constant
DIFFERS = "its value differs from training to training"

_SEEDS = re.compile(r"seed|random_state|PRNGKey|(?:default_rng|Random|RandomState|random\.key)\(\d", re.IGNORECASE)
# words in the name of a function, a class or a call whose seed decides about the data, and not about the training
OF_DATA = re.compile(r"split|fold|shuffle|sampl|make_|data|loader", re.IGNORECASE)
_CALL_OF_DATA = re.compile(rf"\b\w*(?:{OF_DATA.pattern})\w*\((?:[^()]|\([^()]*\))*\)", re.IGNORECASE)
_DRAWS = re.compile(
    r"^\s*(?:import|from)\s+(?:torch\b(?!\.utils\.tensorboard)|tensorflow\b|keras\b)|^\s*from\s+random\b|"
    r"(?<!\w)(?<!\w\.)random\.\w+\(|\bnp\.random\.|numpy\.random",
    re.MULTILINE,
)
# from a word's beginning, since words may be long
_SEEDING_CALL = re.compile(r"(?<![\w.])([\w.]*seed\w*)\s*\(", re.IGNORECASE)
_SEED_GIVEN = re.compile(r"seed(?:_all)?\(([\w.]+)\)")
_DEFINED = re.compile(r"^\s*def\s+(\w+)", re.MULTILINE)
_COMMENT = re.compile(r"(?m)^\s*#.*$|\s#[^'\"\n]*$")


@dataclass(frozen=True, slots=True)
class _Generator:
    """A generator of random numbers that a whole process shares."""

    name: str
    draws: re.Pattern[str]
    seeding: tuple[str, ...]  # calls that seed it

    def line(self, seed: str = "42") -> str:
        return f"{self.seeding[0]}({seed})"


_GENERATORS = (
    _Generator(
        "torch",
        re.compile(r"^\s*(?:import|from)\s+torch\b(?!\.utils\.tensorboard)", re.MULTILINE),
        ("torch.manual_seed", "torch.random.manual_seed"),
    ),
    _Generator(
        "np.random",
        re.compile(
            r"\b(?:np|numpy)\.random\.(?:rand|randn|randint|random|random_sample|choice|permutation|shuffle|normal|uniform|"
            r"beta|binomial|poisson|exponential|standard_normal|multivariate_normal)\("
        ),
        ("np.random.seed", "numpy.random.seed"),
    ),
    _Generator(
        "random",
        re.compile(
            r"(?<![\w.])random\.(?:random|randint|randrange|choice|choices|sample|shuffle|uniform|gauss|normalvariate|"
            r"betavariate|triangular)\("
        ),
        ("random.seed",),
    ),
)
_OTHERS = ("torch.cuda.manual_seed", "torch.cuda.manual_seed_all", "torch.mps.manual_seed", "tf.random.set_seed")


def running(script: str, files: Mapping[str, str], command: Sequence[str] = ()) -> dict[str, str]:
    """Return those of these files that run with the script; what its command names runs as well."""
    found = files_imported(script, files.get).union(command)
    return {file: text for file, text in files.items() if file in found}


def without_start(command: Sequence[str]) -> tuple[str, ...]:
    """Return a command as it is for the script alone: `python seeded.py train.py` is `python train.py`."""
    match tuple(command):
        case (python, start, script, *words) if start == SEEDED and (script == "-m" or script.endswith(".py")):
            return (python, script, *words)
    return tuple(command)


def sets_no_seed(files: Mapping[str, str]) -> bool:
    """Tell whether the files draw random numbers and set no seed at all, as far as their words tell."""
    texts = _texts(files)
    return not any(_SEEDS.search(_CALL_OF_DATA.sub("", text)) for text in texts) and any(
        _DRAWS.search(text) for text in texts
    )


def unseeded(files: Mapping[str, str]) -> list[str]:
    """Return the generators that the files draw from without a seed, where they seed another; [] if all may have one."""
    return [each.name for each in _unseeded(_texts(files))]


def seed_note(files: Mapping[str, str]) -> str:
    """Return a line on scripts that draw random numbers without a seed; "" for others."""
    if sets_no_seed(files):
        return (
            f"it sets no seed, so that the same settings give another value each time. A line such as `{_line(files)}` at its "
            "beginning mends that, and lets a study tell luck from a real gain"
        )
    if missing := list(_unseeded(_texts(files))):
        names, lines = (
            listed([each.name for each in missing]),
            " and ".join(f"`{each.line(_seed(files))}`" for each in missing),
        )
        return (
            f"it draws from {names}, whose seed it does not set, so that the same settings may give another value each time. "
            f"{lines} at its beginning mends that"
        )
    return ""


def without_seed(files: Mapping[str, str]) -> str:
    """Return why nothing can be confirmed by other seeds, for a script that sets none; "" for others."""
    if not sets_no_seed(files):
        return ""
    return (
        f"it sets no seed, so {DIFFERS}, and nothing here says by how much. Give it one (`{_line(files)}` at its beginning) and "
        "begin another study"
    )


def again_note(files: Mapping[str, str]) -> str:
    """Return a line on what training a trial again gives, where it is not the trial's own value; "" elsewhere."""
    if sets_no_seed(files):
        return f"the script sets no seed: {DIFFERS}"
    if names := unseeded(files):
        return f"the script sets no seed of {listed(names)}: {DIFFERS}"
    return ""


def _texts(files: Mapping[str, str]) -> list[str]:
    return [_COMMENT.sub("", text) for file, text in files.items() if file.endswith(".py")]


def _unseeded(texts: Sequence[str]) -> Iterator[_Generator]:
    calls = {call for text in texts for call in _SEEDING_CALL.findall(text)}
    known = {call for each in _GENERATORS for call in each.seeding} | set(_OTHERS)
    known |= {name for text in texts for name in _DEFINED.findall(text)}
    of_models = not calls and any("random_state" in text for text in texts)  # which is none of np.random's
    if calls - known or not (calls & known or of_models):  # a helper of a package, which may seed all of them, or none
        return
    for each in _GENERATORS[1:] if of_models else _GENERATORS:
        if any(each.draws.search(text) for text in texts) and not calls & set(each.seeding):
            yield each


def _line(files: Mapping[str, str]) -> str:
    """Return the line that would seed what these files draw from."""
    texts = _texts(files)
    found = next((each for each in _GENERATORS if any(each.draws.search(text) for text in texts)), _GENERATORS[0])
    return found.line()


def _seed(files: Mapping[str, str]) -> str:
    """Return what the files give a call that seeds; a study's seeds must be one number."""
    return next((match[1] for text in _texts(files) if (match := _SEED_GIVEN.search(text))), "42")
