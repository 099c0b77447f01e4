"""What GPUs, drivers, compilers and libraries say when they fail, as they say it, and which ending each means."""

from __future__ import annotations

import signal

import pytest

from optimize.runner.causes import CAUSES
from optimize.runner.diagnosis import Exit, diagnose
from optimize.trial import Metric, TrialStatus

SAID = {
    TrialStatus.OUT_OF_MEMORY: [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 8.00 GiB. GPU 0 has a total capacity of 23.52 GiB",
        "torch.AcceleratorError: CUDA error: out of memory",
        "RuntimeError: CUDA driver error: out of memory",
        "RuntimeError: Triton Error [CUDA]: out of memory",
        "torch._inductor.exc.InductorError: OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        "RuntimeError: cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        'RuntimeError: NVML_SUCCESS == r INTERNAL ASSERT FAILED at "../c10/cuda/CUDACachingAllocator.cpp":830, please report',
        "RuntimeError: NVML_SUCCESS == DriverAPI::get()->nvmlInit_v2_() INTERNAL ASSERT FAILED at "
        '"../c10/cuda/CUDACachingAllocator.cpp":1016, please report a bug to PyTorch.',
        "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:1691, unhandled cuda error\n"
        "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda failure 2 'out of memory'",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 2.98 TiB for an array with shape (640000, 640000)",
        "RuntimeError: DataLoader worker (pid 11123) is killed by signal: Killed. ",
        "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 3221225472 bytes.",
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when allocating tensor with shape[256,1024]",
        # beside others, as PyTorch tells it since 2.1
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 572.00 MiB. GPU 0 has a total capacity of 39.49 GiB of "
        "which 321.31 MiB is free. Process 3721648 has 12.41 GiB memory in use. Including non-PyTorch memory, this process has",
        # a compiler that the kernel has killed
        "torch._inductor.exc.InductorError: RuntimeError: `ptxas` failed with error code -9: \n",
        "subprocess.CalledProcessError: Command '['/v/triton/backends/nvidia/bin/ptxas', '-v']' died with <Signals.SIGKILL: 9>.",
        "torch._inductor.exc.CppCompileError: C++ compile error\ng++: fatal error: Killed signal terminated program cc1plus",
        "RuntimeError: Error building extension 'x': c++: internal compiler error: Killed (program cc1plus)",
        "RuntimeError: Error building extension 'x': nvcc error   : 'cicc' died due to signal 9 (Kill signal)",
    ],
    TrialStatus.INFEASIBLE: [  # a kernel that these parameters ask for does not fit the chip: memory is not what lacks
        "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 131074, Hardware limit: 101376. "
        "Reducing block sizes or `num_stages` may help.",
        "torch._inductor.exc.InductorError: RuntimeError: No valid triton configs. OutOfMemoryError: out of resource: "
        "triton_tem_fused_0 Required: 107008 Hardware limit:101376 Reducing block sizes or `num_stages` may help.",
        "torch._inductor.exc.InductorError: RuntimeError: No valid triton configs.\nOutOfMemoryError: out of resource: "
        "triton_tem_fused_flex_attention_0\nRequired: 139776  Hardware limit: 101376",
        "RuntimeError: FlashAttention forward only supports head dimension at most 256",
        "RuntimeError: This flash attention build does not support headdim 192.",
        "torch._inductor.exc.InductorError: RuntimeError: Internal Triton PTX codegen error: \nptxas error   : Entry function "
        "'triton_red_fused_3' uses too much shared data (0x14080 bytes, 0xc000 max)",
        "RuntimeError: Internal Triton PTX codegen error: \nptxas fatal   : (C7600) Register allocation failed with register "
        "count of '255'. Compile the program with a higher register target",
        "torch._inductor.compile_worker.subproc_pool.SubprocException: An exception occurred in a subprocess:\n\n"
        'Traceback (most recent call last):\n  File "/v/torch/_inductor/compile_worker/subproc_pool.py", line 12, in do_job\n'
        "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 147456, Hardware limit: 101376.",
    ],
    TrialStatus.ENVIRONMENT: [
        # the driver
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12070). Please update your GPU driver",
        "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver",
        "RuntimeError: CUDA error: the provided PTX was compiled with an unsupported toolchain.",
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling "
        "NumCudaDevices() that might have already set an error? Error 803: system has unsupported display driver / cuda "
        "driver combination",
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling "
        "NumCudaDevices() that might have already set an error? Error 804: forward compatibility was attempted on non supported HW",
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized",
        "torch.AcceleratorError: CUDA error: invalid device ordinal",  # torchrun with more processes than GPUs
        "RuntimeError: CUDA driver error: operation not supported",
        "RuntimeError: CUDA driver error: unknown error",
        "RuntimeError: CUDA error: MPS client failed to connect to the MPS control daemon or the MPS server",
        "pynvml.NVMLError_LibRmVersionMismatch: Driver/library version mismatch",
        "RuntimeError: Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False.",
        # PyTorch and its libraries
        "AssertionError: Torch not compiled with CUDA enabled",
        "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device",
        "RuntimeError: Triton Error [CUDA]: device kernel image is invalid",
        "RuntimeError: cuDNN version incompatibility: PyTorch was compiled  against (8, 9, 2) but found runtime version",
        "OSError: libcublas.so.12: cannot open shared object file: No such file or directory",
        "ImportError: libcudnn.so.9: cannot open shared object file: No such file or directory",
        # kernels
        "RuntimeError: FlashAttention only supports Ampere GPUs or newer.",
        "RuntimeError: Expected is_sm90 || is_sm8x || is_sm75 to be true, but got false.",
        "RuntimeError: No available kernel. Aborting execution.",
        "FileNotFoundError: Kernel at path `/home/me/.cache/huggingface/hub/models--varunneal--flash-attention-3` does not "
        "have one of build variants: torch29-cxx11-cpu-x86_64-linux, torch-cpu, torch-universal",
        "FileNotFoundError: Cannot find a build variant for this system in varunneal/flash-attention-3 (revision: main)",
        # compilers
        "torch._inductor.exc.InductorError: CalledProcessError: Command '['/usr/bin/gcc', '/tmp/tmpx/cuda_utils.c', '-O3', "
        "'-shared', '-fPIC', '-o', '/tmp/tmpx/cuda_utils.cpython-312-x86_64-linux-gnu.so']' returned non-zero exit status 1.",
        "torch._dynamo.exc.BackendCompilerFailed: backend='inductor' raised:\n"
        "CalledProcessError: Command '['/opt/conda/bin/x86_64-conda-linux-gnu-cc', '/tmp/tmpx/main.c']' returned non-zero",
        "torch._inductor.exc.InductorError: RuntimeError: Failed to find C compiler. Please specify via CC environment",
        "torch._inductor.exc.TritonMissing: Cannot find a working triton installation.",
        "AssertionError: libcuda.so cannot found!",
        "RuntimeError: Found NVIDIA GeForce GTX 1080 which is too old to be supported by the triton GPU compiler, which is used as "
        "the backend. Triton only supports devices of CUDA Capability >= 7.0, but your device is of CUDA capability 6.1",
        "RuntimeError: CUDA error: invalid device function",
        "RuntimeError: CUDA error: CUBLAS_STATUS_ARCH_MISMATCH when calling `cublasLtMatmulAlgoGetHeuristic( ltHandle, )`",
        "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU has compute",
        "torch._inductor.exc.InductorError: PTXASError: PTXAS error: Internal Triton PTX codegen error\n"
        "ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'",
        # the container, the network
        "RuntimeError: DataLoader worker (pid 42) is killed by signal: Bus error. It is possible that dataloader's workers "
        "are out of shared memory. Please try to raise your shared memory limit.",
        "httpx.ReadTimeout: The read operation timed out",
        "requests.exceptions.ReadTimeout: HTTPSConnectionPool(host='cdn-lfs.hf.co', port=443): Read timed out.",
    ],
    TrialStatus.DEVICE_FAILED: [  # of this GPU, perhaps of all: another trial elsewhere shows that
        "RuntimeError: CUDA error: uncorrectable NVLink error detected during the execution",
        "RuntimeError: CUDA error: uncorrectable ECC error encountered",
        "torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered\nSearch for `cudaErrorECCUncorrectable' in "
        "https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for more information.\nCUDA kernel errors might "
        "be asynchronously reported at some other API call, so the stacktrace below might be incorrect.",
        "jaxlib.xla_extension.XlaRuntimeError: INTERNAL: CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error encountered",
        "pynvml.NVMLError_GpuIsLost: GPU is lost",
        "RuntimeError: CUDA error: all CUDA-capable devices are busy or unavailable",
        "torch.AcceleratorError: CUDA error: CUDA-capable device(s) is/are busy or unavailable",
        "RuntimeError: No CUDA GPUs are available",
        "RuntimeError: CUDA error: no CUDA-capable device is detected",
        'RuntimeError: device >= 0 && device < num_gpus INTERNAL ASSERT FAILED at "../aten/src/ATen/cuda/CUDAContext.cpp":49, '
        "please report a bug to PyTorch. ",  # a slice (MIG) that is not there any more
        "RuntimeError: CUDA driver initialization failed, you might not have a CUDA gpu.",
        "RuntimeError: CUDA error: unknown error",
        "RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env "
        "variable CUDA_VISIBLE_DEVICES after program start. Setting the available devices to be zero.",
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 101: invalid device ordinal",
    ],
    TrialStatus.CRASHED: [  # each may be the script's own fault, or the parameters', or a bad card's: nothing is learned
        "torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
        "RuntimeError: CUDA error: device-side assert triggered",
        "RuntimeError: CUDA error: unspecified launch failure",
        "RuntimeError: CUDA error: misaligned address",
        "RuntimeError: CUDA error: the launch timed out and was terminated",
        "RuntimeError: CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasLtMatmul(...)`",
        "RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "RuntimeError: Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the",
        "torch._dynamo.exc.Unsupported: Data-dependent branching",
        "concurrent.futures.process.BrokenProcessPool: A process in the process pool was terminated abruptly",
        "torch._inductor.exc.InductorError: RuntimeError: A compilation subprocess exited unexpectedly. This is likely due to a "
        "crash. To facilitate debugging, you can re-run with TORCHINDUCTOR_COMPILE_THREADS=1 to cause compilation to occur in",
        "torch._inductor.exc.InductorError: RuntimeError: SubprocPool closed",
    ],
    TrialStatus.DIVERGED: ["FloatingPointError: Minimum loss scale reached (0.0001).", "ValueError: loss is nan"],
}


