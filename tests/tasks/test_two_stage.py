import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import nasoseg
from nasoseg.models import Coupling, GateCoupling, ResidualCoupling
from nasoseg.models import UNet as UNetNetwork

LABELS = ["Brainstem", "SpinalCord", "Mandible"]


class Refiner(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.conv = nn.LazyConv2d(classes, 3, padding=1)

    def forward(self, x):
        return self.conv(x)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_is_a_module_in_anybodys_code():
    net = nasoseg.TwoStageUNet(labels=LABELS)
    assert net(torch.randn(2, 1, 96, 80)).shape == (2, 3, 96, 80)
    assert len(net.stages(torch.randn(2, 1, 96, 80))) == 2
    assert len(net.eval().stages(torch.randn(2, 1, 96, 80))) == 1


def test_default_is_the_papers_network():
    net = nasoseg.TwoStageUNet(labels=LABELS).network
    assert len(net.stage1.encoder) == 5
    assert len(net.stage2.encoder) == 3
    assert net.pooling.kernels == (1, 3, 5, 7)
    assert type(net.coupling) is Coupling
    assert parameters(net.stage2) < parameters(net.stage1) / 10


def test_starts_at_the_rarity_of_structures():
    p = nasoseg.TwoStageUNet(labels=LABELS).eval()(torch.randn(1, 1, 64, 64)).sigmoid()
    assert 0.001 < p.mean() < 0.05
    residual = nasoseg.TwoStageUNet(labels=LABELS, coupling="residual").eval()(torch.randn(1, 1, 64, 64)).sigmoid()
    assert 0.001 < residual.mean() < 0.05


def test_no_structure_is_refused_as_that():
    """It was said that stage 1 does not take its channels."""
    with pytest.raises(nasoseg.NasosegError, match="labels: found an empty list"):
        nasoseg.TwoStageUNet(labels=[])


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"coupling": GateCoupling()}, "coupling: its head is 'multilabel', expected 'multiclass', the model's: pass"),
        ({"loss": nasoseg.DiceFocalLoss()}, "loss: its head is 'multilabel', expected 'multiclass'"),
    ],
)
def test_parts_made_for_another_head_are_refused(parts, words):
    """A coupling would read sigmoids where the loss trains a softmax."""
    with pytest.raises(ValueError, match=words):
        nasoseg.TwoStageUNet(labels=LABELS, head="multiclass", width=4, **parts)
    part = {name: type(part)(head="multiclass") for name, part in parts.items()}
    nasoseg.TwoStageUNet(labels=LABELS, head="multiclass", width=4, **part)


def test_a_loss_may_call_a_part_of_its_own_head():
    loss = nn.Module()
    loss.head = nn.Identity()
    assert nasoseg.UNet(labels=LABELS, width=4, loss=loss).staged_loss.loss is loss


@pytest.mark.parametrize("head", ["multilabel", "multiclass"])
@pytest.mark.parametrize("coupling", ["concat", "gate", "residual"])
def test_every_coupling_and_head_trains(head, coupling):
    net = nasoseg.TwoStageUNet(labels=LABELS, head=head, coupling=coupling, width=4)
    stages = net.stages(torch.randn(2, 1, 64, 64))
    target = torch.rand(2, 3, 64, 64) < 0.2
    loss, losses = net.staged_loss(stages, target, torch.ones(2, 3, dtype=torch.bool))
    loss.backward()
    assert len(losses) == 2
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize("classes", [GateCoupling, ResidualCoupling])
def test_an_own_coupling_is_taken(classes):
    coupling = classes()
    assert nasoseg.TwoStageUNet(labels=LABELS, width=4, coupling=coupling).network.coupling is coupling


def test_smp_stage1_and_own_stage2():
    stage1 = smp.UnetPlusPlus("tu-mobilenetv3_small_050", encoder_weights=None, in_channels=16, classes=3)
    net = nasoseg.TwoStageUNet(labels=LABELS, stage1=stage1, stage2=Refiner(), coupling="gate")
    assert net.network.stage1 is stage1
    assert net(torch.randn(2, 1, 75, 50)).shape == (2, 3, 75, 50)


@pytest.mark.parametrize("pooling", ["msp", None])
@pytest.mark.parametrize("stage2", ["unet", None])
def test_the_four_ablations(pooling, stage2):
    net = nasoseg.TwoStageUNet(labels=LABELS, width=4, pooling=pooling, stage2=stage2)
    assert len(net.stages(torch.randn(2, 1, 64, 64))) == (1 if stage2 is None else 2)
    assert (net.network.pooling.__class__ is nn.Identity) == (pooling is None)


def test_the_rough_stage_at_half_resolution():
    plain = nasoseg.TwoStageUNet(labels=LABELS, width=4)
    half = nasoseg.TwoStageUNet(labels=LABELS, width=4, stage1_scale=0.5)
    half.load_state_dict(plain.state_dict())
    image = torch.randn(2, 1, 75, 50)
    for rough in (plain.stages(image)[0], half.stages(image)[0]):
        assert rough.shape == (2, 3, 75, 50)
    with FlopCounterMode(display=False) as whole:
        plain(torch.randn(1, 1, 128, 128))
    with FlopCounterMode(display=False) as reduced:
        half(torch.randn(1, 1, 128, 128))
    counts = [counter.get_flop_counts()["TwoStageUNet.network.stage1"] for counter in (whole, reduced)]
    assert sum(counts[0].values()) == 4 * sum(counts[1].values())


@pytest.mark.parametrize("how", [{"coupling": "gate", "head": "multiclass"}, {"stage2": None}, {"pooling": None}])
def test_half_resolution_goes_with_every_part(how):
    net = nasoseg.TwoStageUNet(labels=LABELS, width=4, stage1_scale=0.5, **how)
    sum(logits.square().mean() for logits in net.stages(torch.randn(2, 1, 64, 48))).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"stage1": UNetNetwork(16, 5, width=4)}, "stage1 gives 5 channels for 16, expected 3"),
        ({"stage1": UNetNetwork(8, 3, width=4)}, "stage1 does not take 16 channels"),
        ({"stage2": UNetNetwork(19, 4, width=4)}, "stage2 gives 4 channels"),
        ({"stage2": nn.Flatten()}, "stage2 maps"),
        ({"stage1": UNetNetwork(16, 3, width=4), "head": "multiclass"}, "one for the background"),
        ({"stage1_scale": 0.7}, "stage1_scale 0.7: expected 1 or 1/n"),
        ({"coupling": "concatenate"}, "'concat', 'gate', 'residual'"),
    ],
)
def test_parts_that_do_not_fit_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        nasoseg.TwoStageUNet(labels=LABELS, **arguments)


def test_single_networks():
    assert nasoseg.UNet(labels=LABELS, width=4)(torch.randn(1, 1, 50, 60)).shape == (1, 3, 50, 60)
    network = smp.Unet("resnet18", encoder_weights=None, in_channels=1, classes=3)
    assert nasoseg.SingleNetwork(labels=LABELS, network=network)(torch.randn(2, 1, 50, 60)).shape == (2, 3, 50, 60)
    with pytest.raises(nasoseg.NasosegError, match="listed twice"):
        nasoseg.UNet(labels=["Larynx", "Larynx"])
