"""Where trials run: the protocol that every executor follows, and the choice between them.

It runs no job itself (`runner/process.py` does) and knows no study.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

from optimize.errors import ExecutorError
from optimize.trial import Ending, Job, Progress, Slot, TrialStatus

if TYPE_CHECKING:
    from optimize.executors.ray_cluster import Cluster
    from optimize.executors.rests import Rests

EXECUTORS = ("local", "ray")  # their names


class Executor(Protocol):
    """A context manager whose end cancels and reaps everything that still runs. One thread uses it."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The places where trials can run. A cluster's come and go."""
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None: ...

    @property
    def running(self) -> frozenset[int]:
        """The numbers of the trials that were submitted and have not ended."""
        ...

    @property
    def free(self) -> int:
        """How many jobs it would take now: fewer than idle slots while somebody else holds a GPU, or one has failed."""
        ...

    @property
    def rests(self) -> Rests:
        """Which slots get no trial for a while, and whether any device is left that has not failed."""
        ...

    def submit(self, job: Job) -> Slot:
        """Start the job in a free slot. Return that slot. Raises RuntimeError if none is free.

        A job that has to be `alone` begins when nothing else runs on its GPU, which is kept for it.
        """
        ...

    def wait(self, timeout_s: float) -> list[Progress | Ending]:
        """Wait for events. Return those that have come, an empty list at the time-out. Raises ExecutorError."""
        ...

    def cancel(self, number: int, status: TrialStatus, reason: str) -> None:
        """Ask for the trial's end, which comes as an Ending. The first request counts.

        A trial that completes before it is ended is complete.
        """
        ...

    def forget(self, number: int, keep: bool = False) -> None:
        """Remove the work folder of a trial that has been told; with `keep`, only when kept folders take too much room."""
        ...


def open_executor(
    name: str, slots: Sequence[Slot], work: Path, cluster: Cluster | None = None, beside: Path | None = None
) -> Executor:
    """Open the executor of that name: "local" has these slots and folders under `work`, "ray" those of the cluster.

    Jobs with a number below 0 have their folders under `beside`: -1 is trial 0 of the study there. Raises ExecutorError.
    """
    if name == "local":
        from optimize.executors.local import LocalExecutor

        return LocalExecutor(slots, work, beside)
    if name == "ray" and cluster is not None:
        _demand_ray()
        from optimize.executors.ray import RayExecutor

        return RayExecutor(cluster)
    raise ExecutorError(f"executor: {name!r} is unknown. Use {' or '.join(EXECUTORS)}")


def find_cluster_slots(cluster: Cluster) -> Sequence[Slot]:
    """Return the slots of the cluster, as far as they are known before its nodes have been asked. Raises ExecutorError."""
    _demand_ray()
    from optimize.executors.ray import cluster_slots

    return cluster_slots(cluster)


def _demand_ray() -> None:
    if find_spec("ray") is None:
        raise ExecutorError("executor ray: Ray is not installed here. Run `pip install 'ray>=2.60,<3'`")
