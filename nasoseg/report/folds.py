"""The paper's Fig. 4: DSC of every fold, a curve per method."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nasoseg.report.figure_style import CaptionedFigure, Look, in_house_style, method_looks, new_figure
from nasoseg.report.per_unit import Protocol, all_methods
from nasoseg.report.wording import metric_name

_LEAST_SPAN = 0.1  # of the vertical axis: less would show a difference of a thousandth as a cliff


@in_house_style
def folds_figure(protocols: Sequence[Protocol]) -> CaptionedFigure:
    """Draw the headline of every fold: a panel per protocol, a curve with markers per method.

    A fold without a value leaves a gap in its curve.

    Args:
        protocols: From ``read_protocols``.
    """
    methods = all_methods(protocols)
    looks = method_looks(methods)
    legend_rows = -(-len(methods) // 4)
    figure = new_figure(height_mm=62 + 4.5 * legend_rows)
    panels = figure.subplots(1, len(protocols), sharey=True, squeeze=False)[0]
    for axes, protocol in zip(panels, protocols, strict=True):
        _draw(axes, protocol, looks)
    low, high = panels[0].get_ylim()  # which all share
    if high - low < _LEAST_SPAN:
        panels[0].set_ylim((low + high - _LEAST_SPAN) / 2, (low + high + _LEAST_SPAN) / 2)
    panels[0].set_ylabel(f"mean {metric_name(protocols[0].metric)} of the fold")
    _legend(figure, looks)
    return CaptionedFigure(figure, _caption(protocols))


def _draw(axes: Axes, protocol: Protocol, looks: Mapping[str, Look]) -> None:
    places = np.arange(len(protocol.folds))
    # One fold has no curves to follow: its markers would lie on each other.
    apart = np.linspace(-0.3, 0.3, len(protocol.methods)) if len(places) == 1 < len(protocol.methods) else None
    for i, method in enumerate(protocol.methods):
        look = looks[method]
        means = protocol.fold_means(method)
        axes.plot(
            places if apart is None else places + apart[i],
            means.to_numpy(float),
            color=look.colour,
            marker=look.marker,
            linestyle=look.line,
            markeredgecolor="white",
            markeredgewidth=0.4,
            label=method,
        )
    axes.set_title(f"protocol {protocol.name}")
    axes.set_xlabel("fold")
    axes.set_xticks(places, protocol.folds)
    axes.margins(x=0.08 if len(places) > 1 else 0.3)
    axes.grid(axis="y")


def _legend(figure: Figure, looks: Mapping[str, Look]) -> None:
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.line, label=method)
        for method, look in looks.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), handlelength=3)


def _caption(protocols: Sequence[Protocol]) -> str:
    one = protocols[0]
    text = (
        f"Mean {metric_name(one.metric)} of every fold (averaging {one.averaging}: mean over the fold's patients, then"
        f" over {len(one.headline)} structures: {', '.join(one.headline)}). The vertical axis does not begin at 0."
    )
    for protocol in protocols:
        if gone := [f"{method} has {found} only" for method, found in protocol.incomplete().items()]:
            text += f" Protocol {protocol.name}: {'; '.join(gone)}."
    return text
