"""Mask R-CNN from torchvision's parts, for CT slices and partially annotated patients."""

from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss, maskrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FrozenBatchNorm2d, MultiScaleRoIAlign

from nasoseg.errors import NasosegError
from nasoseg.models.blocks import evaluating, pad_to, probe
from nasoseg.models.instances import instances, score_map
from nasoseg.models.pretrained import grey_kernels, pretrained_weights, with_channels

_POOLED = ["0", "1", "2", "3"]  # maps of strides 4 to 32, as resnet_fpn_backbone names them
_MAPS = [*_POOLED, "pool"]


class MaskRCNN(nn.Module):
    """Find instances, and give their masks merged into one score map a structure (He et al. 2017).

    Backbone with feature pyramid -> region proposals -> box head and mask head -> masks pasted back. In each slice
    every connected component of a structure is one instance.

    A structure that was not annotated adds nothing to the losses of the box and the mask head: it has no instances,
    and its class takes no part in the softmax of that slice's boxes. What cannot be known is where it lies: a
    proposal on it counts as background for the *class-agnostic* objectness, and against the structures that were
    annotated.

    Args:
        in_channels: Channels in.
        structures: Structures, k.
        scale: Slices are enlarged this many times first, in training and after alike: the finest features have a
            stride of 4 pixels, about the size of the small organs at 128 x 128. 1 suits 512 x 512. (torchvision scales
            to a fixed size instead, which would show training crops larger than the slices they are cut from.)
        anchor_sizes: Sides of the anchors at strides 4, 8, 16, 32 and 64, in pixels of the slice. The default covers
            organs of 3 to 60 pixels; 512 x 512 wants four times as much.
        aspect_ratios: Height over width of the anchors.
        proposals: Regions that go on to the heads, per slice (300 in Ren et al. 2015).
        rois: Of these, drawn for the losses of the heads, per slice.
        detections: Most instances found in a slice, and most taught: the largest.
        score_threshold: Boxes with a lower score are dropped. Low, because a threshold on the map comes after it.
        nms_threshold: Overlap (IoU) from which the weaker of two boxes of a structure is dropped.
        backbone: Maps (b, in_channels, h, w) to maps "0", "1", "2", "3", "pool" of strides 4 to 64, and has
            ``out_channels``, like torchvision's ``resnet_fpn_backbone``. By default a ResNet-50, with batch
            normalisation that trains if its weights are random: the frozen one that torchvision takes for pretrained
            weights would normalise nothing. It wants batches of eight slices or more; for less give a backbone with
            group normalisation.
        pretrained: True starts from torchvision's weights for COCO, a path from such a file, all but the layers that
            depend on the number of classes. The first convolution gets ``grey_kernels``.

    Raises:
        NasosegError: If the pretrained weights cannot be loaded, or are of another network.
        ValueError: If arguments are out of range, or the backbone gives other maps.
    """

    def __init__(
        self,
        in_channels: int,
        structures: int,
        *,
        scale: float = 2.0,
        anchor_sizes: Sequence[float] = (4.0, 8.0, 16.0, 32.0, 64.0),
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        proposals: int = 300,
        rois: int = 128,
        detections: int = 50,
        score_threshold: float = 0.05,
        nms_threshold: float = 0.5,
        backbone: nn.Module | None = None,
        pretrained: bool | str = False,
    ) -> None:
        super().__init__()
        if scale <= 0 or min(proposals, rois, detections) < 1:
            raise ValueError(
                f"scale {scale}, proposals {proposals}, rois {rois}, detections {detections}: expected more than 0"
            )
        if len(anchor_sizes) != len(_MAPS):
            raise ValueError(f"anchor_sizes {list(anchor_sizes)}: expected {len(_MAPS)}, one for every map")
        if backbone is not None:
            if pretrained:
                raise ValueError("pretrained belongs to the default backbone: load the weights of your own before")
            _check_maps(backbone, in_channels)
        weights = pretrained_weights(MaskRCNN_ResNet50_FPN_Weights.COCO_V1, pretrained) if pretrained else None
        self.structures = structures
        self.scale = scale
        self.detections = detections
        self.backbone = backbone or _resnet50(in_channels, frozen=bool(pretrained))
        channels: int = cast(Any, self.backbone).out_channels
        self.rpn = _proposer(
            channels,
            [size * scale for size in anchor_sizes],
            list(aspect_ratios),
            proposals=proposals,
        )
        self.roi_heads = _heads(
            channels,
            structures + 1,
            rois=rois,
            detections=detections,
            score_threshold=score_threshold,
            nms_threshold=nms_threshold,
        )
        if weights is not None:
            self._take_over(weights, in_channels)

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (b, in_channels, h, w) to scores (b, k, h, w) in 0..1: box score x mask probability.

        In training mode as well it is evaluation that happens; to train, use ``losses``.
        """
        size = (image.shape[-2], image.shape[-1])
        maps = [score_map(found, structures=self.structures, size=size) for found in self.detect(image)]
        return torch.stack(maps)

    def detect(self, image: Tensor) -> list[dict[str, Tensor]]:
        """Find the instances of every slice of (b, in_channels, h, w).

        Returns:
            Per slice ``boxes`` (n, 4) as x1, y1, x2, y2 in pixels of the slice, ``labels`` (n,) from 1, ``scores``
            (n,), and ``masks`` (n, 1, m, m), the probabilities within the box.
        """
        with evaluating(self):
            images, features = self._features(image)
            with _full_precision(image):
                proposals, _ = self.rpn(images, features)
                found: list[dict[str, Tensor]]
                found, _ = self.roi_heads(features, proposals, images.image_sizes)
        return [{**one, "boxes": one["boxes"] / self.scale} for one in found]

    def losses(self, image: Tensor, masks: Tensor, annotated: Tensor) -> dict[str, Tensor]:
        """Return torchvision's five losses, scalars, for a batch; their sum is what is trained.

        Args:
            image: (b, in_channels, h, w).
            masks: (b, k, h, w) bool.
            annotated: (b, k) bool.

        Raises:
            ValueError: If the network is not in training mode.
        """
        if not self.training:
            raise ValueError("losses are there in training mode only: call train() first")
        images, features = self._features(image)
        targets = [self._target(one, image.device) for one in (masks & annotated[:, :, None, None]).cpu()]
        heads = self.roi_heads
        with _full_precision(image):
            proposals, losses = self.rpn(images, features, targets)
            boxes, matched, labels, shifts = heads.select_training_samples(proposals, targets)
            pooled = heads.box_roi_pool(features, boxes, images.image_sizes)
            logits, deltas = heads.box_predictor(heads.box_head(pooled))
            drawn = F.pad(annotated.long(), (1, 0), value=1) > 0  # the background always is
            known = torch.cat([one.expand(len(part), -1) for one, part in zip(drawn, boxes, strict=True)])
            logits = logits.masked_fill(~known, -torch.inf)
            losses["loss_classifier"], losses["loss_box_reg"] = fastrcnn_loss(logits, deltas, labels, shifts)
            losses["loss_mask"] = self._mask_loss(images, features, targets, boxes, matched, labels)
        return {name: losses[name] for name in LOSSES}

    def _mask_loss(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        targets: list[dict[str, Tensor]],
        boxes: list[Tensor],
        matched: list[Tensor],
        labels: list[Tensor],
    ) -> Tensor:
        heads = self.roi_heads
        boxes = [part[label > 0] for part, label in zip(boxes, labels, strict=True)]
        matched = [part[label > 0] for part, label in zip(matched, labels, strict=True)]
        pooled = heads.mask_roi_pool(features, boxes, images.image_sizes)
        logits = heads.mask_predictor(heads.mask_head(pooled))
        # maskrcnn_loss reads a mask as if its first pixel's centre lay at 0, not at 1/2. Half a pixel is a tenth of a
        # small organ here: the boxes are shifted to meet it.
        on_masks = [part / self.scale - 0.5 for part in boxes]
        loss: Tensor = maskrcnn_loss(
            logits, on_masks, [t["masks"] for t in targets], [t["labels"] for t in targets], matched
        )
        return loss

    def _features(self, image: Tensor) -> tuple[ImageList, dict[str, Tensor]]:
        """Enlarge, pad and encode; the size that is handed on is the padded one, for whole strides."""
        if self.scale != 1:
            image = F.interpolate(image, scale_factor=self.scale, mode="bilinear", align_corners=False)
        image = pad_to(image, 32)
        features = {name: one.float() for name, one in self.backbone(image).items()}
        return ImageList(image, [(image.shape[-2], image.shape[-1])] * len(image)), features

    def _target(self, masks: Tensor, device: torch.device) -> dict[str, Tensor]:
        target = instances(masks, most=self.detections)
        target["boxes"] *= self.scale
        return {name: tensor.to(device) for name, tensor in target.items()}

    def _take_over(self, weights: dict[str, Tensor], in_channels: int) -> None:
        """Copy the weights of torchvision's maskrcnn_resnet50_fpn, which has the same names."""
        own = tuple(name for name, _ in self.named_parameters() if name.startswith(_OF_CLASSES))
        first = "backbone.body.conv1.weight"
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith(_OF_CLASSES)}
        if first in weights:
            weights[first] = grey_kernels(weights[first], in_channels)
        try:
            missing = sorted(set(self.load_state_dict(weights, strict=False).missing_keys) - set(own))
        except RuntimeError as error:
            missing = [str(error).splitlines()[-1].strip()[:200]]
        if missing:
            raise NasosegError(
                "pretrained: the weights are of another network than torchvision's maskrcnn_resnet50_fpn"
                f" ({missing[0]}): give a file of MaskRCNN_ResNet50_FPN_Weights"
            )
        for module in self.modules():
            if isinstance(module, FrozenBatchNorm2d):
                module.eps = 0.0  # these weights were trained so, as torchvision's own loader knows


