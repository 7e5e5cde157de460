"""Whether what goes on in a run folder is what was begun there: the same patients, structures and network."""

import inspect
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from nasoseg.data.datamodule import SliceDataModule
from nasoseg.data.splits import Split
from nasoseg.errors import NasosegError
from nasoseg.tasks.base import SegmentationTask
from nasoseg.tasks.building import check_weights
from nasoseg.tasks.checkpoints import load_checkpoint
from nasoseg.tasks.run_record import check_version
from nasoseg.yaml_files import read_yaml

SPLIT = "split.json"
CONFIG = "config.yaml"

_OF_THE_MACHINE = ("foreach", "fused", "capturable", "differentiable")
"""Settings of an optimiser that choose how it is computed."""

_OF_SCHEDULES = {"base_lrs", "total_size", "step_ratio"}
"""Settings of schedules under other names than their arguments': the last two are CyclicLR's."""

_OF_GROUPS = {"initial_lr", "max_lr", "min_lr"}
"""What a schedule keeps in the optimiser's groups and does not change; the last two are OneCycleLR's."""


def check_same_data(folder: Path, data: SliceDataModule) -> None:
    """Refuse other data than a run was trained on: patients that it learned from could be tested.

    Args:
        folder: A run folder, or one that holds no run yet.
        data: What is read now.

    Raises:
        NasosegError: If the store, the split, the fold or the structures differ, or the run folder is of another
            version.
    """
    check_version(folder)
    elsewhere = "or, with --ckpt_path, another folder with --run"
    if (folder / SPLIT).is_file():
        split = Split.load(folder / SPLIT)
        if split.store_sha256 != data.store.content_sha256:
            raise NasosegError(
                f"data.store: {data.store.path} (SHA-256 {data.store.content_sha256}) is not the store that {folder}"
                f" was trained on ({split.store_sha256}): name that one, {elsewhere}"
            )
        if split.sha256 != data.split.sha256:
            raise NasosegError(
                f"data.split: {_worded(data)} deals the slices otherwise than {folder / SPLIT}, so that what was"
                f" trained on would be tested: pass --data.split {folder / SPLIT}, {elsewhere}"
            )
    if (folder / CONFIG).is_file():
        known = _data_of(folder / CONFIG)
        found = {"fold": data.fold, "labels": list(data.labels)}
        for name, value in found.items():
            if known.get(name) is not None and known[name] != value:
                raise NasosegError(
                    f"data.{name}: found {value}, expected {known[name]} as {folder} was trained with: leave it out,"
                    f" {elsewhere}"
                )


def check_resumable(path: Path, model: SegmentationTask) -> None:
    """Refuse a checkpoint from which a model cannot be trained on.

    Args:
        path: The checkpoint.
        model: Whose training is to go on.

    Raises:
        NasosegError: If it is of another network, of an optimiser or learning-rate schedule that is another or has
            other settings, or holds weights alone.
    """
    checkpoint = load_checkpoint(path)
    check_weights(model, checkpoint["state_dict"], where=str(path))
    states = checkpoint.get("optimizer_states")
    if not states:
        raise NasosegError(
            f"{path}: holds no state of an optimiser, expected one: training cannot go on from weights alone: name"
            " last.ckpt of a run"
        )
    if type(model).configure_optimizers is not SegmentationTask.configure_optimizers:
        return  # what it makes is its own affair
    _check_optimizer(path, model, states)
    _check_schedule(path, model, checkpoint.get("lr_schedulers") or [])
    _check_rates(path, model, checkpoint)


def folder_of_config(paths: Sequence[Path], named: str | None) -> str | None:
    """Find the run folder that is meant by a config which lies in it, wherever it was moved or copied since.

    Args:
        paths: The configs that were given.
        named: The run folder that the settings name.

    Returns:
        The folder of the config that names the run folder; ``named`` where it lies in none.
    """
    for path in paths:
        folder = path.parent
        if path.name != CONFIG or not (folder / SPLIT).is_file() or not (folder / "checkpoints").is_dir():
            continue
        config = read_yaml(path, kind="a run's config")
        own = config.get("run") if isinstance(config, dict) else None
        if own == named and (named is None or Path(named).resolve() != folder.resolve()):
            return str(folder)
    return named


def settle_split(folder: Path, named: str | None) -> str | None:
    """Return a run's own split file where the one that its config names is not there; else ``named``."""
    if named is None or Path(named).exists() or not (folder / SPLIT).is_file():
        return named
    return str(folder / SPLIT)


