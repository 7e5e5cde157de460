"""One patient slice by slice: CT as small images, contours as paths."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from nasoseg.data.store import Store
from nasoseg.labels import positions
from nasoseg.report.page.volume_contours import UNITS_PER_MM, VolumeMasks, read_prediction
from nasoseg.report.samples import WINDOW_HU

TRUTH = "truth (annotated)"
"""Stands beside the methods' names."""

_MOST_SLICES = 120  # of one patient: a slider has no more steps that can be told apart
_MARGIN_SLICES = 2
_MARGIN_MM = 8.0
_SKIN_HU = -300  # between air (-1000) and fat (-100)
_LARGEST_PX = 320  # a picture on the page is about as wide
_QUALITY = 80  # of WebP: at 128 x 128, some 3 kB a slice, and no difference is seen beside the stored one


def build_case(
    store: Store,
    key: str,
    *,
    predictions: Mapping[str, Path],
    structures: Mapping[str, Sequence[str]],
    most_bytes: int,
) -> dict[str, Any]:
    """Gather what the page needs to show one patient, as plain data.

    A structure that was not annotated in the patient is not drawn, also not as predicted: nothing could be seen of its
    quality. Slices reach a little beyond the first and the last that anything is drawn on; of many, every second is
    shown, or every third and so on, so that the case stays small.

    Args:
        store: Has the CT and the truth.
        key: The patient.
        predictions: For every method that predicted him, the folder of his masks.
        structures: For every method the structures to draw of it, as the predictions spell them; those of the truth
            under ``TRUTH``, as the page spells them.
        most_bytes: What the case may take.

    Raises:
        NasosegError: If a mask is missing, cannot be read, or is on another grid.
    """
    names = list(structures[TRUTH])
    annotated = store.is_annotated(key)
    bits = dict(zip(names, positions(names, store.names, where="the store"), strict=True))
    drawn = [name for name in names if annotated[bits[name]]]
    planes, image = store.read(key, "labels", slice(None)), store.read(key, "image", slice(None))
    spacing_mm = store.geometry(key).spacing_mm
    rows_mm, columns_mm = (np.arange(image.shape[axis]) * float(spacing_mm[axis]) for axis in (1, 2))
    truth = VolumeMasks({name: (planes >> bits[name]) & 1 != 0 for name in drawn}, rows_mm, columns_mm)
    by_method = {TRUTH: truth}
    for method, folder in predictions.items():
        of_method = [name for name in drawn if name in structures[method]]
        if of_method:
            by_method[method] = read_prediction(folder, of_method, stored=store.geometry(key), source=store.source(key))
    chosen = _slices(list(by_method.values()) if drawn else [], len(image))
    crop = _body(image[chosen], spacing_mm[1:])
    slices = [_slice(int(z), image, by_method, crop, spacing_mm=spacing_mm[1:], names=names) for z in chosen]
    size = sum(len(json.dumps(one)) for one in slices)
    step = max(1, -(-size // most_bytes))
    top, bottom, left, right = crop
    extent_mm = ((right - left) * spacing_mm[2], (bottom - top) * spacing_mm[1])
    return {
        "patient": key,
        "size": [round(side * UNITS_PER_MM) for side in extent_mm],
        "methods": list(by_method),
        "structures": names,
        "drawn": [names.index(name) for name in drawn],
        "notDrawn": [name for name in names if name not in drawn],
        "total": len(image),
        "slices": slices[::step],
    }


def _slices(drawn: Sequence[VolumeMasks], count: int) -> npt.NDArray[np.intp]:
    """Choose the slices to show: where anything is drawn, and a little beyond; all where nothing is."""
    found = np.flatnonzero(np.any([masks.drawn() for masks in drawn], axis=0)) if drawn else np.empty(0, int)
    first, last = (found[0], found[-1]) if len(found) else (0, count - 1)
    first, last = max(0, first - _MARGIN_SLICES), min(count - 1, last + _MARGIN_SLICES)
    step = -(-(last - first + 1) // _MOST_SLICES)
    return np.arange(first, last + 1, step)


def _body(image: npt.NDArray[Any], spacing_mm: npt.NDArray[Any]) -> tuple[int, int, int, int]:
    """Frame what is not air on any slice, with a margin: top, bottom, left, right, in pixels; the ends are beyond."""
    solid = np.any(image > _SKIN_HU, axis=0)
    ends = []
    for axis in (0, 1):
        found = np.flatnonzero(np.any(solid, axis=1 - axis))
        margin = round(_MARGIN_MM / float(spacing_mm[axis]))
        side = solid.shape[axis]
        ends += [max(0, found[0] - margin), min(side, found[-1] + 1 + margin)] if len(found) else [0, side]
    return int(ends[0]), int(ends[1]), int(ends[2]), int(ends[3])


def _slice(
    z: int,
    image: npt.NDArray[Any],
    by_method: Mapping[str, VolumeMasks],
    crop: tuple[int, int, int, int],
    *,
    spacing_mm: npt.NDArray[Any],
    names: Sequence[str],
) -> dict[str, Any]:
    """Give one slice: its number, its picture, and for every method structure -> path, both by position."""
    top, bottom, left, right = crop
    # Positions are those of pixel centres; the picture begins half a pixel before the first.
    left_mm, top_mm = (left - 0.5) * float(spacing_mm[1]), (top - 0.5) * float(spacing_mm[0])
    paths = [
        {
            str(names.index(name)): path
            for name in masks.masks
            if (path := masks.path(name, z, left_mm=left_mm, top_mm=top_mm))
        }
        for masks in by_method.values()
    ]
    return {"z": z, "image": _picture(image[z, top:bottom, left:right]), "paths": paths}


def _picture(image: npt.NDArray[Any]) -> str:
    """Encode a slice in the soft-tissue window as WebP, base64."""
    low, high = WINDOW_HU
    grey = np.clip((image.astype(np.float32) - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    shrink = _LARGEST_PX / max(grey.shape)
    if shrink < 1:
        grey = np.asarray(cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
    _, encoded = cv2.imencode(".webp", grey, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    return base64.b64encode(encoded.tobytes()).decode("ascii")
