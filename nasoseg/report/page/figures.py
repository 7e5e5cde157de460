"""The figures of a page: Fig. 3 to 5, structures, leakage and learning curves, or why one is not there."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from nasoseg.data.store import Store
from nasoseg.errors import NasosegError
from nasoseg.evaluation import leakage
from nasoseg.report.boxes import boxes_figure, structures_figure
from nasoseg.report.comparison import find_samples
from nasoseg.report.figure_style import method_looks
from nasoseg.report.folds import folds_figure
from nasoseg.report.page.curves import Curve, curves_figure, read_curve
from nasoseg.report.page.rendering import EmbeddedFigure, embed
from nasoseg.report.page.runs import Run, Runs, worded
from nasoseg.report.per_unit import Protocol, all_methods
from nasoseg.report.protocols import has_both, protocols_figure


def score_figures(
    protocols: Sequence[Protocol], statistics: pd.DataFrame | None, *, reference: str
) -> list[EmbeddedFigure]:
    """Draw Fig. 4, Fig. 5, and the boxes of every structure, a figure per protocol.

    Args:
        protocols: From ``read_protocols``.
        statistics: From ``compare`` with the reference, for the marks; None draws none.
        reference: The method that the others are compared with.
    """
    looks = method_looks(all_methods(protocols))
    figures = [
        embed(folds_figure(protocols), name="fig-4", title="Fig. 4: folds"),
        embed(boxes_figure(protocols, looks=looks), name="fig-5", title="Fig. 5: boxes"),
    ]
    for number, protocol in enumerate(protocols):
        of_protocol = statistics if statistics is not None and reference in protocol.methods else None
        figure = structures_figure(protocol, of_protocol, reference=reference, looks=looks)
        figures.append(embed(figure, name=f"fig-structures-{number}", title=f"Structures, protocol {protocol.name}"))
    return figures


def leakage_figure(
    table: pd.DataFrame, *, organs: Sequence[str] | None, headline: str, resamples: int
) -> EmbeddedFigure:
    """Draw both protocols side by side.

    Args:
        table: From ``read_results``.
        organs: Structures of the headline; None: all.
        headline: ``all`` or ``organs``.
        resamples: How often patients are drawn for an interval.
    """
    name, title = "fig-leakage", "Leakage: protocols side by side"
    if not {"paper", "clean"} <= set(table["protocol"]):
        return embed(None, name=name, title=title, reason="There are results of one protocol only.")
    compared = leakage(table, organs=organs, resamples=resamples)
    if not has_both(compared, headline):
        return embed(None, name=name, title=title, reason="No method was run under both protocols.")
    return embed(protocols_figure(compared, headline=headline), name=name, title=title)


def samples_figure(
    folders: Sequence[Path], store: Store | None, no_store: str, protocols: Sequence[Protocol], *, reference: str
) -> EmbeddedFigure:
    """Draw Fig. 3.

    Args:
        folders: The run folders.
        store: Has CT and truth.
        no_store: Why there is no store.
        protocols: From ``read_protocols``.
        reference: The method whose scores pick the patients.
    """
    try:
        figure, reason = find_samples(folders, store, protocols, reference=reference)
    except NasosegError as error:  # a prediction that cannot be drawn takes nothing from the numbers
        figure, reason = None, worded(error, folders, store)
    reason = reason if store is not None else no_store
    return embed(figure, name="fig-3", title="Fig. 3: samples", reason=reason, kind="webp")


def learning_figure(runs: Runs, methods: Sequence[str]) -> EmbeddedFigure:
    """Draw the learning curves of all runs that have a log.

    Args:
        runs: The runs.
        methods: All methods of the page, in order.
    """
    name, title = "fig-curves", "Learning curves"
    found = [curve for run in runs.tested if (curve := read_curve(run)) is not None]
    if not found:
        return embed(None, name=name, title=title, reason="No run has a log of its training that can be read.")
    shown = embed(curves_figure(found, looks=method_looks(methods)), name=name, title=title)
    drawn = {_which(curve) for curve in found}
    without = [run.name for run in runs.tested if _which(run) not in drawn]
    said = f" Runs without a log: {'; '.join(without)}." if without else ""
    return EmbeddedFigure(shown.name, shown.title, shown.source, shown.caption + said)


def _which(run: Run | Curve) -> tuple[str, str, str]:
    return run.method, run.protocol, run.fold
