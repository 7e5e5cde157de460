"""Commands as any shell starts them."""

import os
import signal
import subprocess
import sys
from pathlib import Path


class Running:
    """A command at work."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def wait(self, seconds: float | None = None) -> int | None:
        """Return the exit code, or None where it has not ended within the time."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None


class PlainCommands:
    """Start ``python -m nasoseg``."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: object, log: Path) -> Running:
        """Start ``nasoseg ARGUMENTS``, its output in a file."""
        command = [sys.executable, "-m", "nasoseg", *map(str, arguments)]
        with log.open("ab") as file:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=log.parent, start_new_session=True
            )
        self._started.append(process)
        return Running(process)

    def run(self, *arguments: object, log: Path) -> tuple[int, str]:
        """Run ``nasoseg ARGUMENTS`` to its end; return the exit code and what it printed this time."""
        before = log.stat().st_size if log.exists() else 0
        code = self.start(*arguments, log=log).wait(600)
        assert code is not None, f"no end after 600 s: {arguments}"
        return code, log.read_bytes()[before:].decode(errors="replace")

    def kill_all(self) -> None:
        """Kill what was started and is not over, and all that it started, with signal 9, the oldest first."""
        for process in self._started:
            if process.poll() is None:
                for pid in [process.pid, *_descendants(process.pid)]:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
        self._started = [process for process in self._started if process.poll() is None]


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return [one for child in children for one in (child, *_descendants(child))]
