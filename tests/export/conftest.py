"""Small networks with random weights that say something everywhere: about half of the pixels are inside."""

import pytest
import torch

import nasoseg
from nasoseg.data.training_data import Range, TrainingData

WINDOWS = ((-160.0, 240.0),)


@pytest.fixture(scope="session")
def make_task():
    def make(kind=nasoseg.UNet, **arguments):
        torch.manual_seed(0)
        small = {"depth": 2, "width": 2} if kind is nasoseg.UNet else {}
        task = kind(labels=["LeftParotid", "Larynx", "RightParotid"], **{**small, **arguments}).eval()
        task.training_data = TrainingData(WINDOWS, patients=3, pixel_mm=Range(0.5, 1.0, 5.0))
        return task

    return make


@pytest.fixture(scope="session")
def lively(small_store):
    """Slices (b, 1, h, w) of real patients, and what makes a network answer to them with all probabilities."""
    hu = small_store.read(small_store.keys[0], "image", slice(2, 5)).astype("float32")
    images = torch.from_numpy(hu).sub(40).div(200).clamp(-1, 1)[:, None]

    @torch.no_grad()
    def enliven(task):
        task.train()(images)  # for the statistics of batch normalisation
        task.eval()
        head = [part for part in task.network.modules() if isinstance(part, torch.nn.Conv2d)][-1]
        head.weight *= 3 / task(images).std()
        head.bias -= task(images).transpose(0, 1).flatten(1).mean(dim=1)
        return task

    return images, enliven
