import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("latex2mathml", reason="latex2mathml comes with the extra docs")


@pytest.fixture(scope="module")
def formulas():
    path = Path(__file__).parents[2] / "docs" / "theme" / "formulas.py"
    spec = importlib.util.spec_from_file_location("formulas", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_formulas_become_mathml_and_the_rest_stays(formulas):
    page = (
        "<p>Before.</p>\n<p>.. math:: 1 - \\frac{a}{b} \\text{ where }\nr &lt; 1</p>\n<p>so :math:<code>p^g</code>.</p>"
    )
    shown = formulas.on_page_content(page, page=None)
    assert shown.startswith('<p>Before.</p>\n<p class="formula"><math')
    assert shown.count("<mfrac>") == shown.count("<msup>") == 1
    assert 'display="block"' in shown
    assert ".. math" not in shown
    assert ":math:" not in shown
    assert "where" in shown
    assert "&lt;" in shown or "&#x0003C;" in shown
