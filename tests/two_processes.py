"""Two real processes that compute together over gloo."""

import socket
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_two(compute: Callable[[int], Any], folder: Path) -> list[Any]:
    """Call a function of a module with the rank, in each of two processes; return what each returned.

    What it returns must be plain data and tensors. A warning is an error.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    store = dist.TCPStore("localhost", port, 2, is_master=True, wait_for_workers=False)
    mp.spawn(_work, (compute, port, str(folder)), nprocs=2)
    del store
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def _work(rank: int, compute: Callable[[int], Any], port: int, folder: str) -> None:
    torch.set_num_threads(1)
    warnings.filterwarnings("error")
    store = dist.TCPStore("localhost", port, 2, is_master=False)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    try:
        torch.save(compute(rank), Path(folder) / f"{rank}.pt")
    finally:
        dist.destroy_process_group()
