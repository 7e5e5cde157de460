"""The look that all figures share: print size, fonts, colours safe for colour-blind readers, files without a date.

Colours are those of Okabe and Ito (2008, "Color universal design"). None carries a meaning alone: methods have their
names or a marker beside it, structures a line style where colours repeat. The user's matplotlib
settings are not used, and are as before afterwards; pyplot is not used, so that no figure is shown or kept.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from io import BytesIO
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure

from nasoseg.errors import NasosegError
from nasoseg.files import whole_file
from nasoseg.labels import structure

WIDTH_MM = 190.0
"""Width of a figure over both columns of a journal's A4 page."""

FONT_PT = 7.5
"""Size of texts; the smallest are 7."""

SMALL_PT = 7.0
DOTS_PER_INCH = 200
MM_PER_INCH = 25.4

_MM_PER_LETTER = 1.5  # a letter of DejaVu Sans is some 0.57 of its size wide

_ORANGE, _SKY, _GREEN, _YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
_BLUE, _VERMILLION, _PURPLE = "#0072B2", "#D55E00", "#CC79A7"
_ON_WHITE = (_BLUE, _VERMILLION, _GREEN, _PURPLE, _ORANGE, _SKY, "#595959")  # yellow is not seen on white
_ON_CT = (_SKY, _ORANGE, _GREEN, _YELLOW, _VERMILLION, _PURPLE, _BLUE)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
LineStyle = Literal["solid", "dashed", "dotted", "dashdot"]
_LINES: tuple[LineStyle, ...] = ("solid", "dashed", "dotted", "dashdot")

_SETTINGS = {
    "font.family": "DejaVu Sans",  # it comes with matplotlib
    "font.size": FONT_PT,
    "axes.titlesize": FONT_PT,
    "axes.labelsize": FONT_PT,
    "xtick.labelsize": SMALL_PT,
    "ytick.labelsize": SMALL_PT,
    "legend.fontsize": SMALL_PT,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.0,
    "lines.markersize": 4.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # fonts as TrueType: text stays text, and publishers refuse type 3
    "savefig.dpi": DOTS_PER_INCH,
    "text.parse_math": False,  # a `$` in a name is a `$`
}

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class CaptionedFigure:
    """Hold a figure and the sentences that belong under it.

    Attributes:
        figure: It is on no screen and in no list of pyplot's.
        caption: Says what is shown, by which rule, and what was left out.
    """

    figure: Figure
    caption: str

    def write(self, stem: str | os.PathLike[str]) -> list[Path]:
        """Write ``stem.pdf`` (vectors) and ``stem.png`` (200 dpi); the same figure gives the same bytes.

        Returns:
            Both paths.

        Raises:
            NasosegError: If a file cannot be written.
        """
        pdf, png = (Path(f"{os.fspath(stem)}.{ending}") for ending in ("pdf", "png"))
        # Drawn in memory: on a full disk matplotlib's PDF file fails again as it closes, with an error of its own.
        vectors, dots = BytesIO(), BytesIO()
        with house_style():
            FigureCanvasPdf(self.figure).print_figure(vectors, format="pdf", metadata={"CreationDate": None})
            FigureCanvasAgg(self.figure).print_figure(
                dots, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None}
            )
        try:
            for path, drawn in ((pdf, vectors), (png, dots)):
                with whole_file(path) as temporary:
                    temporary.write_bytes(drawn.getvalue())
        except OSError as error:
            raise NasosegError(
                f"{pdf}: could not be written ({error}): free disk space, choose another --out"
            ) from error
        return [pdf, png]


@dataclass(frozen=True)
class Look:
    """Say how one method is drawn.

    Attributes:
        colour: Its colour.
        marker: Its marker.
        line: Its line style; it changes when the colours begin again.
        hatch: The pattern of its boxes; it changes with ``line``.
    """

    colour: str
    marker: str
    line: LineStyle
    hatch: str


@contextmanager
def house_style() -> Iterator[None]:
    """Use the house's settings in a block, whatever the user's are; they are as before when it ends."""
    with matplotlib.style.context(_SETTINGS, after_reset=True):
        yield


def in_house_style(function: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function that draws, so that it draws in the house's style."""

    @wraps(function)
    def styled(*args: P.args, **kwargs: P.kwargs) -> T:
        with house_style():
            return function(*args, **kwargs)

    return styled


def new_figure(*, height_mm: float, width_mm: float = WIDTH_MM, layout: str | None = "constrained") -> Figure:
    """Make an empty figure of a size in millimetres."""
    size = (width_mm / MM_PER_INCH, height_mm / MM_PER_INCH)
    return Figure(figsize=size, layout=layout)  # type: ignore[arg-type]  # its stubs list the names


def wrapped(text: str, *, width_mm: float, lines: int = 2) -> str:
    """Break a name after ``_``, ``-``, ``+`` or a space to fit a width; what stays too long loses its middle."""
    most = max(5, int(width_mm / _MM_PER_LETTER))
    result = [""]
    for part in re.findall(r"[^_\-+ ]*[_\-+ ]*", text):
        if result[-1] and len(result[-1]) + len(part.rstrip()) > most and len(result) < lines:
            result.append("")
        result[-1] += part
    return "\n".join(_shortened(line.rstrip(), most) for line in result)


def _shortened(line: str, most: int) -> str:
    """Cut the middle out: names of methods differ at their ends as often as at their beginnings."""
    tail = (most - 1) // 2
    return line if len(line) <= most else f"{line[: most - 1 - tail]}…{line[-tail:]}"


def method_looks(methods: Sequence[str]) -> dict[str, Look]:
    """Give every method a look of its own, by its place in the list."""
    hatches = ("", "//////", "......", "xxxxxx")
    looks = {}
    for i, name in enumerate(methods):
        turn = i // len(_ON_WHITE) % len(_LINES)
        looks[name] = Look(_ON_WHITE[i % len(_ON_WHITE)], _MARKERS[i % len(_MARKERS)], _LINES[turn], hatches[turn])
    return looks


def structure_looks(structures: Sequence[str]) -> dict[str, tuple[str, LineStyle]]:
    """Give every structure a colour and a line style for contours over CT, no two alike for up to 28.

    A structure keeps the colour of ``nasoseg.labels`` where that is one of the safe set and still free; the others
    get the next free pair, solid lines first.
    """
    free = [(colour, line) for line in _LINES for colour in _ON_CT]
    looks: dict[str, tuple[str, LineStyle]] = {}
    for name in structures:
        own: tuple[str, LineStyle] = ("#" + "".join(f"{part:02X}" for part in structure(name).colour), "solid")
        if own in free:
            free.remove(own)
            looks[name] = own
    for i, name in enumerate(name for name in structures if name not in looks):
        looks[name] = free[i % len(free)]
    return {name: looks[name] for name in structures}
