"""The paper's Fig. 3: patients x methods, contours over CT beside the truth, picked by a rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Stroke, withStroke

from nasoseg.data.store import Store
from nasoseg.errors import NasosegError
from nasoseg.report.figure_style import (
    FONT_PT,
    SMALL_PT,
    WIDTH_MM,
    CaptionedFigure,
    LineStyle,
    in_house_style,
    new_figure,
    structure_looks,
    wrapped,
)
from nasoseg.report.sample_patients import Contours, ShownPatient, read_patient

if TYPE_CHECKING:
    import pandas as pd

WINDOW_HU = (-160, 240)
"""Soft tissue: level 40, width 400."""

_MOST_PANELS = 7  # in a line: 26 mm each
_WIDEST_PANEL_MM = 44.0
_HIGHEST_MM = 235.0  # of the figure: an A4 page less its caption
_GAP_MM = 0.8
_NAMES_MM = 8.0  # left of the panels: two lines
_LINE_PT = 0.9
_LEGEND_COLUMNS = 5


@dataclass(frozen=True)
class Pick:
    """Name a patient to draw.

    Attributes:
        patient: Its key.
        rule: Why it was picked, in a word or two: ``best``, ``median``, ``worst``.
        score: Its mean DSC by the reference method.
    """

    patient: str
    rule: str
    score: float


def pick_patients(scores: "pd.Series[float]", patients: Sequence[str]) -> list[Pick]:
    """Pick the best, the median and the worst patient; fewer where there are fewer.

    The median is the lower one of an even number; equal scores go by the key.

    Args:
        scores: Mean DSC of every patient by the reference method, indexed by the patient's key.
        patients: Who can be picked: whoever was predicted by all methods.

    Raises:
        NasosegError: If none of the patients has a score.
    """
    ranked = sorted((float(scores[key]), key) for key in patients if key in scores.index and scores[key] == scores[key])
    if not ranked:
        raise NasosegError(
            "predictions: no patient has both a DSC of the reference method and predictions of all methods: run"
            " `nasoseg predict` for the same folds of every method"
        )
    places = {"best": len(ranked) - 1, "median": (len(ranked) - 1) // 2, "worst": 0}
    picks: dict[int, Pick] = {}
    for rule in ("best", "worst", "median"):
        place = places[rule]
        picks.setdefault(place, Pick(ranked[place][1], rule, ranked[place][0]))
    return [picks[place] for place in sorted(picks, reverse=True)]


@in_house_style
def samples_figure(
    store: Store,
    predictions: Mapping[str, Mapping[str, Path]],
    *,
    picks: Sequence[Pick],
    structures: Sequence[str] | None = None,
    scores: "Mapping[str, pd.Series[float]] | None" = None,
    reference: str = "",
) -> CaptionedFigure:
    """Draw the picked patients: CT with the truth, then each method's contours on the same slice.

    The slice is the one with the most annotated structures; of several, the one where they have most voxels. CT
    and contours are drawn in millimetres, each on its own grid, so that nothing is resampled. A structure that was
    not annotated in a patient is not drawn there, also not as predicted: nothing could be seen of its quality.

    Args:
        store: Has the CT and the truth.
        predictions: For every method, the folder of each patient, with a mask ``<structure>.nii.gz`` (or .nii,
            .nrrd, .mha) for each structure on the patient's original grid, as ``nasoseg predict`` writes them.
        picks: The patients, in the order of the rows.
        structures: What is drawn; all of the store by default.
        scores: For every method, the mean DSC of patients by their keys, to be written into the panels.
        reference: The method whose scores the picks go by, for the caption.

    Raises:
        NasosegError: If there is no pick, a patient is not in the store, a method has no prediction of it, or a mask
            is missing, cannot be read, or is on another grid.
    """
    if not picks:
        raise NasosegError("picks: found no patient, expected one or more")
    names = list(structures or store.names)
    rows = [read_patient(store, pick.patient, predictions=predictions, structures=names) for pick in picks]
    seen = {name for row in rows for contours in row.all_contours for name in contours.visible}
    shown = [name for name in names if name in seen]
    looks = structure_looks(names)
    layout = _Layout(rows, list(predictions), legend_rows=-(-len(shown) // _LEGEND_COLUMNS))
    figure = new_figure(height_mm=layout.height_mm, layout=None)
    for pick, row in zip(picks, rows, strict=True):
        for method in (None, *predictions):
            axes = figure.add_axes(layout.panel(row, method))
            _draw(axes, row, row.truth if method is None else row.predicted[method], looks=looks)
            if layout.titled(row):
                axes.set_title(layout.titles[method], pad=2.5)
            if method is None:
                _mark_truth(axes, row)
            elif scores is not None and row.key in scores[method].index:
                _write(axes, 0.97, 0.03, f"{scores[method][row.key]:.2f}", ha="right", va="bottom")
        x, y, width_mm = layout.name(row)
        text = wrapped(f"{pick.rule}: {row.key}, slice {row.slice}", width_mm=width_mm)
        figure.text(x, y, text, rotation=90, ha="center", va="center", fontsize=FONT_PT)
    _legend(figure, {name: looks[name] for name in shown})
    return CaptionedFigure(figure, _caption(store, picks, rows, reference=reference, scored=scores is not None))


class _Layout:
    """Place the panels, in millimetres from the top left, and in fractions of the figure for matplotlib.

    A patient is a row of panels, truth first; many methods make several lines of a row.
    """

    def __init__(self, rows: Sequence[ShownPatient], methods: Sequence[str], *, legend_rows: int) -> None:
        self._rows = rows
        self._panels = [None, *methods]
        self._columns = min(_MOST_PANELS, len(self._panels))
        self._lines = -(-len(self._panels) // self._columns)
        self._width_mm = min(_WIDEST_PANEL_MM, (WIDTH_MM - _NAMES_MM) / self._columns - _GAP_MM)
        per_mm = sum(self._lines * row.aspect for row in rows)  # height of all panels over their width
        for _ in range(2):  # narrower panels break titles into more lines, which take height
            titles = {method: wrapped(method or "CT with truth", width_mm=self._width_mm) for method in self._panels}
            self._title_mm = 2.0 + 3.2 * (1 + max(title.count("\n") for title in titles.values()))
            titles_mm = sum(self._lines * self._title_mm for row in rows if self.titled(row))
            rest_mm = titles_mm + len(rows) * self._lines * _GAP_MM + 4.0 * legend_rows + 3.0
            self._width_mm = min(self._width_mm, (_HIGHEST_MM - rest_mm) / per_mm)
        self.titles = {method: wrapped(method or "CT with truth", width_mm=self._width_mm) for method in self._panels}
        self.height_mm = rest_mm + per_mm * self._width_mm
        used_mm = self._columns * (self._width_mm + _GAP_MM)
        self._left_mm = _NAMES_MM + (WIDTH_MM - _NAMES_MM - used_mm) / 2

    def titled(self, row: ShownPatient) -> bool:
        """Tell whether a row has titles: the first one, for all; each, where a row has several lines."""
        return self._lines > 1 or row is self._rows[0]

    def panel(self, row: ShownPatient, method: str | None) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height of a panel; None is the truth."""
        line, column = divmod(self._panels.index(method), self._columns)
        left_mm = self._left_mm + column * (self._width_mm + _GAP_MM)
        panel_mm = self._width_mm * row.aspect
        bottom_mm = self._top_mm(row) + (line + 1) * (self._title_mm * self.titled(row) + panel_mm) + line * _GAP_MM
        return (
            left_mm / WIDTH_MM,
            1 - bottom_mm / self.height_mm,
            self._width_mm / WIDTH_MM,
            panel_mm / self.height_mm,
        )

    def name(self, row: ShownPatient) -> tuple[float, float, float]:
        """Return where the middle of a row's name goes, and how long it may be, in millimetres."""
        first = self.panel(row, None)
        last = self.panel(row, self._panels[-1])
        top, bottom = first[1] + first[3], last[1]
        return (self._left_mm - 0.5 * _NAMES_MM) / WIDTH_MM, (top + bottom) / 2, (top - bottom) * self.height_mm

    def _top_mm(self, row: ShownPatient) -> float:
        before = self._rows[: next(i for i, other in enumerate(self._rows) if other is row)]
        heights = (self._width_mm * above.aspect + _GAP_MM + self._title_mm * self.titled(above) for above in before)
        return self._lines * sum(heights)


