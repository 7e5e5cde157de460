"""Commands as processes that need not import anything: a process that has done so forks itself for each.

Importing torch and Lightning takes seconds, and every kill needs two starts. The server imports all of it, makes sure
that it has one thread alone, and from then on forks a child for every command. The child is what ``python -m nasoseg``
would be: a process in a session of its own, which runs the package's ``__main__`` and ends with its code.

What a command starts itself (``sys.executable -m nasoseg ...``, as ``benchmark`` does) is forked by the server, too: in
the children ``sys.executable`` is a script that hands its arguments and open files to the server and waits. A script
that is killed takes its command with it.
"""

import contextlib
import ctypes
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

IMPORTED = (
    *("nasoseg.cli.training", "nasoseg.comparison.benchmark", "nasoseg.report.page", "nasoseg.report.comparison"),
    *("nasoseg.data.prepare", "nasoseg.inference.task_model", "nasoseg.inference.segment", "nasoseg.inference.summary"),
    *("nasoseg.volumes.dicom_seg", "nasoseg.cli.prepare", "nasoseg.cli.segment", "nasoseg.cli.report"),
    *("nasoseg.cli.benchmark", "nasoseg.data.embedded", "nasoseg.inference.cleaning", "torch.utils.flop_counter"),
)


class Running:
    """A command at work."""

    def __init__(self, connection: socket.socket, log: Path | None) -> None:
        self._connection = connection
        self.log = log
        self.pid: int = json.loads(connection.recv(64))

    def wait(self, seconds: float | None = None) -> int | None:
        """Return the exit code, negative for a signal, or None where it has not ended within the time."""
        if not select.select([self._connection], [], [], seconds)[0]:
            return None
        said = self._connection.recv(64)
        self._connection.close()
        return json.loads(said) if said else -signal.SIGKILL

    @property
    def said(self) -> str:
        """What it has printed."""
        return self.log.read_text(errors="replace") if self.log else ""


class Server:
    """The warm process; use it in a ``with`` block, once it has begun."""

    def __init__(self, folder: Path) -> None:
        self.address = str(folder / "socket")
        self.python = folder / "python"
        self.python.write_text(
            f"#!{sys.executable} -SE\nimport sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            f"from warm_process import forward\nforward({self.address!r})\n"
        )
        self.python.chmod(0o755)
        self._process = subprocess.Popen([sys.executable, __file__, self.address, str(self.python)])
        deadline = time.monotonic() + 900
        while not Path(self.address).exists():
            assert self._process.poll() is None, "the warm process did not begin"
            assert time.monotonic() < deadline, "the warm process took more than 900 s to begin"
            time.sleep(0.05)

    def start(self, *arguments: object, log: Path, **conditions: Any) -> Running:
        """Start ``nasoseg ARGUMENTS`` in the log's folder, its output in the log.

        Args:
            arguments: Of the command.
            log: Grows.
            conditions: ``ruled``: whether permissions bind it even where this process is root; ``shm_bytes``: size of a
                /dev/shm of its own; ``clock_seed``: of a clock that jumps.
        """
        request = {"arguments": ["-m", "nasoseg", *map(str, arguments)], "cwd": str(log.parent)} | conditions
        with log.open("ab") as file, open(os.devnull, "rb") as nothing:
            connection = ask(self.address, request, [nothing.fileno(), file.fileno(), file.fileno()])
        return Running(connection, log)

    def run(self, *arguments: object, log: Path, seconds: float = 600, **more: Any) -> tuple[int, str]:
        """Run ``nasoseg ARGUMENTS`` to its end; return the exit code and what it printed this time."""
        before = log.stat().st_size if log.exists() else 0
        running = self.start(*arguments, log=log, **more)
        code = running.wait(seconds)
        if code is None:
            os.killpg(running.pid, signal.SIGKILL)
            raise AssertionError(f"no end after {seconds} s: {arguments}\n{running.said}")
        return code, log.read_bytes()[before:].decode(errors="replace")

    def kill_all(self) -> None:
        """Kill every command that runs, and what it started, with signal 9, the oldest first."""
        with ask(self.address, {"kill": True}, []) as connection:
            connection.recv(64)

    def close(self) -> None:
        """End the server and whatever it runs."""
        self.kill_all()
        self._process.kill()
        self._process.wait()


