import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nasoseg.models.pretrained import grey_kernels, with_channels


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_slice_in_every_channel_gives_what_the_grey_photograph_gave(channels):
    kernels, slice_ = torch.randn(4, 3, 7, 7), torch.randn(2, 1, 20, 20)
    expected = F.conv2d(slice_.expand(-1, 3, -1, -1), kernels)
    found = F.conv2d(slice_.expand(-1, channels, -1, -1), grey_kernels(kernels, channels))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
def test_the_same_convolution_for_other_channels(bias):
    made = with_channels(nn.Conv2d(3, 8, 7, stride=2, padding=3, bias=bias), 5)
    assert made(torch.randn(1, 5, 32, 32)).shape == (1, 8, 16, 16)
    assert (made.bias is not None) == bias
    assert made.weight.std().item() == pytest.approx((2 / (8 * 49)) ** 0.5, rel=0.1)
