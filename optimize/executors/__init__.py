"""Where trials run: the protocol that every executor follows, and the choice between them.

It does not run anything itself (`process.py` does) and knows no study.
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

EXECUTORS = ("local", "ray")  # by name


class Executor(Protocol):
    """A context; its end cancels and reaps everything that still runs. One thread uses it."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Where trials can run; a cluster's come and go."""
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None: ...

    @property
    def running(self) -> frozenset[int]:
        """The numbers that were submitted and have not ended."""
        ...

    @property
    def free(self) -> int:
        """How many jobs it would take now: fewer than idle slots where a GPU is somebody else's for a while."""
        ...

    def submit(self, job: Job) -> Slot:
        """Start the job in a free slot (there must be one: RuntimeError) and say which.

        One that is to be `alone` begins when nothing else runs on its GPU, which then is kept for it.
        """
        ...

    def wait(self, timeout_s: float) -> list[Progress | Ending]:
        """What has happened, as soon as something has; empty at the time-out. Raises ExecutorError."""
        ...

    def cancel(self, number: int, status: TrialStatus, reason: str) -> None:
        """Ask for the trial's end: it comes as an Ending like any other. The first wish counts, and one that completed
        all the same is complete."""
        ...

    def forget(self, number: int, keep: bool = False) -> None:
        """The ending has been told: remove the work folder, or keep it as far as there is room for such."""
        ...


def open_executor(name: str, slots: Sequence[Slot], work: Path, cluster: Cluster | None = None) -> Executor:
    """The executor of that name: on this machine, in these slots and folders under `work`; on a cluster, in its own."""
    if name == "local":
        from optimize.executors.local import LocalExecutor

        return LocalExecutor(slots, work)
    if name == "ray" and cluster is not None:
        _demand_ray()
        from optimize.executors.ray import RayExecutor

        return RayExecutor(cluster)
    raise ExecutorError(f"executor: there is none called {name!r}. Use {' or '.join(EXECUTORS)}")


def find_cluster_slots(cluster: Cluster) -> Sequence[Slot]:
    """The slots of the cluster that we are to run on, as far as can be told beforehand. Raises ExecutorError."""
    _demand_ray()
    from optimize.executors.ray import cluster_slots

    return cluster_slots(cluster)


def _demand_ray() -> None:
    if find_spec("ray") is None:
        raise ExecutorError(
            "executor ray: Ray is not installed here. Run `.venv/bin/pip install -c constraints.txt -e '.[ray]'`"
        )
