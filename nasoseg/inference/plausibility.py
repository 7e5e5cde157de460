"""Warnings: a scan that is unlike those of the training, a structure that is unlike its usual self."""

from collections.abc import Mapping

import numpy as np

from nasoseg.data.training_data import TrainingData
from nasoseg.volumes.volume import Volume

_AIR_BELOW_HU = -200  # fat is at -100: a CT without anything darker has no air
_BODY_ABOVE_HU = -300
_TISSUE_HU = (-150, 200)  # where the median of a head and neck lies, with contrast, and with bone
_FIELD_TOLERANCE = 0.25  # shares by which a field or a slice distance may lie beyond those of the training
_SLICE_TOLERANCE = 0.1
_VOLUME_FACTOR = 2.0  # a structure may have half the smallest volume of the training, or twice the largest


def scan_warnings(volume: Volume, training: TrainingData) -> list[str]:
    """Say what of a scan is unlike those that the model was trained on.

    Args:
        volume: HU in axial order.
        training: What the model was trained on.
    """
    warnings = _hu_warnings(volume)
    spacing, shape = volume.geometry.spacing_mm, volume.geometry.shape
    field_mm = float(min(spacing[1:] * shape[1:]))
    for found, known, tolerance, what in (
        (float(spacing[0]), training.slice_mm, _SLICE_TOLERANCE, "the slices are {:.2f} mm apart"),
        (field_mm, training.field_mm, _FIELD_TOLERANCE, "the field of view is {:.0f} mm wide"),
    ):
        if known and not known.covers(found, tolerance=tolerance):
            warnings.append(
                f"{what.format(found)}, those of the training {known.smallest:.4g} to {known.largest:.4g} mm: check"
                " the result with care"
            )
    return warnings


def structure_warnings(
    volumes_ml: Mapping[str, float], training: TrainingData, *, at_ends: Mapping[str, bool]
) -> list[str]:
    """Say which structures were not found, or are far from their usual size.

    Args:
        volumes_ml: What was found.
        training: What the model was trained on.
        at_ends: For every structure whether it touches the scan's first or last slice, and so may be cut off.
    """
    warnings = []
    for name, found in volumes_ml.items():
        known = training.volumes_ml.get(name)
        if not found:
            warnings.append(f"{name}: not found")
        elif known and not known.smallest / _VOLUME_FACTOR <= found <= known.largest * _VOLUME_FACTOR:
            cut = "; it reaches the end of the scan" if at_ends.get(name) else ""
            warnings.append(
                f"{name}: {found:.3g} ml, in the training {known.smallest:.3g} to {known.largest:.3g} ml{cut}"
            )
    return warnings


def _hu_warnings(volume: Volume) -> list[str]:
    array = volume.array[:: max(1, len(volume.array) // 32)]  # enough for a median
    if array.min() >= _AIR_BELOW_HU:
        return [f"the darkest voxel is {array.min()} HU: no air in the scan, or not in HU"]
    body = array[array > _BODY_ABOVE_HU]
    if not body.size:
        return [f"no voxel is over {_BODY_ABOVE_HU} HU: no body in the scan, or not in HU"]
    middle = float(np.median(body))
    if not _TISSUE_HU[0] <= middle <= _TISSUE_HU[1]:
        return [
            f"the median of the body is {middle:.0f} HU, expected {_TISSUE_HU[0]} to {_TISSUE_HU[1]}: the scan may not"
            " be in HU"
        ]
    return []