def ask(address: str, request: Mapping[str, Any], files: Sequence[int]) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(address)
    socket.send_fds(connection, [json.dumps(request).encode()], files)
    return connection


def forward(address: str) -> None:
    """Have a command run by the server as if it were this process; what is open here is open there."""
    files = [0, 1, 2, *sorted(int(name) for name in os.listdir("/proc/self/fd") if int(name) > 2)]
    files = [file for file in files if os.path.exists(f"/proc/self/fd/{file}")]  # that of the listing itself is closed
    request = {"arguments": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ)}
    running = Running(ask(address, request, files), None)
    code = running.wait()
    if code is not None and code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code or 0)


def serve(address: str, python: str) -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    import torch

    from nasoseg.comparison import local

    local._SECONDS_BETWEEN_LOOKS = 0.05  # the jobs of these benchmarks take as long
    torch.set_num_threads(1)
    threads = os.listdir("/proc/self/task")
    assert len(threads) == 1, f"{len(threads)} threads: a fork would not have them"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address + ".new")
    listener.listen(64)
    os.rename(address + ".new", address)
    children: dict[int, socket.socket] = {}
    parent = os.getppid()
    while os.getppid() == parent:
        readable = select.select([listener, *children.values()], [], [], 0.005)[0]
        for pid in [pid for pid, connection in children.items() if connection in readable]:
            _kill(pid)  # who asked for it has gone
        if listener in readable:
            connection, _ = listener.accept()
            data, files, _, _ = socket.recv_fds(connection, 1 << 18, 64)
            request = json.loads(data)
            if request.get("kill"):
                for pid in children:
                    _kill(pid)
                connection.send(b"1")
                connection.close()
            else:
                pid = os.fork()
                if pid == 0:
                    for one in (listener, connection, *children.values()):
                        one.close()
                    _become(request, files, python)
                for file in files:
                    os.close(file)
                children[pid] = connection
                connection.send(json.dumps(pid).encode())
        _reap(children)
    for pid in children:
        _kill(pid)


def _reap(children: dict[int, socket.socket]) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            connection = children.pop(pid)
            with contextlib.suppress(OSError):  # who asked for it may have gone
                connection.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())
            connection.close()


def _kill(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(pid, signal.SIGKILL)  # it has not made its group yet


def _become(request: Mapping[str, Any], files: Sequence[int], python: str) -> None:
    code: Any = 1
    try:
        os.setsid()
        for number, file in enumerate(files[:3]):
            os.dup2(file, number)
            if file > 2:
                os.close(file)
        os.chdir(request["cwd"])
        if "environment" in request:
            os.environ.clear()
            os.environ.update(request["environment"])
        if "shm_bytes" in request:
            _mount_shm(request["shm_bytes"])
        if "clock_seed" in request:
            _let_clock_jump(request["clock_seed"])
        if request.get("ruled") and os.geteuid() == 0:
            _obey_permissions()
        sys.executable = python
        _, module, *arguments = request["arguments"]
        sys.argv = [module, *arguments]
        sys.path.insert(0, request["cwd"])  # as `python -m` does
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))


def _mount_shm(size: int) -> None:
    """Mount a small /dev/shm that this process alone sees, with what it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000):  # CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", "/dev/shm"], check=True)


def _obey_permissions() -> None:
    """Give up root's right to pass over permissions, for this process and what it starts; see capabilities(7).

    Another user would not do: it may not be able to read Python or this package.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: the lower 32 capabilities, then the upper
    faults = [libc.capget(header, sets)]
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        faults.append(libc.prctl(24, capability, 0, 0, 0))  # PR_CAPBSET_DROP
        for number in range(3):
            sets[number] &= ~(1 << capability)
    faults.append(libc.capset(header, sets))
    if any(faults):
        raise OSError(ctypes.get_errno(), "capabilities")


def _let_clock_jump(seed: int) -> None:
    """Have the time of day jump by up to ten days, back and forth, at every look, as Python sees it."""
    draws = random.Random(seed)
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() + draws.uniform(-864000, 864000)
    time.time_ns = lambda: now_ns() + draws.randint(-864000 * 10**9, 864000 * 10**9)


if __name__ == "__main__":
    serve(*sys.argv[1:])
