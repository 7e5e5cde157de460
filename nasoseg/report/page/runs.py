"""The run folders that a page is made of: what each holds, what it lacks, and whether it is one run."""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from nasoseg.data.embedded import open_store
from nasoseg.data.splits import Split
from nasoseg.data.store import Store
from nasoseg.data.training_data import TRAINING_DATA
from nasoseg.errors import NasosegError
from nasoseg.evaluation.linked_folders import folders_below
from nasoseg.evaluation.results import UNKNOWN, result_files
from nasoseg.report.tables import Costs
from nasoseg.report.wording import counted

METRICS = "metrics.csv"
_NAMED = 5  # patients listed by name in a sentence


@dataclass(frozen=True)
class Run:
    """Hold what a tested run's folder has.

    Attributes:
        folder: The folder.
        method: The method's name.
        protocol: ``clean``, ``paper``, or ``-`` where it is not known.
        fold: The fold that was tested, as text, or ``-`` where it is not known, or the results are of several.
        store: Beginning of the store's hash, or ``-``.
        split: Beginning of the split's hash, or ``-``.
        config: What ``config.yaml`` says; empty where there is none that can be read.
        split_file: The split; None where there is none that can be read.
        cost: Parameters and floating-point operations for one image, where a benchmark counted them.
        lacks: What is not there, or cannot be read, in sentences.
    """

    folder: Path
    method: str
    protocol: str
    fold: str
    store: str
    split: str
    config: Mapping[str, Any]
    split_file: Split | None
    cost: tuple[float, float] | None
    lacks: tuple[str, ...]

    @property
    def name(self) -> str:
        """Word the run: method, protocol and fold."""
        parts = [self.method, *(f"{word} {value}" for word, value in self._placed.items() if value != UNKNOWN)]
        return ", ".join(parts)

    @property
    def _placed(self) -> dict[str, str]:
        return {"protocol": self.protocol, "fold": self.fold}

    @property
    def predictions(self) -> Path | None:
        """The folder of its whole predictions, if there is one."""
        folder = self.folder / "predictions"
        return folder if folder.is_dir() else None


@dataclass(frozen=True)
class Runs:
    """Hold the runs of a page.

    Attributes:
        tested: Runs with results.
        untested: Names of run folders without results.
    """

    tested: Sequence[Run]
    untested: Sequence[str]

    def costs(self) -> Costs | None:
        """Return parameters and FLOPs of the methods that have them; None where none has."""
        return {run.method: run.cost for run in self.tested if run.cost is not None} or None


def read_runs(paths: Iterable[str | os.PathLike[str]]) -> Runs:
    """Find run folders, and read what they hold beside their results.

    Args:
        paths: Run folders, folders of such folders (a benchmark's), or ``metrics.csv`` files.

    Raises:
        NasosegError: If there is no tested run, or a folder's files are of different runs: ``metrics.csv`` of another
            split, store or fold than ``split.json`` and ``config.yaml``.
    """
    tested: dict[Path, Path] = {}
    untested: dict[Path, str] = {}
    for path in map(Path, paths):
        for folder in _tested_folders(path):
            tested.setdefault(folder.resolve(), folder)
        untested |= {found.resolve(): str(found.relative_to(path)) for found in _untested_folders(path)}
    return Runs([_read(folder) for folder in tested.values()], list(untested.values()))


def find_store(runs: Runs, *, given: str | os.PathLike[str] | None) -> tuple[Store | None, str]:
    """Open the store that the results are of.

    Args:
        runs: The runs; their configs name it.
        given: Where it lies, if the user says so.

    Returns:
        The store, or None and the reason, in a sentence.

    Raises:
        NasosegError: If the given store cannot be opened or is another one.
    """
    wanted = {run.store for run in runs.tested} - {UNKNOWN}
    if given is not None:
        store = open_store(given)
        if wanted and wanted != {store.short_sha256}:
            raise NasosegError(
                f"--store: {store.path} is the store {store.short_sha256}, the results are of"
                f" {', '.join(sorted(wanted))}: name the store that the runs were trained on"
            )
        return store, ""
    named = [str(path) for run in runs.tested if (path := _section(run.config, "data").get("store"))]
    if not named:
        return None, "No run says which store it was trained on, which holds the CT and the truth: pass --store."
    reason = ""
    for path in dict.fromkeys(named):
        try:
            store = open_store(path)
        except NasosegError:
            reason = reason or f"The store {Path(path).name}, which the runs name, is not there or cannot be read."
            continue
        if not wanted or wanted == {store.short_sha256}:
            return store, ""
        reason = f"The store {Path(path).name} is now another one ({store.short_sha256}) than the results are of."
    return None, f"{reason} Pass --store with the store {', '.join(sorted(wanted)) or 'of the runs'}."


def worded(error: NasosegError, folders: Iterable[Path], store: Store | None) -> str:
    """Word an error as a sentence for the page, without the folders of this machine.

    Args:
        error: What was raised.
        folders: The run folders, of which the last name stays.
        store: The store, whose file's name stays.
    """
    known: dict[str, str] = {}
    for folder in folders:
        name = folder.resolve().name
        known |= {str(folder): name, str(folder.resolve()): name}
        known[str((folder / "predictions").resolve())] = f"{name}/predictions"  # it may be a link
    if store is not None:
        known |= {str(path): store.path.name for path in (store.path, store.path.resolve())}
    text = str(error)
    for path in sorted(known.keys() - {"."}, key=len, reverse=True):  # relative ones are parts of whole ones
        text = text.replace(path, known[path])
    # What else is named, such as where a link leads.
    return re.sub(r"(?<![^\s'\"(=:])/(?:[^/\s]+/)+", "", text) + "."


