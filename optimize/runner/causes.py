"""Causes of death: words that scripts and the libraries below them end with, what they mean, and what to do about it.

Rows and nothing else; `diagnosis.py` decides where they are looked for. Most of them are from public bug reports, not from
a GPU of ours. tests/test_causes.py has an example of each.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from optimize.trial import TrialStatus

INSTALL = "Install it (again) into the Python that runs the script"  # `process.py` knows which one that is


class Cause(NamedTuple):
    """What a line that matches `pattern` says about the end of a trial."""

    status: TrialStatus
    pattern: re.Pattern[str]
    advice: str = ""


def _cause(status: TrialStatus, pattern: str, advice: str = "") -> Cause:
    return Cause(status, re.compile(pattern, re.IGNORECASE), advice)


# What the kernel's out-of-memory killer leaves behind, as a shell, a launcher or a scheduler tells it.
KILLED = _cause(
    TrialStatus.OUT_OF_MEMORY,
    r"^(?:\S*sh: )?(?:.*:\s*\d+ |.*: tasks? [\d,-]+: )?killed(?:$|: 9$|\s{2,})"
    r"|killed by signal: Killed|\boom[-_]kill(?:ed)?\b|\bOOMKilled\b"
    r"|\(SIGKILL\)|Signals\.SIGKILL|signal SIGKILL\b|signal 9 \(Kill(?:ed| signal)\)"
    r"|fatal error: Killed signal|internal compiler error: Killed"
    r"|\b(?:exit ?code|error code|exit status|return code)\s*(?:[:=]\s*)?(?:-9|137)\b"
    r"|exceeded (?:job |step )?memory limit|reaching LSF memory usage limit|\bmem \d+\w* exceeded limit|due to OOM\b",
)
# Words that are no cause: advice, a warning, and what a tracker says of its own network.
ASIDE = re.compile(
    r"^\s*\W?(?:note|hint|tip|info|debug|warning)\b|^wandb: |Warning: |indicates that this is not a failure"
    r"|% of free system memory|\b(?:avoid|prevent|in case of|on|if) (?:an? )?(?:CUDA )?(?:out of memory|OOM)\b",
    re.IGNORECASE,
)
# A shell's words for a process that it started and that made a fault.
SHELL_SAYS_FAULT = re.compile(r"^(?:\S*sh: )?(?:.*:\s*\d+ )?(?:Segmentation fault|Bus error|Illegal instruction)")
# Mistakes in the code: their message is a name, such as `OutOfMemoryError` or `isnan`, and tells nothing of memory or a loss.
MISTAKE = re.compile(r"^(?:[\w.]+\.)?(?:Attribute|Type|Key|Name|UnboundLocal|Index|Syntax|Indentation)Error\b")
# Exceptions that only Python raises: uncaught, they end a script with an exit code, never with a signal.
ONLY_IN_PYTHON = re.compile(
    r"ImportError|ModuleNotFoundError|FileNotFoundError|PermissionError|requests\.|httpx\.|huggingface"
)

_QUANTITY = r"(?:\b|_)(?:loss(?:es)?|grad\w*|norm|logits?|weights?|activations?|outputs?|metric|bpb|perplexity)\b"
_NO_NUMBER = r"\b(?:nans?|inf|infinity|infinite)\b"

# The first that matches wins. Kernels before memory, because inductor reports both as "OutOfMemoryError"; memory before
# environment, because CUDA reports both as "CUDA error".
CAUSES: tuple[Cause, ...] = (
    _cause(  # Triton, Pallas, flash attention: a HEAD_DIM or a block too large for the device
        TrialStatus.INFEASIBLE,
        r"out of resources?: |head.?dim\w*.{0,40}(?:at most|multiple of|must be|not support)|supports? head.?dim"
        r"|memory space [vs]mem|shared memory size limit exceeded|too many resources requested for launch"
        r"|uses too much shared data|Register allocation failed",
    ),
    KILLED,
    _cause(
        TrialStatus.ENVIRONMENT,
        r"shared memory segment|(?:allocate|open|mmap) shared memory|shared memory object"
        r"|dataloader's workers are out of shared memory",
        "Give the container more shared memory (docker run --shm-size), or the script fewer loader processes",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"cannot allocate memory in static TLS|ibv_\w+ failed.*cannot allocate memory",
        "Neither is want of memory: preload the library (LD_PRELOAD), or raise the limit of locked memory (ulimit -l)",
    ),
    _cause(  # CUDA, HIP, MPS, MLX, XPU, XLA; CPU
        TrialStatus.OUT_OF_MEMORY,
        r"out.?of.?(?:device.|host.|gpu.)?memory|MemoryError\b|std::bad_alloc|insufficient memory|\bOOM (?:at|when)\b"
        r"|_STATUS_(?:ALLOC(?:ATION)?_FAILED|INSUFFICIENT_RESOURCES)|CUFFT_ALLOC_FAILED|rocblas_status_memory_error"
        r"|BLAS_STATUS_NOT_INITIALIZED.{0,20}\w+Create|CUDNN_STATUS_NOT_INITIALIZED"
        r"|CUSOLVER_STATUS_INTERNAL_ERROR.{0,40}Create|unable to find an engine|valid cuDNN algorithm to run"
        r"|cannot allocate memory|can't allocate memory|not enough memory|virtual memory exhausted"
        r"|memory allocation of \d+ bytes failed|(?:cuda|hip)Error(?:Memory|OutOf)|MEM_OBJECT_ALLOCATION_FAILURE"
        r"|(?:unable|failed|could not) (?:to )?(?:CUDA |host |reserve )*(?:[cm]?alloc(?:ate)?\b|host alloc)"
        r"|RESOURCE_EXHAUSTED: (?!.*(?:quota|message larger))|exceeded hbm capacity"
        r"|attempting to (?:allocate|reserve) .{0,60}(?:not possible|greater than)|UR_RESULT_ERROR_OUT_OF_RESOURCES"
        r"|(?:PI|ZE_RESULT|HSA_STATUS)_ERROR_OUT_OF_RESOURCES|invalid buffer size|maximum allowed buffer size"
        r"|miopenStatusAllocFailed|cuMemAlloc\w* failed|paging file is too small|exceed allowed memory"
        r"|could not create a memory object|metal::malloc|total bytes of NDArray|Cuda failure 2\b"
        r"|NVML_SUCCESS == .*CUDACachingAllocator",  # it failed to say who holds the memory
    ),
    _cause(
        TrialStatus.DIVERGED,
        rf"\b(?:is|not) nan\b|\bis_?(?:nan|inf|finite)\(|non.?finite|not (?:all )?finite|be finite"
        rf"|{_QUANTITY}.{{0,60}}{_NO_NUMBER}|{_NO_NUMBER}.{{0,60}}{_QUANTITY}"
        r"|\bNaN/inf\b|\bnan (?:or|and/or|and) inf\b|\binf (?:or|and/or|and) nan\b|infs or NaNs"
        r"|\b(?:contains?|returned|found|detected|encountered|got|produced|became) (?:either )?(?:a )?"
        r"[`']?(?:nan|inf)(?:s|inity)?\b"
        r"|\bnans? (?:was |were |values? )*(?:detected|found|encountered|in (?:the )?(?:input|output|model|param))"
        r"|convert float (?:nan|infinity)|math range error|Numerical result out of range|\(34, 'Result too large'\)"
        r"|^[\w.]*(?:Error|Exception|InvalidOperation): (?:.*[^\w.'\"`/-])?nan\b(?!['\"%/])"  # nobody writes it of anything else
        r"|found invalid values|invalid loss\b|\bdiverg(?:ed|ing)\b|\bloss\b.{0,20}\bexplod|FloatingPointError"
        r"|loss scale (?:already at minimum|reached)|minimum loss scale"
        r"|linalg\.\w+: .*(?:converge|singular|positive-definite)|LinAlgError: .*(?:converge|singular|positive.definite)",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"no ?kernel ?image|kernel image is invalid|invalid device function|STATUS_ARCH_MISMATCH"
        r"|only supported on GPUs with compute capability|requires compute capability|does(?:n't| not) support bf(?:loat)?16"
        r"|find a build variant|does not have (?:one of )?build"
        r"|flash.?attention.{0,40}only supports|No available kernel|Expected is_sm\d|too old to be supported by the triton"
        r"|Value 'sm_\w+' is not defined|requires \.target sm_",
        "There are no kernels for this GPU: install a PyTorch (or a kernel package) that has",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"not compiled with (?:CUDA|XPU|ROCm)|libcudart functions unavailable",
        "This PyTorch cannot use a GPU: install one that is built for CUDA, as pytorch.org says",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"driver/library version mismatch|NVML_ERROR_LIB_RM_VERSION_MISMATCH",
        "The driver was updated while the old one runs: reboot",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"driver version is insufficient|driver on your system is too old|forward compatibility was attempted"
        r"|unsupported (?:display driver|toolchain)|in the installed CUDA driver",
        "Update the GPU driver, or install a PyTorch that is built for its CUDA",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"CUDA driver error: (?:operation not supported|unknown error)",
        "This driver lacks what expandable_segments needs: unset it (PYTORCH_ALLOC_CONF), or update the driver",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"system not yet initialized",
        "NVSwitch is not ready: start its service (systemctl start nvidia-fabricmanager), of the driver's version",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"MPS (?:client|server|control daemon)\b",
        "CUDA's Multi-Process Service does not serve it: restart nvidia-cuda-mps-control, or unset CUDA_MPS_PIPE_DIRECTORY",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"no NVIDIA driver|communicate with the NVIDIA driver|cuda\.is_available\(\) is False|libcuda\.so cannot"
        r"|lib(?:cuda|nvidia-ml)\.[\w.]*: cannot open shared object|Driver Not Loaded|NVML Shared Library Not Found",
        "The driver does not run: install it, or reboot after an update of it or of the kernel",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"access blocked by the operating system",
        "Windows holds the GPU back from WSL2: update its driver, then `wsl --update`, then `wsl --shutdown`",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"Failed to initialize NVML: Unknown Error",
        "The container has lost its GPUs, as after a `systemctl daemon-reload` outside: start it again",
    ),
    _cause(
        TrialStatus.DEVICE_FAILED,
        r"uncorrectable (?:ECC|NVLink)|ECC_UNCORRECTABLE|NVLINK_UNCORRECTABLE",
        "Its memory or its link failed: `dmesg | grep -i xid` says more. If it comes again, reset the GPU or leave it out",
    ),
    _cause(
        TrialStatus.DEVICE_FAILED,
        r"GPU is lost|GpuIsLost|GPU_IS_LOST|fallen off the bus|lost from the bus|requires reset"
        r"|Unable to determine the device handle|No devices were found",
        "It does not answer any more: `dmesg | grep -i xid` says why. Reboot, and look at its power and its heat",
    ),
    _cause(
        TrialStatus.DEVICE_FAILED,
        r"busy or unavailable|DevicesUnavailable|DEVICE_UNAVAILABLE",
        "Somebody else has it for himself (nvidia-smi shows who, and its compute mode), or it cannot be opened",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"CUDA error: invalid device ordinal",
        "The script asks for more GPUs than a trial has: raise gpus_per_trial ([slots] in the profile), or have it use fewer",
    ),
    _cause(
        TrialStatus.DEVICE_FAILED,
        r"no (?:CUDA|HIP) GPUs are available|no (?:CUDA|ROCm)-capable device|invalid device ordinal|device < num_gpus"
        r"|CUDA (?:driver )?initialization (?:failed|error)|CUDA error: initialization error"
        r"|CUDA unknown error|CUDA error: unknown error|error from cudaGetDeviceCount",
        "It cannot be opened: see whether nvidia-smi lists it, reboot, or leave it out",
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
        r"^(?!.*(?:wandb|comet|neptune|clearml|mlflow)).*(?:(?:LocalEntryNotFound|HfHubHTTP|GatedRepo|RepositoryNotFound|RevisionNotFound)\w*Error|OfflineModeIsEnabled"
        r"|huggingface\.co|max retries exceeded|name resolution|name or service not known|network is unreachable"
        r"|certificate verify failed|\bURLError\b|requests\.exceptions\.|httpx\.\w+(?:Error|Timeout))",
        "A download failed: check the network, or fetch what the script needs beforehand",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"ModuleNotFoundError|ImportError(?!: (?:cannot import .*partially initialized|attempted relative))"
        r"|lib\w+\.so[.\d]*: cannot open shared object|version incompatibility: PyTorch"
        r"|Unable to load any of \{libcudnn|Cannot load symbol cudnn",
        INSTALL,
    ),
    _cause(  # argparse, click, absl, Hydra, jsonargparse
        TrialStatus.ENVIRONMENT,
        r"error: unrecognized arguments?:|\bNo such option:? |Unknown command line flag|Could not override '"
        r"|Key '[^']*' (?:is not in struct|not in \w+)|error: (?:Unrecognized|Key) .*(?:argument|is not expected)",
        "The script's parser does not know it: correct `flag` or `override` in the search space, or `command` in workload.toml",
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
        r"FileNotFoundError: (?!.*(?:triton|inductor|torch_extensions)).*"  # other processes clear a compiler's cache
        r"(?:data[^/]*$|token|shard|cache|corpus|\.(?:bin|parquet|np[yz]|pkl|pickle|jsonl?|txt|csv|model|arrow)\b)",
        "Prepare the data. If it lies beside the script, name it by `links` in workload.toml",
    ),
    _cause(
        TrialStatus.ENVIRONMENT,
        r"^prepare\.py: |PermissionError: |UnpicklingError|ArrowInvalid|BadZipFile|parquet magic bytes"
        r"|\b(?:shard|tokenizer|parquet|data ?set)\w*\b.{0,60}\b(?:corrupt|truncated|missing|not found)",
        "Prepare the data (again), and check that it can be read",
    ),
    _cause(TrialStatus.ENVIRONMENT, r"command not found$|exec format error", "Check the workload's command"),
)
