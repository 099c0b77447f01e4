"""What PyTorch says when the GPU's memory is full."""


class OutOfMemoryError(RuntimeError):
    pass


OutOfMemoryError.__module__ = "torch"
print("step 00001 (1.0%) | loss: 4.000000 | remaining: 300s", end="")
raise OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB")
