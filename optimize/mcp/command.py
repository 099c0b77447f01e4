"""The command `mcp`: serves the studies of a folder to one agent, over stdin and stdout."""

from __future__ import annotations

from importlib.util import find_spec

from optimize.commands.flags import RUNS, ProfileFlag, RunsFlag, SpaceFlag, StorageFlag, WorkloadFlag
from optimize.errors import SettingsError


def mcp(
    profile: ProfileFlag = None,
    workload: WorkloadFlag = None,
    search_space: SpaceFlag = None,
    storage: StorageFlag = None,
    runs: RunsFlag = RUNS,
) -> None:
    """Serve the studies of this folder to an agent, over the Model Context Protocol on stdin and stdout. A client starts it.

    Example: optimize mcp --workload ../mine
    """
    if find_spec("mcp") is None:
        raise SettingsError("mcp: its SDK is not installed here. Run `pip install 'mcp>=2.3,<3'`.")
    from optimize.mcp.server import serve
    from optimize.mcp.tools import ServerFlags

    serve(ServerFlags(profile, workload, search_space, storage, runs))
