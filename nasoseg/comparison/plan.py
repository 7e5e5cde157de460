"""What a benchmark is to run: methods x folds x protocols, read from its config."""

import os
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from nasoseg.data.splits import Protocol
from nasoseg.errors import NasosegError, nearest
from nasoseg.yaml_files import read_yaml

PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
_MOST_FOLDS = 10_000
_KEYS = (
    "out",
    "store",
    "shared",
    "methods",
    "protocols",
    "folds",
    "seed",
    "only_folds",
    "reference",
    "organs",
    "slurm",
)


@dataclass(frozen=True)
class Method:
    """Name a method and the files that define it.

    Attributes:
        name: Its name in folders, tables and figures.
        config: What sets its model; under the key ``nnunet``, options of ``nasoseg nnunet``.
        nnunet: Those options, or None for a method of nasoseg.
    """

    name: str
    config: Path
    nnunet: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Plan:
    """Hold all of a benchmark.

    Attributes:
        path: The config.
        out: Where runs, splits and report go.
        store: The store that all methods read.
        shared: Configs that all methods share, in order.
        methods: In the order of the tables.
        protocols: For each protocol, the names of its methods.
        folds: Number of folds of the split.
        seed: Of the split.
        only_folds: The folds to run.
        reference: The method that the others are compared with in figures.
        organs: The structures of the headline mean; empty: all.
        slurm: Options of the cluster, as submitit names them.
    """

    path: Path
    out: Path
    store: str
    shared: tuple[Path, ...]
    methods: tuple[Method, ...]
    protocols: Mapping[Protocol, tuple[str, ...]]
    folds: int
    seed: int
    only_folds: tuple[int, ...]
    reference: str
    organs: tuple[str, ...]
    slurm: Mapping[str, Any] = field(default_factory=dict)

    def split_path(self, protocol: Protocol) -> Path:
        """Return where the split of a protocol is kept."""
        return self.out / protocol / "split.json"


def read_plan(
    path: str | os.PathLike[str],
    *,
    out: str | None = None,
    store: str | None = None,
    methods: Sequence[str] | None = None,
    protocols: Sequence[str] | None = None,
    only_folds: Sequence[int] | None = None,
) -> Plan:
    """Read a benchmark's config; what is given here goes before what it says.

    Paths in the config are relative to it, ``out`` and ``store`` excepted: those are relative to the current folder.

    Args:
        path: A YAML file.
        out: Where everything goes.
        store: The store.
        methods: Run these methods only.
        protocols: Run these protocols only.
        only_folds: Run these folds only.

    Raises:
        NasosegError: If the file cannot be read, a key is unknown, or a name is that of nothing.
    """
    path = Path(path)
    given = _mapping(read_yaml(path, kind="a benchmark", keys=_KEYS), str(path))
    for key in given:
        if key not in _KEYS:
            raise NasosegError(f"{path}: key {key!r}: {nearest(str(key), _KEYS)}")
    listed = _methods(given.get("methods"), path)
    wanted = _chosen(methods, list(listed), "--methods")
    by_protocol = _protocols(given.get("protocols", "clean"), listed, path)
    kept = _chosen(protocols, list(by_protocol), "--protocols")
    folds = _integer(given.get("folds", 5), path, "folds", least=2, most=_MOST_FOLDS)
    chosen_folds = list(only_folds) if only_folds is not None else given.get("only_folds", list(range(folds)))
    if not isinstance(chosen_folds, list) or any(not isinstance(f, int) or not 0 <= f < folds for f in chosen_folds):
        found = reprlib.repr(chosen_folds)
        raise NasosegError(f"{path}: only_folds: found {found}, expected numbers from 0 to {folds - 1}")
    reference = _text(given, "reference", path) or next(iter(listed))
    if reference not in listed:
        raise NasosegError(f"{path}: reference: {reference!r}: {nearest(reference, listed)}")
    return Plan(
        path=path,
        out=Path(out or _text(given, "out", path) or f"runs/{path.stem}"),
        store=store or _text(given, "store", path) or _missing(path, "store", "--store STORE"),
        shared=tuple(_file(path, name) for name in _texts(given.get("shared"), path, "shared")),
        methods=tuple(listed[name] for name in listed if name in wanted),
        protocols={
            protocol: tuple(name for name in names if name in wanted)
            for protocol, names in by_protocol.items()
            if protocol in kept
        },
        folds=folds,
        seed=_integer(given.get("seed", 0), path, "seed", least=0),
        only_folds=tuple(sorted(set(chosen_folds))),
        reference=reference if reference in wanted else next(iter(wanted)),
        organs=_texts(given.get("organs"), path, "organs"),
        slurm=_mapping(given.get("slurm", {}), f"{path}: slurm"),
    )


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise NasosegError(f"{where}: found {type(value).__name__}, expected keys with values")
    return value


