"""One job at work: its commands one after the other, each a process of its own, what they print in a log."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from nasoseg.comparison.jobs import Job

State = Literal["waiting", "running", "elsewhere", "done", "failed", "stopped"]

_PATIENCE_SECONDS = 20.0  # after Ctrl-C, for Lightning to end an epoch's bookkeeping
_EPOCH = re.compile(r"^epoch (\d+)/(\d+)(.*)$", re.MULTILINE)
_DSC = re.compile(r"  val dsc ([\d.]+|nan)")
_SECONDS = re.compile(r"  (\d+) s$")
_TAIL_BYTES = 20_000


class Work:
    """Run what is left of a job.

    Args:
        job: The job.
        environment: Variables added to the processes' environment.
    """

    def __init__(self, job: Job, *, environment: Mapping[str, str] | None = None) -> None:
        self.job = job
        self.environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self.state: State = "waiting"
        self.fault = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._claim = ExitStack()
        self._descriptor: int | None = None
        self._begun: tuple[str, ...] | None = None

    def start(self) -> None:
        """Begin, unless the job is done or another process is at it."""
        self._descriptor = self._claim.enter_context(self.job.claimed())
        if self._descriptor is None:
            self._claim.close()
            self.state = "elsewhere"
            return
        self.state = "running"
        self._next()

    def poll(self) -> State:
        """Go on to the next command where one has ended; return the state."""
        if self.state == "elsewhere":
            if self.job.done:
                self.state = "done"
            else:
                self.start()  # what outlived a killed benchmark may have ended without doing all that is left
        if self.state == "running" and self._process is not None and (code := self._process.poll()) is not None:
            if code == 0:
                self._next()
            else:
                self._fail(_reason(code, self._tail()))
        return self.state

    def stop(self) -> None:
        """End the running command as Ctrl-C would, so that it can be resumed; kill it if it does not end."""
        if self._process is not None and self._process.poll() is None:
            for number, seconds in ((signal.SIGINT, _PATIENCE_SECONDS), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
                self._signal(number)
                try:
                    self._process.wait(seconds)
                    break
                except subprocess.TimeoutExpired:
                    continue
        if self.state == "running":
            self.state = "stopped"
        self._claim.close()

    def run(self) -> State:
        """Run to the end, in this process."""
        self.start()
        try:
            while self.poll() == "running" and self._process is not None:
                self._process.wait()
        finally:
            self.stop()
        return self.state

    def progress(self) -> "Progress | None":
        """Return what the newest epoch's line in the log says."""
        return read_progress(self._tail())

    def _next(self) -> None:
        left = self.job.commands()
        if not left:
            self.state = "done"
            self._claim.close()
            return
        if left[0] == self._begun:  # it ended well, yet did not leave what it is for
            self._fail(f"`{' '.join(left[0][2:5])}` ended without its result")
            return
        self._begun = left[0]
        assert self._descriptor is not None
        with self.job.log.open("ab") as log, _interruptible():
            log.write(f"\n$ {' '.join(left[0])}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                left[0],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,  # Ctrl-C comes from `stop` alone, once
                pass_fds=(self._descriptor,),  # see Job.claimed
            )

    def _fail(self, fault: str) -> None:
        self.state = "failed"
        self.fault = fault
        self._claim.close()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _tail(self) -> str:
        try:
            with self.job.log.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - _TAIL_BYTES))
                return file.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""


@dataclass(frozen=True)
class Progress:
    """Hold how far a training is.

    Attributes:
        epoch: Epochs finished.
        epochs: Epochs of all.
        dsc: Validation DSC of the last one, or None.
        seconds: What the last one took, or None.
    """

    epoch: int
    epochs: int
    dsc: float | None
    seconds: float | None


def read_progress(log: str) -> Progress | None:
    """Read the last epoch's line of the newest command in a log; None before the first."""
    newest = log.rpartition("\n$ ")[2]
    found = list(_EPOCH.finditer(newest))
    if not found:
        return None
    epoch, epochs, rest = found[-1].groups()
    dsc, seconds = _DSC.search(rest), _SECONDS.search(rest)
    return Progress(int(epoch), int(epochs), float(dsc[1]) if dsc else None, float(seconds[1]) if seconds else None)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let a child be interrupted by `stop` also where this process ignores Ctrl-C, as under `nohup ... &`.

    A child inherits what is ignored, and Python then leaves it so.
    """
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if ignored and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    else:
        yield


def _reason(code: int, log: str) -> str:
    """Word why a command ended: a signal, our own error, or the last line that it printed."""
    lines = [line.strip() for line in log.rpartition("\n$ ")[2].splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("nasoseg ") and ": error: " in line]
    said = errors[-1] if errors else (lines[-1] if len(lines) > 1 else "it printed nothing")
    if code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}{', perhaps for want of memory' if name == 'SIGKILL' else ''}"
    return f"exit code {code}: {said[:400]}"
