"""Planes that are padded for a network come back without the padding, every pixel in its place."""

import pytest
import torch
from torch import nn

from nasoseg.models.blocks import Padded


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (5, 64)])
def test_padding_moves_no_pixel(size):
    image = torch.randn(2, 3, *size)
    assert torch.equal(Padded(nn.Identity())(image), image)
