import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nasoseg.models import MultiScalePooling
from nasoseg.models.pooling import _averages

SCALES = (1, 3, 5, 7)


def slowly(image: torch.Tensor, kernels=SCALES) -> list[torch.Tensor]:
    return [F.avg_pool2d(image, k, stride=1, padding=k // 2, count_include_pad=False) for k in kernels]


def test_average_worked_by_hand():
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 0, 0] = 36.0
    pooled = _averages(image, [3])[0][0, 0]
    # The corner sees 4 real pixels, its neighbour 6, the centre 9: padding is not averaged in.
    assert pooled[0, 0] == 9.0
    assert pooled[0, 1] == 6.0
    assert pooled[1, 1] == 4.0
    assert pooled[2, 2] == 0.0


@pytest.mark.parametrize("shape", [(2, 1, 17, 12), (1, 3, 2, 9), (0, 1, 8, 8)])
@pytest.mark.parametrize("kernels", [SCALES, (1,), (9, 3, 11)])
def test_are_torchs_averages(shape, kernels):
    image = torch.randn(shape)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        given = image.to(memory_format=memory_format)
        for found, expected in zip(_averages(given, kernels), slowly(image, kernels), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_gradients_are_torchs():
    image = torch.randn(2, 3, 9, 11, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 12, 9, 11, dtype=torch.float64)
    found, expected = (
        torch.autograd.grad((torch.cat(averages, dim=1) * weights).sum(), image)[0]
        for averages in (_averages(image, SCALES), slowly(image))
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bits_round_an_average_once(dtype):
    image = torch.randn(1, 1, 20, 20).to(dtype)
    for found, expected in zip(_averages(image, SCALES), slowly(image.float()), strict=True):
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), expected, rtol=torch.finfo(dtype).eps, atol=1e-6)


def test_a_pixel_that_is_no_number_spoils_its_windows_alone():
    image = torch.randn(2, 1, 20, 20)
    image[0, 0, 10, 10] = torch.nan
    widest = _averages(image, SCALES)[-1].isnan()
    assert widest[0, 0, 7:14, 7:14].all()
    assert widest.sum() == 49


def test_sees_seven_pixels_and_no_more():
    pooling = MultiScalePooling(1, 4, fusion=1).eval()
    nn.init.constant_(pooling.fuse[0].weight, 0.5)  # negative weights could hide a window behind the ReLU
    image = torch.zeros(1, 1, 15, 15)
    spot = image.clone()
    spot[..., 7, 7] = 1.0
    changed = (pooling(spot) - pooling(image)).abs().sum(dim=1)[0] > 0
    assert changed[4:11, 4:11].all()
    assert changed.sum() == 49


def test_even_kernel_is_refused():
    with pytest.raises(ValueError, match="odd sides"):
        MultiScalePooling(1, 4, kernels=(1, 2))
