"""What comes from the environment: databases with a password, keys, and what a script gets to see.

Settings of a study come from profile and flags. Besides this file only `settings.py` and `executors/slots.py` read the environment.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path

from optimize.errors import SettingsError
from optimize.script.command import HASH_SEED

STORAGE_VARIABLE = "OPTIMIZE_STORAGE_URL"
COPY_VARIABLE = "OPTIMIZE_COPY_URL"
IMPORT_VARIABLE = "OPTIMIZE_IMPORT_URL"
NOTIFY_VARIABLE = "OPTIMIZE_NOTIFY_URL"
MAKE_VARIABLE = "OPTIMIZE_MAKE_FROM"  # the Makefile sets it to the folder from which make was called
KERNEL_VARIABLE = "JPY_PARENT_PID"  # Jupyter sets it for the kernels that it starts, and they pass it on
# Every ipykernel sets the last two for what it starts, and the first where nobody has chosen another (7.4, `kernelapp.py`,
# `zmqshell.py`): a kernel that was begun without Jupyter's manager, as an editor may, has no other mark.
KERNEL_MARKS = ({"MPLBACKEND": "module://"}, {"TERM": "xterm-color", "CLICOLOR_FORCE": "1", "GIT_PAGER": "cat"})
KEY_VARIABLE, MODEL_URL_VARIABLE = "OPENAI_API_KEY", "OPENAI_BASE_URL"  # as every client of this protocol calls them
# MLflow's client reads only the environment: no telemetry, and no retries that would delay a study for minutes.
MLFLOW_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}
# What a training script needs from the machine; API keys and the storage URL are not among it.
ENV_PASS = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TERM", "SHELL",
    "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "CUDA_HOME", "CUDA_PATH", "CUDA_DEVICE_ORDER", "ROCM_PATH", "NCCL_DEBUG", "UV_CACHE_DIR", "UV_PYTHON",
    "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TRITON_LIBCUDA_PATH", "CC", "CXX", "OPENBLAS_CORETYPE",
    "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY",
)  # fmt: skip


def script_environment(env_pass: Sequence[str], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a script: the variables of ENV_PASS and of the profile's `env_pass` that are set here."""
    environ = environ if environ is not None else os.environ
    names = [name for name in (*ENV_PASS, *env_pass) if name != NOTIFY_VARIABLE]
    return {name: environ[name] for name in names if name in environ} | {
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": HASH_SEED,
    }


def variables_not_passed(
    env_pass: Sequence[str], names: Iterable[str], modules: Iterable[str], environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Return which of these variables are set here and not passed on to scripts, by name.

    PYTHONPATH is among them if it leads to one of `modules`, which scripts import.
    """
    folders = [Path(folder) for folder in environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    tops = {module.partition(".")[0] for module in modules}
    needs_path = any(
        (folder / name).is_dir() or (folder / f"{name}.py").is_file() for folder in folders for name in tops
    )
    passed = script_environment(env_pass, environ)
    wanted = {*names, *(["PYTHONPATH"] if needs_path else [])}
    return sorted(name for name in wanted if environ.get(name) and name not in passed)


def storage_url(flag: str | None, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the database that a flag or the environment names. Raises SettingsError for a password in a flag."""
    if flag is not None and has_password(flag):
        raise SettingsError(password_line("storage", STORAGE_VARIABLE))
    return flag or environ.get(STORAGE_VARIABLE)


def copy_url(flag: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the database to copy to, by flag or environment. Raises SettingsError for a password in a flag, or without one."""
    if flag is not None and has_password(flag):
        raise SettingsError(password_line("to", COPY_VARIABLE))
    to = flag or environ.get(COPY_VARIABLE)
    if not to:
        raise SettingsError(f"--to: no target. Give a file or a database URL; one with a password as {COPY_VARIABLE}.")
    return to


def tracking_uri(environ: MutableMapping[str, str] = os.environ) -> str | None:
    """Return MLflow's server, if the environment names one. Sets MLFLOW_DEFAULTS where they are not set."""
    for name, value in MLFLOW_DEFAULTS.items():
        environ.setdefault(name, value)
    return environ.get("MLFLOW_TRACKING_URI") or None


def import_source(argument: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the file or database to import, by argument or environment. Raises SettingsError for a password in the argument."""
    if argument is not None and "://" in argument and has_password(argument):
        raise SettingsError(password_line("import SOURCE", IMPORT_VARIABLE, ""))
    source = argument or environ.get(IMPORT_VARIABLE)
    if not source:
        raise SettingsError(
            f"import: no source. Name a .tsv, .csv, .jsonl or database file, or a URL; one with a password as {IMPORT_VARIABLE}."
        )
    return source


def notify_urls(environ: Mapping[str, str] = os.environ) -> Sequence[str]:
    """Return the addresses for messages. Each is a secret as a whole, which only `reporting/notify/` may hold."""
    return environ.get(NOTIFY_VARIABLE, "").split()


def advisor_key(environ: Mapping[str, str] = os.environ) -> str:
    """Return the key of the advisor's server; "" if it needs none. Only the client of that server may hold it."""
    return environ.get(KEY_VARIABLE, "").strip()


def without_model(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return which variables of an advisor's server are not set: its key, its address."""
    return [name for name in (KEY_VARIABLE, MODEL_URL_VARIABLE) if name not in environ]


def environment_with(secrets: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return this process's environment with secrets, for one that it starts."""
    return {**environ, **secrets}


def make_folder(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the folder from which make was called, None if this process was not started by our Makefile."""
    return environ.get(MAKE_VARIABLE)


def in_notebook(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a cell of a notebook has started this process, at whose terminal nobody sits."""
    marked = (all(environ.get(key, "").startswith(text) for key, text in mark.items()) for mark in KERNEL_MARKS)
    return KERNEL_VARIABLE in environ or any(marked)


def interrupted_by(environ: Mapping[str, str] = os.environ) -> str:
    """Return what has interrupted this process: a person presses Ctrl-C, and stops a cell by hand."""
    return "hand" if in_notebook(environ) else "Ctrl-C"


def config_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of this user's own choices."""
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "optimize"


def script_python(folder: Path, flag: str | None, environ: Mapping[str, str] = os.environ) -> tuple[str, str]:
    """Return the Python that runs the scripts of a folder, "" for ours, and where it comes from.

    The flag wins, then VIRTUAL_ENV, CONDA_PREFIX and a `.venv` beside the script. Raises SettingsError if the flag's is none.
    """
    if flag is not None:
        found = shutil.which(flag) if "/" not in flag else str(Path(flag).expanduser().absolute())
        if not found or not Path(found).is_file():
            raise SettingsError(
                f"--python: {flag}: there is no such program. Give the path of a Python, such as .venv/bin/python."
            )
        return found, "--python"
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        place = Path(environ.get(variable) or "/nonexistent")
        if (place / "bin/python").is_file():
            ours = place.resolve() == Path(sys.prefix).resolve()
            return ("" if ours else str(place / "bin/python")), variable
    return ("{folder}/.venv/bin/python", ".venv") if (folder / ".venv/bin/python").is_file() else ("", "")


def password_line(flag: str, variable: str, dashes: str = "--") -> str:
    return f"{dashes}{flag}: a URL with a password would show in the process list. Set {variable} instead."


def has_password(url: str) -> bool:
    authority = url.partition("://")[2].partition("/")[0]
    return ":" in authority.rpartition("@")[0] or "password=" in url
