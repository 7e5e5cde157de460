"""Box plots over patients: the paper's Fig. 5, and one panel per structure with marks of significance.

The paper boxes its five folds. Here the boxes are over patients, which are the units of the statistics, and the folds
are points beside them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from nasoseg.errors import NasosegError
from nasoseg.report.figure_style import (
    FONT_PT,
    SMALL_PT,
    CaptionedFigure,
    Look,
    in_house_style,
    method_looks,
    new_figure,
    wrapped,
)
from nasoseg.report.per_unit import Protocol, all_methods
from nasoseg.report.wording import MARKS_EXPLAINED, mark, metric_name

_BOX_MM = 4.2  # from one box to the next
_NAMES_MM = 34.0
_BOX_IS = (
    "Boxes: quartiles and median over patients; whiskers reach the last patient within 1.5 box lengths, circles are the"
    " patients beyond."
)


@in_house_style
def boxes_figure(protocols: Sequence[Protocol], *, looks: Mapping[str, Look] | None = None) -> CaptionedFigure:
    """Draw a box over patients for every method, a panel per protocol, with the means of the folds as diamonds.

    A patient's value is the mean over the structures that he has; the number of patients stands at the box.

    Args:
        protocols: From ``read_protocols``.
        looks: How each method is drawn; by its place among the methods by default.
    """
    methods = all_methods(protocols)
    looks = looks or method_looks(methods)
    figure = new_figure(height_mm=17 + (_BOX_MM + 2.4) * len(methods))
    panels = figure.subplots(1, len(protocols), sharex=True, sharey=True, squeeze=False)[0]
    for axes, protocol in zip(panels, protocols, strict=True):
        values = {method: protocol.patients(method) for method in protocol.methods}
        _draw_boxes(axes, values, looks, methods=methods)
        for method in protocol.methods:
            means = protocol.fold_means(method).dropna().to_numpy(float)
            height = np.full(len(means), methods.index(method) + 0.38)
            axes.plot(means, height, "D", color="black", markersize=2.6, markerfacecolor="white", markeredgewidth=0.7)
        axes.set_title(f"protocol {protocol.name}")
        axes.set_xlabel(f"{metric_name(protocol.metric)}, mean over a patient's structures")
        axes.set_ylim(len(methods) - 0.4, -0.6)
    panels[0].set_yticks(range(len(methods)), [wrapped(name, width_mm=_NAMES_MM) for name in methods])
    one = protocols[0]
    caption = (
        f"{metric_name(one.metric)} (averaging {one.averaging}) of every patient, mean over the structures that he has"
        f" among {', '.join(one.headline)}. {_BOX_IS} Diamonds: the means of the folds. The paper's Fig. 5 boxes folds;"
        " here patients are boxed, which are the units of the statistics. The number of patients stands to the right."
        " The horizontal axis does not begin at 0."
    )
    return CaptionedFigure(figure, caption)


@in_house_style
def structures_figure(
    protocol: Protocol, statistics: pd.DataFrame | None, *, reference: str, looks: Mapping[str, Look] | None = None
) -> CaptionedFigure:
    """Draw a panel per structure with a box over patients for every method, and marks of significance.

    Args:
        protocol: One of ``read_protocols``.
        statistics: From ``nasoseg.evaluation.compare`` with the same reference; None draws no marks.
        reference: The method that the others were tested against.
        looks: How each method is drawn.

    Raises:
        NasosegError: If no structure has a value.
    """
    methods = protocol.methods
    looks = looks or method_looks(methods)
    structures = [s for s in protocol.structures if any(len(protocol.patients(m, [s])) for m in methods)]
    if not structures:
        raise NasosegError(
            f"protocol {protocol.name}: no patient has a {metric_name(protocol.metric)} of any structure, expected"
            " one or more: test runs whose patients have annotated structures"
        )
    columns = min(3, len(structures))
    rows = -(-len(structures) // columns)
    figure = new_figure(height_mm=9 + rows * (11.5 + _BOX_MM * len(methods)))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, structure in zip(panels.flat, structures, strict=False):
        values = {method: protocol.patients(method, [structure]) for method in methods}
        marks = _marks(statistics, protocol, structure=structure, reference=reference)
        _draw_boxes(axes, values, looks, methods=methods, marks=marks)
        axes.set_title(structure)
        axes.set(xlim=(-0.02, 1.02), ylim=(len(methods) - 0.4, -0.6))
        axes.tick_params(labelbottom=True)
    for axes in list(panels.flat)[len(structures) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_yticks(range(len(methods)), [wrapped(name, width_mm=_NAMES_MM, lines=1) for name in methods])
    figure.supxlabel(metric_name(protocol.metric), fontsize=FONT_PT)
    return CaptionedFigure(figure, _structures_caption(protocol, statistics, reference))


def _draw_boxes(
    axes: Axes,
    values: Mapping[str, "pd.Series[float]"],
    looks: Mapping[str, Look],
    *,
    methods: Sequence[str],
    marks: Mapping[str, str] | None = None,
) -> None:
    """Draw horizontal boxes, one line per method, so that their names can be read; counts and marks to the right."""
    for y, method in enumerate(methods):
        found = values.get(method)
        if found is None:
            continue
        look = looks[method]
        if len(found):
            axes.boxplot(
                [found.to_numpy(float)],
                positions=[y],
                orientation="horizontal",
                widths=0.55,
                patch_artist=True,
                manage_ticks=False,
                boxprops={"facecolor": look.colour, "alpha": 0.75, "linewidth": 0.6, "hatch": look.hatch},
                medianprops={"color": "black", "linewidth": 1.2},
                whiskerprops={"linewidth": 0.7},
                capprops={"linewidth": 0.7},
                flierprops={"marker": "o", "markersize": 2.2, "markeredgewidth": 0.5, "markeredgecolor": "#444444"},
            )
        _write_beside(axes, y, f"{len(found)} {(marks or {}).get(method, '')}".rstrip())
    _write_beside(axes, -0.75, "n", color="#666666")
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)


def _write_beside(axes: Axes, y: float, text: str, **kwargs: Any) -> None:
    place: Any = axes.get_yaxis_transform()
    axes.text(1.02, y, text, transform=place, ha="left", va="center", fontsize=SMALL_PT, clip_on=False, **kwargs)


def _marks(statistics: pd.DataFrame | None, protocol: Protocol, *, structure: str, reference: str) -> dict[str, str]:
    """Word the marks of one structure by method: ``↑**`` higher than the reference, ``↓*`` lower."""
    if statistics is None:
        return {}
    rows = statistics[(statistics["protocol"] == protocol.name) & (statistics["structure"] == structure)]
    rows = rows[(rows["reference"] == reference) & (rows["metric"] == protocol.metric)]
    rows = rows[rows["averaging"] == protocol.averaging]
    marks = {}
    for row in rows.to_dict("records"):
        text = mark(row["p_holm"])
        if text:
            marks[row["method"]] = ("↑" if row["effect"] > 0 else "↓") + text
    return marks


def _structures_caption(protocol: Protocol, statistics: pd.DataFrame | None, reference: str) -> str:
    text = (
        f"{metric_name(protocol.metric)} of every structure (averaging {protocol.averaging}), protocol {protocol.name}."
        f" {_BOX_IS} The number of patients with a value stands to the right."
    )
    if statistics is None:
        return text
    return (
        f"{text} The marks compare with {reference} on the patients that both have: Wilcoxon's signed-rank test,"
        f" corrected by Holm's method over all methods and structures; ↑ higher, ↓ lower; {MARKS_EXPLAINED}."
    )
