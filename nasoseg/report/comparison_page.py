"""The page of a comparison: what was compared, what the numbers show, and every table and figure."""

from collections.abc import Sequence

import pandas as pd

from nasoseg.evaluation.results import UNKNOWN
from nasoseg.evaluation.values import ALL, ORGANS
from nasoseg.report.findings import headline_sentences, patients_sentence, structure_sentences
from nasoseg.report.per_unit import Protocol, all_methods
from nasoseg.report.text_table import TextTable, markdown_escaped
from nasoseg.report.wording import counted, listed, metric_name, number, p_value

_HOW_TO_READ = (
    "A difference is the mean over patients of each patient's difference (over the structures that both methods have"
    " for him), with its 95 % interval by bootstrap over patients, which is not corrected for the number of"
    " comparisons. p is that of Wilcoxon's signed-rank test, two-sided, corrected by Holm's method over {family}. A"
    ' difference is called shown where p < 0.05. "No difference shown" does not say that the methods are equal, but'
    " that these patients do not tell them apart. Every fold was trained once: what another random seed would change is"
    " not in these intervals."
)
_PAPER_WARNING = (
    "Under protocol paper slices of the same patients were trained on, and the test fold chose the checkpoint: these"
    " numbers are optimistic, and differences between methods may be differences in how well they remember."
)


