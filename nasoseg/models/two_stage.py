"""The paper's network: a rough and a precise stage in cascade over shared multi-scale features."""

import torch.nn.functional as F
from torch import Tensor, nn

from nasoseg.models.blocks import pad_to
from nasoseg.models.coupling import Coupling


class TwoStageNet(nn.Module):
    """Segment roughly, then precisely (Luo et al. 2020, Fig. 1).

    Every part is exchangeable. Leaving out ``pooling`` or ``stage2`` gives the paper's ablations.

    Args:
        stage1: Maps features (b, f, h, w) to logits (b, k, h, w).
        pooling: Maps the image (b, c, h, w) to features (b, f, h, w); without it the image is the features.
        coupling: Joins features and rough logits for stage 2; needed with it.
        stage2: Maps what ``coupling`` joins to (b, k, h, w); without it stage 1's logits are final.
        multiple: Features are padded to a multiple of this many pixels, and the logits cropped back; 32 suits the
            encoders of segmentation-models-pytorch.
        stage1_scale: Resolution at which stage 1 works, 1 or 1/n for a whole n: it reads the features averaged over
            n x n pixels, at the border over real ones only, and its logits are brought up bilinearly. At 1/2 it costs
            a quarter.

    Raises:
        ValueError: If stage 2 has no coupling, or ``stage1_scale`` is neither 1 nor 1/n.
    """

    def __init__(
        self,
        *,
        stage1: nn.Module,
        pooling: nn.Module | None = None,
        coupling: Coupling | None = None,
        stage2: nn.Module | None = None,
        multiple: int = 32,
        stage1_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if stage2 is not None and coupling is None:
            raise ValueError("stage2 is given without a coupling: pass coupling=Coupling(), or leave stage2 out")
        self.pooling = pooling or nn.Identity()
        self.stage1 = stage1
        self.coupling = coupling or Coupling()
        self.stage2 = stage2
        self.multiple = multiple
        self.reduction = _reduction(stage1_scale)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Map an image (b, c, h, w) to logits (b, k, h, w); in training to a list with those of every stage."""
        h, w = image.shape[-2:]
        features = pad_to(self.pooling(image), self.multiple)
        rough = self._rough(features)
        stages = [rough]
        if self.stage2 is not None:
            refined = self.stage2(self.coupling.join(features, rough))
            stages.append(self.coupling.finish(rough, refined))
        stages = [logits[..., :h, :w] for logits in stages]
        return stages if self.training else stages[-1]

    def _rough(self, features: Tensor) -> Tensor:
        """Map features (b, f, h, w) to stage 1's logits (b, k, h, w)."""
        if self.reduction == 1:
            logits: Tensor = self.stage1(features)
            return logits
        h, w = features.shape[-2:]
        coarse = F.avg_pool2d(features, self.reduction, ceil_mode=True)
        rows, columns = coarse.shape[-2:]
        logits = self.stage1(pad_to(coarse, self.multiple))[..., :rows, :columns]
        size = (rows * self.reduction, columns * self.reduction)
        logits = F.interpolate(logits, size, mode="bilinear", align_corners=False)
        return logits[..., :h, :w]


def _reduction(scale: float) -> int:
    """Return the n of a scale 1/n; 0.333 is near enough to 1/3."""
    reduction = round(1 / scale) if 0 < scale <= 1 else 0
    if not abs(scale * reduction - 1) < 0.002:
        raise ValueError(
            f"stage1_scale {scale}: expected 1 or 1/n for a whole n (0.5, 0.333, 0.25), so that each coarse pixel is"
            " the average of n x n whole ones"
        )
    return reduction
