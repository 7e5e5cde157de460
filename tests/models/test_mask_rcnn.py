"""Mask R-CNN: it learns, what was not annotated teaches nothing, empty slices, sizes, and weights from a file."""

import pytest
import torch
from small_backbone import small_backbone
from torch import nn
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights, maskrcnn_resnet50_fpn
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from nasoseg.errors import NasosegError
from nasoseg.models import MaskRCNN, mask_rcnn
from nasoseg.models.instances import paste

LOSSES = {"loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg"}


def small(**arguments) -> MaskRCNN:
    torch.manual_seed(0)
    defaults = {"backbone": small_backbone(), "proposals": 60, "rois": 32, "detections": 12}
    return MaskRCNN(1, 3, **(defaults | arguments))


def discs(*places: tuple[int, int, int, int], slices: int = 2, size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw discs (structure, row, column, radius) in every slice: the image (b, 1, h, w) and masks (b, 3, h, w)."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    masks = torch.zeros(slices, 3, size, size, dtype=torch.bool)
    for structure, row, column, radius in places:
        masks[:, structure] |= (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    brightness = masks.float() * torch.tensor([1.5, 0.8, -0.6])[:, None, None]
    torch.manual_seed(1)
    return brightness.sum(1, keepdim=True) - 0.5 + 0.05 * torch.randn(slices, 1, size, size), masks


def everything(masks: torch.Tensor) -> torch.Tensor:
    return torch.ones(masks.shape[:2], dtype=torch.bool)


def test_learns_two_structures_one_of_them_twice_in_a_slice():
    image, masks = discs((0, 16, 14, 8), (2, 34, 34, 4), (2, 12, 38, 3), slices=1, size=48)
    network = small(proposals=30, rois=16)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.002)
    for _ in range(35):
        losses = network.losses(image, masks, everything(masks))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    with torch.no_grad():
        scores, found = network(image), network.detect(image)[0]
    predicted = scores > 0.3
    dsc = 2 * (predicted & masks).sum((0, 2, 3)) / (predicted.sum((0, 2, 3)) + masks.sum((0, 2, 3)))
    assert dsc[0] > 0.8
    assert dsc[2] > 0.6
    assert not predicted[:, 1].any()
    assert scores.min() >= 0
    assert scores.max() <= 1
    first = found["labels"] == 1
    best = found["boxes"][first][found["scores"][first].argmax()]
    assert (best - torch.tensor([6.0, 8.0, 23.0, 25.0])).abs().max() < 4  # pixels of the slice, not of the enlarged one


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 40)])
def test_any_size_comes_back_and_the_mode_stays(size):
    network = small()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert network(torch.randn(2, 1, *size)).shape == (2, 3, *size)
    assert all(module.training for module in network.modules())
    network.backbone.eval()
    modes = [module.training for module in network.modules()]
    network(torch.randn(1, 1, *size))
    assert [module.training for module in network.modules()] == modes
    network.train()
    assert not any(module.training for module in network.eval().modules())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_gradient_reaches_every_parameter():
    image, masks = discs((0, 20, 18, 9), (2, 45, 44, 4))
    network = small()
    losses = network.losses(image, masks, everything(masks))
    assert losses.keys() == LOSSES
    sum(losses.values()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_slices_without_a_structure_teach_the_background():
    image, masks = discs()
    network = small()
    losses = network.losses(image, masks, everything(masks))
    assert losses["loss_box_reg"] == losses["loss_rpn_box_reg"] == losses["loss_mask"] == 0
    sum(losses.values()).backward()
    grown = network.roi_heads.box_predictor.cls_score.bias.grad
    assert grown[0] < 0 < grown[1:].min()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_a_structure_that_was_not_annotated_teaches_nothing():
    """Its class, its boxes and its masks get no gradient, whether or not somebody drew it there; the others do."""
    image, masks = discs((0, 20, 18, 9), (2, 45, 44, 4))
    annotated = torch.tensor([[True, True, False]] * 2)
    values = []
    for drawn in (masks, masks & annotated[:, :, None, None]):
        network = small()
        losses = network.losses(image, drawn, annotated)
        sum(losses.values()).backward()
        values.append(torch.stack(list(losses.values())))
        heads = network.roi_heads
        for weight, rows in [
            (heads.box_predictor.cls_score.weight, slice(3, 4)),
            (heads.box_predictor.bbox_pred.weight, slice(12, 16)),
            (heads.mask_predictor.mask_fcn_logits.weight, slice(3, 4)),
        ]:
            assert not weight.grad[rows].any()
            assert weight.grad.any()
        assert heads.box_predictor.cls_score.weight.grad[2].any()  # annotated, absent: told apart from what is there
    assert torch.equal(*values)


def test_annotation_counts_slice_by_slice():
    image, masks = discs((0, 20, 18, 9), (2, 45, 44, 4))
    network = small()
    losses = network.losses(image, masks, torch.tensor([[True, True, False], [True, True, True]]))
    sum(losses.values()).backward()
    assert network.roi_heads.box_predictor.cls_score.weight.grad[3].any()


def test_what_the_mask_head_is_taught_pastes_back_to_the_drawn_masks(monkeypatch):
    """Without the half pixel that torchvision's reading of the masks would add."""
    taught, pooled = [], []

    def spy(logits, boxes, masks, labels, matched):
        taught.extend(zip(boxes, masks, matched, strict=True))
        return original(logits, boxes, masks, labels, matched)

    original = mask_rcnn.maskrcnn_loss
    monkeypatch.setattr(mask_rcnn, "maskrcnn_loss", spy)
    network = small()
    network.roi_heads.mask_roi_pool.register_forward_hook(lambda _, inputs, __: pooled.extend(inputs[1]))
    image, masks = discs((0, 20, 18, 9), (2, 45, 44, 3))
    network.losses(image, masks, everything(masks))
    for (on_masks, drawn, matched), enlarged in zip(taught, pooled, strict=True):
        boxes = enlarged / 2
        pasted = paste(project_masks_on_boxes(drawn, on_masks, matched, 28), boxes, (64, 64)) > 0.5
        inside = paste(torch.ones(len(boxes), 28, 28), boxes, (64, 64)) > 0.99
        assert (pasted == drawn[matched].bool())[inside].float().mean() > 0.99


def test_boxes_keep_their_precision_in_bfloat16():
    image, masks = discs((0, 20, 18, 9))
    network = small()
    with torch.autocast("cpu", torch.bfloat16):
        losses = network.losses(image, masks, everything(masks))
        found = network.detect(image)
    assert all(torch.isfinite(loss) and loss.dtype == torch.float32 for loss in losses.values())
    assert found[0]["boxes"].dtype == torch.float32


def test_pretrained_weights_come_through_torchvisions_loading(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with torch.device("meta"):
        theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    # One number repeated makes a light file.
    weights = {
        name: torch.tensor(0.001 * i, dtype=t.dtype).expand(t.shape) for i, (name, t) in enumerate(theirs.items())
    }
    weights["backbone.body.conv1.weight"] = torch.randn(64, 3, 7, 7)
    file = tmp_path / "hub" / "checkpoints" / MaskRCNN_ResNet50_FPN_Weights.COCO_V1.url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    torch.save(weights, file)
    network = MaskRCNN(2, 3, pretrained=True)
    own = network.state_dict()
    kept = {name for name in own if name in weights and torch.equal(own[name], weights[name])}
    of_classes = {name for name in own if "box_predictor" in name or "mask_fcn_logits" in name}
    assert own.keys() - kept == of_classes | {"backbone.body.conv1.weight"}
    expected = weights["backbone.body.conv1.weight"].sum(1) / 2
    torch.testing.assert_close(own["backbone.body.conv1.weight"][:, 1], expected)
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(NasosegError, match="another network than torchvision's maskrcnn_resnet50_fpn"):
        MaskRCNN(2, 3, pretrained=str(tmp_path / "other.pth"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"scale": 0.0}, "expected more than 0"),
        ({"anchor_sizes": (4.0, 8.0)}, "expected 5, one for every map"),
        ({"pretrained": True}, "belongs to the default backbone"),
        ({"backbone": small_backbone(3)}, "does not take 1 channels"),
        ({"backbone": nn.Conv2d(1, 8, 3)}, "expected maps .* of strides 4 to 64"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        small(**arguments)


def test_losses_need_training_mode():
    image, masks = discs()
    with pytest.raises(ValueError, match="call train"):
        small().eval().losses(image, masks, everything(masks))
