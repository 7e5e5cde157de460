"""Augmentation. The only module that knows albumentations."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its newest version at import otherwise
import albumentations as A
from scipy.ndimage import distance_transform_edt

from nasoseg.data.resample import AIR_HU

LARGEST_MARGIN_PX = 8
"""How much around a structure a cut-away slice still shows, at most."""
MOST_OTHERS = 3
"""How many ellipses beside the structures a cut-away slice still shows, at most."""


class Augmentation:
    """Vary a slice as patients, positions and scanners vary.

    Structures stay on their side: mirroring is off, and where it is on, left and right structures swap (in SegRap2023
    one team's mirroring without the swap cost 13 DSC points).

    Args:
        rotate_deg: Largest rotation in the plane, degrees.
        scale: Smallest and largest zoom.
        shift: Largest displacement, as a share of the plane's side.
        elastic_px: Size of the elastic displacement in pixels; 0 turns it off.
        hu_shift: Largest HU added.
        hu_scale: Largest relative change of HU about water, for example 0.05.
        noise_hu: Largest standard deviation of Gaussian noise, HU.
        crop: Side in pixels of a square cut at random; smaller planes are padded with air. None keeps the plane.
        mirror: Whether half of the slices are mirrored across the sagittal plane, sided structures swapped.
        cutaway: Share of slices that ``cut`` is called for: all is air but the structures, on half of them with a
            random margin of up to ``LARGEST_MARGIN_PX``, and up to ``MOST_OTHERS`` random ellipses near them. For scans
            that were stored only where something was contoured, as a few of OpenKBP's are: the ellipses stand for
            what was contoured there and is no structure here (the brain, the eyes).

    Raises:
        ValueError: If ``cutaway`` is not within 0 to 1.
    """

    def __init__(
        self,
        *,
        rotate_deg: float = 15,
        scale: tuple[float, float] = (0.85, 1.18),
        shift: float = 0.05,
        elastic_px: float = 0,
        hu_shift: float = 20,
        hu_scale: float = 0.05,
        noise_hu: float = 15,
        crop: int | None = None,
        mirror: bool = False,
        cutaway: float = 0,
    ) -> None:
        if not 0 <= cutaway <= 1:
            raise ValueError(f"cutaway is {cutaway}: expected a share of slices, 0 to 1")
        fill: dict[str, Any] = {"fill": AIR_HU, "fill_mask": 0, "border_mode": 0}
        steps: list[Any] = [
            A.Affine(
                rotate=(-rotate_deg, rotate_deg),
                scale=tuple(scale),
                translate_percent=(-shift, shift),
                interpolation=1,
                mask_interpolation=0,
                p=0.8,
                **fill,
            )
        ]
        if elastic_px > 0:
            # Displacements of about elastic_px pixels that vary over some 10 pixels. OpenCV moves four channels at a
            # time, and takes a single number for the first of them alone.
            elastic: dict[str, Any] = {**fill, "fill": (float(AIR_HU),) * 4}
            steps.append(A.ElasticTransform(alpha=elastic_px * 20, sigma=10, approximate=True, p=0.3, **elastic))
        if crop is not None:
            steps.append(A.PadIfNeeded(crop, crop, **fill))
            steps.append(A.RandomCrop(crop, crop))
        steps += [_ShiftScaleHU(shift=hu_shift, scale=hu_scale, p=0.8), _NoiseHU(largest_hu=noise_hu, p=0.3)]
        self._geometry_and_hu = A.Compose(steps)
        self.crop = crop
        self.mirror = mirror
        self.cutaway = cutaway

    def is_cut(self, seed: int) -> bool:
        """Tell whether the slice of this seed is one to be cut away."""
        return bool(np.random.default_rng([seed, 1]).random() < self.cutaway)

    def cut(self, image_hu: npt.NDArray[Any], planes: npt.NDArray[Any], *, seed: int) -> npt.NDArray[Any]:
        """Cut a slice and its neighbours away, each to its own structures; before anything else is varied.

        Args:
            image_hu: (h, w, n) HU.
            planes: (h, w, n) bit planes of the n slices.
            seed: Of the random draws; margin and ellipses are the same for all n.

        Returns:
            HU (h, w, n) of the same type.
        """
        draws = np.random.default_rng([seed, 2])
        margin = draws.integers(1, LARGEST_MARGIN_PX + 1) if draws.random() < 0.5 else 0
        drawn = planes != 0
        shown = np.stack([_near(mask, margin=margin) for mask in np.moveaxis(drawn, -1, 0)], axis=-1)
        if drawn.any():
            shown |= _ellipses(drawn.any(axis=-1), draws)[..., None]
        return np.where(shown, image_hu, image_hu.dtype.type(AIR_HU))

    def __call__(
        self,
        image_hu: npt.NDArray[Any],
        planes: npt.NDArray[Any],
        *,
        seed: int,
        mirror_order: Sequence[int] | None = None,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[Any]]:
        """Augment one slice; the result is a function of the seed alone.

        Args:
            image_hu: (h, w, n) HU of n neighbouring slices, varied alike.
            planes: (h, w) bit planes, unsigned; moved with nearest neighbour, so that bits stay whole.
            seed: Of the random draws.
            mirror_order: For every bit the bit of its partner on the other side (``nasoseg.labels.mirror_order``);
                needed where ``mirror`` is on.

        Returns:
            HU (h', w', n) float32 and bit planes (h', w').
        """
        self._geometry_and_hu.set_random_seed(seed)
        # OpenCV moves 16-bit pixels and no wider ones: wider bit planes travel as channels of 16 bits.
        narrow = planes.view(np.uint16).reshape(*planes.shape, -1)
        result = self._geometry_and_hu(image=image_hu.astype(np.float32), mask=narrow)
        image = result["image"].reshape(*result["image"].shape[:2], -1)
        moved = np.ascontiguousarray(result["mask"].reshape(*image.shape[:2], -1)).view(planes.dtype)[..., 0]
        draws = np.random.default_rng(seed)
        mirrored = draws.random() < 0.5
        if self.mirror and mirrored:
            if mirror_order is None:
                raise ValueError("mirror is on: expected mirror_order, so that left and right structures can swap")
            return image[:, ::-1], select_planes(moved[:, ::-1], mirror_order)
        return image, moved


def select_planes(planes: npt.NDArray[Any], order: Sequence[int]) -> npt.NDArray[Any]:
    """Gather bits: bit i of the result is bit ``order[i]`` of ``planes``. The dtype stays."""
    one = planes.dtype.type(1)
    result = np.zeros_like(planes)
    for to, bit in enumerate(order):
        result |= ((planes >> planes.dtype.type(bit)) & one) << planes.dtype.type(to)
    return result


def _near(mask: npt.NDArray[np.bool_], margin: int | np.integer[Any]) -> npt.NDArray[np.bool_]:
    """Whether a pixel lies in the mask or at most ``margin`` pixels from it; nowhere, where the mask is empty."""
    if not mask.any():
        return mask
    near: npt.NDArray[np.bool_] = distance_transform_edt(~mask) <= margin
    return near


def _ellipses(near: npt.NDArray[np.bool_], draws: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Draw up to ``MOST_OTHERS`` upright ellipses, of up to half the plane's side, about the middle of ``near``."""
    rows, columns = np.ogrid[: near.shape[0], : near.shape[1]]
    middle = np.argwhere(near).mean(axis=0)
    shown = np.zeros_like(near)
    for _ in range(draws.integers(MOST_OTHERS + 1)):
        row, column = draws.normal(middle, np.divide(near.shape, 6))
        height, width = draws.uniform(2, np.divide(near.shape, 4))
        shown |= ((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 <= 1
    return shown


class _ShiftScaleHU(A.ImageOnlyTransform):  # type: ignore[misc]  # albumentations is untyped
    """Multiply HU by 1 +- scale and add +- shift, one draw a slice stack."""

    def __init__(self, *, shift: float, scale: float, p: float) -> None:
        super().__init__(p=p)
        self.shift = shift
        self.scale = scale

    def get_params(self) -> dict[str, Any]:
        return {
            "factor": 1 + self.random_generator.uniform(-self.scale, self.scale),
            "term": self.random_generator.uniform(-self.shift, self.shift),
        }

    def apply(self, img: npt.NDArray[Any], factor: float = 1, term: float = 0, **params: Any) -> npt.NDArray[Any]:
        return (img * np.float32(factor) + np.float32(term)).astype(np.float32, copy=False)


class _NoiseHU(A.ImageOnlyTransform):  # type: ignore[misc]  # albumentations is untyped
    """Add Gaussian noise of a random strength up to ``largest_hu``."""

    def __init__(self, *, largest_hu: float, p: float) -> None:
        super().__init__(p=p)
        self.largest_hu = largest_hu

    def apply(self, img: npt.NDArray[Any], **params: Any) -> npt.NDArray[Any]:
        strength = np.float32(self.random_generator.uniform(0, self.largest_hu))
        noise = self.random_generator.standard_normal(img.shape, dtype=np.float32)
        noisy: npt.NDArray[Any] = img + strength * noise
        return noisy
