"""A Python that has imported what scripts need, and forks trials off itself: `python zygote.py SOCKET MARK MODULE...`.

A trial finds what it would find after `python train.py ...`: a `__main__` of its own, its argv, folder, environment,
session, signals and standard files, and random numbers that no other trial draws. It is the guardian's child, not ours:
nothing that becomes of it reaches this process. `preload.py` starts it and speaks to it, a JSON message at a time:

    zygote -> guardian   {"ready": true} or {"unfit": "why"}      {"pid": 4711} or {"error": "why"}
    guardian -> zygote   {"argv": ["train.py"], "folder": "...", "mark": "..."} and the pipe that the trial writes to

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
from typing import Any, NamedTuple

ORDER_BYTES = 1 << 16
_SIGKILL, _PR_SET_PDEATHSIG = 9, 1


class Order(NamedTuple):
    """What to run, where, and by which variable its processes are known."""

    argv: list[str]
    folder: str
    mark: str


def load(modules: list[str]) -> str:
    """Import them; returns why no trial may be forked from what has become of this process, "" if one may."""
    try:
        for name in modules:
            importlib.import_module(name)
    except BaseException as error:  # whatever a foreign module does at its import
        return f"{type(error).__name__}: {error}"
    threads = len(list(Path("/proc/self/task").iterdir()))
    return f"importing {', '.join(modules)} starts threads" if threads > 1 else ""


def serve(control: socket.socket, guardian: int) -> Order:
    """Fork a trial for each order. Returns in the trials only, the pipe being their stdout and stderr."""
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
                return Order(**json.loads(data))
            say(control, {"pid": pid} if pid > 0 else {"error": "no process could be started"})
        os.close(pipes[0])


def _fork_orphan(guardian: int) -> int:
    """Fork twice: the second child's parent has ended when its number is known, and the guardian has adopted it."""
    ear, mouth = os.pipe()
    first = os.fork()
    if first:
        os.close(mouth)
        said = os.read(ear, 20)
        os.close(ear)
        os.waitpid(first, 0)
        return int(said or -1)
    parent = os.getpid()
    try:
        second = os.fork()
    except OSError:
        os._exit(1)
    if second:
        os.write(mouth, b"%d" % second)
        os._exit(0)
    os.close(ear)
    os.close(mouth)
    os.setsid()
    while os.getppid() == parent:
        time.sleep(0.0001)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    if os.getppid() != guardian:  # it has died before it could take us along
        os._exit(1)
    return 0


def become(order: Order, mark: str) -> tuple[Any, dict[str, Any]]:
    """Make this process what `python train.py` would be; returns the script's code and the namespace to run it in."""
    os.chdir(order.folder)
    os.environ[mark] = order.mark
    _show(f"{mark}=", order.mark, order.argv)
    if "numpy.random" in sys.modules:  # Python's own generator does this by itself
        sys.modules["numpy.random"].seed()
    sys.argv, sys.orig_argv = order.argv, [sys.orig_argv[0], *order.argv]
    script = str(Path.cwd() / order.argv[0])
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


def _show(variable: str, value: str, argv: list[str]) -> None:
    """Let the process table show the trial's own mark and command: both lie where the kernel once put ours."""
    stat = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    arg_start, arg_end, env_start, env_end = map(int, stat[45:49])
    environment = ctypes.string_at(env_start, env_end - env_start)
    at = (b"\0" + environment).find(b"\0" + os.fsencode(variable))
    room = environment.index(b"\0", at) - at
    _put(env_start + at, os.fsencode(variable + value), room)
    _put(arg_start, b"\0".join(map(os.fsencode, [sys.orig_argv[0], *argv])), arg_end - arg_start - 1)


def _put(address: int, data: bytes, room: int) -> None:
    ctypes.memmove(address, data[:room].ljust(room, b"\0"), room)


def _print_without_us(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    sys.__excepthook__(kind, error.with_traceback(trace), trace)


def say(control: socket.socket, message: dict[str, object]) -> None:
    control.send(json.dumps(message).encode())


if __name__ == "__main__":
    _, _number, _mark, *_modules = sys.argv
    if not sys.flags.safe_path:
        del sys.path[0]  # our own folder
    _control = socket.socket(fileno=int(_number))
    _guardian, _unfit = os.getppid(), load(_modules)
    say(_control, {"unfit": _unfit} if _unfit else {"ready": True})
    gc.collect()
    gc.freeze()  # what is never looked at is never copied
    # Here and not in a function, so that what the script raises meets Python's own handling, exit codes included.
    exec(*become(serve(_control, _guardian), _mark))
