"""Show the formulas of docstrings as MathML, which browsers draw by themselves: no script, no network.

A hook of mkdocs. Docstrings have formulas as Sphinx writes them: a line ``.. math:: LATEX``, or ``:math:`LATEX```.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

_DISPLAYED = re.compile(r"<p>\s*\.\. math::\s*(.*?)</p>", re.DOTALL)
_INLINE = re.compile(r":math:<code>(.*?)</code>", re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Replace the formulas of a page."""
    content = _DISPLAYED.sub(lambda found: f'<p class="formula">{_mathml(found[1], display="block")}</p>', content)
    return _INLINE.sub(lambda found: _mathml(found[1], display="inline"), content)


def _mathml(latex: str, *, display: str) -> str:
    return str(convert(" ".join(html.unescape(latex).split()), display=display))
