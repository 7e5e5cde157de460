"""Out of memory, told from other errors."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether memory did not suffice, on whatever device."""
    # On the CPU torch raises a plain RuntimeError that names its allocator.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)
