"""Real processes without the seconds of importing: `python -m optimize`, and scripts, forked from a Python that has imported
what they need.

What is forked is a process as any other: its own environment, folder, streams and signals. What has to start from nothing
starts a Python itself (`test_main.py`, `test_surroundings.py`, `test_wheel.py`).
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parent.parent
MOST_BYTES = 1 << 20
# What not everybody has, or what only a few commands need.
LEFT_OUT = (
    "optimize.workloads",
    "optimize.notebook",
    "optimize.executors.ray",
    "optimize.reporting.trackers.",
    "optimize.reporting.notify.delivery",
    "optimize.mcp.",
    "optimize.__main__",
)
LATE = (
    *("pandas", "pyarrow.pandas_compat", "optuna.samplers", "optuna.importance", "pygments.formatters.html"),
    *("pydantic.type_adapter", "pydantic.plugin._schema_validator", "plotly.graph_objs.scatter"),
)
SCRIPT = "torch"  # the server of scripts that train


# The command as a file that a shell can start, given the server's socket in FORKED_SERVER.
PROGRAM = f"""#!{sys.executable} -S
import json, os, socket, sys
server = socket.socket(fileno=int(os.environ.pop("FORKED_SERVER")))
ours, theirs = socket.socketpair()
order = {{"words": sys.argv[1:], "typed": sys.argv[0], "cwd": os.getcwd(), "env": dict(os.environ)}}
socket.send_fds(server, [json.dumps(order).encode()], [0, 1, 2, theirs.fileno()])
theirs.close()
child, code = map(int, ours.makefile("r"))
sys.exit(code)
"""


def server_for_programs() -> int:
    """The descriptor to pass on to a shell that starts PROGRAM."""
    return _server("optimize").fileno()


class Forked(subprocess.Popen[str]):
    """Like `subprocess.Popen([sys.executable, "-m", "optimize", *words], ...)`, or of `["-c", code, *words]`; of the server
    `torch` the words are a script and its own."""

    def __init__(self, words: Sequence[str], server: str = "optimize", **options: Any) -> None:
        self._server = _server(server)
        super().__init__(words, text=True, **options)

    def _execute_child(self, words: Any, *rest: Any) -> None:  # type: ignore[override]
        cwd, env, streams = rest[4], rest[5], rest[9:15]
        p2cread, c2pwrite, errwrite = streams[0], streams[3], streams[5]
        order = {
            "words": [*map(str, words)],
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
        }
        self._status, theirs = socket.socketpair()
        fds = [own if given == -1 else given for own, given in enumerate((p2cread, c2pwrite, errwrite))]
        with theirs:
            socket.send_fds(self._server, [json.dumps(order).encode()], [*fds, theirs.fileno()])
        self._close_pipe_fds(*streams)  # type: ignore[attr-defined]
        self._answer = self._status.makefile("r")
        self.pid = int(self._answer.readline())

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self._read_status()
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self._read_status()
        assert self.returncode is not None
        return self.returncode

    def _read_status(self) -> None:
        self.returncode = int(self._answer.readline())
        self._answer.close()
        self._status.close()


def run_forked(
    words: Sequence[str], timeout: float = 120.0, server: str = "optimize", **options: Any
) -> subprocess.CompletedProcess[str]:
    """Like `subprocess.run` of it with `capture_output=True`."""
    with Forked(words, server, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@functools.cache
def _server(name: str) -> socket.socket:
    """The control socket of this process's server, which ends with it."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    # as the driver does, before anything imports numpy
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }
    argv = [sys.executable, "-m", "tests.forked", str(theirs.fileno()), name]
    process = subprocess.Popen(argv, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait(60)

    atexit.register(end)
    return ours


def serve(control: socket.socket, name: str) -> None:
    for module in [SCRIPT] if name == SCRIPT else _modules():
        importlib.import_module(module)
    if name != SCRIPT:
        _import_what_is_imported_late()
    gc.collect()
    gc.freeze()
    while True:
        order, fds, *_ = socket.recv_fds(control, MOST_BYTES, 4)
        if not order:
            return
        if os.fork() == 0:
            control.close()
            _keep(name, json.loads(order), fds)
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _modules() -> list[str]:
    import optimize

    found = [module.name for module in pkgutil.walk_packages(optimize.__path__, "optimize.")]
    return [name for name in found if not name.startswith(LEFT_OUT)]


def _import_what_is_imported_late() -> None:
    """By the first database, the first figure and the first note."""
    import matplotlib.figure
    import optuna
    import plotly.graph_objects
    import plotly.io

    optuna.storages.RDBStorage("sqlite://").engine.dispose()
    figure = plotly.graph_objects.Figure([plotly.graph_objects.Scatter(y=[1, 2]), plotly.graph_objects.Bar(y=[1])])
    plotly.io.to_json(figure)
    drawn = matplotlib.figure.Figure()
    drawn.subplots().set_title("drawn")
    drawn.savefig(io.BytesIO(), format="png")
    for name in LATE:
        importlib.import_module(name)
    for language in ("diff", "python", "html", "toml"):
        importlib.import_module("pygments.lexers").get_lexer_by_name(language)


def _keep(name: str, order: dict[str, Any], fds: list[int]) -> NoReturn:
    """Be the parent of one command: say its process id, and how it ended."""
    status = fds.pop()
    child = os.fork()
    if child == 0:
        _be(name, order, fds)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for fd in (*fds, 0, 1, 2):
        os.close(fd)
    with contextlib.suppress(BrokenPipeError):
        os.write(status, f"{child}\n".encode())
        os.write(status, f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n".encode())
    os._exit(0)


def _be(name: str, order: dict[str, Any], fds: list[int]) -> NoReturn:
    code: object = 1
    try:
        for stream, fd in enumerate(fds):
            os.dup2(fd, stream)
        os.closerange(3, 4096)
        os.environ.clear()
        os.environ.update(order["env"])
        os.chdir(order["cwd"])
        _start(name, order["words"], order.get("typed", "optimize"))
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        if isinstance(code, str):
            sys.stderr.write(f"{code}\n")
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        atexit._run_exitfuncs()
        os._exit(code if isinstance(code, int) else int(code is not None))


def _start(name: str, words: list[str], typed: str) -> None:
    if name == SCRIPT:
        sys.path[0] = str(Path.cwd())
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
        raise SystemExit(0)
    if name == SCRIPT:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")
        raise SystemExit(0)
    from optimize.__main__ import main

    sys.argv = [typed, *words]
    main()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