def _draw(axes: Axes, row: ShownPatient, contours: Contours, *, looks: Mapping[str, tuple[str, LineStyle]]) -> None:
    (h, w), (dy, dx) = row.image.shape, row.spacing_mm
    extent = (-dx / 2, (w - 0.5) * dx, (h - 0.5) * dy, -dy / 2)
    low, high = WINDOW_HU
    axes.imshow(row.image, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="bilinear")
    for name, mask in contours.masks.items():
        if mask.any():
            colour, line = looks[name]
            drawn = axes.contour(
                contours.columns_mm,
                contours.rows_mm,
                mask.astype(np.float32),
                levels=[0.5],
                colors=[colour],
                linestyles=[line],
                linewidths=_LINE_PT,
            )
            drawn.set_path_effects([_rim(colour, _LINE_PT + 0.8), Stroke()])
    left, right, top, bottom = row.box_mm
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)


def _rim(colour: str, width_pt: float) -> withStroke:
    """Make a rim that sets a line off: a dark one, so that light lines show on bone; a light one for dark lines."""
    red, green, blue = to_rgb(colour)
    dark = 0.21 * red + 0.72 * green + 0.07 * blue < 0.4
    return withStroke(linewidth=width_pt, foreground="#FFFFFFA0" if dark else "#00000099")


