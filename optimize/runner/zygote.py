"""A Python that has imported what scripts need, and forks trials off itself: `python zygote.py SOCKET MODULE...`.

A trial finds what it would find after `python train.py ...`: a `__main__` of its own, its argv, folder, environment,
session, signals and standard files, and random numbers that no other trial draws. Only the process table tells them
apart: there it keeps this process's command and first environment. It is the guardian's child, not ours: nothing that
becomes of it reaches this process. `warm_start.py` starts the zygote and sends it one JSON message at a time:

    zygote -> guardian   {"ready": true} or {"unfit": "why"}      {"pid": 4711} or {"error": "why"}
    guardian -> zygote   {"argv": ["train.py"], "folder": "...", "env": {...}} and the pipe that the trial writes to

Run by its path, it imports nothing of ours, so that nothing of ours is in the trial's `sys.modules`. It never forks while
it has a second thread: that one's locks would stay locked in the trial.
"""

from __future__ import annotations

import builtins
import ctypes
import gc
import importlib
import json
import os
import socket
import sys
import time
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

ORDER_BYTES = 1 << 16
_SIGKILL, _PR_SET_PDEATHSIG = 9, 1


def load(modules: list[str]) -> str:
    """Import the modules. Return why no trial may be forked from this process then, "" if one may."""
    try:
        for name in modules:
            importlib.import_module(name)
    except BaseException as error:  # whatever a foreign module does at its import
        return f"{type(error).__name__}: {error}"
    threads = len(list(Path("/proc/self/task").iterdir()))
    return f"importing {', '.join(modules)} starts threads" if threads > 1 else ""


def serve(control: socket.socket, guardian: int) -> dict[str, Any]:
    """Fork a trial for each order. Return the order, in the trial only; the pipe is its stdout and stderr then."""
    while True:
        data, pipes, _, _ = socket.recv_fds(control, ORDER_BYTES, 1)
        if not data:
            os._exit(0)
        try:
            pid = _fork_orphan(guardian)
        except OSError as error:
            say(control, {"error": str(error)})
        else:
            if pid == 0:
                os.dup2(pipes[0], 1)
                os.dup2(pipes[0], 2)
                os.close(pipes[0])
                control.close()
                order: dict[str, Any] = json.loads(data)
                return order
            say(control, {"pid": pid} if pid > 0 else {"error": "no process could be started"})
        os.close(pipes[0])


def _fork_orphan(guardian: int) -> int:
    """Fork twice: when the second child's pid is known, its parent has ended and the guardian has adopted it."""
    reader, writer = os.pipe()
    first = os.fork()
    if first:
        os.close(writer)
        pid = os.read(reader, 20)
        os.close(reader)
        os.waitpid(first, 0)
        return int(pid or -1)
    parent = os.getpid()
    try:
        second = os.fork()
    except OSError:
        os._exit(1)
    if second:
        os.write(writer, b"%d" % second)
        os._exit(0)
    os.close(reader)
    os.close(writer)
    os.setsid()
    while os.getppid() == parent:
        time.sleep(0.0001)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != guardian:  # it has died before this process could be killed with it
        os._exit(1)
    return 0


def become(order: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Make this process what `python train.py` would be. Return the script's code and the namespace to run it in."""
    argv: list[str] = order["argv"]
    os.chdir(order["folder"])
    os.environ.update(order["env"])
    if "numpy.random" in sys.modules:  # Python's own generator does this by itself
        sys.modules["numpy.random"].seed()
    sys.argv, sys.orig_argv = argv, [sys.orig_argv[0], *argv]
    script = str(Path.cwd() / argv[0])
    if not sys.flags.safe_path:
        sys.path.insert(0, str(Path(script).resolve().parent))
    sys.excepthook = _print_without_us
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__dict__.update(
        __builtins__=builtins, __file__=script, __cached__=None, __loader__=SourceFileLoader("__main__", script)
    )
    if "__annotations__" in globals():  # up to Python 3.13 it is there from the beginning
        main.__annotations__ = {}
    return compile(Path(script).read_bytes(), script, "exec", dont_inherit=True), main.__dict__


def _print_without_us(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)


def say(control: socket.socket, message: dict[str, object]) -> None:
    """Send the guardian a message."""
    control.send(json.dumps(message).encode())


if __name__ == "__main__":
    _, _number, *_modules = sys.argv
    if not sys.flags.safe_path:
        del sys.path[0]  # our own folder
    _control = socket.socket(fileno=int(_number))
    _guardian, _unfit = os.getppid(), load(_modules)
    say(_control, {"unfit": _unfit} if _unfit else {"ready": True})
    gc.collect()
    gc.freeze()  # what is never looked at is never copied
    # Here and not in a function, so that what the script raises meets Python's own handling, exit codes included.
    exec(*become(serve(_control, _guardian)))
