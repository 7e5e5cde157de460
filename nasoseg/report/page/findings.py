"""What the statistics of a benchmark show, as sentences for a page."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from nasoseg.report.findings import (
    PAPER_WARNING,
    headline_sentences,
    patients_sentence,
    ranks_sentence,
    reading_sentence,
    structure_sentences,
)
from nasoseg.report.per_unit import Protocol
from nasoseg.report.wording import counted


@dataclass(frozen=True)
class Findings:
    """Hold what is said of one protocol.

    Attributes:
        protocol: Its name.
        warning: What must be known before the numbers are read; empty under ``clean``.
        over: Introduces the overall sentences; where nothing was tested, says so.
        overall: A sentence per method.
        single: A sentence per method, on which structures it differs.
        notes: Who was compared, how to read it, the ranks.
    """

    protocol: str
    warning: str
    over: str
    overall: Sequence[str] = ()
    single: Sequence[str] = ()
    notes: Sequence[str] = ()


def find(
    protocols: Sequence[Protocol],
    statistics: pd.DataFrame | None,
    ranks: pd.DataFrame | None,
    *,
    reference: str,
    headline: str,
) -> list[Findings]:
    """Word the statistics of every protocol.

    Args:
        protocols: From ``read_protocols``.
        statistics: From ``compare`` with the reference; None where there is nothing to compare.
        ranks: From ``ranks``.
        reference: The method that the others are compared with.
        headline: ``all`` or ``organs``.
    """
    found = []
    for protocol in protocols:
        warning = PAPER_WARNING if protocol.name == "paper" else ""
        if statistics is None or ranks is None or reference not in protocol.methods or len(protocol.methods) < 2:
            nothing = f"There is no other method to compare {reference} with under this protocol: nothing was tested."
            found.append(Findings(protocol.name, warning, nothing))
            continue
        found.append(
            Findings(
                protocol.name,
                warning,
                f"Over {counted(len(protocol.headline), 'structure')} ({', '.join(protocol.headline)}), against"
                f" {reference}:",
                headline_sentences(statistics, protocol=protocol.name, headline=headline),
                structure_sentences(statistics, protocol=protocol.name),
                (
                    patients_sentence(statistics, protocol=protocol.name, headline=headline),
                    ranks_sentence(ranks, protocol=protocol.name, headline=headline),
                    reading_sentence(statistics, protocol=protocol.name),
                ),
            )
        )
    return found
