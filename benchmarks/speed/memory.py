"""The most memory that a piece of work takes."""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_mib(work: Callable[[], object], *, device: str = "cpu") -> float:
    """Run some work, and return by how much memory grew at most while it ran.

    Args:
        work: What to run.
        device: Where its tensors are. On a GPU their memory counts, elsewhere what this process has resident.

    Returns:
        MiB over what was there before; NaN where the system cannot say (resident memory is Linux's).
    """
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    if not _STATUS.is_file():
        work()
        return float("nan")
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim:
        trim(0)  # memory that was freed before must not hide what is taken now
    _CLEAR.write_text("5")  # sets the peak to what is resident now (proc(5))
    before = resident_mib("VmRSS")
    work()
    return resident_mib("VmHWM") - before


def resident_mib(field: str = "VmRSS") -> float:
    """Return the process's resident memory, MiB: ``VmRSS`` now, ``VmHWM`` at its peak."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return float("nan")
