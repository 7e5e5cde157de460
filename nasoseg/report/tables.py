"""The paper's Table 1 with every averaging named, and a table of structures x methods with intervals."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from nasoseg.errors import NasosegError
from nasoseg.evaluation import summarise
from nasoseg.evaluation.bootstrap import RESAMPLES
from nasoseg.evaluation.values import ALL, ORGANS
from nasoseg.report.text_table import TextTable
from nasoseg.report.wording import AVERAGINGS, NOTHING, counted, interval, metric_name, number

TABLE_1 = ("dsc", "auc", "f1", "jsc")
"""The paper's columns, in its order."""

Costs = Mapping[str, tuple[float, float]]
"""Parameters and floating-point operations of every method, for one image."""

_DAGGER = " †"
_NO_COST = (float("nan"), float("nan"))
_NO_ROW: Mapping[Hashable, Any] = dict.fromkeys(("mean", "low", "high"), float("nan"))


def summarise_all(
    table: pd.DataFrame, *, organs: Sequence[str] | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Summarise every metric in every averaging that the results have, with ``nasoseg.evaluation.summarise``.

    Args:
        table: From ``nasoseg.evaluation.read_results``.
        organs: Structures of the row ``organs``.
        resamples: How often patients are drawn for an interval.
        seed: Of the drawing.
    """
    there = table[["averaging", "metric"]].drop_duplicates()
    order = [*AVERAGINGS, *(name for name in there["averaging"].unique() if name not in AVERAGINGS)]
    return pd.concat(
        [
            summarise(table, metric=metric, averaging=averaging, organs=organs, resamples=resamples, seed=seed)
            for averaging in order
            for metric in there.loc[there["averaging"] == averaging, "metric"]
        ],
        ignore_index=True,
    )


def table_1(
    summary: pd.DataFrame,
    *,
    protocol: str,
    metrics: Sequence[str] = TABLE_1,
    incomplete: Collection[str] = (),
    costs: Costs | None = None,
) -> TextTable:
    """Make the paper's Table 1 for one protocol: a block per averaging, a row per method; the best of a block is bold.

    The row ``organs`` of the summary is printed where there is one, else the row ``all``; ``micro`` has ``all`` only.
    Where methods have unequally many structures in a block, their number is said.

    Args:
        summary: From ``summarise_all``.
        protocol: ``clean`` or ``paper``.
        metrics: The columns; one that the results lack is left out. The largest value counts as the best.
        incomplete: Methods that lack folds, patients or structures that others have: marked, and never bold, because
            their means are over others.
        costs: Parameters and FLOPs of methods, for two more columns.

    Raises:
        NasosegError: If the summary lacks the protocol, or all of the metrics.
    """
    rows = _of_protocol(summary, protocol)
    rows = rows[rows["structure"] == rows["averaging"].map(lambda name: _headline(summary, name))]
    metrics = [metric for metric in metrics if metric in set(rows["metric"])]
    if not metrics:
        raise NasosegError(f"metrics: the summary has none of those asked for, found {', '.join(set(rows['metric']))}")
    lines: list[dict[str, str]] = []
    best: list[dict[str, bool]] = []
    groups: list[int] = []
    for averaging, block in rows.groupby("averaging", sort=False):
        groups.append(len(lines))
        top = {metric: _best(block[block["metric"] == metric], incomplete) for metric in metrics}
        same = block.drop_duplicates("method")["structures"].nunique() == 1
        for method, of_method in block.groupby("method", sort=False):
            line = {"averaging": str(averaging), "model": _marked(str(method), incomplete)}
            line |= _line_1(of_method.set_index("metric"), metrics, same_structures=same)
            if costs is not None:
                parameters, flops = costs.get(str(method), _NO_COST)
                line["params, M"] = number(parameters / 1e6, digits=2)
                line["GFLOPs"] = number(flops / 1e9, digits=1)
            lines.append(line)
            may_be_bold = method not in incomplete
            best.append({metric_name(m): may_be_bold and line[metric_name(m)] == top[m] for m in metrics})
    cells = pd.DataFrame(lines)
    bold = pd.DataFrame(best).reindex(columns=cells.columns, fill_value=False)
    numbers = _with_costs(rows, costs)
    return TextTable(
        cells,
        bold,
        numbers,
        caption=_caption_1(rows, protocol, metrics=metrics, incomplete=incomplete, costs=costs),
        label=f"results-{protocol}",
        texts=2,
        groups=tuple(groups[1:]),
    )


def structures_table(
    summary: pd.DataFrame,
    *,
    protocol: str,
    metric: str = "dsc",
    averaging: str = "volume",
    incomplete: Collection[str] = (),
) -> TextTable:
    """Make a table of structures x methods: the mean over patients with its 95 % interval below; the best is bold.

    Args:
        summary: From ``summarise_all``.
        protocol: ``clean`` or ``paper``.
        metric: Such as ``dsc``; the largest value counts as the best.
        averaging: ``volume`` or ``slice``.
        incomplete: Methods that lack folds, patients or structures that others have: marked, and never bold.

    Raises:
        NasosegError: If the summary lacks the protocol or the metric.
    """
    rows = _of_protocol(summary, protocol)
    rows = rows[(rows["metric"] == metric) & (rows["averaging"] == averaging)]
    if rows.empty:
        raise NasosegError(
            f"metric: the summary has no {metric!r} with averaging {averaging!r}: choose another of them"
        )
    methods = [str(name) for name in rows["method"].unique()]
    structures = list(dict.fromkeys(rows.loc[~rows["structure"].isin((ALL, ORGANS)), "structure"]))
    overall = [name for name in (ALL, ORGANS) if name in set(rows["structure"])]
    at = {(str(row["method"]), str(row["structure"])): row for row in rows.to_dict("records")}
    lines: list[dict[str, str]] = []
    best: list[dict[str, bool]] = []
    for structure in [*structures, *overall]:
        found = {method: at[method, structure] for method in methods if (method, structure) in at}
        top = _best(rows[rows["structure"] == structure], incomplete)
        counts = sorted({int(row["n"]) for row in found.values()})
        line = {"structure": structure, "patients": NOTHING.join(map(str, dict.fromkeys((counts[0], counts[-1]))))}
        strong = dict.fromkeys(line, False)
        for method in methods:
            row = found.get(method, _NO_ROW)
            mean, below = number(float(row["mean"])), interval(float(row["low"]), float(row["high"]))
            line[_marked(method, incomplete)] = f"{mean}\n{below}".rstrip()
            strong[_marked(method, incomplete)] = method not in incomplete and mean == top
        lines.append(line)
        best.append(strong)
    cells, bold = pd.DataFrame(lines), pd.DataFrame(best)
    caption = (
        f"{metric_name(metric)} of every structure, protocol {protocol}: averaging {averaging}, mean over patients with"
        f" its 95 % interval (BCa bootstrap over patients); best mean in bold. Row {ALL}: mean over the structures."
        + (f" Row {ORGANS}: mean over the organs." if ORGANS in overall else "")
        + _incomplete(incomplete)
    )
    return TextTable(cells, bold, rows, caption=caption, label=f"structures-{protocol}", groups=(len(structures),))


def _of_protocol(summary: pd.DataFrame, protocol: str) -> pd.DataFrame:
    rows = summary[summary["protocol"] == protocol]
    if rows.empty:
        there = ", ".join(map(repr, summary["protocol"].unique()))
        raise NasosegError(f"protocol: the summary has no {protocol!r}, found {there}")
    return rows


def _headline(summary: pd.DataFrame, averaging: str) -> str:
    there = set(summary.loc[summary["averaging"] == averaging, "structure"])
    return ORGANS if ORGANS in there else ALL


def _line_1(of_method: pd.DataFrame, metrics: Sequence[str], *, same_structures: bool) -> dict[str, str]:
    """Word the values of one method in one averaging; ``of_method`` is indexed by metric."""
    at = of_method.to_dict("index")
    line = {}
    for metric in metrics:
        row: Mapping[Hashable, Any] = at.get(metric, _NO_ROW)
        line[metric_name(metric)] = number(float(row["mean"]))
        if metric == metrics[0]:
            line[f"95 % interval of {metric_name(metric)}"] = interval(float(row["low"]), float(row["high"]))
    first = of_method.iloc[0]
    over = counted(int(first["n"]), str(first["unit"]).removesuffix("s"))
    return line | {"over": over if same_structures else f"{over}, {counted(int(first['structures']), 'structure')}"}


def _best(rows: pd.DataFrame, incomplete: Collection[str]) -> str:
    """Return the largest mean as it is printed, or nothing where there is no rival."""
    rivals = rows.loc[~rows["method"].isin(list(incomplete)), "mean"].dropna()
    return number(float(rivals.max())) if len(rivals) > 1 else ""


def _marked(method: str, incomplete: Collection[str]) -> str:
    return method + _DAGGER if method in incomplete else method


def _incomplete(incomplete: Collection[str]) -> str:
    text = " † lacks folds, patients or structures that others have: its means are over others, and it is never bold."
    return text if incomplete else ""


def _with_costs(rows: pd.DataFrame, costs: Costs | None) -> pd.DataFrame:
    if costs is None:
        return rows
    found = [costs.get(str(method), _NO_COST) for method in rows["method"]]
    return rows.assign(parameters=[parameters for parameters, _ in found], flops=[flops for _, flops in found])


def _caption_1(
    rows: pd.DataFrame, protocol: str, *, metrics: Sequence[str], incomplete: Collection[str], costs: Costs | None
) -> str:
    there = [str(name) for name in rows["averaging"].unique()]
    averagings = "; ".join(f"{name}: {AVERAGINGS.get(name, name)}" for name in there)
    organs = rows.loc[rows["structure"] == ORGANS, "structures"]
    text = (
        f"Results under protocol {protocol}. The averaging of every block is named. {averagings}. 95 % intervals of"
        f" {metric_name(metrics[0])} by BCa bootstrap over patients; best in bold, which says nothing about"
        " significance."
    )
    if len(organs):
        text += f" Means are over the {int(organs.max())} organs"
        text += "; micro is over all structures." if "micro" in there else "."
    if costs is not None:
        text += " Parameters in millions; GFLOPs: operations for one image, in units of 10⁹."
    return text + _incomplete(incomplete)
