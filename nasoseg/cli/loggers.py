"""Which loggers a run has: the CSV log unless all are turned off, and W&B as nasoseg sets it up."""

import inspect
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from nasoseg.data.datamodule import SliceDataModule
from nasoseg.errors import NasosegError, nearest
from nasoseg.tasks.wandb_run import WandbRun

_OURS = f"{WandbRun.__module__}.{WandbRun.__qualname__}"
_LIGHTNINGS = ("lightning.pytorch.loggers.WandbLogger", "lightning.pytorch.loggers.wandb.WandbLogger")
_OUR_NAMES = {"version": "id", "dir": "save_dir"}


def with_own_wandb(configured: Any) -> Any:
    """Replace Lightning's WandbLogger in the config ``trainer.logger`` by ``WandbRun``, with what it was given.

    Raises:
        NasosegError: If an argument was given that ``WandbRun`` does not have.
    """
    if isinstance(configured, list):
        return [with_own_wandb(one) for one in configured]
    if not isinstance(configured, Namespace) or configured.get("class_path") not in _LIGHTNINGS:
        return configured
    defaults = {name: p.default for name, p in inspect.signature(WandbLogger.__init__).parameters.items()}
    given = _plain(configured.get("init_args")) | _plain(configured.get("dict_kwargs"))
    given = {_OUR_NAMES.get(key, key): value for key, value in given.items() if value != defaults.get(key)}
    known = list(inspect.signature(WandbRun).parameters)
    for key in given:
        if key not in known:
            raise NasosegError(
                f"trainer.logger.{key}: nasoseg's log to W&B has no such argument: {nearest(key, known)}"
            )
    if "log_model" in given:  # "all" is Lightning's
        given["log_model"] = bool(given["log_model"])
    replaced = configured.clone()
    replaced.class_path, replaced.init_args = _OURS, type(configured)(given)
    replaced.pop("dict_kwargs", None)
    return replaced


def has_wandb(configured: Any) -> bool:
    """Tell whether W&B is among the loggers of a config that ``with_own_wandb`` has seen."""
    return any(isinstance(one, Namespace) and one.get("class_path") == _OURS for one in _listed(configured))


def settle_loggers(
    configured: Any,
    *,
    command: str,
    folder: Path,
    data: SliceDataModule,
    method: str,
    resuming: bool = False,
    beside_best: bool = False,
) -> list[Logger] | bool:
    """Take the configured loggers, with the CSV log beside them; ``logger: false`` turns all off.

    W&B runs are named so that the folds of a method are a group, and protocols never mix.

    Args:
        configured: ``trainer.logger``, instantiated.
        command: What is run; validation and prediction alone are no part of a run's record in W&B.
        folder: The run folder.
        data: The store, the split and the fold.
        method: Name of the method.
        resuming: Whether training goes on.
        beside_best: Whether another checkpoint than the run's best is tested; it is no part of its record either.
    """
    if configured is False:
        return False
    loggers = [one for one in _listed(configured) if isinstance(one, Logger)]
    if command in ("validate", "predict") or (command == "test" and beside_best):
        loggers = [one for one in loggers if not isinstance(one, WandbRun)]
    for logger in loggers:
        if isinstance(logger, WandbRun):
            fold, protocol = f"fold{data.fold}", data.split.protocol
            names = {"name": f"{method} {fold}", "group": f"{method}, {protocol}", "job_type": fold, "tags": [protocol]}
            logger.settle(folder, defaults=names, training=command == "fit")
    if command == "fit" and not any(isinstance(logger, CSVLogger) for logger in loggers):
        loggers.append(_csv_log(folder, resuming=resuming))
    return loggers or False


def _csv_log(folder: Path, *, resuming: bool) -> CSVLogger:
    """Log training to a folder of its own: CSVLogger deletes what it finds, also when a run is resumed."""
    taken = sum(1 for path in folder.glob("logs*") if path.is_dir()) if resuming else 0
    return CSVLogger(folder, name="", version=f"logs_{taken + 1}" if taken else "logs")


def _listed(configured: Any) -> list[Any]:
    return list(configured) if isinstance(configured, list | tuple) else [configured]


def _plain(arguments: Any) -> dict[str, Any]:
    if arguments is None:
        return {}
    return dict(vars(arguments)) if isinstance(arguments, Namespace) else dict(arguments)
