"""The paper's network: a rough and a precise stage in cascade over shared multi-scale features."""

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
    """

    def __init__(
        self,
        *,
        stage1: nn.Module,
        pooling: nn.Module | None = None,
        coupling: Coupling | None = None,
        stage2: nn.Module | None = None,
        multiple: int = 32,
    ) -> None:
        super().__init__()
        if stage2 is not None and coupling is None:
            raise ValueError("stage2 is given without a coupling: pass coupling=Coupling(), or leave stage2 out")
        self.pooling = pooling or nn.Identity()
        self.stage1 = stage1
        self.coupling = coupling or Coupling()
        self.stage2 = stage2
        self.multiple = multiple

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Map an image (b, c, h, w) to logits (b, k, h, w); in training to a list with those of every stage."""
        h, w = image.shape[-2:]
        features = pad_to(self.pooling(image), self.multiple)
        rough: Tensor = self.stage1(features)
        stages = [rough]
        if self.stage2 is not None:
            refined = self.stage2(self.coupling.join(features, rough))
            stages.append(self.coupling.finish(rough, refined))
        stages = [logits[..., :h, :w] for logits in stages]
        return stages if self.training else stages[-1]
