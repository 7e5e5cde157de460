"""The models that a path means: an exported model, a run, a checkpoint, or the runs of all folds in a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nasoseg.errors import NasosegError
from nasoseg.inference.exported import SUFFIXES, load_exported
from nasoseg.inference.model import Model, Precision

if TYPE_CHECKING:  # exported models run without it
    import torch

_CHECKPOINTS = "checkpoints"


def load_models(
    paths: Sequence[Path], *, device: str = "auto", precision: Precision = "32", trust: bool = False
) -> list[Model]:
    """Load models to segment with.

    Args:
        paths: Models that ``nasoseg export`` wrote; or run folders, checkpoints in them, and folders whose run folders
            are all taken (``fold0``, ``fold1`` ...).
        device: ``auto`` (a GPU if there is one), or as torch spells it: ``cpu``, ``cuda``, ``cuda:1``.
        precision: What the networks compute in; an exported model computes in float32.
        trust: Whether a run's config may name classes of other packages (``nasoseg.load``).

    Raises:
        NasosegError: If there is no model, one cannot be loaded, there is no such device, it lacks the precision, or
            exported models are mixed with runs.
    """
    exported = [path for path in paths if path.suffix.lower() in SUFFIXES]
    if not exported:
        return _load_runs(paths, device=device, precision=precision, trust=trust)
    others = [path for path in paths if path not in exported]
    if others:
        raise NasosegError(f"{others[0]}: stands beside the exported {exported[0]}: expected exported models alone")
    if precision != "32":
        raise NasosegError(f"--precision {precision}: {exported[0]} was exported in float32: give the run")
    return [load_exported(path, device=device) for path in exported]


def find_runs(path: Path) -> list[Path]:
    """Return the runs that a path means: itself, or the run folders in it.

    Raises:
        NasosegError: If there is none.
    """
    if path.is_file() or (path / _CHECKPOINTS).is_dir() or (path / "model.safetensors").is_file():
        return [path]
    runs = sorted(p for p in path.iterdir() if (p / _CHECKPOINTS).is_dir()) if path.is_dir() else []
    if not runs:
        raise NasosegError(
            f"{path}: {'no run folder' if path.exists() else 'no such run'}: expected a folder that `nasoseg fit`"
            " wrote, a checkpoint in one, or a folder of several runs"
        )
    return runs


def _load_runs(paths: Sequence[Path], *, device: str, precision: Precision, trust: bool) -> list[Model]:
    import torch

    from nasoseg.inference.task_model import TaskModel
    from nasoseg.tasks.loading import load

    place = _device(device)
    tasks = [load(run, trust=trust) for path in paths for run in find_runs(path)]
    ready = [task.to(place, memory_format=torch.channels_last).eval() for task in tasks]
    return [TaskModel(task, precision=precision) for task in ready]


def _device(named: str) -> "torch.device":
    import torch

    if named == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(named)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0][:160]
        raise NasosegError(f"--device: {named!r} cannot be used ({first}): expected auto, cpu or cuda") from error
    return device