class ComparisonPage:
    """Collect the parts of the page in reading order.

    Args:
        table: From ``read_results``.
        protocols: From ``read_protocols``.
        reference: The method that the others are compared with.
        headline: ``all`` or ``organs``.
    """

    def __init__(self, table: pd.DataFrame, protocols: Sequence[Protocol], *, reference: str, headline: str) -> None:
        self._table = table
        self._protocols = protocols
        self._reference = reference
        self._headline = headline
        self._findings: list[str] = []
        self._parts: list[str] = []
        self._files: list[str] = []

    def add_findings(self, statistics: pd.DataFrame | None, ranks: pd.DataFrame | None) -> None:
        """Word what the statistics show.

        Args:
            statistics: From ``compare`` with the reference; None where there is nothing to compare.
            ranks: From ``ranks``.
        """
        if statistics is None or ranks is None:
            self._findings.append(f"There is no method to compare {markdown_escaped(self._reference)} with.")
            return
        for protocol in self._protocols:
            self._findings.append(f"### Protocol {protocol.name}")
            if protocol.name == "paper":
                self._findings.append(_PAPER_WARNING)
            if self._reference in protocol.methods and len(protocol.methods) > 1:
                self._findings += self._tested(statistics, ranks, protocol)
            else:
                self._findings.append("The reference has no rival under this protocol: nothing to test.")

    def _tested(self, statistics: pd.DataFrame, ranks: pd.DataFrame, protocol: Protocol) -> list[str]:
        overall = headline_sentences(statistics, protocol=protocol.name, headline=self._headline)
        single = structure_sentences(statistics, protocol=protocol.name)
        rows = statistics[statistics["protocol"] == protocol.name]
        overall_rows = rows["structure"].isin((ALL, ORGANS))
        family, among = (
            int(part["family"].max()) if len(part) else 0 for part in (rows[overall_rows], rows[~overall_rows])
        )
        tests = f"{counted(family, 'overall test')}, and over {counted(among, 'test')} of single structures"
        over = f"Over {counted(len(protocol.headline), 'structure')} ({', '.join(protocol.headline)})"
        return [
            markdown_escaped(f"{over}, against {self._reference}:"),
            _bullets([markdown_escaped(sentence) for sentence in overall]),
            "Structure by structure:",
            _bullets([markdown_escaped(sentence) for sentence in single]),
            markdown_escaped(patients_sentence(statistics, protocol=protocol.name, headline=self._headline)),
            markdown_escaped(_HOW_TO_READ.format(family=tests)),
            markdown_escaped(self._ranked(ranks, protocol)),
        ]

    def _ranked(self, ranks: pd.DataFrame, protocol: Protocol) -> str:
        rows = ranks[(ranks["protocol"] == protocol.name) & (ranks["structure"] == self._headline)]
        rows = rows.sort_values("mean_rank", kind="stable")
        if rows.empty:
            return "Mean ranks: no patient has a value."
        n, left_out = int(rows["n"].iloc[0]), int(rows["left_out"].iloc[0])
        if not n:
            return "Mean ranks: no patient has a value of every method."
        placed = [f"{row['method']} {number(row['mean_rank'], digits=2)}" for row in rows.to_dict("records")]
        text = f"Mean ranks (1 is best) in the {counted(n, 'patient')} that every method has: {', '.join(placed)}."
        if left_out:
            text += f" {counted(left_out, 'patient')} without a value of every method left out."
        p = float(rows["p"].iloc[0])
        return text if p != p else f"{text} Friedman's test that all rank alike: {p_value(p)}."

    def add_tables(self, title: str, stem: str, tables: Sequence[TextTable]) -> None:
        """Add tables under one heading."""
        links = f"As [LaTeX]({stem}.tex), [CSV]({stem}.csv)."
        self._parts += [f"## {title}", *(table.markdown().rstrip() for table in tables), links]

    def add_figure(self, title: str, stem: str, caption: str) -> None:
        """Add a figure with its caption."""
        self._parts += [f"## {title}", f"![{title}]({stem}.png)", f"{markdown_escaped(caption)} [PDF]({stem}.pdf)."]

    def add_missing(self, title: str, reason: str) -> None:
        """Say why a figure is not there."""
        self._parts += [f"## {title}", f"Left out. {reason}"]

    def add_file(self, name: str, meaning: str) -> None:
        """List a file."""
        self._files.append(f"[{name}]({name}): {markdown_escaped(meaning)}")

    def text(self) -> str:
        """Return the page in GitHub's Markdown."""
        methods = all_methods(self._protocols)
        parts = [
            f"# Comparison of {counted(len(methods), 'method')}",
            *self._what(methods),
            "## What the numbers show",
            *self._findings,
            *self._parts,
            "## Files",
            _bullets(self._files),
        ]
        return "\n\n".join(parts) + "\n"

    def _what(self, methods: Sequence[str]) -> list[str]:
        one = self._protocols[0]
        of = "the organs " if self._headline != ALL else ""
        lines = [
            f"Methods: {', '.join(methods)}. The others are compared with {self._reference}.",
            f"Headline: {metric_name(one.metric)}, a value per patient volume, mean over patients, then over {of}"
            f"{', '.join(one.headline)}.",
            f"Store {_values(self._table['store'])}.",
        ]
        for protocol in self._protocols:
            rows = self._table[self._table["protocol"] == protocol.name]
            lines.append(f"Protocol {protocol.name}: split {_values(rows['split'])}; {_coverage(protocol)}")
        return [_bullets([markdown_escaped(line) for line in lines])]


def _coverage(protocol: Protocol) -> str:
    """Say which folds and how many patients every method has."""
    tested = {method: len(cells.index.unique("patient")) for method, cells in protocol.cells.items()}
    incomplete = protocol.incomplete()
    complete = [method for method in protocol.methods if method not in incomplete]
    folds = f"{'fold' if len(protocol.folds) == 1 else 'folds'} {listed(protocol.folds)}"
    patients = sorted({tested[method] for method in complete})
    text = f"{folds}; {' or '.join(counted(count, 'patient') for count in patients)} tested by every method"
    if not incomplete:
        return f"{text}."
    few = [
        f"{method} has {'fold' if len(found) == 1 else 'folds'} {listed(found)} only, with"
        f" {counted(tested[method], 'patient')}"
        for method, found in incomplete.items()
    ]
    if not complete:
        return f"{folds}. INCOMPLETE: {'; '.join(few)}."
    return f"{text} that is complete. INCOMPLETE: {'; '.join(few)}."


def _values(column: pd.Series) -> str:
    return ", ".join("not known" if name == UNKNOWN else str(name) for name in column.unique())


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
