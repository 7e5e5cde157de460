import pandas as pd
import pytest

from nasoseg.errors import NasosegError
from nasoseg.report.text_table import TextTable, latex_escaped, markdown_escaped, write_tables


@pytest.fixture
def table() -> TextTable:
    cells = pd.DataFrame({"model": ["two_stage", "a|b"], "DSC 95 %": ["0.8\n[0.7, 0.9]", "0.6"]})
    bold = pd.DataFrame({"model": [False, False], "DSC 95 %": [True, False]})
    numbers = pd.DataFrame({"model": ["two_stage", "a|b"], "mean": [0.81234567, 0.6]})
    return TextTable(cells, bold, numbers, caption="50 % of p_1", label="x", groups=(1,))


def test_markdown(table):
    assert table.markdown().splitlines() == [
        r"50 % of p\_1",
        "",
        "| model | DSC 95 % |",
        "| :-- | --: |",
        r"| two\_stage | **0.8<br>[0.7, 0.9]** |",
        r"| a\|b | 0.6 |",
    ]


def test_latex_escapes_names_and_rules_off_the_groups(table):
    lines = table.latex().splitlines()
    assert r"\caption{50 \% of p\_1}" in lines
    body = lines[lines.index(r"\toprule") : lines.index(r"\bottomrule") + 1]
    assert body == [
        r"\toprule",
        r"model & DSC 95 \% \\",
        r"\midrule",
        r"two\_stage & \textbf{0.8} \\",
        r" & {\footnotesize \textbf{{[}0.7, 0.9]}} \\",
        r"\midrule",
        r"a|b & 0.6 \\",
        r"\bottomrule",
    ]
    assert r"\begin{tabular}{lr}" in lines


def test_escapes_of_every_letter_that_means_something():
    assert latex_escaped(r"a_b & 5% of #1 {x} ~^ \y $") == (
        r"a\_b \& 5\% of \#1 \{x\} \textasciitilde{}\textasciicircum{} \textbackslash{}y \$"
    )
    assert latex_escaped("\N{MINUS SIGN}0.1 < 1") == r"$-$0.1 \textless{} 1"
    assert markdown_escaped("_a_ *b* `c` <d> \\") == r"\_a\_ \*b\* \`c\` &lt;d&gt; " + "\\\\"


def test_the_three_files_hold_all_tables_and_the_csv_the_numbers(table, tmp_path):
    paths = write_tables(tmp_path / "both", [table, table])
    assert [path.name for path in paths] == ["both.md", "both.tex", "both.csv"]
    assert paths[0].read_text().count("| model |") == 2
    assert paths[1].read_text().count(r"\begin{tabular}") == 2
    assert paths[2].read_text() == "model,mean\n" + 2 * "two_stage,0.812346\na|b,0.6\n"


def test_a_folder_that_is_not_there_is_an_error(table, tmp_path):
    with pytest.raises(NasosegError, match=r"none/x\.md: could not be written"):
        write_tables(tmp_path / "none" / "x", [table])