@pytest.mark.parametrize(("status", "said"), [(status, said) for status, all_of in SAID.items() for said in all_of])
def test_an_ending_is_told_by_its_words(status: TrialStatus, said: str) -> None:
    place = '  File "/opt/venv/lib/python3.12/site-packages/torch/_inductor/x.py", line 12, in run\n    raise error\n'
    log = f"Traceback (most recent call last):\n{place}{said}\n"
    assert diagnose(log, Exit(1, 1.0), Metric()).status is status


def test_without_a_traceback_the_last_lines_are_read() -> None:
    libraries = (
        "Unable to load any of {libcudnn_graph.so.9.1.0, libcudnn_graph.so.9, libcudnn_graph.so}\nInvalid handle. "
    )
    log = f"step 00001 (0.1%)\n{libraries}Cannot load symbol cudnnCreateTensorDescriptor\n"
    assert diagnose(log, Exit(-signal.SIGABRT, 1.0), Metric()).status is TrialStatus.ENVIRONMENT


def test_what_the_environment_lacks_comes_with_advice() -> None:
    of_machine = (TrialStatus.ENVIRONMENT, TrialStatus.DEVICE_FAILED)
    assert [cause for cause in CAUSES if (cause.status in of_machine) != bool(cause.advice)] == []


OLD_GPU = """/v/torch/cuda/__init__.py:320: UserWarning: Found GPU0 Tesla P100-PCIE-16GB which is of compute capability (CC) 6.0.
The following list shows the CCs this version of PyTorch was built for and the hardware CCs it supports:
- 7.5 which supports hardware CC >=7.5,<8.0
Your installed torch==2.13.0+cu130 does not include kernels for this GPU. Reinstall the same version against a CUDA build
/v/torch/cuda/__init__.py:440: UserWarning:
Tesla P100-PCIE-16GB with CUDA capability sm_60 is not compatible with the current PyTorch installation.
The current PyTorch install supports CUDA capabilities sm_75 sm_80 sm_86 sm_90 sm_100 sm_120.
"""


