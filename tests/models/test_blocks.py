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


def test_what_was_put_to_sleep_on_purpose_sleeps_on():
    part = nn.Sequential(nn.BatchNorm2d(2), nn.Sequential(nn.Dropout(), nn.BatchNorm2d(2)))
    for module in (part[0], part[1][1]):
        module.eval()
    modes = [module.training for module in part.modules()]
    assert modes == [True, False, True, True, False]
    channels_out("part", part, 2)
    assert [module.training for module in part.modules()] == modes
    with pytest.raises(ValueError, match="does not take 3 channels"):
        channels_out("part", part, 3)
    assert [module.training for module in part.modules()] == modes


class Merging(nn.Module):
    """Merges weights when it is evaluated, as adapters do."""

    merged = False

    def train(self, mode=True):
        self.merged = not mode
        return super().train(mode)

    def forward(self, x):
        assert self.merged
        return x


def test_what_a_mode_does_beside_its_name_is_undone():
    part = nn.Sequential(Merging())
    channels_out("part", part, 2)
    assert not part[0].merged


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
