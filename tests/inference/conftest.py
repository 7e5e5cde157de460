"""Models whose answer is known: each structure is a band of HU, found voxel by voxel, by a real task."""

from collections.abc import Sequence

import pytest
import torch

import nasoseg
from nasoseg.data.training_data import Range, TrainingData

WINDOW = (-1000.0, 1000.0)


class Bands(torch.nn.Module):
    """Logits over 0 where the middle channel lies within a band of HU."""

    def __init__(self, bands: Sequence[tuple[float, float]], background: bool = False) -> None:
        super().__init__()
        self.register_buffer("bands", torch.tensor(bands))
        self.background = background

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        hu = image[:, image.shape[1] // 2, None] * 1000
        middle, half = self.bands.mean(dim=1), (self.bands[:, 1] - self.bands[:, 0]) / 2
        logits = (half[:, None, None] - (hu - middle[:, None, None]).abs()) / 10
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], dim=1) if self.background else logits


@pytest.fixture(scope="session")
def make_model():
    def make(**changes):
        """A task that finds dense bone, and what lies in a band about 500 HU."""
        labels = changes.pop("labels", ["Mandible", "Larynx"])
        bands = changes.pop("bands", [(800.0, 1200.0), (400.0, 600.0)])
        head = changes.pop("head", "multilabel")
        training = TrainingData(**({"windows_hu": (WINDOW,)} | changes))
        model = nasoseg.SingleNetwork(
            labels=labels,
            network=Bands(bands, head == "multiclass"),
            head=head,
            in_channels=len(training.windows_hu) * (2 * training.context + 1),
        )
        model.training_data = training
        return model.eval()

    return make


@pytest.fixture(scope="session")
def like_ours() -> dict[str, object]:
    """Training patients on whose pixels our own small scans lie."""
    return {
        "patients": 5,
        "pixel_mm": Range(0.5, 1.0, 2.0),
        "slice_mm": Range(2.0, 2.5, 3.0),
        "field_mm": Range(10.0, 20.0, 60.0),
        "volumes_ml": {"Mandible": Range(0.01, 0.1, 0.2), "Larynx": Range(0.01, 0.1, 0.2)},
    }