def _methods(value: Any, path: Path) -> dict[str, Method]:
    if not value:
        _missing(path, "methods", "methods: {unet: methods/unet.yaml, ...}")
    methods = {}
    for name, file in _mapping(value, f"{path}: methods").items():
        name = str(name)
        if (
            not name
            or set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+.")
            or name[0] == "."
        ):
            raise NasosegError(f"{path}: methods: {name!r}: expected letters, digits, _ - + and . (it names folders)")
        config = _file(path, file)
        content = _mapping(read_yaml(config, kind="a method's config"), f"{path}: {name}: {config}")
        methods[name] = Method(name, config, content.get("nnunet"))
    return methods


def _file(path: Path, name: Any) -> Path:
    shown = reprlib.repr(name)
    try:
        if isinstance(name, str) and (file := path.parent / name).is_file():
            return file
    except OSError:  # a name that is longer than the system allows
        pass
    raise NasosegError(f"{path}: names {shown}, but there is no file of that name in {path.parent}")


def _protocols(value: Any, methods: Mapping[str, Method], path: Path) -> dict[Protocol, tuple[str, ...]]:
    if isinstance(value, str):
        value = {value: "all"}
    result: dict[Protocol, tuple[str, ...]] = {}
    for protocol, names in _mapping(value, f"{path}: protocols").items():
        if protocol not in PROTOCOLS:
            raise NasosegError(f"{path}: protocols: {protocol!r}: {nearest(str(protocol), PROTOCOLS)}")
        names = list(methods) if names == "all" else _texts(names, path, f"protocols: {protocol}")
        for name in names:
            if name not in methods:
                raise NasosegError(f"{path}: protocols: {protocol}: {name!r}: {nearest(name, methods)}")
            if protocol == "paper" and methods[name].nnunet is not None:
                raise NasosegError(
                    f"{path}: protocols: paper: {name!r} is nnU-Net, whose cases are volumes, and paper deals slices:"
                    " leave it out there"
                )
        result[protocol] = tuple(names)
    return result


def _chosen(given: Sequence[str] | None, known: Sequence[str], argument: str) -> list[str]:
    for name in given or ():
        if name not in known:
            raise NasosegError(f"{argument}: {name!r}: {nearest(name, known)}")
    return list(given or known)


def _integer(value: Any, path: Path, key: str, *, least: int, most: int = 2**32 - 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        found = reprlib.repr(value)
        raise NasosegError(f"{path}: {key}: found {found}, expected a whole number, {least} or more, at most {most}")
    return value


def _text(given: Mapping[str, Any], key: str, path: Path) -> str:
    value = given.get(key)
    if value is not None and not isinstance(value, str):
        raise NasosegError(f"{path}: {key}: found {reprlib.repr(value)}, expected a text")
    return value or ""


def _texts(value: Any, path: Path, key: str) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value or []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise NasosegError(f"{path}: {key}: found {reprlib.repr(value)}, expected a list of texts")
    return tuple(texts)


def _missing(path: Path, key: str, remedy: str) -> Any:
    raise NasosegError(f"{path}: has no {key!r}: add it, or pass {remedy}")
