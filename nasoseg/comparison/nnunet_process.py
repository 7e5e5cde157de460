"""One command of nnU-Net: its output in a log, its end watched, its processes ended with it."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from nasoseg.errors import NasosegError
from nasoseg.locks import file_lock

_LINES_SHOWN = 12
_TAIL_BYTES = 16_384
_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 10.0  # between asking processes to end and ending them


def run_logged(
    command: Sequence[str],
    *,
    log: Path,
    variables: Mapping[str, str],
    descriptor: int,
    watch: Callable[[str], None] = lambda tail: None,
) -> None:
    """Run a command to its end; append what it prints to a log.

    The command and all processes that it starts are one group, which is ended when this process is interrupted or
    terminated, and when the command has ended, so that no worker of nnU-Net is left over.

    Args:
        command: Program and arguments.
        log: The log.
        variables: Environment variables, all of them.
        descriptor: Of a lock that the command holds too, so that it is seen if it outlives this process.
        watch: Called twice a second with the end of the log.

    Raises:
        NasosegError: If the command fails, with its last lines and the log's path.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output, _terminated_as_interrupted():
        output.write(f"\n$ {' '.join(command)}\n".encode())
        output.flush()
        began = output.tell()
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(variables),
            start_new_session=True,
            pass_fds=(descriptor,),
        )
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_POLL_SECONDS)
                watch(_tail(log, began))
                if process.returncode is not None:
                    break
        finally:
            _end_group(process)
    if process.returncode:
        raise NasosegError(_fault(command, process.returncode, _tail(log, began), log))


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold a lock file, and give its descriptor.

    Raises:
        NasosegError: If another process holds it.
    """
    with file_lock(path) as descriptor:
        if descriptor is None:
            raise NasosegError(
                f"--run: another process works in {path.parent}, perhaps an nnU-Net that a killed one left: wait for"
                " its end or end it, or choose another folder"
            )
        yield descriptor


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM, which a scheduler sends, do what Ctrl-C does: the command's group is not ours and must be ended."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the group to end, unless it has, and then end what is left of it."""
    with suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE_SECONDS)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(log: Path, began: int) -> str:
    """Read the end of a log, from byte ``began`` on."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(began, size - _TAIL_BYTES))
        return file.read().decode("utf-8", errors="replace")


def _fault(command: Sequence[str], code: int, tail: str, log: Path) -> str:
    lines = [line[:200] for line in tail.splitlines() if line.strip()][-_LINES_SHOWN:]
    ended = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
    remedy = ""
    if "out of memory" in tail.lower() or code == -signal.SIGKILL:
        remedy = "\nIt ran out of memory: try a smaller --batch-size, or fewer --processes, in another --run."
    shown = "".join(f"\n  {line}" for line in lines)
    return f"{Path(command[0]).name} {ended}. Its last lines in {log}:{shown}{remedy}"
