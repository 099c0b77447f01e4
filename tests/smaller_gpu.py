"""A study for a GPU that is too small for its baseline: the script, two search spaces, and what PyTorch says."""

from __future__ import annotations

from optimize.config.plan import Plan
from optimize.study.begun import opened_to_go_on
from optimize.study.earlier import plan_for_study
from tests.conftest import Driver

SCRIPT = """\
DEVICE_BATCH_SIZE = 32
TOTAL_BATCH_SIZE = 2**19
MAX_SEQ_LEN = 2048
DEPTH = 8
LR = 0.1
SEED = 42
"""
RULE = '[[rules]]\nrule = "TOTAL_BATCH_SIZE % (DEVICE_BATCH_SIZE * MAX_SEQ_LEN) == 0"\nwhy = "it accumulates whole batches"\n'
FREE = "[parameters]\nLR = [0.01, 0.03, 0.1]\nDEPTH = [2, 4, 8]\n"
FIXED = f"{FREE}{RULE}"
VARIED = f"{FREE}DEVICE_BATCH_SIZE = [8, 16, 32]\n{RULE}"
SAID = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.65 GiB of which "
    "1.06 GiB is free. {others}Including non-PyTorch memory, this process has {mine} GiB memory in use. Of the allocated memory "
    "10.80 GiB is allocated by PyTorch, and 300.00 MiB is reserved by PyTorch but unallocated."
)
ALONE = SAID.format(others="", mine="22.58")
BESIDE = SAID.format(others="Process 4711 has 11.00 GiB memory in use. ", mine="11.58")


def prepare(driver: Driver, space: str = FIXED, script: str = SCRIPT, workload: str = "") -> None:
    """Give the driver this study."""
    (driver.folder / "workload" / "train.py").write_text(script)
    (driver.folder / "workload" / "workload.toml").write_text(workload)
    (driver.folder / "space.toml").write_text(space)
    driver.set(device="cuda")


def plan(driver: Driver) -> Plan:
    """As a command makes it."""
    with opened_to_go_on(driver.settings, driver.settings.study) as stored:
        return plan_for_study(driver.settings, stored)
