"""Drafts a start for a script that draws random numbers and sets no seed: a small file beside it, which seeds and then runs it.

Where the script seeds one generator by a literal, and not another, the start gives the other one the same seed. It drafts none
where that would not be exact, or where the script draws from what such a file cannot seed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from optimize.errors import RenderError
from optimize.script.draft_workload import ScriptFacts
from optimize.script.home import module_of
from optimize.script.seed_calls import read_seed_calls, seeds_all
from optimize.script.seeding import SEEDED, START_SEED, seed_note, sets_no_seed, unseeded
from optimize.script.trees import ERRORS, parse_text, walk
from optimize.text import listed

# What is seeded -> the module that is imported for it, the call, and packages that draw from it.
_GENERATORS = {
    "numpy": ("numpy", "numpy.random.seed", {
        "numpy", "pandas", "scipy", "sklearn", "imblearn", "datasets", "torchvision", "gensim", "seaborn", "skimage",
    }),
    "torch": ("torch", "torch.manual_seed", {
        "torch", "torchvision", "torchaudio", "torchtext", "lightning", "pytorch_lightning", "fastai", "timm", "accelerate",
        "peft", "trl", "diffusers", "sentence_transformers", "torch_geometric",
    }),
    "keras": ("keras", "keras.utils.set_random_seed", {"keras"}),
    "tensorflow": ("tensorflow", "tensorflow.keras.utils.set_random_seed", {"tensorflow"}),
}  # fmt: skip
# Packages with generators of their own, and those that train in processes of their own.
_OUT_OF_REACH = {
    "gym", "gymnasium", "pettingzoo", "dm_control", "procgen", "pufferlib", "minigrid", "albumentations", "imgaug",
    "monai", "nvidia", "dgl", "numba", "cupy", "mlx", "tinygrad", "paddle", "mxnet", "mindspore", "oneflow", "jittor",
    "optuna", "ray", "deepspeed", "horovod", "secrets", "river",
}  # fmt: skip
_UNSEEDED = re.compile(
    r"\b(?:default_rng|RandomState|Random|SeedSequence|PCG64\w*|MT19937|Philox|SFC64)\(\s*(?:None\s*)?\)|"
    r"SystemRandom|\burandom\b|non_deterministic|"
    r"compat\.v1|\btf\.(?:placeholder|Session|InteractiveSession|app|contrib|Summary|summary\.FileWriter)\b"  # TensorFlow 1
)
_SEED = re.compile(r"(?m)^\w*seed\w*\s*=", re.IGNORECASE)  # a constant, which would be the one that varies
_PROCESSES = re.compile(r"\bspawn\(|[\"'](?:spawn|forkserver)[\"']|notebook_launcher|\bos\.exec[lv]")
# What a package reads when it is imported is not what the script sets after that.
_SETS_VARIABLE = re.compile(
    r"environ\s*(?:\[([^\]]*)\]\s*=(?!=)|\.setdefault\(([^,)]*)|\.update\(|\|=)|\bputenv\(|load_dotenv|read_env"
)
_HARMLESS = re.compile(
    r"[\"'](?:CUDA_VISIBLE_DEVICES|TOKENIZERS_PARALLELISM|TF_CPP_MIN_LOG_LEVEL|(?:WANDB|HF)_\w+)[\"']"
)

_TEXT = '''\
"""Seeds {seeded}, then runs {script}, which does not: `PYTHONHASHSEED=0 python {start}`.

