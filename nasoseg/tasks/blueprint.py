"""With what arguments a task was made, as plain data from which it can be made again."""

import inspect
from dataclasses import dataclass
from typing import Any

from nasoseg.errors import NasosegError

OF_TRAINING = ("loss", "stage_weights", "optimizer", "lr_scheduler", "lr_interval")
"""Arguments of a task that its masks do not depend on."""

FROM_THE_DATA = ("labels", "in_channels")
"""Arguments of a task that follow from the data it is made for."""


@dataclass(frozen=True)
class Undescribed:
    """Stand for an argument that is an object of which nobody noted how it was made.

    Attributes:
        kind: Name of its class.
    """

    kind: str


def given_arguments(cls: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    """Describe the arguments that a task is made with, but those that follow from the data or are the training's.

    Args:
        cls: The task's class.
        arguments: Positional arguments.
        named: Keyword arguments.
    """
    signature = inspect.signature(cls.__init__)
    try:
        bound = signature.bind_partial(None, *arguments, **named).arguments
    except TypeError:  # __init__ says it better
        return {}
    first, *others = signature.parameters.values()
    given: dict[str, Any] = {}
    for parameter in others:
        if parameter.kind == parameter.VAR_KEYWORD:
            given |= bound.get(parameter.name, {})
        elif parameter.name in bound:
            given[parameter.name] = bound[parameter.name]
    left_out = (first.name, *FROM_THE_DATA, *OF_TRAINING)
    return {name: _described(value) for name, value in given.items() if name not in left_out}


def _described(value: Any) -> Any:
    """Return an argument as plain data; an object by its class and the arguments that the hub's mixin noted."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_described(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _described(each) for key, each in value.items()}
    noted = getattr(value, "_hub_mixin_config", None)  # of any class with the mixin, such as those of smp
    if isinstance(noted, dict):
        return {"class_path": class_path(type(value)), "init_args": _described(noted)}
    return Undescribed(type(value).__name__)


def check_described(name: str, value: Any) -> None:
    """Check that an argument is plain data throughout.

    Raises:
        NasosegError: If it is or holds an object that nobody can describe.
    """
    if isinstance(value, Undescribed):
        raise NasosegError(
            f"{name}: is a {value.kind}, and nobody noted how it was made: let its class inherit"
            " huggingface_hub.PyTorchModelHubMixin, which does, or train with `nasoseg fit`, whose config says it, and"
            " share nasoseg.load(RUN)"
        )
    for key, child in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else []):
        check_described(f"{name}.{key}", child)


def class_path(cls: type) -> str:
    """Return the public name of our own tasks, which outlives a move between modules, else the import path."""
    if cls.__module__.startswith("nasoseg.tasks."):
        return f"nasoseg.{cls.__name__}"
    return f"{cls.__module__}.{cls.__qualname__}"
