"""Networks with their normalisations folded say the same, faster, and what they were made of stays as it was."""

import copy

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from nasoseg.models import ConvUnit, MultiScalePooling, Padded, TwoStageNet, UNet
from nasoseg.models.coupling import Coupling
from nasoseg.models.folding import fold_normalisation

NETWORKS = {
    "U-Net": lambda: UNet(3, 2, depth=3, width=4),
    "two stages": lambda: TwoStageNet(
        stage1=UNet(4, 2, depth=3, width=4),
        pooling=MultiScalePooling(3, 4),
        coupling=Coupling(),
        stage2=UNet(6, 2, depth=2, width=4),
    ),
    "smp": lambda: Padded(smp.Unet("resnet18", encoder_weights=None, in_channels=3, classes=2)),
}


def trained(network: nn.Module) -> nn.Module:
    """As after a training: running statistics and affine parameters that are not those of a new network."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, std=0.1)
    return network.eval()


def count(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in network.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_says_the_same_with_fewer_normalisations(name):
    network = trained(NETWORKS[name]())
    before = copy.deepcopy(network.state_dict())
    folded = fold_normalisation(network)
    assert count(folded, nn.BatchNorm2d) < count(network, nn.BatchNorm2d)
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected, found = network(image), folded(image)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert type(folded) is type(network)
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_ours_have_none_left_and_share_what_is_not_folded():
    network = trained(UNet(3, 2, depth=3, width=4))
    folded = fold_normalisation(network)
    assert count(folded, nn.BatchNorm2d) == 0
    assert folded.head is network.head
    assert folded.up is network.up


@pytest.mark.parametrize(
    "spoil",
    [
        lambda unit: unit.train(),
        lambda unit: unit[0].register_forward_hook(lambda *_: None),
        lambda unit: unit[1].register_forward_pre_hook(lambda *_: None),
        lambda unit: torch.nn.utils.parametrizations.weight_norm(unit[0]),
        lambda unit: unit.insert(1, nn.ReLU()),
        lambda unit: unit.__setitem__(1, nn.BatchNorm2d(4, track_running_stats=False).eval()),
        lambda unit: unit.compile(backend="eager"),
    ],
    ids=["training", "hook", "hook before", "weight norm", "not in a row", "statistics of the batch", "compiled"],
)
def test_what_cannot_be_folded_is_left_alone(spoil):
    unit = trained(ConvUnit(3, 4))
    spoil(unit)
    assert fold_normalisation(unit) is unit


def test_a_sequence_that_runs_in_an_order_of_its_own_is_left_alone():
    class Backwards(nn.Sequential):
        def forward(self, x):
            for part in reversed(self):
                x = part(x)
            return x

    network = Backwards(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).eval()
    assert fold_normalisation(network) is network


def test_a_compiled_network_is_left_alone():
    network = torch.compile(trained(UNet(3, 2, depth=2, width=4)), backend="eager")
    assert fold_normalisation(network) is network
