"""A table that is written three times: Markdown and LaTeX to read, CSV with the plain numbers."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from nasoseg.errors import NasosegError
from nasoseg.files import whole_file
from nasoseg.report.wording import MINUS, NOTHING


@dataclass(frozen=True)
class TextTable:
    """Hold a table as it is read, and the numbers behind it.

    Attributes:
        cells: Texts; the columns' names are the headings. A line break within a text stays one.
        bold: Which cells are printed bold; the shape of ``cells``.
        numbers: The numbers behind it in tidy form, for the CSV.
        caption: What is shown, and how it was averaged.
        label: Name of the table in LaTeX, after ``tab:``.
        texts: Number of leading columns that hold texts, not numbers; they are aligned to the left.
        groups: Positions of the rows that begin a new block; a rule is drawn above each.
    """

    cells: pd.DataFrame
    bold: pd.DataFrame
    numbers: pd.DataFrame
    caption: str
    label: str
    texts: int = 1
    groups: tuple[int, ...] = ()

    def markdown(self) -> str:
        """Return the caption and a table in GitHub's Markdown."""
        headings = [markdown_escaped(str(name)) for name in self.cells.columns]
        rule = [":--" if i < self.texts else "--:" for i in range(len(headings))]
        lines = [headings, rule]
        for row, bold in zip(self.cells.to_numpy(), self.bold.to_numpy(), strict=True):
            texts = [markdown_escaped(text).replace("\n", "<br>") for text in row]
            lines.append([f"**{text}**" if strong and text else text for text, strong in zip(texts, bold, strict=True)])
        return "\n".join([markdown_escaped(self.caption), "", *(f"| {' | '.join(line)} |" for line in lines)]) + "\n"

    def latex(self) -> str:
        """Return a ``table*`` for the packages booktabs and adjustbox, all names escaped."""
        headings = [latex_escaped(str(name)) for name in self.cells.columns]
        columns = "".join("l" if i < self.texts else "r" for i in range(len(headings)))
        body = []
        for i, (row, bold) in enumerate(zip(self.cells.to_numpy(), self.bold.to_numpy(), strict=True)):
            if i in self.groups:
                body.append(r"\midrule")
            body += _latex_lines([str(text) for text in row], [bool(strong) for strong in bold])
        return "\n".join(
            [
                r"% needs \usepackage{booktabs,adjustbox}",
                r"\begin{table*}[t]",
                r"\centering",
                rf"\caption{{{latex_escaped(self.caption)}}}",
                rf"\label{{tab:{self.label}}}",
                r"\begin{adjustbox}{max width=\textwidth}",
                rf"\begin{{tabular}}{{{columns}}}",
                r"\toprule",
                " & ".join(headings) + r" \\",
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{adjustbox}",
                r"\end{table*}",
                "",
            ]
        )


def write_tables(stem: str | os.PathLike[str], tables: Sequence[TextTable]) -> list[Path]:
    """Write ``stem.md``, ``stem.tex`` and ``stem.csv``: one table after the other; the CSV has the rows of all.

    Returns:
        The three paths.

    Raises:
        NasosegError: If a file cannot be written.
    """
    texts = {
        "md": "\n".join(table.markdown() for table in tables),
        "tex": "\n".join(table.latex() for table in tables),
        "csv": pd.concat([table.numbers for table in tables]).to_csv(index=False, float_format="%.6g"),
    }
    return [write_text(f"{os.fspath(stem)}.{ending}", text) for ending, text in texts.items()]


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write a text file, whole or not at all, with the same line ends everywhere.

    Raises:
        NasosegError: If it cannot be written.
    """
    path = Path(path)
    try:
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise NasosegError(f"{path}: could not be written ({error}): free disk space, choose another --out") from error
    return path


def latex_escaped(text: str) -> str:
    r"""Escape what LaTeX would act on: ``two_stage 50 %`` becomes ``two\_stage 50 \%``."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def markdown_escaped(text: str) -> str:
    """Escape what Markdown would act on in a table's cell or a line of text."""
    return "".join(_MARKDOWN.get(letter, letter) for letter in text)


_LATEX = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    MINUS: r"$-$",
    NOTHING: "--",
    "†": r"\dag{}",
    "…": r"\dots{}",
    "[": "{[}",  # after a line end it would begin an option
}
_MARKDOWN = {letter: f"\\{letter}" for letter in "\\`*_|"} | {"<": "&lt;", ">": "&gt;"}


def _latex_lines(row: Sequence[str], bold: Sequence[bool]) -> list[str]:
    """Lay out one row; texts of several lines become several rows of the table, the lower ones small."""
    parts = [text.split("\n") for text in row]
    lines = []
    for number in range(max(map(len, parts))):
        cells = []
        for part, strong in zip(parts, bold, strict=True):
            text = latex_escaped(part[number]) if number < len(part) else ""
            if text and strong:
                text = rf"\textbf{{{text}}}"
            cells.append(rf"{{\footnotesize {text}}}" if text and number else text)
        lines.append(" & ".join(cells) + r" \\")
    return lines
