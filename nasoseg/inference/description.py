"""What an exported model says of itself: structures, how its images are made, where its weights come from."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nasoseg import labels as structure_names
from nasoseg.data.training_data import TrainingData, training_data_from
from nasoseg.errors import NasosegError

if TYPE_CHECKING:  # it imports torch
    from nasoseg.heads import Head

FORMAT = "nasoseg-model"
VERSION = 1
HEADS = ("multilabel", "multiclass")

DESCRIPTION = "nasoseg"
"""Its key in a model file's metadata."""

IMAGES, PROBABILITIES = "images", "probabilities"
"""Names of a model's input (b, c, h, w) and output (b, k, h, w), both float32."""


@dataclass(frozen=True)
class ModelDescription:
    """Describe an exported model. Nothing in it tells of a patient or a machine.

    Attributes:
        labels: Structures, in the order of the output's channels.
        head: What the network was trained with; ``multiclass`` probabilities and the background's add up to 1.
        in_channels: Channels of an image.
        training_data: How the images are made, and what the training patients were like.
        weights_sha256: Of the run's ``best.safetensors``, where the weights come from one.
        nasoseg: Version that exported it.
    """

    labels: tuple[str, ...]
    head: "Head"
    in_channels: int
    training_data: TrainingData
    weights_sha256: str
    nasoseg: str

    def to_json(self) -> str:
        """Return it as one line of ASCII."""
        return json.dumps(
            {
                "format": FORMAT,
                "version": VERSION,
                "nasoseg": self.nasoseg,
                "labels": self.labels,
                "head": self.head,
                "in_channels": self.in_channels,
                "training_data": self.training_data.as_dict(),
                "weights_sha256": self.weights_sha256,
            }
        )


def read_description(text: str, *, where: str) -> ModelDescription:
    """Read what ``ModelDescription.to_json`` wrote.

    Args:
        text: JSON.
        where: The model file, for messages.

    Raises:
        NasosegError: If it is of another version, or damaged.
    """
    try:
        plain = json.loads(text)
        if (plain["format"], plain["version"]) != (FORMAT, VERSION):
            raise NasosegError(
                f"{where}: described as {plain['format']!r} version {plain['version']!r}, this nasoseg reads"
                f" {FORMAT!r} version {VERSION}: install the nasoseg that wrote it, or export the run again"
            )
        if plain["head"] not in HEADS:
            raise ValueError(f"head {plain['head']!r}")
        return ModelDescription(
            labels=tuple(structure_names.names([str(name) for name in plain["labels"]])),
            head=plain["head"],
            in_channels=int(plain["in_channels"]),
            training_data=training_data_from(plain["training_data"]),
            weights_sha256=str(plain["weights_sha256"]),
            nasoseg=str(plain["nasoseg"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NasosegError(
            f"{where}: its description cannot be read ({type(error).__name__}: {error}): export the run again"
        ) from error
