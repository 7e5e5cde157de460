"""A task from plain data that a stranger may have written: no class by name but those that are trusted."""

import importlib.util
import inspect
import pkgutil
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import yaml
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from nasoseg.errors import NasosegError
from nasoseg.tasks.base import SegmentationTask

TRUSTED = ("nasoseg.", "torch.nn.", "torch.optim.", "torchvision.models.", "segmentation_models_pytorch.")
"""Import paths that a file may name without ``trust``."""

_MOST_VALUES = 10_000
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_SMP_MODEL = re.compile(r"segmentation_models_pytorch\.(decoders\.\w+\.model\.)?[A-Z]\w*")


def build_task(
    blueprint: Mapping[str, Any], *, labels: Any, in_channels: int, where: str, trust: bool = False
) -> SegmentationTask:
    """Build a task, with random weights.

    Weights that its parts would start from (``pretrained``, ``encoder_weights``) are left out: nothing is downloaded,
    and those of the file replace them.

    Args:
        blueprint: ``class_path`` and ``init_args``, as in a config.
        labels: Structures, in the order of the channels.
        in_channels: Channels of the image.
        where: The file that it comes from, for messages.
        trust: Whether the blueprint may name classes of other packages, whose code then runs.

    Returns:
        The task; ``blueprint`` is what it was built from.

    Raises:
        NasosegError: If a class is not trusted, or the task cannot be built.
    """
    from lightning.pytorch.cli import LightningArgumentParser

    if not trust:
        _check_trusted(blueprint, where)
    _check_labels(labels, where)
    parser = LightningArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(SegmentationTask, "model")
    try:
        arguments = _without_start({"class_path": blueprint["class_path"], "init_args": blueprint.get("init_args")})
        plain = {"class_path": arguments["class_path"], "init_args": dict(arguments["init_args"] or {})}
        given = plain["init_args"] | {"labels": labels, "in_channels": in_channels}
        parsed = parser.parse_object({"model": plain | {"init_args": given}})
        built: SegmentationTask = parser.instantiate(parsed).model
    except Exception as error:  # whatever a class of the config raises
        reason = " ".join(str(error).split())[:900] or type(error).__name__  # it quotes what the config holds
        raise NasosegError(f"{where}: the model cannot be built ({reason}): pass model=...") from error
    built.blueprint = plain
    return built


def load_weights(model: lightning.LightningModule, weights: dict[str, Any], *, where: str) -> None:
    """Load named tensors into a model, all or none.

    Raises:
        NasosegError: If names or shapes differ.
    """
    check_weights(model, weights, where=where)
    model.load_state_dict(weights)


def check_weights(model: lightning.LightningModule, weights: Mapping[str, Any], *, where: str) -> None:
    """Check that named tensors are those of a model.

    Raises:
        NasosegError: If names or shapes differ.
    """
    own = model.state_dict()
    wrong = sorted(own.keys() ^ weights.keys()) or [n for n in own if own[n].shape != weights[n].shape]
    if wrong:
        raise NasosegError(
            f"{where}: the weights are of another network ({len(wrong)} tensors differ, for example {wrong[0]!r}):"
            " use the config that lies beside them"
        )


def _without_start(node: Any) -> Any:
    """Leave out of plain data which weights a part starts from."""
    if isinstance(node, list):
        return [_without_start(child) for child in node]
    if not isinstance(node, dict):
        return node
    found = {key: _without_start(child) for key, child in node.items()}
    arguments = found.get("init_args")
    arguments = dict(arguments) if isinstance(arguments, dict) else {}
    named = str(found.get("class_path") or "")
    if arguments.get("pretrained"):
        arguments["pretrained"] = False
    if _SMP_MODEL.fullmatch(named):
        arguments["encoder_weights"] = None  # its default is a download
    if named.startswith("torchvision.models.") and arguments.get("weights"):
        arguments["weights"] = None
    return found | ({"init_args": arguments} if arguments else {})


def _check_labels(labels: Any, where: str) -> None:
    """Refuse what the parser would take for a class: it reads a string as YAML."""
    if not isinstance(labels, list) or not all(isinstance(name, str) and not _names_class(name) for name in labels):
        # reprlib, because aliases of YAML can stand for more than any memory
        raise NasosegError(f"{where}: labels {reprlib.repr(labels)[:100]!r}, expected a list of structure names")


def _names_class(text: str) -> bool:
    try:
        inner = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):  # ValueError: a date that there is not
        return False
    # Of what was read, not of the text: YAML's escapes can spell the key otherwise.
    return any(
        isinstance(node, dict) and "class_path" in node for node in (inner if isinstance(inner, list) else [inner])
    )


def _check_trusted(blueprint: Any, where: str) -> None:
    """Refuse a class whose code nobody vouched for, however it is named: the parser takes a class_path alone, too."""
    waiting, seen = [blueprint], 0
    while waiting:
        node = waiting.pop()
        seen += 1
        if seen > _MOST_VALUES:  # YAML's aliases let a few lines stand for more than any memory, or for themselves
            raise NasosegError(f"{where}: the model unfolds to more than {_MOST_VALUES} values: expected a config")
        if isinstance(node, str):
            if _is_file(node):
                raise NasosegError(
                    f"{where}: names the file {node[:200]!r}, which would be read as a config: pass trust=True (the"
                    " command line: --trust) if you know where the two come from"
                )
            try:
                inner = yaml.safe_load(node)  # the parser reads a string as YAML
            except (yaml.YAMLError, RecursionError, ValueError):  # ValueError: a date that there is not
                inner = None
            if isinstance(inner, dict | list):
                waiting.append(inner)
            elif _DOTTED.fullmatch(node.strip()):
                _check_name(node.strip(), where)
        elif isinstance(node, dict):
            named = node.get("class_path")
            if isinstance(named, str):
                _check_name(named, where)
            elif named is not None:  # not shown: aliases of YAML can stand for more than any memory
                raise NasosegError(f"{where}: a class_path is a {type(named).__name__}, expected a name: correct it")
            # Structures may have dots in their names, and are not looked up.
            waiting += [child for key, child in node.items() if key not in ("class_path", "labels")]
        elif isinstance(node, list):
            waiting += node


def _is_file(text: str) -> bool:
    """Tell whether the parser could read a text's config from a file, or from what is typed (``-``)."""
    try:
        path = Path(text.strip()).expanduser()
        return text.strip() == "-" or (path.exists() and not path.is_dir())
    except (OSError, ValueError, RuntimeError):
        return False


def _check_name(named: str, where: str) -> None:
    if not (named.startswith(TRUSTED) and _is_part(named)):
        raise NasosegError(
            f"{where}: names the class {named!r}, whose code would run: pass trust=True (the command line: --trust) if"
            " you know where the file comes from"
        )


def _is_part(named: str) -> bool:
    """Tell whether a name in a trusted package is a part of its networks.

    What its modules have imported (``nasoseg.files.os.system``) and its other functions and classes are none: the
    parser would call them with the arguments of the file.
    """
    if not _DOTTED.fullmatch(named) or any(word.startswith("_") for word in named.split(".")):
        return False
    if importlib.util.find_spec(named.partition(".")[0]) is None:
        return True  # an extra that is not installed: the parser says so
    try:
        found = pkgutil.resolve_name(named)
    except (ImportError, AttributeError, ValueError):
        return False
    home = f"{getattr(found, '__module__', None) or ''}."
    if isinstance(found, type):
        return home.startswith(TRUSTED) and issubclass(found, nn.Module | Optimizer | LRScheduler)
    return inspect.isfunction(found) and home.startswith("torchvision.models.")
