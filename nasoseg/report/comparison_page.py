"""The page of a comparison: what was compared, what the numbers show, and every table and figure."""

from collections.abc import Sequence

import pandas as pd

from nasoseg.evaluation.results import UNKNOWN
from nasoseg.evaluation.values import ALL
from nasoseg.report.findings import (
    PAPER_WARNING,
    coverage,
    headline_sentences,
    patients_sentence,
    ranks_sentence,
    reading_sentence,
    structure_sentences,
)
from nasoseg.report.per_unit import Protocol, all_methods
from nasoseg.report.text_table import TextTable, markdown_escaped
from nasoseg.report.wording import counted, metric_name


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
                self._findings.append(PAPER_WARNING)
            if self._reference in protocol.methods and len(protocol.methods) > 1:
                self._findings += self._tested(statistics, ranks, protocol)
            else:
                self._findings.append("The reference has no rival under this protocol: nothing to test.")

    def _tested(self, statistics: pd.DataFrame, ranks: pd.DataFrame, protocol: Protocol) -> list[str]:
        overall = headline_sentences(statistics, protocol=protocol.name, headline=self._headline)
        single = structure_sentences(statistics, protocol=protocol.name)
        over = f"Over {counted(len(protocol.headline), 'structure')} ({', '.join(protocol.headline)})"
        return [
            markdown_escaped(f"{over}, against {self._reference}:"),
            _bullets([markdown_escaped(sentence) for sentence in overall]),
            "Structure by structure:",
            _bullets([markdown_escaped(sentence) for sentence in single]),
            markdown_escaped(patients_sentence(statistics, protocol=protocol.name, headline=self._headline)),
            markdown_escaped(reading_sentence(statistics, protocol=protocol.name)),
            markdown_escaped(ranks_sentence(ranks, protocol=protocol.name, headline=self._headline)),
        ]

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
            lines.append(f"Protocol {protocol.name}: split {_values(rows['split'])}; {coverage(protocol)}")
        return [_bullets([markdown_escaped(line) for line in lines])]


def _values(column: pd.Series) -> str:
    return ", ".join("not known" if name == UNKNOWN else str(name) for name in column.unique())


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
