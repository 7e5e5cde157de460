"""Everything of a benchmark in one folder: tables, statistics, figures, and a page that says what they show."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from nasoseg.data.store import Store
from nasoseg.errors import NasosegError
from nasoseg.evaluation import compare, leakage, ranks, read_results
from nasoseg.evaluation.linked_folders import folders_below
from nasoseg.evaluation.results import UNKNOWN
from nasoseg.evaluation.values import ALL, ORGANS
from nasoseg.labels import identity
from nasoseg.report.boxes import boxes_figure, structures_figure
from nasoseg.report.comparison_page import ComparisonPage
from nasoseg.report.figure_style import CaptionedFigure, method_looks
from nasoseg.report.folds import folds_figure
from nasoseg.report.per_unit import Protocol, all_methods, in_label_order, read_protocols
from nasoseg.report.protocols import has_both, protocols_figure, protocols_table
from nasoseg.report.sample_patients import find_predictions
from nasoseg.report.samples import pick_patients, samples_figure
from nasoseg.report.tables import Costs, structures_table, summarise_all, table_1
from nasoseg.report.text_table import TextTable, markdown_escaped, write_tables, write_text
from nasoseg.report.wording import checked_reference

PAGE = "comparison.md"


def write_comparison(
    run_folders: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    store: Store | None = None,
    reference: str | None = None,
    organs: Sequence[str] | None = None,
    costs: Costs | None = None,
) -> Path:
    """Write tables, statistics, figures and ``comparison.md``, which shows and explains them, into one folder.

    A benchmark need not be complete. A method with fewer folds is marked, and compared on the patients that it shares
    with the reference. What cannot be made is left out, and the page says why: leakage without runs of both protocols,
    samples without predictions. Files that an earlier call left in ``out`` and that are not made now are removed.

    Args:
        run_folders: Runs that were tested, or folders of them.
        out: The folder; made where it is not there.
        store: The store of the runs, for the samples (Fig. 3).
        reference: The method that the others are compared with; the first one by default.
        organs: The structures of the headline; all by default.
        costs: Parameters and FLOPs for one image of methods.

    Returns:
        The path of ``comparison.md``.

    Raises:
        NasosegError: If the results do not belong together, are of another store, lack the reference or an organ, or
            the folder cannot be written.
    """
    folders = [Path(folder) for folder in run_folders]
    out = Path(out)
    table = in_label_order(read_results(folders))
    protocols = read_protocols(table, organs=organs)
    reference = checked_reference(reference, all_methods(protocols))
    if store is not None:
        _check_store(store, table)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / PAGE).unlink(missing_ok=True)  # written last: where it is, all that it shows is of one comparison
    except OSError as error:
        raise NasosegError(f"{out}: cannot be made ({error}): choose another folder with --out") from error
    headline = ALL if organs is None else ORGANS
    page = ComparisonPage(table, protocols, reference=reference, headline=headline)
    files = _Files(out, page)

    rivals = any(reference in protocol.methods and len(protocol.methods) > 1 for protocol in protocols)
    statistics = compare(table, reference=reference, organs=organs) if rivals else None
    summary = summarise_all(table, organs=organs)
    ranked = ranks(table, organs=organs) if rivals else None
    page.add_findings(statistics, ranked)
    files.csv("all_rows", table, "every value of every run")
    files.csv("summary", summary, "every metric and averaging: means, intervals, counts")
    if statistics is not None and ranked is not None:
        files.csv("statistics", statistics, f"every method against {reference}: differences, intervals, tests")
        files.csv("ranks", ranked, "mean ranks of the methods")

    named = [(protocol.name, list(protocol.incomplete())) for protocol in protocols]
    first = [table_1(summary, protocol=name, incomplete=lacking, costs=costs) for name, lacking in named]
    files.tables("table_1", "Table 1", first)
    structures = [structures_table(summary, protocol=name, incomplete=lacking) for name, lacking in named]
    files.tables("structures", "Structures", structures)

    samples, reason = find_samples(folders, store, protocols, reference=reference)
    files.figure("fig3", "Fig. 3: samples", samples, reason)
    files.figure("fig4", "Fig. 4: folds", folds_figure(protocols))
    looks = method_looks(all_methods(protocols))
    files.figure("fig5", "Fig. 5: boxes", boxes_figure(protocols, looks=looks))
    for protocol in protocols:
        of_protocol = statistics if statistics is not None and reference in protocol.methods else None
        figure = structures_figure(protocol, of_protocol, reference=reference, looks=looks)
        files.figure(f"structures_{protocol.name}", f"Structures, protocol {protocol.name}", figure)
    _write_leakage(files, table, organs=organs, headline=headline)
    path = write_text(out / PAGE, page.text())
    files.remove_old()
    return path


class _Files:
    """Write the files of a comparison, and tell the page of each."""

    def __init__(self, out: Path, page: ComparisonPage) -> None:
        self._out = out
        self._page = page
        self._written = {out / PAGE}

    def csv(self, stem: str, table: pd.DataFrame, meaning: str) -> None:
        text = table.to_csv(index=False, float_format="%.6g", lineterminator="\n")
        self._written.add(write_text(self._out / f"{stem}.csv", text))
        self._page.add_file(f"{stem}.csv", meaning)

    def tables(self, stem: str, title: str, tables: Sequence[TextTable]) -> None:
        self._written.update(write_tables(self._out / stem, tables))
        self._page.add_tables(title, stem, tables)

    def figure(self, stem: str, title: str, figure: CaptionedFigure | None, reason: str = "") -> None:
        if figure is None:
            self._page.add_missing(title, reason)
            return
        self._written.update(figure.write(self._out / stem))
        self._page.add_figure(title, stem, figure.caption)

    def remove_old(self) -> None:
        """Remove what an earlier comparison wrote here and this one did not: it would not fit the page."""
        stems = ["fig3", "leakage", "statistics", "ranks", "structures_clean", "structures_paper"]
        for stem in stems:
            for ending in ("png", "pdf", "md", "tex", "csv"):
                path = self._out / f"{stem}.{ending}"
                if path not in self._written:
                    path.unlink(missing_ok=True)


def _check_store(store: Store, table: pd.DataFrame) -> None:
    found = {name for name in table["store"] if name != UNKNOWN}
    if found and found != {store.short_sha256}:
        raise NasosegError(
            f"{store.path}: is the store {store.short_sha256}, the results are of"
            f" {', '.join(sorted(found))}: name the store that the runs were trained on"
        )


def find_samples(
    run_folders: Sequence[Path], store: Store | None, protocols: Sequence[Protocol], *, reference: str
) -> tuple[CaptionedFigure | None, str]:
    """Draw Fig. 3, or say why it cannot be drawn."""
    clean = next((protocol for protocol in protocols if protocol.name != "paper"), None)
    if store is None:
        return None, "No store was given, which holds the CT and the truth."
    if clean is None:
        return None, "There are runs of protocol paper only, which tests single slices: they make no volume to predict."
    folders: dict[str, list[Path]] = {}
    for method, folder in _prediction_folders(run_folders):
        folders.setdefault(method, []).append(folder)
    methods = [method for method in clean.methods if method in folders]
    judge = reference if reference in clean.methods else clean.methods[0]
    scored = [set(clean.cells[method].columns[clean.cells[method].notna().any()]) for method in [*methods, judge]]
    wanted = [name for name in clean.structures if all(name in names for names in scored)]
    # in the order of the store, under the names that the predictions have
    at = {identity(name): place for place, name in enumerate(store.names)}
    structures = sorted((name for name in wanted if identity(name) in at), key=lambda name: at[identity(name)])
    predictions = {method: find_predictions(folders[method], structures) for method in methods}
    predictions = {method: found for method, found in predictions.items() if found}
    if not predictions or not structures:
        return None, "There are no whole predictions: run `nasoseg predict` with the config.yaml of a run."
    scores = {method: clean.patients(method) for method in (judge, *predictions)}
    shared = set.intersection(*map(set, predictions.values()), set(store.keys), set(scores[judge].index))
    if not shared:
        return (
            None,
            f"No patient was predicted by every method that has predictions and scored by {markdown_escaped(judge)}.",
        )
    picks = pick_patients(scores[judge], sorted(shared))
    figure = samples_figure(store, predictions, picks=picks, structures=structures, scores=scores, reference=judge)
    without = [method for method in clean.methods if method not in predictions]
    said = f" Methods without predictions: {', '.join(without)}." if without else ""
    return CaptionedFigure(figure.figure, figure.caption + said), ""


def _prediction_folders(run_folders: Sequence[Path]) -> list[tuple[str, Path]]:
    """Find the predictions of the runs, each with the name of its method."""
    found: dict[Path, str] = {}
    for folder in run_folders:
        root = folder if folder.is_dir() else folder.parent
        for predictions in sorted(below / "predictions" for below in folders_below(root)):
            metrics = predictions.with_name("metrics.csv")
            if predictions.is_dir() and metrics.is_file():
                found[predictions.resolve()] = str(pd.read_csv(metrics, nrows=1, dtype=str)["method"].iloc[0])
    return [(method, folder) for folder, method in found.items()]


def _write_leakage(files: _Files, table: pd.DataFrame, *, organs: Sequence[str] | None, headline: str) -> None:
    title = "Leakage: protocols side by side"
    if not {"paper", "clean"} <= set(table["protocol"]):
        files.figure("leakage", title, None, "There are results of one protocol only.")
        return
    compared = leakage(table, organs=organs)
    if not has_both(compared, headline):
        files.figure("leakage", title, None, "No method was run under both protocols.")
        return
    files.figure("leakage", title, protocols_figure(compared, headline=headline))
    files.tables("leakage", "Leakage: the numbers", [protocols_table(compared, headline=headline)])
