"""Warnings: contours that cannot lie where they are drawn, because of what the CT shows there.

A wrong registration, a CT that was exchanged for another, slices in reverse, or a CT that was cut away around the
contours leave files that are valid and wrong. What tells them apart is physics: a spinal cord is not bone, a parotid is
not air, a mandible is bone, and nothing next to a spinal cord is air.

The limits were set on the 124 patients of OpenKBP. One has his contours in another place (pt_221); five have a CT that
was cut away around contours, in all slices (pt_51, pt_89, pt_143) or below the shoulders (pt_103, pt_208); one has a
wedge behind the spine that is called spinal cord (pt_216). Smallest and largest values:

===================================================  ===============  =========================  ========
what                                                 the 117 others   those                      limit
===================================================  ===============  =========================  ========
median HU of brainstem, cord, parotids               -96 to 86        pt_221: 312, 259 (two)     over 150
share of air (below -500 HU) in these, and mandible  0 to 0.011       pt_221: 0.26, 0.35 (two)   over 0.1
median HU of the mandible                            378 to 1055      not drawn                  below 200
share of air within 10 mm of the cord, in its plane  0 to 0.050       0.12 to 0.48 (cut away)    over 0.1
median area of the cord's slices, cm2                0.5 to 2.6       pt_216: 35                 over 6
===================================================  ===============  =========================  ========

Structures that hold air (larynx, trachea, oesophagus, pharynx, lungs, oral cavity), thin ones (optic nerves, lenses)
and targets, which are drawn through air and bone, are not judged.
"""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nasoseg.data.store import Patient
from nasoseg.labels import Structure

_AIR_HU = -500
_SOFT_BELOW_HU = 150
_BONE_ABOVE_HU = 200
_MOST_AIR = 0.1
_MOST_AIR_BESIDE = 0.1
_BESIDE_MM = 10.0  # the nearest air, in the throat, is 15 mm and more from the cord
_LARGEST_CORD_CM2 = 6.0  # the spinal canal has 3 to 4
_FEWEST_VOXELS = 20

# TG-263 names. A partial structure has a tilde at its end.
_SOFT = re.compile(r"(Brain|Brainstem|SpinalCord|Parotid|Glnd_Submand|Eye)(_[LR])?~?")  # not what takes up contrast
_BONE = re.compile(r"Bone_Mandible(_[LR])?~?")
_CORD = re.compile(r"SpinalCord~?")


def contour_warnings(patient: Patient, structures: Sequence[Structure]) -> list[str]:
    """Say which structures of a patient the CT contradicts, and by what.

    Args:
        patient: A stored patient: HU and bit planes (z, h, w).
        structures: The structures, in the order of their bits; judged by their TG-263 names.

    Returns:
        A sentence for every finding, without the patient's key; none if all is plausible.
    """
    spacing_mm = np.linalg.norm(patient.affine_lps[:3, :3], axis=0)
    warnings = []
    for bit, structure in enumerate(structures):
        kind = structure.tg263
        if not (_SOFT.fullmatch(kind) or _BONE.fullmatch(kind)):
            continue
        mask = (patient.labels >> patient.labels.dtype.type(bit)) & 1 != 0
        if np.count_nonzero(mask) < _FEWEST_VOXELS:
            continue
        inside = patient.image[mask]
        median, air = float(np.median(inside)), float(np.mean(inside < _AIR_HU))
        if air > _MOST_AIR:
            warnings.append(_worded(structure.name, f"{air:.0%} of it is air (below {_AIR_HU} HU)"))
        elif _SOFT.fullmatch(kind) and median > _SOFT_BELOW_HU:
            warnings.append(_worded(structure.name, f"it lies in bone: its median is {median:.0f} HU"))
        elif _BONE.fullmatch(kind) and median < _BONE_ABOVE_HU:
            warnings.append(_worded(structure.name, f"it does not lie in bone: its median is {median:.0f} HU"))
        if _CORD.fullmatch(kind):
            warnings += _about_cord(structure.name, patient.image, mask, spacing_mm)
    return warnings


def _about_cord(
    name: str, image: npt.NDArray[np.int16], mask: npt.NDArray[np.bool_], spacing_mm: npt.NDArray[np.float64]
) -> list[str]:
    areas = np.count_nonzero(mask, axis=(1, 2))
    area_cm2 = float(np.median(areas[areas > 0]) * spacing_mm[1] * spacing_mm[2] / 100)
    if area_cm2 > _LARGEST_CORD_CM2:
        return [f"{name}: its slices have {area_cm2:.0f} cm2, a cord about 1: it is another structure, or a margin"]
    beside = _air_beside(image, mask, spacing_mm)
    if beside > _MOST_AIR_BESIDE:
        return [f"{name}: {beside:.0%} of what lies within {_BESIDE_MM:g} mm is air: the CT is cut away around it"]
    return []


def _worded(name: str, finding: str) -> str:
    return f"{name}: {finding}: the contours may belong to another CT, or to another place in it"


def _air_beside(
    image: npt.NDArray[np.int16], mask: npt.NDArray[np.bool_], spacing_mm: npt.NDArray[np.float64]
) -> float:
    """Measure the share of air among the voxels beside a structure, in the planes of its slices."""
    margin = np.ceil(_BESIDE_MM / spacing_mm).astype(int)
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    box = (box[0], *(slice(max(0, s.start - m), s.stop + m) for s, m in zip(box[1:], margin[1:], strict=True)))
    air = voxels = 0
    for pixels, drawn in zip(image[box], mask[box], strict=True):
        if drawn.any():
            away_mm = ndimage.distance_transform_edt(~drawn, sampling=spacing_mm[1:])
            beside = pixels[(away_mm > 0) & (away_mm <= _BESIDE_MM)]
            air += int(np.count_nonzero(beside < _AIR_HU))
            voxels += beside.size
    return air / voxels if voxels else 0.0