def _tested_folders(path: Path) -> list[Path]:
    if not path.exists():
        raise NasosegError(f"{path}: no such file or folder: expected a run folder or its {METRICS}")
    if path.is_file() and path.name != METRICS:
        raise NasosegError(f"{path}: expected a file called {METRICS}, or a folder that holds one: rename or move it")
    if path.is_file():
        return [path.parent]
    if (path / METRICS).is_file():
        return [path]
    found = [file.parent for file in result_files(path)]
    if not found:
        raise NasosegError(
            f"{path}: no {METRICS} in it, expected a run that was tested, or a folder of such runs: finish it, or run"
            " `nasoseg test --config RUN/config.yaml`"
        )
    return found


def _untested_folders(path: Path) -> list[Path]:
    """Find runs that were begun: W&B keeps a config.yaml too, but no split."""
    begun = [folder for folder in folders_below(path) if (folder / "config.yaml").is_file()] if path.is_dir() else []
    return sorted(f for f in begun if (f / "split.json").is_file() and not (f / METRICS).is_file())


def _read(folder: Path) -> Run:
    facts = _first_row(folder / METRICS)
    lacks: list[str] = []
    config = _read_config(folder, lacks)
    split = _read_split(folder, lacks)
    _check_one_run(folder, facts, config, split)
    if split is not None:
        lacks += _unscored(folder, split, facts["fold"])
    ours = "nnunet" not in config
    if ours and config and not (folder / f"{TRAINING_DATA}.json").is_file():
        lacks.append(f"no {TRAINING_DATA}.json: an older nasoseg made it")
    if ours and not any(folder.glob(f"logs*/{METRICS}")):
        lacks.append("no logs: no learning curve")
    lacks += _unpredicted(folder, split, facts)
    return Run(folder, **facts, config=config, split_file=split, cost=_cost(folder, lacks), lacks=tuple(lacks))


def _first_row(path: Path) -> dict[str, str]:
    names = ("method", "protocol", "fold", "store", "split")
    try:
        row = pd.read_csv(path, nrows=1, dtype=str, keep_default_na=False, encoding="utf-8")
        facts = {name: str(row[name].iloc[0]) for name in names}
        folds = pd.read_csv(path, usecols=["fold"], dtype=str, keep_default_na=False, encoding="utf-8")["fold"]
        return facts if folds.nunique() == 1 else facts | {"fold": UNKNOWN}
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise NasosegError(
            f"{path}: cannot be read as results ({type(error).__name__}: {' '.join(str(error).split())[:200]}):"
            f" expected the columns {', '.join(names)} and rows below, as `nasoseg test` writes: test the run again"
        ) from error


def _read_config(folder: Path, lacks: list[str]) -> dict[str, Any]:
    path = folder / "config.yaml"
    if not path.is_file():
        lacks.append("no config.yaml")
        return {}
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        config = None
    if not isinstance(config, dict):
        lacks.append("config.yaml cannot be read")
        return {}
    return config


def _read_split(folder: Path, lacks: list[str]) -> Split | None:
    path = folder / "split.json"
    if not path.is_file():
        lacks.append("no split.json")
        return None
    try:
        return Split.load(path)
    except NasosegError as error:
        lacks.append(f"split.json was left out ({str(error).removeprefix(f'{path}: ')})")
        return None


def _check_one_run(folder: Path, facts: Mapping[str, str], config: Mapping[str, Any], split: Split | None) -> None:
    """Check that the results are of the split, store and fold that lie beside them."""
    beside: list[tuple[str, str, object]] = []
    if split is not None:
        beside += [("split", "split.json", split.sha256[:12]), ("store", "split.json", split.store_sha256[:12])]
    fold = _section(config, "data").get("fold")
    if fold is not None:
        beside.append(("fold", "config.yaml", fold))
    for name, file, expected in beside:
        if facts[name] not in (UNKNOWN, str(expected)):
            raise NasosegError(
                f"{folder / METRICS}: is of {name} {facts[name]}, but {file} beside it is of {name} {expected}: the"
                " folder holds files of two runs: put the right files together, or test the run again"
            )


def _unscored(folder: Path, split: Split, fold: str) -> list[str]:
    tested = _test_patients(split, fold)
    scored = set(pd.read_csv(folder / METRICS, usecols=["patient"], dtype=str, keep_default_na=False)["patient"])
    return _gone([key for key in tested if key not in scored], "without a result")


def _unpredicted(folder: Path, split: Split | None, facts: Mapping[str, str]) -> list[str]:
    if facts["protocol"] == "paper":  # single slices make no volume
        return []
    predictions = folder / "predictions"
    if not predictions.is_dir():
        return ["no predictions: `nasoseg predict --config RUN/config.yaml` writes them"]
    tested = [] if split is None else _test_patients(split, facts["fold"])
    return _gone([key for key in tested if not (predictions / key).is_dir()], "without a prediction")


def _test_patients(split: Split, fold: str) -> list[str]:
    return list(split.part(int(fold), "test")) if fold.isdecimal() and int(fold) < len(split.folds) else []


def _gone(keys: Sequence[str], what: str) -> list[str]:
    if not keys:
        return []
    more = ", ..." if len(keys) > _NAMED else ""
    return [f"{counted(len(keys), 'test patient')} {what}: {', '.join(keys[:_NAMED])}{more}"]


def _cost(folder: Path, lacks: list[str]) -> tuple[float, float] | None:
    """Read what a benchmark's rehearsal counted, beside the run folders of a method."""
    path = folder.with_name("cost.json")
    if not path.is_file():
        return None
    try:
        cost = json.loads(path.read_text(encoding="utf-8"))
        return float(cost["parameters"]), float(cost["gflop"]) * 1e9
    except (OSError, ValueError, KeyError, TypeError):
        lacks.append("cost.json cannot be read")
        return None


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}
