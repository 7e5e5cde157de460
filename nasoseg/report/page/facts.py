"""What stands at the head and the foot of a page: what was compared, the headline, splits and configs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import yaml

from nasoseg.evaluation.values import ORGANS
from nasoseg.report.findings import coverage
from nasoseg.report.page.runs import Run, Runs
from nasoseg.report.per_unit import Protocol, all_methods
from nasoseg.report.wording import counted, interval, metric_name, number
from nasoseg.tasks.run_facts import without_paths


def title(methods: Sequence[str]) -> str:
    """Word the page's heading."""
    return f"Report: {methods[0]}" if len(methods) == 1 else f"Comparison of {counted(len(methods), 'method')}"


def facts(
    table: pd.DataFrame, protocols: Sequence[Protocol], *, reference: str, headline: str
) -> list[tuple[str, str]]:
    """List what was compared, as pairs of a name and a text.

    Args:
        table: From ``read_results``.
        protocols: From ``read_protocols``.
        reference: The method that the others are compared with.
        headline: ``all`` or ``organs``.
    """
    methods = all_methods(protocols)
    one = protocols[0]
    found = [("Methods", ", ".join(methods))]
    if len(methods) > 1:
        found.append(("Compared with", reference))
    found.append(("Structures", ", ".join(one.structures)))
    over = "organs" if headline == ORGANS else "structures"
    found.append(
        (
            "Headline",
            f"{metric_name(one.metric)}, a value per patient volume, mean over patients, then over the"
            f" {len(one.headline)} {over}" + (f" {', '.join(one.headline)}." if headline == ORGANS else "."),
        )
    )
    patients = table.loc[table["patient"] != "", "patient"].nunique()
    found.append(("Patients", f"{patients} tested"))
    found += [(f"Protocol {protocol.name}", coverage(protocol)) for protocol in protocols]
    return found


def headlines(summary: pd.DataFrame, protocols: Sequence[Protocol], *, headline: str) -> list[dict[str, str]]:
    """Give the one number of every method, with what it rests on."""
    one = protocols[0]
    rows = summary[(summary["metric"] == one.metric) & (summary["averaging"] == one.averaging)]
    return [
        {
            "method": str(row["method"]),
            "protocol": str(row["protocol"]),
            "mean": number(row["mean"]),
            "interval": interval(row["low"], row["high"]),
            "patients": str(int(row["n"])),
        }
        for row in rows[rows["structure"] == headline].to_dict("records")
    ]


def splits(runs: Runs) -> list[dict[str, Any]]:
    """Describe the splits that lie in the run folders, each once."""
    found: dict[str, dict[str, Any]] = {}
    for run in runs.tested:
        split = run.split_file
        if split is not None:
            found[split.sha256] = {
                "protocol": split.protocol,
                "sha256": split.sha256,
                "store_sha256": split.store_sha256,
                "seed": split.seed,
                "folds": len(split.folds),
                "patients": len(split.slices),
            }
    return list(found.values())


def configs(runs: Runs) -> Mapping[str, str]:
    """Give the config of every method's first run, without the folders of the machine."""
    configs: dict[str, Run] = {}
    for run in runs.tested:
        if run.config:
            configs.setdefault(f"{run.method}, protocol {run.protocol}", run)
    return {
        name: yaml.safe_dump(without_paths(run.config), sort_keys=False, allow_unicode=True)
        for name, run in configs.items()
    }