`optimize init` wrote it. It may be deleted together with workload.toml. The hash seed, which trials have, orders sets of texts.
"""

{imports}
{constant}
if __name__ == "__main__":
{body}
'''
_CONSTANT = f"""
{START_SEED} = 42  # a study trains its best settings with others as well, to tell luck from a real gain
"""
_FROM = ["from importlib.machinery import SourceFileLoader", "from types import ModuleType"]
_AS_SCRIPT = """\
    del sys.argv[0]
    path = os.path.abspath(sys.argv[0])
    sys.path[0] = os.path.dirname(os.path.realpath(path))
{seeds}
    # As `python {script}` does: a module __main__ that has nothing but the script's own names.
    loader = SourceFileLoader("__main__", path)
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__dict__.update(__file__=path, __builtins__=builtins, __loader__=loader)
    exec(loader.source_to_code(loader.get_data(path), path), main.__dict__)"""
_AS_MODULE = """\
    module = sys.argv[2]
    del sys.argv[1:3]
{seeds}
    runpy.run_module(module, run_name="__main__", alter_sys=True)"""


def with_seeded_start(facts: ScriptFacts, folders: Iterable[Path]) -> ScriptFacts:
    """Return what is known of a script, with a start that seeds, where it sets no seed and one can be drafted.

    A file of that name in one of `folders` is kept: it is the start, or there is none.
    """
    seeded = generators_of(facts)
    if not seeded:
        return facts
    text = start_text(facts, seeded)
    there = [path for folder in folders if (path := folder / SEEDED).exists()]
    if any(_text(path) != text for path in there):
        return facts
    what = "it sets no seed" if START_SEED in text else "it does not seed all that it draws from"
    note = f"{what}: {SEEDED} starts it, and seeds {listed(seeded)}. --no-seed leaves that out"
    notes = tuple(note if each == seed_note(facts.imported) else each for each in facts.notes)
    patterns = facts.patterns if "*.py" in facts.patterns else (SEEDED, *facts.patterns)
    return replace(facts, start=text, notes=notes, patterns=patterns)


def generators_of(facts: ScriptFacts) -> list[str]:
    """Return what a start would seed for a script that leaves it without a seed; [] where a start is not exact, or not enough."""
    files = {file: text for file, text in facts.imported.items() if file.endswith(".py")}
    missing = (
        None
        if sets_no_seed(files)
        else {each.removesuffix(".random").replace("np", "numpy") for each in unseeded(files)}
    )
    if facts.inside or (missing is not None and (not missing or _own_seed(facts) is None)):
        return []
    try:
        at_top, anywhere = _packages(files, top=True), _packages(files, top=False)
    except ERRORS:
        return []
    texts = files.values()
    if anywhere & _OUT_OF_REACH or any(_UNSEEDED.search(each) or _PROCESSES.search(each) for each in texts):
        return []
    found = [name for name, (_, _, drawing) in _GENERATORS.items() if anywhere & drawing]
    if any(not at_top & _GENERATORS[name][2] for name in found):  # it may do without that package
        return []
    if found and any(_sets_variables(each) for each in texts):
        return []
    seeded = ["random", *(name for name in found if name != "tensorflow" or "keras" not in found)]
    if missing is None:
        return seeded
    return [name for name in seeded if name in missing] if missing <= {*seeded} else []


def start_text(facts: ScriptFacts, seeded: Sequence[str]) -> str:
    """Return the text of the file that seeds these generators and runs the script."""
    own, form = _own_seed(facts), _AS_MODULE if facts.as_module else _AS_SCRIPT
    used = [_GENERATORS[name][:2] for name in seeded if name in _GENERATORS]
    calls = [*(["random.seed"] if "random" in seeded else []), *(call for _, call in used)]
    seeds = [f"import {module}" for module, _ in used]
    seeds += [*([""] if used else []), *(f"{call}({START_SEED if own is None else own})" for call in calls)]
    modules = [*([] if facts.as_module else ["builtins", "os"]), *(["random"] if "random" in seeded else [])]
    modules += ["runpy", "sys"] if facts.as_module else ["sys"]
    started = ["-m", module_of(facts.script)] if facts.as_module else [facts.script]
    return _TEXT.format(
        seeded=listed(seeded),
        script=facts.script,
        start=" ".join([SEEDED, *started]),
        imports="\n".join([*(f"import {module}" for module in modules), *([] if facts.as_module else _FROM)]),
        constant=_CONSTANT if own is None else "",
        body=form.format(seeds="\n".join(f"    {line}".rstrip() for line in seeds), script=facts.script),
    )


def _own_seed(facts: ScriptFacts) -> int | None:
    """Return the seed of a script that has it as a literal in its calls, and nowhere else."""
    text = facts.imported[facts.script]
    with suppress(RenderError):
        return read_seed_calls(text, facts.script) if seeds_all(text, facts.script) and not _SEED.search(text) else None
    return None


def _packages(files: Mapping[str, str], top: bool) -> set[str]:
    """Return the packages that the files import, without modules of their own; `top`: those that they cannot do without."""
    own = {part for file in files for part in PurePosixPath(file).with_suffix("").parts}
    found = {
        name.partition(".")[0]
        for text in files.values()
        for node in (parse_text(text).body if top else walk(parse_text(text)))
        for name in _imported(node)
    }
    return found - own


def _imported(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (each.name for each in names)
        case ast.ImportFrom(module=str(module), level=0):
            yield module


def _sets_variables(text: str) -> bool:
    found = (match[1] or match[2] or "" for match in _SETS_VARIABLE.finditer(text))
    return any(not _HARMLESS.fullmatch(name.strip()) for name in found)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
