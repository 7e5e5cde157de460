"""A model as a folder to share: ``config.json``, ``model.safetensors`` and a card, ``README.md``.

The layout is that of Hugging Face's hub. ``config.json`` says how to build the network and how its images are made,
and holds the checksum of the weights; it is written last, so that a folder that has it is whole.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from nasoseg.data.training_data import TrainingData, training_data_from
from nasoseg.errors import NasosegError, writing
from nasoseg.files import whole_file
from nasoseg.tasks.base import SegmentationTask
from nasoseg.tasks.building import build_task, load_weights
from nasoseg.tasks.card_text import FRONT_MATTER, plain_card

FORMAT = "nasoseg-shared"
VERSION = 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"

_LOSS = "staged_loss."  # of the training; the loss is not shared


def shared_folder(path: Path) -> Path | None:
    """Return the shared folder that a path means: itself, or the one of the weights in it; None where it is none."""
    folder = path.parent if path.name == WEIGHTS else path
    return folder if (folder / CONFIG).is_file() and not (folder / "config.yaml").is_file() else None


def write_shared(task: SegmentationTask, folder: Path, *, card: str | None = None) -> None:
    """Write a model into a folder that exists; older files of these names are replaced.

    Args:
        task: The model. Of its arguments those of the training (loss, optimiser, schedule) are left out.
        folder: The folder.
        card: Text of the ``README.md``; by default the card of the run that the model comes from, or a plain one.

    Raises:
        NasosegError: If nobody noted how a part was built, the model cannot be built again from its config, or the
            disk refuses.
    """
    weights = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in task.state_dict().items()
        if not name.startswith(_LOSS)
    }
    where = "save_pretrained"
    again = build_task(
        task.shared_blueprint(), labels=list(task.labels), in_channels=task.in_channels, where=where, trust=True
    )
    _check_paths(again.blueprint["init_args"], "init_args")
    load_weights(again, weights, where=f"{where}: built again from its arguments, the model is another one, as {where}")
    # One entry: safetensors writes several in random order, and a model saved twice would have two hashes.
    content = save(weights, metadata={"labels": "\n".join(task.labels)})
    config = {
        "format": FORMAT,
        "version": VERSION,
        "nasoseg": version("nasoseg"),
        **again.blueprint,
        "labels": list(task.labels),
        "in_channels": task.in_channels,
        "training_data": None if task.training_data is None else task.training_data.as_dict(),
        "weights_sha256": hashlib.sha256(content).hexdigest(),
    }
    text = card or task.model_card or plain_card(task)
    with writing(folder):
        (folder / CONFIG).unlink(missing_ok=True)
        for name, data in (
            (WEIGHTS, content),
            (CARD, (text if text.startswith("---\n") else FRONT_MATTER + "\n" + text).encode()),
            (CONFIG, (json.dumps(config, indent=2) + "\n").encode()),
        ):
            with whole_file(folder / name) as temporary:
                temporary.write_bytes(data)


def load_shared(folder: Path, *, model: SegmentationTask | None = None, trust: bool = False) -> SegmentationTask:
    """Load a model from a folder that ``write_shared`` wrote.

    Args:
        folder: The folder.
        model: The model to load the weights into; built from ``config.json`` by default.
        trust: Whether the config may name classes of other packages, whose code then runs.

    Returns:
        The model in evaluation mode, on the CPU.

    Raises:
        NasosegError: If a file is missing, damaged, of another version or of another model, or the config names a
            class that is not trusted.
    """
    path = folder / CONFIG
    config = _read_config(path)
    training = _training_data(config, path)
    content = _read_weights(folder / WEIGHTS, str(config["weights_sha256"]))
    if model is None:
        blueprint = {"class_path": config["class_path"], "init_args": config["init_args"]}
        channels = config["in_channels"]
        model = build_task(blueprint, labels=config["labels"], in_channels=channels, where=str(path), trust=trust)
    load_weights(model, content, where=str(folder / WEIGHTS))
    model.training_data = training
    if (folder / CARD).is_file():
        model.model_card = (folder / CARD).read_text(encoding="utf-8", errors="replace")
    return model.eval()


def _check_paths(node: Any, where: str) -> None:
    """Refuse what tells of this machine, and would mean nothing on another."""
    if isinstance(node, str) and (PurePosixPath(node).is_absolute() or PureWindowsPath(node).is_absolute()):
        raise NasosegError(f"{where}: holds the path {node!r} of this machine: build the model without it")
    children = node.items() if isinstance(node, dict) else enumerate(node if isinstance(node, list) else [])
    for key, child in children:
        _check_paths(child, f"{where}.{key}")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        found = (config["format"], config["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NasosegError(
            f"{path}: is no config of a shared model ({type(error).__name__}: {error}): expected a folder that"
            " `save_pretrained` of nasoseg wrote, or a run folder"
        ) from error
    if found != (FORMAT, VERSION):
        raise NasosegError(
            f"{path}: is {found[0]!r} version {found[1]!r}, this nasoseg reads {FORMAT!r} version {VERSION}: install"
            " the nasoseg that wrote it, or save the model again"
        )
    expected: Mapping[str, type] = {
        "class_path": str,
        "init_args": dict,
        "labels": list,
        "in_channels": int,
        "weights_sha256": str,
    }
    for name, kind in expected.items():
        if not isinstance(config.get(name), kind):
            raise NasosegError(
                f"{path}: {name} is {str(config.get(name))[:60]!r}, expected {kind.__name__}: save the model again"
            )
    return dict(config)


def _training_data(config: Mapping[str, Any], path: Path) -> TrainingData | None:
    plain = config.get("training_data")
    if plain is None:
        return None
    try:
        found = training_data_from(plain)
        channels = len(found.windows_hu) * (2 * found.context + 1)
        if channels != config["in_channels"]:
            raise ValueError(f"{channels} channels, but in_channels is {config['in_channels']}")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NasosegError(f"{path}: its training_data cannot be read ({error}): save the model again") from error
    return found


def _read_weights(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NasosegError(
            f"{path}: cannot be read ({error.strerror or error}): copy the whole folder again"
        ) from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise NasosegError(
            f"{path}: its checksum is not the one in {CONFIG}: the file is damaged, cut off, or of another model: copy"
            " the whole folder again"
        )
    try:
        return load(content)
    except SafetensorError as error:
        raise NasosegError(f"{path}: cannot be read as safetensors ({error}): save the model again") from error