@pytest.mark.parametrize(
    ("before", "code", "after", "status"),
    [
        (OLD_GPU, 1, "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device", "environment"),
        (OLD_GPU, 1, "ValueError: no", "crashed"),  # a warning alone ends nothing
        ("", -6, "terminate called after throwing an instance of 'c10::AcceleratorError'\n  what():  CUDA error: uncorrectable "
         "ECC error encountered\nCUDA kernel errors might be asynchronously reported", "device_failed"),
        ("", -6, "[rank0]:[E1130 ProcessGroupNCCL.cpp:916] [Rank 0] NCCL watchdog thread terminated with exception: CUDA error: "
         "uncorrectable ECC error encountered", "device_failed"),
        ("", -11, "CUDA error: uncorrectable ECC error encountered", "crashed"),  # a bad address is none that has words
        ("Failed to initialize NVML: Driver/library version mismatch\nstep 00001 (0.1%)\n", 1, "ValueError: no", "crashed"),
        ("", 1, "nvidia-smi failed: Failed to initialize NVML: Driver/library version mismatch", "environment"),
    ],
)  # fmt: skip
def test_warnings_and_other_processes_words_are_weighed(before: str, code: int, after: str, status: str) -> None:
    place = '  File "/opt/venv/lib/python3.12/site-packages/torch/x.py", line 12, in run\n    raise error\n'
    raised = f"Traceback (most recent call last):\n{place}" if code == 1 and "Error: " in after else ""
    assert diagnose(f"{before}{raised}{after}\n", Exit(code, 1.0), Metric()).status.value == status


@pytest.mark.parametrize(
    "log",
    [
        "usage: train.py [-h]\ntrain.py: error: unrecognized arguments: --lrr=0.1\n",
        "Usage: train.py [OPTIONS]\nTry 'train.py --help' for help.\n\nError: No such option: --lrr\n",
        "FATAL Flags parsing error:\n  Unknown command line flag 'lrr'. Did you mean: lr ?\nPass --helpshort for help.\n",
        "Could not override 'train.lrr'.\nTo append to your config use +train.lrr=1\nKey 'lrr' is not in struct\n",
        "usage: train.py [-h] [--config CONFIG]\ntrain.py: error: Unrecognized arguments: --model.lrr=3\n",
        "╭─ Error ─────────────────╮\n│ No such option: --lrr    │\n╰─────────────────────────╯\n",
    ],
)
def test_a_flag_that_the_parser_does_not_know_is_no_fault_of_its_value(log: str) -> None:
    found = diagnose(log, Exit(2, 0.5), Metric())
    assert found.status is TrialStatus.ENVIRONMENT
    assert "lrr" in found.reason
    assert "correct `flag` or `override` in the search space" in found.reason
