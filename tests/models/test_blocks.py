import pytest
import torch
from torch import nn

from nasoseg.models.blocks import channels_out, probe


def test_a_part_is_shown_a_plane_and_left_as_it_was():
    part = nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), nn.BatchNorm2d(5)).train()
    before = {name: tensor.clone() for name, tensor in part.state_dict().items()}
    assert channels_out("part", part, 2) == 5
    assert part.training
    for name, tensor in part.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert not probe("part", part.eval(), 2).requires_grad
    assert not part.training


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (nn.Conv2d(1, 5, 3), "part does not take 2 channels, which it is given here: "),
        (nn.Conv2d(2, 5, 3), r"part maps \(1, 2, 64, 64\) to \(1, 5, 62, 62\), expected \(1, channels, 64, 64\)"),
        (nn.Flatten(), r"to \(1, 8192\), expected"),
        (nn.AdaptiveMaxPool2d(64, return_indices=True), "to tuple, expected"),
    ],
)
def test_a_part_that_does_not_fit_is_named(part, words):
    with pytest.raises(ValueError, match=words):
        channels_out("part", part, 2)
    assert part.training
