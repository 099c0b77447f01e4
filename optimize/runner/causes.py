"""Causes of death: words that scripts and the libraries below them end with, what they mean, and what to do about it.

Rows and nothing else; `diagnosis.py` decides where they are looked for. Most of them are from public bug reports, not from
a GPU of ours. tests/test_causes.py has an example of each.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from optimize.trial import TrialStatus


class Cause(NamedTuple):
    """What a line that matches `pattern` says about the end of a trial."""

    status: TrialStatus
    pattern: re.Pattern[str]
    advice: str = ""


def _cause(status: TrialStatus, pattern: str, advice: str = "") -> Cause:
    return Cause(status, re.compile(pattern, re.IGNORECASE), advice)


# The first that matches wins. Kernels before memory, because inductor reports both as "OutOfMemoryError"; memory before
# environment, because CUDA reports both as "CUDA error".
CAUSES: tuple[Cause, ...] = (
    _cause(  # Triton, flash attention: a HEAD_DIM too large for the device
        TrialStatus.INFEASIBLE,
        r"out of resources?: |head.?dim\w*.{0,40}(?:at most|multiple of|must be|not support)|supports? head.?dim",
    ),
    _cause(  # CUDA, HIP, MPS, XPU; CPU; what torchrun says of a child that the kernel killed
        TrialStatus.OUT_OF_MEMORY,
        r"out of memory|MemoryError\b|(?:CUBLAS|HIPBLAS|CUDNN|CUSOLVER)_STATUS_ALLOC_FAILED"
        r"|DefaultCPUAllocator: (?:can't allocate|not enough) memory|cannot allocate memory|std::bad_alloc"
        r"|exitcode\s*:\s*-9\b|killed by signal: Killed|\bOOM (?:at|when)\b"
        r"|NVML_SUCCESS == .*CUDACachingAllocator",  # it failed to say who holds the memory
    ),
    _cause(
        TrialStatus.DIVERGED,
        r"\b(?:is|not )_?nan\b|isnan|isfinite|non-?finite|\bloss\b.{0,40}\b(?:nan|inf)\b|\bdiverged\b"
        r"|\bloss exploded\b|FloatingPointError",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"no kernel image is available|kernel image is invalid|find a build variant|does not have (?:one of )?build"
        r"|flash.?attention.{0,40}only supports|No available kernel|Expected is_sm\d|too old to be supported by the triton"
        r"|Value 'sm_\w+' is not defined|requires \.target sm_",
        "There are no kernels for this GPU: install a PyTorch (or a kernel package) that has",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"not compiled with CUDA|libcudart functions unavailable",
        "This PyTorch cannot use a GPU: install one that is built for CUDA, as pytorch.org says",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"driver version is insufficient|driver on your system is too old|driver/library version mismatch"
        r"|forward compatibility was attempted|unsupported (?:display driver|toolchain)|in the installed CUDA driver",
        "Update the GPU driver (or reboot after an update), or install a PyTorch that is built for its CUDA",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"CUDA driver error: (?:operation not supported|unknown error)",
        "This driver lacks what expandable_segments needs: unset it (PYTORCH_ALLOC_CONF), or update the driver",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"no NVIDIA driver|no (?:CUDA|HIP) GPUs are available|no (?:CUDA|ROCm)-capable device"
        r"|invalid device ordinal|busy or unavailable|system not yet initialized|CUDA unknown error"
        r"|CUDA error: unknown error|error from cudaGetDeviceCount|cuda\.is_available\(\) is False|libcuda\.so cannot"
        r"|lib(?:cuda|nvidia-ml)\.[\w.]*: cannot open shared object",
        "Check that nvidia-smi lists the GPU and that no one else holds it, or choose a profile without one",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"uncorrectable (?:ECC|NVLink)|GPU is lost|fallen off the bus|Unable to determine the device handle",
        "The GPU itself failed: see dmesg",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"out of shared memory|shared memory limit",
        "Give the container more shared memory (docker run --shm-size), or the script fewer loader processes",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"no space left on device|disk quota exceeded|read-only file system|database or disk is full",
        "Free some space, or point the caches and the runs folder at a disk that can be written",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"(?:LocalEntryNotFound|HfHubHTTP|GatedRepo|RepositoryNotFound|RevisionNotFound)\w*Error|OfflineModeIsEnabled"
        r"|huggingface\.co|max retries exceeded|name resolution|name or service not known|network is unreachable"
        r"|certificate verify failed|\bURLError\b|requests\.exceptions\.|httpx\.\w+(?:Error|Timeout)",
        "A download failed: check the network, or fetch what the script needs beforehand",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"ModuleNotFoundError|ImportError|lib\w+\.so[.\d]*: cannot open shared object|version incompatibility: PyTorch"
        r"|Unable to load any of \{libcudnn|Cannot load symbol cudnn",
        "Install it (again) into the Python that runs the script",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"failed to find C compiler|working triton installation|No working C\+\+ compiler"
        r"|(?:gcc|cc|g\+\+|ptxas|nvcc)['\"]?: (?:command )?not found|CalledProcessError: Command '\['[^']*(?:cc|clang)[-\d.]*'"
        r"|no such file or directory: '[^']*(?:gcc|g\+\+|clang|ptxas|nvcc)'|fatal error: Python\.h",
        "torch.compile needs a C compiler, Python's headers (apt install gcc python3-dev) and Triton: install them",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"^prepare\.py: |PermissionError: |UnpicklingError|ArrowInvalid|BadZipFile|parquet magic bytes"
        r"|FileNotFoundError: .*(?:data[^/]*$|token|shard|cache|corpus)"
        r"|FileNotFoundError: .*\.(?:bin|parquet|np[yz]|pkl|pickle|jsonl?|txt|csv|model|arrow)\b"
        r"|\b(?:shard|tokenizer|parquet|data ?set)\w*\b.{0,60}\b(?:corrupt|truncated|missing|not found)",
        "Prepare the data (again), and check that it can be read",
    ),
    _cause(TrialStatus.ENVIRONMENT, r"command not found$|exec format error", "Check the workload's command"),
)
