"""Everything public that a user can reach from nasoseg's names says what it is, and what its arguments mean.

An own walk, not a counter of docstrings such as interrogate: those read files, and know neither what is public nor
whether each argument is explained. It imports nothing that the names do not.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from functools import cached_property
from types import FunctionType, ModuleType
from typing import Any

import pytest

import nasoseg

PACKAGES = ("nasoseg.inference", "nasoseg.export", "nasoseg.evaluation", "nasoseg.report", "nasoseg.report.page")
"""Packages whose ``__all__`` is public beside nasoseg's own names: the pages name them."""


def public_modules() -> list[ModuleType]:
    """List the modules in which public names are defined, base classes included."""
    objects = [getattr(nasoseg, name) for name in nasoseg.__all__]
    for package in map(importlib.import_module, PACKAGES):
        objects += [package, *(getattr(package, name) for name in package.__all__)]
    homes = {nasoseg.__name__}
    for found in objects:
        if isinstance(found, ModuleType):
            homes.add(found.__name__)
        elif hasattr(found, "__module__"):
            homes |= {base.__module__ for base in inspect.getmro(found)} if inspect.isclass(found) else set()
            homes.add(found.__module__)
    return [sys.modules[name] for name in sorted(homes) if name.partition(".")[0] == "nasoseg"]


def members(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Give the public classes and functions of a module, and the public methods of those classes."""
    for name, found in vars(module).items():
        if name.startswith("_") or getattr(found, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(found):
            yield f"{module.__name__}.{name}", found
            for part, value in vars(found).items():
                value = value.__func__ if isinstance(value, classmethod | staticmethod) else value
                if not part.startswith("_") and isinstance(value, FunctionType | property | cached_property):
                    yield f"{module.__name__}.{name}.{part}", value
        elif isinstance(found, FunctionType):
            yield f"{module.__name__}.{name}", inspect.unwrap(found)


MODULES = public_modules()
PUBLIC = dict(pair for module in MODULES for pair in members(module))


def parameters(found: Any) -> list[str]:
    """Name what a caller passes."""
    if isinstance(found, property | cached_property) or getattr(found, "_is_protocol", False):
        return []
    function = found.__init__ if inspect.isclass(found) else found
    if not isinstance(function, FunctionType):
        return []
    named = inspect.signature(function).parameters.values()
    return [p.name for p in named if p.name not in ("self", "cls", "_") and p.kind != p.VAR_POSITIONAL]


def explained(docstring: str) -> set[str]:
    """Name what stands under Args or Attributes."""
    sections = re.findall(r"^(?:Args|Attributes):\n((?:    .*\n|\n)+)", docstring + "\n", re.MULTILINE)
    return set(re.findall(r"^    \*{0,2}(\w+): ", "".join(sections), re.MULTILINE))


def unexplained(found: Any) -> set[str]:
    """Name the arguments that a docstring leaves out, and those that it explains and that are not there.

    A class explains every argument. A function may word its few in the summary, without a section; where there is a
    section, it is whole.
    """
    named, said = set(parameters(found)), explained(inspect.getdoc(found) or "")
    if inspect.isclass(found):
        return named - said
    return named ^ said if said else set()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_modules_say_what_they_are_about(module):
    assert (module.__doc__ or "").strip()


def test_everything_public_is_found():
    assert len(PUBLIC) > 100
    for name in (
        "nasoseg.tasks.sharing.Shareable.from_pretrained",
        "nasoseg.labels.Structure",
        "nasoseg.losses.DiceLoss",
    ):
        assert name in PUBLIC


def test_coverage_is_whole():
    assert [name for name, found in PUBLIC.items() if not (getattr(found, "__doc__", None) or "").strip()] == []


def test_arguments_are_explained():
    assert {name: missing for name, found in PUBLIC.items() if (missing := unexplained(found))} == {}


def bad(one: int, two: int, three: int) -> None:
    """Do something with ``one``.

    Args:
        one: A number.
        two: A number.
        four: No argument.
    """


class Bad:
    """Have a constructor of which nothing is said."""

    def __init__(self, one: int) -> None:
        self.one = one


def test_a_gap_is_found():
    assert unexplained(bad) == {"three", "four"}
    assert unexplained(Bad) == {"one"}
