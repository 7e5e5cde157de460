"""The model card of a run: what a model was made of, what it reached, and what it is for; from the run folder alone."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from nasoseg.data.training_data import TRAINING_DATA, TrainingData, read_training_data
from nasoseg.errors import NasosegError
from nasoseg.evaluation.bootstrap import interval, mean_of_means
from nasoseg.evaluation.results import read_results
from nasoseg.report.text_table import TextTable, markdown_escaped, write_text
from nasoseg.report.wording import NOTHING, counted, number
from nasoseg.report.wording import interval as worded_interval
from nasoseg.tasks.card_text import INTENDED_USE, LIMITS, MODEL_CARD, NOT_A_DEVICE, bullets, input_lines, usage
from nasoseg.tasks.run_facts import without_paths
from nasoseg.tasks.run_record import RECORD, read_starts

SHOWN = {"dsc": 3, "hd95": 1, "nsd": 3, "auc": 3}
"""Metrics of the table, with their digits; the first has intervals."""

FEW_PATIENTS = 10
"""Training patients with a structure below which the card warns; ours, from no study."""

PARTS = ("train", "validation", "test")

_PROTOCOLS = {
    "clean": "Whole patients were dealt to folds. The checkpoint was picked on patients of the training folds, and the"
    " test fold was read once, at the end.",
    "paper": "Single slices were dealt to folds, so that neighbouring slices of a patient lie on both sides, and the"
    " test fold picked the checkpoint. The results are optimistic: no new patient is to be expected to reach them.",
}


def write_model_card(run_folder: str | os.PathLike[str]) -> Path:
    """Write ``model_card.md`` into a run folder, from what lies there; without ``metrics.csv`` it says so.

    It holds counts and hashes: no patient's key, no path.

    Args:
        run_folder: A run folder with ``config.yaml``.

    Returns:
        The card.

    Raises:
        NasosegError: If a file of the run folder is missing or damaged, or the card cannot be written.
    """
    folder = Path(run_folder)
    config = _config(folder / "config.yaml")
    starts = read_starts(folder)
    path = folder / f"{TRAINING_DATA}.json"
    training = read_training_data(path) if path.is_file() else None
    results = read_results([folder / "metrics.csv"]) if (folder / "metrics.csv").is_file() else None
    try:
        parts = _parts(config, starts, training, results)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise NasosegError(
            f"{folder / RECORD}: lacks what a model card tells ({type(error).__name__}: {error}): copy the run folder"
            " again, or remove the file"
        ) from error
    return write_text(folder / MODEL_CARD, "\n\n".join(parts) + "\n")


def not_deterministic(computing: Mapping[str, Any]) -> list[str]:
    """Say, in sentences, what of a training would not come out the same again.

    Args:
        computing: Of ``nasoseg.tasks.run_record.start_facts``.
    """
    found = []
    if computing.get("seed") is None:
        found.append("Nothing was seeded: weights, order and augmentation differ in every training.")
    on_gpu = computing.get("device") != "cpu"
    if on_gpu and not computing.get("deterministic"):
        found.append(
            "GPU kernels that add in no fixed order were allowed: another training differs in the last bits at first,"
            " and visibly in the end. `--trainer.deterministic true` forbids them."
        )
    if on_gpu and computing.get("cudnn_benchmark"):
        found.append("cuDNN chose its algorithms by measuring their speed: it may choose others.")
    if int(computing.get("processes") or 1) > 1:
        found.append(
            f"{computing['processes']} processes added their gradients: another number of them adds in another order,"
            " and draws other batches."
        )
    if not on_gpu:
        found.append(
            f"Sums on the CPU depend on the number of threads ({computing.get('threads')} here) and on the processor;"
            " with the same of both, and the same versions, a training is meant to repeat bit for bit."
        )
    return found


def _config(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(config["model"]["class_path"], str) or not isinstance(config["data"], dict):
            raise TypeError("model or data")
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise NasosegError(
            f"{path}: cannot be read as a run's config ({type(error).__name__}: {error}): copy the run folder again"
        ) from error
    return dict(config)


def _parts(
    config: Mapping[str, Any],
    starts: Sequence[Mapping[str, Any]],
    training: TrainingData | None,
    results: pd.DataFrame | None,
) -> list[str]:
    facts = starts[-1] if starts else {}
    network = str(facts.get("network") or config["model"]["class_path"].rpartition(".")[2])
    return [
        f"# {markdown_escaped(str(facts.get('method') or network))}",
        _what(network, config, facts),
        NOT_A_DEVICE,
        "## Intended use",
        INTENDED_USE,
        "## Limits",
        bullets([*LIMITS, *input_lines(training), *_weak_spots(facts)]),
        "## Data",
        *_data(facts, training),
        "## Protocol",
        *_protocol(facts, results),
        "## Results",
        *_results(results),
        "## Recipe",
        _recipe(config),
        "## How it was computed",
        bullets(_computing(starts)),
        "## How to use it",
        usage(config["model"]["class_path"]),
    ]


def _what(network: str, config: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    structures = facts.get("labels") or config["data"].get("labels") or []
    size = f" of {facts['parameters'] / 1e6:.2f} M parameters" if facts.get("parameters") else ""
    names = ", ".join(map(str, structures))
    return markdown_escaped(
        f"{network}{size}, trained with nasoseg to mark {counted(len(structures), 'structure')} on head-and-neck CT:"
        f" {names}."
    )


def _weak_spots(facts: Mapping[str, Any]) -> list[str]:
    counts = facts.get("annotated", {}).get("train", {})
    few = [f"{name} ({count})" for name, count in counts.items() if count < FEW_PATIENTS]
    listed = markdown_escaped(", ".join(few))
    return [f"Annotated in fewer than {FEW_PATIENTS} training patients: {listed}."] if few else []


def _data(facts: Mapping[str, Any], training: TrainingData | None) -> list[str]:
    if not facts:
        patients = counted(training.patients, "training patient") if training and training.patients else ""
        return [f"Not recorded: an older nasoseg made the run. {patients}".strip()]
    store, patients = facts["store"], facts["patients"]
    lines = [
        f"Store SHA-256 {store['sha256']}: {counted(store['patients'], 'patient')}.",
        f"Patients of this fold: {', '.join(f'{patients[part]} {part}' for part in PARTS)}.",
        "A structure that was not annotated in a patient added neither loss nor metric there.",
    ]
    of = facts["annotated"]
    rows = [{"structure": name} | {part: str(of[part][name]) for part in PARTS} for name in of["train"]]
    return [bullets(lines), _table(pd.DataFrame(rows), "Patients in whom a structure is annotated")]


def _protocol(facts: Mapping[str, Any], results: pd.DataFrame | None) -> list[str]:
    name = str(facts.get("protocol") or (results["protocol"].iloc[0] if results is not None else "not recorded"))
    lines = [f"**{markdown_escaped(name)}.** {_PROTOCOLS.get(name, '')}".strip()]
    if facts:
        split = facts["split"]
        lines.append(
            f"Split SHA-256 {split['sha256']}: fold {facts['fold']} of {split['folds']}, dealt with seed"
            f" {split['seed']}."
        )
    elif results is not None:
        lines.append(markdown_escaped(f"Split {results['split'].iloc[0]}, fold {results['fold'].iloc[0]}."))
    return lines


def _results(results: pd.DataFrame | None) -> list[str]:
    volume = results[results["averaging"] == "volume"] if results is not None else pd.DataFrame({"metric": []})
    shown = [metric for metric in SHOWN if metric in set(volume["metric"])]
    if not shown:
        return ["None: the model was not tested. `nasoseg test --config RUN/config.yaml` tests it."]
    tables = {m: volume[volume["metric"] == m].pivot_table("value", "patient", "structure") for m in shown}
    names = [str(name) for name in volume["structure"].unique()]
    rows = [_row(name, [name], tables) for name in names]
    rows.append(_row("all", names, tables))
    caption = (
        "On the test patients: a value per patient volume, mean over patients; all: mean over structures. In brackets"
        f" the 95 % interval over patients of {shown[0].upper()}; HD95 in mm"
    )
    of_dsc, of_auc = (tables.get(metric, pd.DataFrame()).reindex(columns=names).count() for metric in ("dsc", "auc"))
    if "auc" in tables and (of_auc < of_dsc).any():
        caption += "; AUC is over the patients who have the structure"
    return [_table(pd.DataFrame(rows), caption)]


def _row(title: str, names: Sequence[str], tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    row = {"structure": title}
    for place, (metric, table) in enumerate(tables.items()):
        values = table.reindex(columns=list(names)).to_numpy(float)
        text = number(mean_of_means(values), digits=SHOWN[metric])
        if place == 0:
            text = f"{text} {worded_interval(*interval(values))}".strip()
            patients = int((~np.isnan(values)).any(axis=1).sum())
        row[metric.upper()] = text
    return row | {"patients": str(patients) if patients else NOTHING}


def _recipe(config: Mapping[str, Any]) -> str:
    """Give what of the config makes the training, without what names files of the machine."""
    left_out = {"data": ("store", "split", "labels"), "trainer": ("logger", "callbacks", "plugins", "default_root_dir")}
    kept: dict[str, Any] = {"seed_everything": config.get("seed_everything")}
    for name in ("model", "data", "trainer"):
        section = config.get(name)
        if isinstance(section, dict):
            kept[name] = {
                key: value for key, value in section.items() if value is not None and key not in left_out.get(name, ())
            }
    text = yaml.safe_dump(without_paths(kept), sort_keys=False, allow_unicode=True).rstrip()
    return f"```yaml\n{text}\n```"


def _computing(starts: Sequence[Mapping[str, Any]]) -> list[str]:
    if not starts:
        return ["Not recorded: an older nasoseg made the run."]
    lines = []
    for place, facts in enumerate(starts, start=1):
        computing = facts["computing"]
        device = facts.get("gpu") if computing["device"] == "cuda" else computing["device"].upper()
        versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
        which = f"Start {place} of {len(starts)}: " if len(starts) > 1 else ""
        how = f"processes: {computing['processes']}, precision {computing['precision']}, seed {computing['seed']}"
        text = f"{which}{versions}; {device}, {how}."
        lines.append(markdown_escaped(text))
        lines += [markdown_escaped(f"{name}: {_commit(state)}") for name, state in facts["git"].items() if state]
    return lines + not_deterministic(starts[-1]["computing"])


def _commit(state: Mapping[str, Any]) -> str:
    return f"commit {state['commit']}{', with changes that are not in it' if state['dirty'] else ''}."


def _table(cells: pd.DataFrame, caption: str) -> str:
    return TextTable(cells, cells.map(lambda _: False), cells, caption + ".", "card").markdown().rstrip()
