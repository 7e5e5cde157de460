"""nnU-Net itself as a method: a bridge to the real ``nnunetv2``, on the same patients and with the same scores.

From a store, a split and a fold it writes nnU-Net's raw data sets, runs nnU-Net's own commands in an environment of
their own, reads the probabilities back, and leaves a run folder like that of ``nasoseg fit``:

==========================  =====================================================================================
``config.yaml``             what was asked for, ``split.json``, ``groups.json``, ``cases.json`` (case to patient)
``metrics.csv``             as every method's; ``predictions/<patient>/<structure>.nii.gz``
``stages.json``             what is done, with seconds, commands and logs; ``logs/`` holds what nnU-Net printed
``raw`` ``preprocessed``    nnU-Net's own folders, with ``results``; ``images`` holds the CTs that several groups share
``probabilities``           what nnU-Net predicted, an ``.npz`` a group and case
==========================  =====================================================================================

What is nnU-Net's own and what is not: network, planning, normalisation, augmentation, loss, sampling and prediction
are its own, unchanged. From here come the patients, the number of epochs and iterations, the batch size if asked for,
no mirroring where structures have sides, and the groups (``nnunet_groups``). It is not seeded: nnU-Net cannot be.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from nasoseg.comparison.nnunet_dataset import case_names, find_combinations, write_dataset
from nasoseg.comparison.nnunet_environment import TESTED, Environment
from nasoseg.comparison.nnunet_groups import MOST_LOST, Grouping, make_groups
from nasoseg.comparison.nnunet_options import Options
from nasoseg.comparison.nnunet_process import locked
from nasoseg.comparison.nnunet_scores import Predicted, score_predictions
from nasoseg.comparison.nnunet_stages import Progress, Stages
from nasoseg.data.splits import Split
from nasoseg.data.store import Store
from nasoseg.errors import NasosegError
from nasoseg.files import whole_file
from nasoseg.metrics import Scores
from nasoseg.tasks.results import result_context, write_metrics

_ANY_WAY = ("data.store", "nnunet.device", "nnunet.processes")  # what does not change what is learned
_OURS = ("config.yaml", "split.json", "groups.json", "cases.json", "stages.json", "metrics.csv")
_FOLDERS = ("images", "raw", "preprocessed", "results", "probabilities", "predictions", "trainer", "logs")
_LOCK = "nnunet.lock"


@dataclass(frozen=True)
class Asked:
    """Say what nnU-Net is to learn.

    Attributes:
        fold: The fold that is tested.
        labels: Names of the structures, as the store spells them.
        method: Name of the method in ``metrics.csv``.
        groups: Groups by hand, or None.
        most_lost: Share of patients that a group may lose.
        options: How nnU-Net is run.
    """

    fold: int
    labels: Sequence[str]
    method: str = "nnunet"
    groups: Sequence[Sequence[str]] | None = None
    most_lost: float = MOST_LOST
    options: Options = field(default_factory=Options)


def run_nnunet(
    store: Store,
    split: Split,
    asked: Asked,
    *,
    run: Path,
    find: Callable[[], Environment],
    force: bool = False,
    say: Callable[[str], None] = print,
    progress: Progress = lambda what, done, total: None,
) -> Scores:
    """Train and test nnU-Net on a fold; what an earlier, interrupted call has finished in ``run`` is not done again.

    Args:
        store: The store.
        split: Its split, protocol ``clean``.
        asked: What it is to learn.
        run: The run folder.
        find: Finds where nnU-Net is installed; called after the arguments have been checked.
        force: Delete what ``run`` holds of another run first.
        say: Prints a line.
        progress: Called while a stage goes on.

    Raises:
        NasosegError: If the split deals slices, the run folder holds another run, nothing can be trained, or a command
            of nnU-Net fails.
    """
    if split.protocol != "clean":
        raise NasosegError(
            "--protocol: found 'paper', whose folds are single slices; nnU-Net's cases are whole volumes, so that it"
            " could not be kept from a patient's other slices: expected 'clean'"
        )
    tested = list(split.part(asked.fold, "test"))
    grouping = make_groups(
        store, split, fold=asked.fold, labels=asked.labels, by_hand=asked.groups, most_lost=asked.most_lost
    )
    environment = find()
    try:
        with locked(run / _LOCK) as descriptor:
            _claim(run, _document(store, split, asked, environment.version), force=force)
            split.save(run / "split.json")
            grouping.save(run / "groups.json")
            cases = {case: key for key, case in case_names(store).items()}
            _write_text(run / "cases.json", json.dumps(cases, indent=2) + "\n")
            stages = Stages(run, environment, asked.options, descriptor=descriptor)
            say(f"nnU-Net {environment.version}, {asked.options.configuration}, on {stages.device}; run folder: {run}")
            if environment.version != TESTED:
                say(f"nnU-Net {environment.version} is not the version that this was tested with, {TESTED}")
            say(grouping.text())
            predicted = _predict(store, grouping, stages, tested=tested, say=say, progress=progress)
            scores = score_predictions(
                store,
                tested,
                predicted,
                labels=[name for name in asked.labels if name in grouping.trained],
                masks_to=run / "predictions",
                progress=lambda what, done, total: progress(f"scored {what}", done, total),
            )
            context = result_context(store, split, method=asked.method, fold=asked.fold)
            write_metrics(run / "metrics.csv", scores, context=context)
    except OSError as error:
        raise NasosegError(f"--run: {run}: {error}: free disk space, or choose another folder") from error
    return scores


def _predict(
    store: Store,
    grouping: Grouping,
    stages: Stages,
    *,
    tested: list[str],
    say: Callable[[str], None],
    progress: Progress,
) -> list[Predicted]:
    """Export, plan, train and predict every group."""
    cases = case_names(store)
    predicted = []
    for group in grouping.groups:
        combinations = find_combinations(store, group)
        folder = stages.dataset(group)
        if not (folder / "dataset.json").is_file():
            write_dataset(store, group, combinations, folder, images=stages.run / "images", tested=tested)
        stages.plan(group, store, progress)
        plan = stages.plans(group)["configurations"][stages.options.configuration]
        how = f"{len(combinations.planes) - 1} combinations of structures, as regions"
        say(
            f"{group.name}: {how if combinations.overlap else 'no overlap, so plain labels'};"
            f" patches {' x '.join(map(str, plan['patch_size']))}, batches of {plan['batch_size']},"
            f" {'' if stages.options.mirrors(group) else 'no '}mirroring"
            + (f", {stages.plane(group)} slices" if stages.options.configuration == "2d" else "")
        )
        stages.train(group, progress)
        stages.predict(group, [cases[key] for key in tested], progress)
        predicted.append(Predicted(group, combinations, stages.probabilities(group)))
    return predicted


def differences(run: Path, store: Store, split: Split, asked: Asked) -> list[tuple[str, str, str]]:
    """List what makes the run in a folder another one than is asked for.

    nnU-Net's version is not compared: results can be read where it is not installed.

    Returns:
        Key, value there and value now; nothing where the folder holds no run.
    """
    wanted = _document(store, split, asked, version=None)
    del wanted["nnunet"]["version"]
    return _differences(_read_yaml(run / "config.yaml"), wanted) if _held(run) else []


def _document(store: Store, split: Split, asked: Asked, version: str | None) -> dict[str, Any]:
    return {
        "method": asked.method,
        "data": {
            "store": str(store.path),
            "store_sha256": store.content_sha256,
            "split_sha256": split.sha256,
            "protocol": split.protocol,
            "fold": asked.fold,
            "labels": list(asked.labels),
        },
        "nnunet": {
            "version": version,
            **asdict(asked.options),
            "groups": None if asked.groups is None else [list(group) for group in asked.groups],
            "group_loss": asked.most_lost,
        },
    }


def _claim(run: Path, wanted: dict[str, Any], *, force: bool) -> None:
    """Make the run folder ours: new, or the same run to be gone on with."""
    path = run / "config.yaml"
    held = _held(run)
    if held and not force:
        for key, before, now in _differences(_read_yaml(path), wanted):
            raise NasosegError(
                f"--run: {run} holds a run with {key}: {before}, found {now} now: give the same arguments to go on"
                " with it, --force to delete it, or another --run"
            )
    if held and force:
        for name in held:
            (shutil.rmtree if (run / name).is_dir() else Path.unlink)(run / name)
    _write_text(path, yaml.safe_dump(wanted, sort_keys=False))


def _held(run: Path) -> list[str]:
    return [name for name in (*_OURS, *_FOLDERS) if (run / name).exists()]


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[tuple[str, str, str]]:
    """List what makes it another run, with both values: where the store lies, and how fast it goes, do not."""
    before, now = _flat(found), _flat(wanted)
    return [(key, repr(before.get(key)), repr(value)) for key, value in now.items() if before.get(key) != value]


def _flat(document: dict[str, Any]) -> dict[str, Any]:
    flat = {"method": document.get("method")}
    for section in ("data", "nnunet"):
        content = document.get(section)
        if isinstance(content, dict):
            flat |= {f"{section}.{key}": value for key, value in content.items()}
    return {key: value for key, value in flat.items() if key not in _ANY_WAY}


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
