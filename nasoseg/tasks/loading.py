"""A trained model from its run folder: weights and plain data, no code from the file."""

import os
import re
from pathlib import Path
from typing import Any

import lightning
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file

from nasoseg.data.training_data import TRAINING_DATA, TrainingData, read_training_data, training_data_from
from nasoseg.errors import NasosegError
from nasoseg.tasks.base import SegmentationTask
from nasoseg.tasks.checkpoints import load_checkpoint

TRUSTED = ("nasoseg.", "torch.nn.", "torch.optim.", "torchvision.models.", "segmentation_models_pytorch.")
"""Import paths that a run folder's config may name without ``trust``."""
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def load(
    path: str | os.PathLike[str], *, model: SegmentationTask | None = None, trust: bool = False
) -> SegmentationTask:
    """Load a trained model for inference.

    Args:
        path: A run folder, or a checkpoint in one.
        model: The model to load the weights into; built from the run folder's ``config.yaml`` by default.
        trust: Whether the config may name classes of other packages, whose code then runs.

    Returns:
        The model in evaluation mode, on the CPU.

    Raises:
        NasosegError: If something is missing, damaged or does not fit, or the config names a class that is not
            trusted.
    """
    path = Path(path)
    run = path if path.is_dir() else path.parent.parent
    weights, described = _weights(path)
    if model is None:
        model = _build(run / "config.yaml", trust=trust)
    load_weights(model, weights, where=str(path))
    if described is not None:
        model.training_data = described
    elif (run / f"{TRAINING_DATA}.json").is_file():
        model.training_data = read_training_data(run / f"{TRAINING_DATA}.json")
    return model.eval()


def load_weights(model: lightning.LightningModule, weights: dict[str, Any], *, where: str) -> None:
    """Load named tensors into a model, all or none.

    Raises:
        NasosegError: If names or shapes differ.
    """
    own = model.state_dict()
    wrong = sorted(own.keys() ^ weights.keys()) or [n for n in own if own[n].shape != weights[n].shape]
    if wrong:
        raise NasosegError(
            f"{where}: the weights are of another network ({len(wrong)} tensors differ, for example {wrong[0]!r}):"
            " use the config.yaml of their run folder"
        )
    model.load_state_dict(weights)


def _weights(path: Path) -> tuple[dict[str, Any], TrainingData | None]:
    """Return the weights, and what a checkpoint says that they were trained on."""
    if path.is_dir():
        folder = path / "checkpoints"
        found = [folder / name for name in ("best.safetensors", "best.ckpt") if (folder / name).is_file()]
        if not found:
            raise NasosegError(f"{path}: no run folder: expected checkpoints/best.ckpt, which `nasoseg fit` writes")
        path = found[0]
    if path.suffix != ".safetensors":
        checkpoint = load_checkpoint(path)
        try:
            plain = checkpoint.get(TRAINING_DATA)
            return checkpoint["state_dict"], None if plain is None else training_data_from(plain)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NasosegError(f"{path}: its {TRAINING_DATA} cannot be read ({error}): copy it again") from error
    try:
        return load_file(path), None
    except (OSError, SafetensorError) as error:
        raise NasosegError(f"{path}: cannot be read as safetensors ({error}): copy it again") from error


def _build(path: Path, *, trust: bool) -> SegmentationTask:
    from lightning.pytorch.cli import LightningArgumentParser

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        model, data = dict(config["model"]), dict(config["data"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise NasosegError(f"{path}: cannot be read as a run's config ({error}): pass model=...") from error
    if not trust:
        _check_trusted(model, path)
    windows = data.get("windows_hu") or [None]
    arguments = dict(model.get("init_args") or {})
    arguments["labels"] = data.get("labels")
    arguments["in_channels"] = len(windows) * (2 * int(data.get("context") or 0) + 1)
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(SegmentationTask, "model")
    try:
        made = training_data_from({"windows_hu": windows, "context": data.get("context")}) if windows[0] else None
        parsed = parser.parse_object({"model": {"class_path": model["class_path"], "init_args": arguments}})
        built: SegmentationTask = parser.instantiate(parsed).model
    except Exception as error:  # whatever a class of the config raises
        raise NasosegError(f"{path}: the model cannot be built ({error}): pass model=...") from error
    built.training_data = made  # of a run without a description; on what pixels it was trained is not known then
    return built


def _check_trusted(node: Any, path: Path) -> None:
    """Refuse a class whose code nobody vouched for, however it is named: the parser takes a class_path alone, too."""
    if isinstance(node, str):
        try:
            inner = yaml.safe_load(node)  # the parser reads a string as YAML
        except yaml.YAMLError:
            inner = None
        if isinstance(inner, dict | list):
            _check_trusted(inner, path)
        elif _DOTTED.fullmatch(node.strip()):
            _check_name(node.strip(), path)
    elif isinstance(node, dict):
        if node.get("class_path") is not None:
            _check_name(str(node["class_path"]), path)
        for key, child in node.items():
            if key not in ("class_path", "labels"):  # structures may have dots in their names, and are not looked up
                _check_trusted(child, path)
    elif isinstance(node, list):
        for child in node:
            _check_trusted(child, path)


def _check_name(named: str, path: Path) -> None:
    if not named.startswith(TRUSTED):
        raise NasosegError(
            f"{path}: names the class {named!r}, whose code would run: pass trust=True if you know where the file"
            " comes from"
        )
