"""How many processor cores there are for this process."""

import os


def usable_cores() -> int:
    """Count the cores that this process may use: its share of the machine where the system says it, else all."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
