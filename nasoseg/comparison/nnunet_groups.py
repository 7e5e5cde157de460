"""Which structures nnU-Net learns together, and from which patients.

nnU-Net knows no patient in whom a structure was not drawn: what is not labelled is background, and its ignore label
hides a voxel for all structures at once. So structures are put into groups, every group is an nnU-Net of its own, and
it learns from the patients in whom all structures of the group are annotated.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nasoseg import labels as structure_names
from nasoseg.data.splits import Split
from nasoseg.data.store import Store
from nasoseg.errors import NasosegError
from nasoseg.files import whole_file

MOST_LOST = 0.2
"""Share of the patients with a group's most annotated structure that the group may lose."""


@dataclass(frozen=True)
class Group:
    """Name the structures of one nnU-Net, and the patients that have all of them annotated.

    Attributes:
        number: nnU-Net's id of the data set, from 1.
        structures: Names, in the order of the labels.
        train: Keys of the training patients.
        validation: Keys of the validation patients; may be empty.
        left_out: Keys of training and validation patients that lack an annotation of the group.
    """

    number: int
    structures: tuple[str, ...]
    train: tuple[str, ...]
    validation: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the group in folders and logs."""
        return f"group{self.number}"

    @property
    def dataset(self) -> str:
        """Name of the group's data set, as nnU-Net expects it."""
        return f"Dataset{self.number:03d}_{self.name}"

    @property
    def learned_from(self) -> tuple[str, ...]:
        """Keys of all patients that nnU-Net gets to see with labels."""
        return (*self.train, *self.validation)


@dataclass(frozen=True)
class Grouping:
    """Hold the groups of a fold.

    Attributes:
        groups: The groups.
        untrained: Structures that no group learns, with the reason.
    """

    groups: tuple[Group, ...]
    untrained: dict[str, str]

    @property
    def trained(self) -> set[str]:
        """Names of the structures that some group learns."""
        return {name for group in self.groups for name in group.structures}

    def save(self, path: Path) -> None:
        """Write the groups as JSON."""
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    def text(self, *, most: int = 12) -> str:
        """Word the groups, a line each, with the patients that each leaves out (at most ``most`` by name)."""
        lines = []
        for group in self.groups:
            line = f"{group.name}: {', '.join(group.structures)}: {len(group.train)} training and"
            line += f" {len(group.validation)} validation patients"
            if group.left_out:
                more = f" and {len(group.left_out) - most} more" if len(group.left_out) > most else ""
                line += f"; without an annotation of one of them, and so left out, {len(group.left_out)}:"
                line += f" {', '.join(group.left_out[:most])}{more}"
            if not group.validation:
                line += "; no validation patient has all of them, so nnU-Net's progress is shown on training patients"
            lines.append(line)
        lines += [f"{name}: not trained and not scored: {reason}" for name, reason in self.untrained.items()]
        return "\n".join(lines)


def make_groups(
    store: Store,
    split: Split,
    *,
    fold: int,
    labels: Sequence[str],
    by_hand: Sequence[Sequence[str]] | None = None,
    most_lost: float = MOST_LOST,
) -> Grouping:
    """Put structures into groups.

    The most annotated structure opens the first group. Each further one, by falling number of annotated patients,
    joins the first group that keeps, with it, at least ``1 - most_lost`` of the patients that the group's first
    structure has, a training patient, and a validation patient if it had one; else it opens a group. Training and
    validation patients are counted, test patients never.

    Args:
        store: The store.
        split: Its split, protocol ``clean``.
        fold: The fold.
        labels: Names of the wanted structures, as the store spells them.
        by_hand: The groups, if they are not to be made by that rule; structures in none of them are left out.
        most_lost: Share of patients that a group may lose, 0 up to but not including 1.

    Raises:
        NasosegError: If a group by hand names a structure that is unknown, twice, or without a complete training
            patient; if ``most_lost`` is out of range; if nothing can be trained.
    """
    if not 0 <= most_lost < 1:
        raise NasosegError(f"--group-loss: found {most_lost}, expected 0 or more and less than 1")
    train, validation = (list(split.part(fold, part)) for part in ("train", "validation"))
    annotated = np.array([store.is_annotated(key) for key in (*train, *validation)])
    annotated = annotated[:, structure_names.positions(labels, store.names, where=str(store.path))]
    nobody = f"annotated in no training patient of fold {fold}"
    untrained = {name: nobody for i, name in enumerate(labels) if not annotated[: len(train), i].any()}
    if by_hand is None:
        members = _greedy(annotated, trained_on=len(train), most_lost=most_lost)
    else:
        members = _by_hand(by_hand, labels)
        chosen = {i for group in members for i in group}
        untrained |= {name: "in no group of --groups" for i, name in enumerate(labels) if i not in chosen}
    keys = np.array([*train, *validation])
    is_train = np.arange(len(keys)) < len(train)
    groups = []
    for number, group in enumerate(members, start=1):
        complete = _complete(annotated, group)
        names = tuple(labels[i] for i in group)
        if not (complete & is_train).any():
            raise NasosegError(
                f"--groups: no training patient of fold {fold} has all of {', '.join(names)} annotated: make the group"
                " smaller"
            )
        kept = (keys[complete & is_train], keys[complete & ~is_train], keys[~complete])
        groups.append(Group(number, names, *(tuple(part.tolist()) for part in kept)))
    if not groups:
        raise NasosegError(
            f"labels: {nobody}: {', '.join(labels)}: nothing can be trained: choose another fold or split"
        )
    return Grouping(tuple(groups), untrained)


def parse_groups(text: str) -> list[list[str]]:
    """Read groups as the command line has them: ``A,B;C`` is A with B, and C alone.

    Raises:
        NasosegError: If a group is empty.
    """
    groups = [[name.strip() for name in group.split(",")] for group in text.split(";")]
    if not all(name for group in groups for name in group):
        raise NasosegError(f"--groups: found {text!r}, expected names such as 'Brainstem,SpinalCord;Larynx'")
    return groups


def _greedy(annotated: npt.NDArray[np.bool_], *, trained_on: int, most_lost: float) -> list[list[int]]:
    """Group the columns of (patients, structures); the first ``trained_on`` patients are the training ones."""
    counts = annotated.sum(axis=0)
    groups: list[list[int]] = []
    for i in np.argsort(-counts, kind="stable").tolist():
        if not annotated[:trained_on, i].any():
            continue
        for group in groups:
            before, after = _complete(annotated, group), _complete(annotated, [*group, i])
            has_training = bool(after[:trained_on].any())
            keeps_validation = bool(after[trained_on:].any() or not before[trained_on:].any())
            if after.sum() >= (1 - most_lost) * counts[group[0]] and has_training and keeps_validation:
                group.append(i)
                break
        else:
            groups.append([i])
    return [sorted(group) for group in groups]


def _complete(annotated: npt.NDArray[np.bool_], group: list[int]) -> npt.NDArray[np.bool_]:
    """Tell of every patient whether all structures of the group are annotated."""
    return np.asarray(annotated[:, group].all(axis=1))


def _by_hand(groups: Sequence[Sequence[str]], labels: Sequence[str]) -> list[list[int]]:
    members: list[list[int]] = [structure_names.positions(group, labels, where="--groups") for group in groups]
    flat: list[Any] = [i for group in members for i in group]
    twice = next((labels[i] for i in flat if flat.count(i) > 1), None)
    if twice is not None:
        raise NasosegError(f"--groups: {twice!r} is named twice, expected once: it is scored from one group")
    return [sorted(group) for group in members]
