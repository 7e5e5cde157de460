import pytest
import torch

from nasoseg.models import MultiScalePooling
from nasoseg.models.pooling import _average


def test_average_worked_by_hand():
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 0, 0] = 36.0
    pooled = _average(image, 3)[0, 0]
    # The corner sees 4 real pixels, its neighbour 6, the centre 9: padding is not averaged in.
    assert pooled[0, 0] == 9.0
    assert pooled[0, 1] == 6.0
    assert pooled[1, 1] == 4.0
    assert pooled[2, 2] == 0.0


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_a_constant_image_stays_constant_up_to_its_border(kernel):
    torch.testing.assert_close(_average(torch.full((1, 1, 9, 12), 2.5), kernel), torch.full((1, 1, 9, 12), 2.5))


def test_sees_seven_pixels_and_no_more():
    pooling = MultiScalePooling(1, 4, fusion=1).eval()
    image = torch.zeros(1, 1, 15, 15)
    spot = image.clone()
    spot[..., 7, 7] = 1.0
    changed = (pooling(spot) - pooling(image)).abs().sum(dim=1)[0] > 0
    assert changed[4:11, 4:11].all()
    assert changed.sum() == 49


def test_even_kernel_is_refused():
    with pytest.raises(ValueError, match="odd sides"):
        MultiScalePooling(1, 4, kernels=(1, 2))
