import pytest
import torch
from torch import nn

from nasoseg.models import Coupling, TwoStageNet


class Seen(nn.Module):
    """Give back what is read, and keep it."""

    def forward(self, x):
        self.read = x
        return x


class Take(Coupling):
    """Stage 2 reads the rough logits alone."""

    def join(self, features, rough):
        return rough


def stages(image, **how):
    """Run a network whose parts give back what they read; return it with the logits of both stages."""
    net = TwoStageNet(stage1=Seen(), coupling=Take(), stage2=Seen(), **how).train()
    return net, *net(image)


def test_stage1_reads_the_average_of_2_x_2_pixels():
    image = torch.tensor([[1.0, 3, 5, 5], [1, 3, 5, 5], [0, 0, 0, 4], [0, 0, 4, 8]])[None, None]
    net, rough, final = stages(image, stage1_scale=0.5, multiple=1)
    assert net.stage1.read.tolist() == [[[[2, 5], [0, 4]]]]
    # Centres lie at 0.5 and 2.5: column 1 is a quarter of the way between them, column 0 repeats the border.
    assert rough[0, 0, 0].tolist() == [2, 2.75, 4.25, 5]
    assert rough[0, 0, 1].tolist() == [1.5, 2.3125, 3.9375, 4.75]
    assert torch.equal(final, rough)
    assert torch.equal(net.eval()(image), rough)


def test_the_border_is_averaged_over_real_pixels():
    image = torch.full((1, 2, 7, 5), 3.0)
    net, rough, final = stages(image, stage1_scale=0.5, multiple=1)
    assert net.stage1.read.shape == (1, 2, 4, 3)
    assert torch.equal(rough, image)
    assert torch.equal(final, image)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_ramp_keeps_its_place(n):
    side = 13 * n
    ramp = torch.arange(float(side)).expand(1, 1, side, side).contiguous()
    _, rough, _ = stages(ramp, stage1_scale=1 / n, multiple=1)
    inside = slice(n, -n)
    torch.testing.assert_close(rough[..., inside, inside], ramp[..., inside, inside])


def test_both_stages_get_planes_of_the_multiple():
    net, rough, final = stages(torch.randn(1, 1, 70, 33), stage1_scale=0.5, multiple=32)
    assert net.stage1.read.shape[-2:] == (64, 32)
    assert net.stage2.read.shape[-2:] == (96, 64)
    assert rough.shape == final.shape == (1, 1, 70, 33)


def test_scale_1_is_the_plain_network():
    image = torch.randn(1, 1, 8, 8)
    net, rough, _ = stages(image, stage1_scale=1, multiple=1)
    assert net.stage1.read is image
    assert torch.equal(rough, image)


@pytest.mark.parametrize(("scale", "n"), [(1.0, 1), (0.5, 2), (0.333, 3), (1 / 3, 3), (0.25, 4), (0.125, 8)])
def test_scales(scale, n):
    assert TwoStageNet(stage1=nn.Identity(), stage1_scale=scale).reduction == n


@pytest.mark.parametrize("scale", [0, -0.5, 0.4, 0.75, 0.99, 2, float("nan"), float("inf")])
def test_other_scales_are_refused(scale):
    with pytest.raises(ValueError, match=rf"stage1_scale {scale}: expected 1 or 1/n for a whole n \(0\.5, 0\.333"):
        TwoStageNet(stage1=nn.Identity(), stage1_scale=scale)


def test_stage2_needs_a_coupling():
    with pytest.raises(ValueError, match="stage2 is given without a coupling"):
        TwoStageNet(stage1=nn.Identity(), stage2=nn.Identity())
