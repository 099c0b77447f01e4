"""The values of a trial's journey: Suggestion -> Job -> Outcome, with Progress in between.

They are frozen, can be pickled and hold no file handle: threads, processes and machines are only places they pass through.
Nothing here acts: `runner/process.py` runs a job, and `search/endings.py` says what a status means for the sampler.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

BASELINE = "baseline"  # study attribute: the parameters that the script itself has

Value = bool | int | float | str | None | tuple["Value", ...]
"""A literal that a parameter or a constant of a script can hold."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Parameters to try, under the study's trial number."""

    number: int
    params: Mapping[str, Value]
    alone: bool = False  # with no other trial of ours on its device


def sign_of(direction: str) -> int:
    """Return 1 for "minimize" and -1 for "maximize": times this, a better value is always a smaller one."""
    return 1 if direction == "minimize" else -1


@dataclass(frozen=True, slots=True)
class Metric:
    """What a script reports: the key in its summary, or the lines that hold it; and which direction is better."""

    name: str = "val_bpb"
    direction: str = "minimize"  # or "maximize", Optuna's words
    regex: str = (
        ""  # its one group is the value; "": `name: value` in the summary, or in any line if there is no summary
    )
    take: str = "last"  # or "min", "max": of all the lines that match
    file: str = (
        ""  # a path, or a pattern, in the trial's folder: what the script writes there counts, not what it prints
    )

    @property
    def sign(self) -> int:
        return sign_of(self.direction)

    def better(self, value: float, than: float) -> bool:
        """Return whether `value` is strictly better."""
        return self.sign * value < self.sign * than


@dataclass(frozen=True, slots=True)
class Limits:
    """When a running trial is ended; None means never. Times in seconds, sizes in MB of 10**6 bytes."""

    total_s: float | None = None  # from start to end, the whole process
    startup_s: float | None = None  # until the first progress line (or the summary)
    grace_s: float = 5.0  # between SIGTERM and SIGKILL
    free_s: float = 60.0  # for a GPU's memory to be free before the trial starts on it
    disk_mb: float | None = 2_000.0  # everything under the work folder
    log_mb: float = 4.0  # kept of the log: its head and its tail


@dataclass(frozen=True, slots=True)
class ProgressFormat:
    """The lines in which a script reports its progress: `regex` has the groups step, total, percent and loss."""

    regex: str = ""  # "": autoresearch's `step 00100 (33.3%) | loss: ...`
    total: float | None = None  # steps of a whole run, where no line says so
    none: bool = False  # it reports nothing until its end, so that startup_s does not apply


@dataclass(frozen=True, slots=True)
class Job:
    """Everything a slot needs to run one trial: the files are text, so no shared disk is needed."""

    number: int
    params: Mapping[str, Value]
    files: Mapping[str, str]  # path relative to the work folder -> text
    command: tuple[str, ...]  # argv; "{python}" is the Python of the machine that runs it
    env: Mapping[str, str] = field(default_factory=dict)  # the whole environment, but for what the slot adds
    metric: Metric = Metric()
    limits: Limits = Limits()
    preload: tuple[str, ...] = ()  # modules that may be imported before it starts, where that is safe
    alone: bool = False  # with no other trial of ours on its device
    progress: ProgressFormat = ProgressFormat()
    links: Mapping[str, str] = field(default_factory=dict)  # path in the work folder -> data, to be read only
    variables: Mapping[str, str] = field(default_factory=dict)  # those of `env` that are parameters
    startup_in: str = "workload.toml"  # the file where a person would change limits.startup_s
    started: tuple[str, ...] = ()  # what parameters say when the process starts: words of the command, NAME=value


# On a core: two threads on a contended pair of cores are many times slower than one.
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "BLIS", "RAYON")} | {
    "VECLIB_MAXIMUM_THREADS": "1"
}
# A script takes a GPU where it finds one: a CPU profile is one also on a machine that has GPUs.
NO_GPU = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": ""}


@dataclass(frozen=True, slots=True)
class Slot:
    """A place where one trial runs at a time: a GPU, several, a share of one, or a core. `env` pins a process to it."""

    name: str
    env: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"  # model name: values of different models are not comparable under a time budget
    memory_mb: float = 0.0  # the device's own, in MB of 10**6 bytes; 0 where it has none or it is unknown
    shared: bool = False  # slots with the same `env` are on the same GPU


@dataclass(frozen=True, slots=True)
class Progress:
    """One progress line of a running trial; a field that the script did not print is None."""

    number: int
    fraction: float  # of the budget, 0 to 1
    step: int | None = None
    loss: float | None = None  # smoothed train loss, nats per token
    tokens_per_s: float | None = None
    remaining_s: float | None = None


class TrialStatus(StrEnum):
    """How a trial ended. CONSEQUENCES says what each status means for the study."""

    COMPLETE = "complete"
    OUT_OF_MEMORY = "out_of_memory"
    DIVERGED = "diverged"
    INFEASIBLE = "infeasible"  # an assertion of the script on its parameters
    TIMED_OUT = "timed_out"
    HOPELESS = "hopeless"  # ended by the pruner
    SILENT = "silent"  # no first progress line within startup_s
    CRASHED = "crashed"
    ENVIRONMENT = "environment"  # driver, kernel image, module, data, disk: nothing to do with the parameters
    DEVICE_FAILED = "device_failed"  # the slot's GPU has failed, or nobody can open it: another one may do
    BUSY = "busy"  # somebody else holds the memory of the slot's GPU
    CANCELLED = "cancelled"
    LOST = "lost"  # the driver, the guardian or the machine died


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one job ended. A crashed script is an outcome, never an exception."""

    status: TrialStatus
    seconds: float  # wall clock of the process
    reason: str = ""  # one line, for people
    summary: Mapping[str, float | str] = field(default_factory=dict)  # the last `---` block of the log
    log: str = ""  # head and tail, with a mark where the middle was cut
    slot: str = ""
    curve: tuple[tuple[float, float], ...] = ()  # (fraction of the budget, smoothed train loss)
    device: str = ""  # model of the slot's device
    shared: bool = False  # another trial of ours may have been on the same GPU


@dataclass(frozen=True, slots=True)
class Ending:
    """The event that a job has ended, as an executor's `wait` returns it beside Progress."""

    job: Job
    outcome: Outcome
