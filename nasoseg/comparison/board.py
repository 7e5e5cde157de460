"""What runs, how far, and the time left: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nasoseg.comparison.jobs import Job
from nasoseg.comparison.work import Progress, State
from nasoseg.progress import is_live

_SECONDS_BETWEEN_LINES = 60.0
_STYLE: Mapping[State, str] = {
    "waiting": "dim",
    "running": "bold",
    "elsewhere": "bold",
    "done": "green",
    "failed": "red",
    "stopped": "yellow",
}


class Board:
    """Show the state of every job: a row a method, a column a fold.

    Args:
        jobs: All jobs, in their order.
        slots: How many run at once, for the time left.
        quiet: Say nothing.
    """

    def __init__(self, jobs: Sequence[Job], *, slots: int, quiet: bool = False) -> None:
        self.jobs = list(jobs)
        self.slots = slots
        self.quiet = quiet
        self.states: dict[str, State] = {job.name: "waiting" for job in jobs}
        self.progress: dict[str, Progress] = {}
        self.scores: dict[str, float] = {}
        self._console = Console(stderr=True)
        self._live: Live | None = None
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        if is_live(self._console) and not self.quiet:
            self._live = Live(self, console=self._console, refresh_per_second=2)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, job: Job, state: State, *, progress: Progress | None = None, score: float | None = None) -> None:
        """Take a job's state; say it where no table shows it."""
        changed = self.states[job.name] != state
        self.states[job.name] = state
        if progress is not None:
            self.progress[job.name] = progress
        if score is not None:
            self.scores[job.name] = score
        due = changed or time.monotonic() - self._said > _SECONDS_BETWEEN_LINES
        if self._live is None and not self.quiet and due:
            self._said = time.monotonic()
            cell = self._cell(job).plain
            shown = state if cell in (state, ".") else f"{state} {cell}"
            self._console.print(f"{job.name}: {shown}  ({self.footer()})", highlight=False, soft_wrap=True)

    def footer(self) -> str:
        """Word what is done, what runs, what failed, and the time left."""
        count = {state: sum(1 for s in self.states.values() if s == state) for state in _STYLE}
        parts = [f"{count['done']} of {len(self.jobs)} done"]
        parts += [f"{count[state]} {state}" for state in ("running", "elsewhere", "failed", "stopped") if count[state]]
        left = self.seconds_left()
        return ", ".join(parts) + (f", about {_duration(left)} left" if left else "")

    def seconds_left(self) -> float | None:
        """Estimate the time left from the last epoch of every method that has trained one; None before that.

        A method that has not begun is taken to cost the mean of the others.
        """
        by_method: dict[str, list[tuple[float, int]]] = {}
        for job in self.jobs:
            known = self.progress.get(job.name)
            if known is not None and known.seconds:
                by_method.setdefault(job.method, []).append((known.seconds, known.epochs))
        whole = {m: sum(s * e for s, e in values) / len(values) for m, values in by_method.items()}
        if not whole:
            return None
        mean = sum(whole.values()) / len(whole)
        total = longest = 0.0
        for job in self.jobs:
            if self.states[job.name] not in ("waiting", "running", "elsewhere"):
                continue
            known = self.progress.get(job.name)
            share = 1 - known.epoch / known.epochs if known else 1.0
            seconds = share * whole.get(job.method, mean)
            total += seconds
            longest = max(longest, seconds)
        return max(total / self.slots, longest)

    def __rich__(self) -> Group:
        """Draw the table."""
        folds = sorted({job.fold for job in self.jobs})
        table = Table()
        table.add_column("protocol")
        table.add_column("method")
        for fold in folds:
            table.add_column(f"fold {fold}", justify="right", no_wrap=True)
        cells = {(job.protocol, job.method, job.fold): self._cell(job) for job in self.jobs}
        for protocol, method in dict.fromkeys((job.protocol, job.method) for job in self.jobs):
            table.add_row(protocol, method, *(cells.get((protocol, method, fold), Text("")) for fold in folds))
        return Group(table, Text(self.footer() + "; DSC in brackets: validation", style="dim"))

    def _cell(self, job: Job) -> Text:
        state = self.states[job.name]
        text: str = state
        known = self.progress.get(job.name)
        if state == "waiting":
            text = "."
        elif state == "done":
            score = self.scores.get(job.name)
            text = "done" if score is None else f"{score:.3f}"
        elif state in ("running", "elsewhere") and known:
            text = f"{known.epoch}/{known.epochs}" + (f" ({known.dsc:.3f})" if known.dsc is not None else "")
        return Text(text, style=_STYLE[state])


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{max(1, minutes)} min"
