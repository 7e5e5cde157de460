"""The HTML: the template with everything put into it, and figures as part of the text."""

import base64
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG

from nasoseg.report.figure_style import DOTS_PER_INCH, CaptionedFigure, house_style


@dataclass(frozen=True)
class EmbeddedFigure:
    """Hold a figure as the page shows it.

    Attributes:
        name: Of its element on the page.
        title: Its heading.
        source: The picture itself, as an address ``data:``; empty where it could not be made.
        caption: What is shown; or why there is nothing.
    """

    name: str
    title: str
    source: str
    caption: str


def embed(
    figure: CaptionedFigure | None, *, name: str, title: str, reason: str = "", kind: Literal["svg", "webp"] = "svg"
) -> EmbeddedFigure:
    """Turn a figure into a part of the page; the same figure gives the same text.

    Args:
        figure: None where it could not be made.
        name: Of its element.
        title: Its heading.
        reason: Why there is none, in sentences.
        kind: ``svg`` for lines and texts, ``webp`` where the figure holds CT.
    """
    if figure is None:
        return EmbeddedFigure(name, title, "", f"Left out. {reason}")
    content = io.BytesIO()
    with house_style(), matplotlib.rc_context({"svg.hashsalt": name}):
        if kind == "svg":
            FigureCanvasSVG(figure.figure).print_figure(content, format="svg", metadata={"Date": None})
        else:
            quality = {"quality": 85}
            FigureCanvasAgg(figure.figure).print_figure(content, format="webp", dpi=DOTS_PER_INCH, pil_kwargs=quality)
    mime = "image/svg+xml" if kind == "svg" else "image/webp"
    return EmbeddedFigure(name, title, f"data:{mime};base64,{_base64(content.getvalue())}", figure.caption)


def render(content: Mapping[str, Any]) -> str:
    """Put content into the template; every text in it is escaped.

    The page carries a policy that forbids it to load anything, or to run any script but its own.

    Args:
        content: What the template names.
    """
    environment = Environment(
        loader=PackageLoader("nasoseg.report.page", "html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    style, script = (_source(environment, name) for name in ("page.css", "page.js"))
    template = environment.get_template("page.html")
    return template.render(
        content,
        style=style,
        script=script,
        policy=(
            f"default-src 'none'; img-src data:; script-src 'sha256-{_sha256(script)}';"
            f" style-src 'sha256-{_sha256(style)}'; base-uri 'none'; form-action 'none'"
        ),
    )


def _source(environment: Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _sha256(text: str) -> str:
    return _base64(hashlib.sha256(text.encode()).digest())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