def _check_optimizer(path: Path, model: SegmentationTask, states: Sequence[Mapping[str, Any]]) -> None:
    optimizer = model.make_optimizer(model.parameters())
    wanted = set(optimizer.param_groups[0])
    try:
        optimizer.load_state_dict({"state": {}, "param_groups": states[0]["param_groups"]})
        lacking = sorted(set.union(*(wanted - set(group) for group in optimizer.param_groups)))
        fault = f"it has no {', '.join(lacking)}" if lacking else ""
    except (ValueError, KeyError, TypeError, IndexError) as error:
        fault = " ".join(str(error).split())[:200] or type(error).__name__
    if fault:
        raise NasosegError(
            f"{path}: its optimiser is another than {type(optimizer).__name__} of the config ({fault}): resume with"
            " the config of that run, or begin anew in another folder with --run"
        )


def _check_schedule(path: Path, model: SegmentationTask, found: Sequence[Mapping[str, Any]]) -> None:
    """Refuse the state of another schedule, of which PyTorch takes what it finds without a word."""
    wanted = [model.make_scheduler(model.make_optimizer(model.parameters()))] if model.make_scheduler else []
    if [_public(schedule.state_dict()) for schedule in wanted] != [_public(state) for state in found]:
        held = ", ".join(sorted(_public(found[0]))) if found else "none"
        expected = ", ".join(sorted(_public(wanted[0].state_dict()))) if wanted else "none"
        name = type(wanted[0]).__name__ if wanted else "the config, which has none"
        raise NasosegError(
            f"{path}: its learning-rate schedule is not that of {name}: found {held}, expected {expected}: resume with"
            " the config of that run, or begin anew in another folder with --run"
        )


def _public(state: Mapping[str, Any]) -> set[str]:
    return {name for name in state if not name.startswith("_")}


def _check_rates(path: Path, model: SegmentationTask, checkpoint: Mapping[str, Any]) -> None:
    """Refuse other settings of the same optimiser and schedule: the checkpoint's would be kept without a word."""
    optimizer = model.make_optimizer(model.parameters())
    rates = [group["lr"] for group in optimizer.param_groups]
    driven = {"params", *_OF_THE_MACHINE}
    if model.make_scheduler:
        schedule = model.make_scheduler(optimizer)
        driven |= {"lr"} | ({"momentum", "betas"} if getattr(schedule, "cycle_momentum", False) else set())
        arguments = _arguments(schedule) - {"last_epoch"}
        settings = arguments | {f"{name}s" for name in arguments} | _OF_SCHEDULES  # max_lr is kept as max_lrs
        name = type(schedule).__name__
        _check_settings(path, name, schedule.state_dict(), checkpoint["lr_schedulers"][0], settings)
    # Its arguments alone: some optimisers keep in a group what they count or estimate, too.
    settings = (_arguments(optimizer) | _OF_GROUPS) - driven
    groups = [{"initial_lr": rate, **group} for rate, group in zip(rates, optimizer.param_groups, strict=True)]
    for group, held in zip(groups, checkpoint["optimizer_states"][0]["param_groups"], strict=True):
        _check_settings(path, type(optimizer).__name__, group, held, settings)


def _arguments(thing: object) -> set[str]:
    """List the arguments of an object's class and of the classes that it is made from."""
    made = [vars(kind).get("__init__") for kind in type(thing).__mro__]
    return {name for make in made if inspect.isfunction(make) for name in inspect.signature(make).parameters}


def _check_settings(
    path: Path, what: str, wanted: Mapping[str, Any], held: Mapping[str, Any], settings: Collection[str]
) -> None:
    for name in sorted(settings):
        if name in wanted and name in held and wanted[name] != held[name]:
            raise NasosegError(
                f"{path}: {name} of {what}: the config has {wanted[name]}, the checkpoint {held[name]}, which training"
                " would go on with: give the checkpoint's, or begin anew in another folder with --run"
            )


def _data_of(path: Path) -> dict[str, Any]:
    config = read_yaml(path, kind="a run's config")
    data = config.get("data") if isinstance(config, dict) else None
    return data if isinstance(data, dict) else {}


def _worded(data: SliceDataModule) -> str:
    if data.split_path is not None:
        return str(data.split_path)
    return f"folds {data.folds}, protocol {data.protocol}, seed {data.seed}"
