"""Progress of long work, on standard error: a bar on a terminal, a plain line now and then elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 10.0


class ProgressDisplay:
    """Show how much of some work is done; call it as ``display(what, done, total)`` after every piece.

    Args:
        title: What is being done, such as ``preparing``.
        quiet: Whether to show nothing.
    """

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self.title = title
        self.quiet = quiet
        self._console = Console(stderr=True)
        self._bar: Progress | None = None
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        if is_live(self._console) and not self.quiet:
            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[what]}"))
            self._bar = Progress(TextColumn("{task.description}"), *columns, console=self._console)
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=None, what="")
        return self

    def __call__(self, what: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` pieces are done, the last of them being ``what``."""
        if self._bar:
            self._bar.update(self._task, completed=done, total=total, what=what)
        elif not self.quiet and (done == total or time.monotonic() - self._said >= _SECONDS_BETWEEN_LINES):
            self._said = time.monotonic()
            self._console.print(f"{self.title}: {done}/{total} ({what})", markup=False, highlight=False, soft_wrap=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()


def is_live(console: Console) -> bool:
    """Tell whether a bar can be drawn: on a terminal whose cursor moves, whatever FORCE_COLOR says of a pipe."""
    return console.is_terminal and console.file.isatty() and not console.is_dumb_terminal
