"""A trained model from its run folder, or from a folder that was shared: weights and plain data, no code."""

import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from nasoseg.data.training_data import TRAINING_DATA, TrainingData, read_training_data, training_data_from
from nasoseg.errors import NasosegError
from nasoseg.tasks.base import SegmentationTask
from nasoseg.tasks.building import build_task, load_weights
from nasoseg.tasks.card_text import MODEL_CARD
from nasoseg.tasks.checkpoints import load_checkpoint
from nasoseg.tasks.run_record import check_version
from nasoseg.tasks.shared_folder import load_shared, shared_folder
from nasoseg.yaml_files import read_yaml


def load(
    path: str | os.PathLike[str], *, model: SegmentationTask | None = None, trust: bool = False
) -> SegmentationTask:
    """Load a trained model for inference.

    Args:
        path: A run folder, or a checkpoint in one; or a folder that ``save_pretrained`` wrote.
        model: The model to load the weights into; built from the folder's config by default.
        trust: Whether the config may name classes of other packages, whose code then runs.

    Returns:
        The model in evaluation mode, on the CPU.

    Raises:
        NasosegError: If something is missing, damaged or does not fit, the run folder is of another version, or the
            config names a class that is not trusted.
    """
    path = Path(path)
    if (shared := shared_folder(path)) is not None:
        return load_shared(shared, model=model, trust=trust)
    run = path if path.is_dir() else path.absolute().parent.parent
    check_version(run)
    weights, described = _weights(path)
    if model is None:
        model = _build(run / "config.yaml", trust=trust)
    load_weights(model, weights, where=str(path))
    if described is not None:
        model.training_data = described
    elif (run / f"{TRAINING_DATA}.json").is_file():
        model.training_data = read_training_data(run / f"{TRAINING_DATA}.json")
    if (path.is_dir() or path.stem == "best") and (run / MODEL_CARD).is_file():  # the card is of the best weights
        model.model_card = (run / MODEL_CARD).read_text(encoding="utf-8", errors="replace")
    return model.eval()


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
    try:
        config = read_yaml(path, kind="a run's config")
    except NasosegError as error:
        raise NasosegError(f"{error}, or pass model=...") from error
    try:
        model, data = dict(config["model"]), dict(config["data"])
        windows = data.get("windows_hu") or [None]
        context = int(data.get("context") or 0)
        made = training_data_from({"windows_hu": windows, "context": context}) if windows[0] else None
    except (KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise NasosegError(f"{path}: cannot be read as a run's config ({reason}): pass model=...") from error
    channels = len(windows) * (2 * context + 1)
    built = build_task(model, labels=data.get("labels"), in_channels=channels, where=str(path), trust=trust)
    built.training_data = made  # of a run without a description; on what pixels it was trained is not known then
    return built
