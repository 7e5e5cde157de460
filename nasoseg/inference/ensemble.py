"""One model, or several whose probabilities are averaged."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from nasoseg.data.training_data import TrainingData
from nasoseg.errors import NasosegError
from nasoseg.inference.arrays import Array, mirrored
from nasoseg.inference.model import Model, Precision
from nasoseg.labels import mirror_order

if TYPE_CHECKING:  # they import torch
    from nasoseg.heads import Head
    from nasoseg.tasks.base import SegmentationTask


class Ensemble:
    """Average the probabilities of models that were trained alike, such as those of several folds.

    Args:
        models: One or more. Tasks are run in evaluation mode, and stay in their own.
        mirror: Average the mirrored image too, left and right structures swapped back.
        precision: What the networks of tasks compute in.
        training: How the images are made; by default as the models say.

    Attributes:
        labels: The structures.
        head: What the channels mean.
        training: How the images are made, and what the training patients were like.

    Raises:
        NasosegError: If there is no model, they differ in structures, head or input, they do not say how their images
            were made, ``mirror`` is asked for where a sided structure has no partner, or ``precision`` of a model that
            has its own.
    """

    def __init__(
        self,
        models: Sequence["Model | SegmentationTask"],
        *,
        mirror: bool = False,
        precision: Precision = "32",
        training: TrainingData | None = None,
    ) -> None:
        if not models:
            raise NasosegError("segment: found no model, expected one or more")
        if precision != "32" and any(isinstance(model, Model) for model in models):
            raise NasosegError(f"precision: found {precision!r} for a model that has its own: give tasks")
        self.models = [model if isinstance(model, Model) else _task_model(model, precision) for model in models]
        first = self.models[0]
        self.labels = first.labels
        self.head: Head = first.head
        self.training = training or _training(self.models)
        for model in self.models:
            _check_alike(model, first)
        channels = len(self.training.windows_hu) * (2 * self.training.context + 1)
        if channels != first.in_channels:
            raise NasosegError(
                f"segment: the images have {channels} channels ({len(self.training.windows_hu)} windows, context"
                f" {self.training.context}), the model takes {first.in_channels}: give the training data that it had"
            )
        self._mirrored: list[int] | None = None
        if mirror:
            order = mirror_order(self.labels)
            background = int(self.head == "multiclass")
            self._mirrored = [0] * background + [place + background for place in order]

    def __call__(self, images: Array) -> Array:
        """Map images (b, c, h, w) to mean probabilities (b, channels, h, w), float32, background channel included.

        Raises:
            MemoryError: If memory does not suffice for so many slices.
        """
        images = np.asarray(images, np.float32)
        total: Array = None
        for model in self.models:
            seen = model(images)
            total = seen if total is None else total + seen
            if self._mirrored is not None:
                seen = model(np.ascontiguousarray(mirrored(images)))
                total = total + mirrored(seen[:, self._mirrored])
        return total / (len(self.models) * (2 if self._mirrored is not None else 1))


def _task_model(task: "SegmentationTask", precision: Precision) -> Model:
    from nasoseg.inference.task_model import TaskModel

    return TaskModel(task, precision=precision)


def _training(models: Sequence[Model]) -> TrainingData:
    for model in models:
        if model.training_data is None:
            raise NasosegError(
                "segment: the model does not say how its images were made: load it from its run folder with"
                " nasoseg.load, or pass training_data="
            )
    first = models[0].training_data
    assert first is not None
    for model in models:
        found = model.training_data
        if found is not None and (found.windows_hu, found.context) != (first.windows_hu, first.context):
            raise NasosegError(
                f"segment: the models take different images: windows {list(found.windows_hu)} with context"
                f" {found.context}, and {list(first.windows_hu)} with {first.context}: expected folds of one method"
            )
    return first


def _check_alike(model: Model, first: Model) -> None:
    for name in ("labels", "head", "in_channels"):
        found, expected = getattr(model, name), getattr(first, name)
        if found != expected:
            raise NasosegError(
                f"segment: the models differ in {name}: {found} and {expected}: expected folds of one method"
            )
