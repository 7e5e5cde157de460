"""FCN-8s: the paper's sizes, its upsampling, and weights from a file."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from rounded_gradients import assert_alike, both_gradients
from torch import nn
from torchvision.models import VGG16_BN_Weights, vgg16_bn

from nasoseg.errors import NasosegError
from nasoseg.models import FCN8


def test_default_has_the_papers_layers():
    """VGG-16's 14.7 M, fc6 of 7 x 7 x 512 x 4096, fc7 of 4096 x 4096, and a score layer at each of three strides."""
    with torch.device("meta"):
        network = FCN8(3, 21)
        vgg = vgg16_bn()
    convolutions = sum(p.numel() for p in vgg.features.parameters())
    fully = 7 * 7 * 512 * 4096 + 4096 * 4096 + 2 * 2 * 4096  # with two batch normalisations in place of two biases
    scores = sum(channels * 21 + 21 for channels in (4096, 512, 256))
    upsampling = 2 * 21 * 21 * 4**2 + 21
    assert sum(p.numel() for p in network.parameters()) == convolutions + fully + scores + upsampling


def test_features_are_vgg16s_at_strides_8_16_and_32():
    torch.manual_seed(0)
    network = FCN8(3, 2, fc_width=4).eval()
    with torch.device("meta"):  # without drawing the 100 M weights of its classifier
        vgg = vgg16_bn().features.eval()
    vgg.to_empty(device="cpu")
    stages = nn.Sequential(*network.to_pool3, *network.to_pool4, *network.to_pool5)
    vgg.load_state_dict(stages.state_dict())
    image = torch.randn(1, 3, 64, 96)
    pool3 = network.to_pool3(image)
    pool4 = network.to_pool4(pool3)
    assert pool3.shape == (1, 256, 8, 12)
    assert pool4.shape == (1, 512, 4, 6)
    torch.testing.assert_close(network.to_pool5(pool4), vgg(image))


def test_upsampling_starts_as_bilinear_interpolation():
    network, scores = FCN8(1, 3, fc_width=4), torch.randn(2, 3, 6, 5)
    expected = F.interpolate(scores, scale_factor=2, mode="bilinear", align_corners=False)
    inner = (..., slice(2, -2), slice(2, -2))  # at the border one extrapolates, the other fades
    for up in (network.double_fc7, network.double_pool4):
        torch.testing.assert_close(up(scores)[inner], expected[inner])
        assert up.weight.requires_grad


@pytest.mark.parametrize("classes", [1, 3, 10, 16])
def test_gradients_in_bfloat16_are_those_of_float32(classes):
    """The kernels for it depend on processor and shape; that of an eightfold transposed convolution was wrong."""
    torch.manual_seed(0)
    network = FCN8(1, classes, fc_width=32, dropout=0.0)
    target = (torch.rand(2, classes, 96, 96) < 0.2).float()
    layers = [network.score_fc7, network.score_pool4, network.score_pool3, network.double_fc7, network.double_pool4]
    exact, rounded = both_gradients(
        network,
        torch.randn(2, 1, 96, 96),
        lambda logits: F.binary_cross_entropy_with_logits(logits.float(), target),
        of=nn.ModuleList(layers),
    )
    assert_alike(exact, rounded, cosine=0.98, length=1.05)


def test_starts_at_the_rarity_of_structures():
    p = FCN8(1, 3, fc_width=16).eval()(torch.randn(2, 1, 64, 64)).sigmoid()
    assert 0.003 < p.mean() < 0.03


def write_weights(path: Path) -> dict[str, torch.Tensor]:
    """Write a file like torchvision's, light because a tensor is one number repeated; return its tensors."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in vgg16_bn().state_dict().items()}
    shapes["classifier.0.weight"], shapes["classifier.3.weight"] = (8, 512 * 7 * 7), (8, 8)
    weights = {name: torch.tensor(0.001 * i).expand(shape) for i, (name, shape) in enumerate(shapes.items())}
    weights["features.0.weight"] = torch.randn(64, 3, 3, 3)
    weights["classifier.0.weight"] = torch.randn(8, 512 * 7 * 7)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights, path)
    return weights


def test_pretrained_weights_come_through_torchvisions_loading(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / VGG16_BN_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    weights = write_weights(file)
    for source in (True, str(file)):
        network = FCN8(2, 3, fc_width=8, pretrained=source)
        first = network.to_pool3[0].weight
        torch.testing.assert_close(first, (weights["features.0.weight"].sum(1, keepdim=True) / 2).expand(-1, 2, -1, -1))
        assert torch.equal(network.to_pool4[1].running_var, weights["features.25.running_var"])
        assert torch.equal(network.to_fc7[0][0].weight, weights["classifier.0.weight"].view(8, 512, 7, 7))
    assert not torch.equal(FCN8(2, 3, fc_width=6, pretrained=True).to_fc7[0][0].weight[0, 0], torch.zeros(7, 7))


def test_weights_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(NasosegError, match=r"missing.pth cannot be loaded.*path of a file"):
        FCN8(1, 3, fc_width=8, pretrained=str(tmp_path / "missing.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(NasosegError, match="no named tensors"):
        FCN8(1, 3, fc_width=8, pretrained=str(tmp_path / "list.pth"))
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(NasosegError, match="another network than torchvision's vgg16_bn"):
        FCN8(1, 3, fc_width=8, pretrained=str(tmp_path / "other.pth"))


@pytest.mark.parametrize("arguments", [{"fc_width": 0}, {"prior": 1.0}])
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="expected 1 or more, and a probability"):
        FCN8(1, 3, **arguments)