def _mark_truth(axes: Axes, row: ShownPatient) -> None:
    """Write the patient's sides and a scale."""
    _write(axes, 0.03, 0.97, "R", ha="left", va="top")
    _write(axes, 0.97, 0.97, "L", ha="right", va="top")
    left, right, top, bottom = row.box_mm
    bar_mm = 50.0
    start, y = left + 0.04 * (right - left), bottom - 0.05 * (bottom - top)
    axes.plot([start, start + bar_mm], [y, y], color="white", linewidth=1.5, solid_capstyle="butt")
    _write(axes, 0.04, 0.07, "5 cm", ha="left", va="bottom")


def _write(axes: Axes, x: float, y: float, text: str, *, ha: str, va: str) -> None:
    rim = [withStroke(linewidth=1.5, foreground="black")]
    place: Any = {"ha": ha, "va": va, "transform": axes.transAxes}
    axes.text(x, y, text, color="white", fontsize=SMALL_PT, path_effects=rim, **place)


def _legend(figure: Figure, looks: Mapping[str, tuple[str, LineStyle]]) -> None:
    handles = [
        Line2D([], [], color=colour, linestyle=line, linewidth=1.4, path_effects=[_rim(colour, 2.2)], label=name)
        for name, (colour, line) in looks.items()
    ]
    lines = -(-len(handles) // _LEGEND_COLUMNS)
    columns = max(1, -(-len(handles) // max(1, lines)))
    figure.legend(handles=handles, loc="lower center", ncols=columns, handlelength=3, columnspacing=2)


def _caption(store: Store, picks: Sequence[Pick], rows: Sequence[ShownPatient], *, reference: str, scored: bool) -> str:
    by = f" by the mean DSC that {reference} reaches over a patient's structures" if reference else ""
    listed = ", ".join(f"{pick.patient} ({pick.rule}, {pick.score:.3f})" for pick in picks)
    text = (
        f"Contours over CT, window {WINDOW_HU[0]} to {WINDOW_HU[1]} HU, seen from the feet (R: the patient's right);"
        f" slices count from 0, from the feet up."
        f" Patients picked{by}, among those that all methods predicted: {listed}. Of each, the slice with the most"
        " annotated structures, and of several the one where they have most voxels; not chosen by how well it looks."
    )
    if scored:
        text += " The number in a panel is that patient's mean DSC over whole volumes, not of the slice."
    gone = [f"{row.key}: {', '.join(row.not_annotated)}" for row in rows if row.not_annotated]
    if gone:
        text += f" Not annotated, and therefore not drawn for any method: {'; '.join(gone)}."
    return f"{text} Store {store.short_sha256}."
