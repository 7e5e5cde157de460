"""Methods of one network: FCN-8s, and networks that are built for the data's channels and structures."""

import math

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

import nasoseg

LABELS = ["Brainstem", "SpinalCord", "Mandible"]


def unet(*, in_channels: int, classes: int) -> nn.Module:
    return smp.Unet("resnet18", encoder_weights=None, in_channels=in_channels, classes=classes)


class OwnNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x):
        return self.conv(x)


@pytest.mark.parametrize(("head", "classes"), [("multilabel", 3), ("multiclass", 4)])
def test_fcn8_is_a_module_in_anybodys_code(head, classes):
    net = nasoseg.FCN8(labels=LABELS, in_channels=2, head=head, fc_width=8)
    assert net(torch.randn(2, 2, 50, 40)).shape == (2, classes, 50, 40)
    with pytest.raises(nasoseg.NasosegError, match="listed twice"):
        nasoseg.FCN8(labels=["Larynx", "Larynx"], fc_width=8)


@pytest.mark.parametrize(("head", "classes"), [("multilabel", 3), ("multiclass", 4)])
def test_a_network_is_made_for_the_data_and_starts_at_the_rarity_of_structures(head, classes):
    net = nasoseg.SingleNetwork(labels=LABELS, network=unet, in_channels=2, head=head)
    logits = net(torch.randn(2, 2, 50, 60))
    assert logits.shape == (2, classes, 50, 60)
    assert 0.003 < logits.sigmoid().mean() < 0.04
    bias = net.network.network.segmentation_head[0].bias
    assert bias.tolist() == pytest.approx([math.log(0.01 / 0.99)] * classes)


def test_a_finished_network_is_taken_as_it_is():
    network = unet(in_channels=2, classes=3)
    before = network.segmentation_head[0].bias.clone()
    net = nasoseg.SingleNetwork(labels=LABELS, network=network, in_channels=2)
    assert net.network.network is network
    assert torch.equal(network.segmentation_head[0].bias, before)


def test_a_class_without_channels_is_built_as_it_is():
    net = nasoseg.SingleNetwork(labels=LABELS, network=OwnNetwork, in_channels=2)
    assert type(net.network.network) is OwnNetwork


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"network": unet(in_channels=2, classes=5)}, "network gives 5 channels, expected 3: one a structure;"),
        ({"network": unet(in_channels=2, classes=3), "head": "multiclass"}, "expected 4: .* one for the background"),
        ({"network": unet(in_channels=1, classes=3)}, "network does not take 2 channels"),
        ({"network": OwnNetwork, "in_channels": 1}, "network does not take 1 channels"),
    ],
)
def test_a_network_that_does_not_fit_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        nasoseg.SingleNetwork(**({"labels": LABELS, "in_channels": 2} | arguments))


def test_an_error_of_the_networks_own_is_not_hidden():
    def broken(*, in_channels: int, classes: int) -> nn.Module:
        raise TypeError("a width of 'wide' is no number")

    with pytest.raises(TypeError, match="no number"):
        nasoseg.SingleNetwork(labels=LABELS, network=broken)
