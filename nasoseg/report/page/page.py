"""Write the page of a run or a benchmark."""

import os
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nasoseg.errors import NasosegError, writing
from nasoseg.evaluation import compare, ranks, read_results
from nasoseg.evaluation.bootstrap import RESAMPLES
from nasoseg.evaluation.values import ALL, ORGANS
from nasoseg.files import whole_file
from nasoseg.report.page.cases import gather_cases
from nasoseg.report.page.facts import configs, facts, headlines, splits, title
from nasoseg.report.page.figures import leakage_figure, learning_figure, samples_figure, score_figures
from nasoseg.report.page.findings import find
from nasoseg.report.page.rendering import render
from nasoseg.report.page.runs import find_store, read_runs
from nasoseg.report.page.sortable import patients_sortable, structures_sortable, summarised
from nasoseg.report.per_unit import all_methods, in_label_order, read_protocols
from nasoseg.report.samples import WINDOW_HU
from nasoseg.report.tables import summarise_all, table_1
from nasoseg.report.wording import checked_reference

PAGE = "report.html"

Progress = Callable[[str, int, int], None]

_STEPS = ("results", "statistics", "tables", "figures", "learning curves", "cases", "page")


def write_page(
    paths: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    store: str | os.PathLike[str] | None = None,
    reference: str | None = None,
    organs: Sequence[str] | None = None,
    force: bool = False,
    resamples: int = RESAMPLES,
    progress: Progress = lambda what, done, total: None,
) -> Path:
    """Write ``report.html``, one page that needs nothing else: tables, statistics, figures, curves and cases.

    The same runs give the same bytes. What cannot be made is left out, and the page says why. Runs without results
    are named.

    Args:
        paths: Run folders, folders of such folders (a benchmark's), or ``metrics.csv`` files.
        out: The folder; made where it is not there.
        store: The store of the runs, for Fig. 3 and the cases; by default the one that the runs' configs name.
        reference: The method that the others are compared with; the first one by default.
        organs: The structures of the headline; all by default.
        force: Whether a page that is there is written over.
        resamples: How often patients are drawn for an interval.
        progress: Called after every step.

    Returns:
        The path of the page.

    Raises:
        NasosegError: If there is no result, results do not belong together, the store is another one, there is no
            such reference or organ, the page exists, or it cannot be written.
    """
    path = Path(out) / PAGE
    _check_free(path, force=force)
    steps = _Steps(progress)
    runs = read_runs(paths)
    folders = [run.folder for run in runs.tested]
    table = in_label_order(read_results(folders))
    protocols = read_protocols(table, organs=organs)
    reference = checked_reference(reference, all_methods(protocols))
    found_store, no_store = find_store(runs, given=store)
    headline = ALL if organs is None else ORGANS
    steps.done("results")

    rivals = any(reference in protocol.methods and len(protocol.methods) > 1 for protocol in protocols)
    options: dict[str, Any] = {"organs": organs, "resamples": resamples}
    statistics = compare(table, reference=reference, **options) if rivals else None
    ranked = ranks(table, organs=organs) if rivals else None
    steps.done("statistics")
    summary = summarise_all(summarised(table), **options)
    lacking = {protocol.name: list(protocol.incomplete()) for protocol in protocols}
    tables = [
        table_1(summary, protocol=name, incomplete=incomplete, costs=runs.costs())
        for name, incomplete in lacking.items()
    ]
    steps.done("tables")
    figures = [
        samples_figure(folders, found_store, no_store, protocols, reference=reference),
        *score_figures(protocols, statistics, reference=reference),
        leakage_figure(table, organs=organs, headline=headline, resamples=resamples),
    ]
    steps.done("figures")
    curves = learning_figure(runs, all_methods(protocols))
    steps.done("learning curves")
    cases = gather_cases(runs, found_store, no_store, protocols, reference=reference)
    steps.done("cases")
    text = render(
        {
            "title": title(all_methods(protocols)),
            "facts": facts(table, protocols, reference=reference, headline=headline),
            "headlines": headlines(summary, protocols, headline=headline),
            "findings": find(
                protocols,
                statistics,
                ranked,
                reference=reference,
                headline=headline,
            ),
            "tables": tables,
            "figures": figures,
            "sortables": [structures_sortable(summary), patients_sortable(table, organs=organs)],
            "curves": curves,
            "cases": cases,
            "window": WINDOW_HU,
            "runs": runs,
            "splits": splits(runs),
            "configs": configs(runs),
            "version": version("nasoseg"),
        }
    )
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    steps.done("page")
    return path


class _Steps:
    """Tell of the steps that are done."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def done(self, what: str) -> None:
        self._progress(what, _STEPS.index(what) + 1, len(_STEPS))


def _check_free(path: Path, *, force: bool) -> None:
    """Check before the work that the page can be written."""
    if path.parent.exists() and not path.parent.is_dir():
        raise NasosegError(f"--out: {path.parent} is a file, expected a folder: choose another name")
    if path.is_dir():
        raise NasosegError(f"--out: {path} is a folder, expected room for a file: choose another --out")
    if path.exists() and not force:
        raise NasosegError(
            f"--out: {path} exists already: choose another folder, or pass --force to write over the page"
        )