LOSSES = ("loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg")
"""Names of the losses, as torchvision gives them."""

_OF_CLASSES = ("roi_heads.box_predictor.", "roi_heads.mask_predictor.mask_fcn_logits.")


def _resnet50(in_channels: int, *, frozen: bool) -> nn.Module:
    norm_layer = FrozenBatchNorm2d if frozen else nn.BatchNorm2d
    backbone: Any = resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=norm_layer, trainable_layers=5
    )
    backbone.body.conv1 = with_channels(backbone.body.conv1, in_channels)
    network: nn.Module = backbone
    return network


def _proposer(
    channels: int, anchor_sizes: list[float], aspect_ratios: list[float], *, proposals: int
) -> RegionProposalNetwork:
    """Build the region proposal network; thresholds and counts are torchvision's."""
    anchors = AnchorGenerator(tuple((size,) for size in anchor_sizes), (tuple(aspect_ratios),) * len(anchor_sizes))
    return RegionProposalNetwork(
        anchors,
        RPNHead(channels, anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n={"training": 2000, "testing": 1000},
        post_nms_top_n={"training": proposals, "testing": proposals},
        nms_thresh=0.7,
    )


def _heads(
    channels: int, classes: int, *, rois: int, detections: int, score_threshold: float, nms_threshold: float
) -> RoIHeads:
    """Build box and mask head: for the 256 channels of a ResNet-50 FPN they are torchvision's."""
    return RoIHeads(
        MultiScaleRoIAlign(_POOLED, output_size=7, sampling_ratio=2),
        TwoMLPHead(channels * 7**2, 4 * channels),
        FastRCNNPredictor(4 * channels, classes),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=rois,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=score_threshold,
        nms_thresh=nms_threshold,
        detections_per_img=detections,
        mask_roi_pool=MultiScaleRoIAlign(_POOLED, output_size=14, sampling_ratio=2),
        mask_head=MaskRCNNHeads(channels, (channels,) * 4, dilation=1),
        mask_predictor=MaskRCNNPredictor(channels, channels, classes),
    )


def _check_maps(backbone: nn.Module, in_channels: int) -> None:
    maps = probe("backbone", backbone, in_channels)
    found = {name: one.shape[-1] for name, one in maps.items()} if isinstance(maps, dict) else type(maps).__name__
    if found != dict(zip(_MAPS, (16, 8, 4, 2, 1), strict=True)) or not hasattr(backbone, "out_channels"):
        raise ValueError(
            f"backbone maps 64 x 64 pixels to {found}, expected maps {_MAPS} of strides 4 to 64 and an attribute"
            " out_channels, as torchvision's resnet_fpn_backbone has"
        )


def _full_precision(image: Tensor) -> torch.autocast:
    """Leave autocast: torchvision computes boxes in the type of the features, and bfloat16 rounds them by pixels."""
    return torch.autocast(image.device.type, enabled=False)
