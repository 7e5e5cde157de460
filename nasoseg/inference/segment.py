"""Segment a scan: image to network to masks on the scan's own grid."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nasoseg.data.training_data import TrainingData
from nasoseg.errors import NasosegError
from nasoseg.inference.cleaning import Cleaning, clean
from nasoseg.inference.ensemble import Ensemble
from nasoseg.inference.model import Model, Precision
from nasoseg.inference.onto_scan import OntoScan
from nasoseg.inference.plausibility import scan_warnings, structure_warnings
from nasoseg.inference.scan_input import ScanInput
from nasoseg.inference.segmentation import Segmentation
from nasoseg.inference.study import Study, read_study
from nasoseg.volumes.volume import Volume

if TYPE_CHECKING:  # it imports torch
    from nasoseg.tasks.base import SegmentationTask

Progress = Callable[[str, int, int], None]
"""Called with the scan's name, the number of slices that are done, and the number of all."""


def segment(
    model: "SegmentationTask | Model | Sequence[SegmentationTask | Model]",
    study: Study | Volume | str | os.PathLike[str],
    *,
    series: str | None = None,
    resample: bool = False,
    mirror: bool = False,
    precision: Precision = "32",
    cleaning: Cleaning | None = None,
    batch_size: int | None = None,
    training_data: TrainingData | None = None,
    progress: Progress | None = None,
) -> Segmentation:
    """Segment one scan.

    Args:
        model: From ``nasoseg.load`` or ``nasoseg.inference.load_exported``, or several whose probabilities are
            averaged, such as those of all folds. Runs on the device where it is.
        study: A DICOM folder or zip, an image file, or what was read from one.
        series: Which of several DICOM series (``volumes.dicom.read_ct``).
        resample: Put tilted or unevenly spaced DICOM slices onto a straight grid instead of refusing them.
        mirror: Average the mirrored scan too, sides swapped back: twice the time.
        precision: ``bf16`` lets a network compute in bfloat16: less than half the time on a device that does so by
            itself, other masks in a few voxels of a surface.
        cleaning: Which structures are cleaned and how; none by default.
        batch_size: Slices at once; by default as many as are fast. Halved where memory does not suffice.
        training_data: How the images are made; by default as the model says.
        progress: Called after every batch.

    Returns:
        The structures, on the scan's own grid.

    Raises:
        NasosegError: If the scan cannot be read, the model does not say how its images are made, ``cleaning`` names a
            structure that it does not have, or memory does not suffice for one slice.
    """
    models = list(model) if isinstance(model, Sequence) else [model]
    ensemble = Ensemble(models, mirror=mirror, precision=precision, training=training_data)
    if isinstance(study, Volume):
        study = Study(study)
    elif not isinstance(study, Study):
        study = read_study(Path(study), series=series, resample=resample)
    return segment_study(ensemble, study, cleaning=cleaning, batch_size=batch_size, progress=progress)


def segment_study(
    ensemble: Ensemble,
    study: Study,
    *,
    cleaning: Cleaning | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Segmentation:
    """Segment a scan that has been read; see ``segment``."""
    if batch_size is not None and batch_size < 1:
        raise NasosegError(f"batch_size: found {batch_size}, expected 1 or more slices")
    cleaning = cleaning or Cleaning()
    cleaning.bits(ensemble.labels)  # before the network takes its time
    axial = study.volume.axial()
    images = ScanInput(axial, ensemble.training)
    masks = OntoScan(images.grid, images.axial, structures=len(ensemble.labels), head=ensemble.head)
    plane = images.grid.shape[1] * images.grid.shape[2]
    size = batch_size or max(1, ensemble.models[0].pixels_at_once // plane)
    start = 0
    while start < len(images):
        stop = min(start + size, len(images))
        try:
            found = ensemble(images.batch(start, stop))
        except MemoryError as error:
            if size == 1:
                raise NasosegError(
                    f"{study.name}: memory does not suffice for one slice of {images.grid.shape[1]} x"
                    f" {images.grid.shape[2]} pixels on {ensemble.models[0].device}: use a device with more, or a model"
                    " that was trained on larger pixels"
                ) from error
            size = max(1, size // 2)
            continue
        masks.add(found, start)
        start = stop
        if progress:
            progress(study.name, start, len(images))
    remarks = list(study.remarks)
    if images.resampled:
        was, now = images.axial.spacing_mm[1:], images.grid.spacing_mm[1:]
        remarks.append(
            f"seen on pixels of {now[0]:.3g} x {now[1]:.3g} mm, as in the training; the scan's are {was[0]:.3g} x"
            f" {was[1]:.3g} mm"
        )
    remarks += clean(masks.planes, ensemble.labels, cleaning)
    result = Segmentation(study, masks.planes, ensemble.labels, remarks=remarks)
    at_ends = _at_ends(masks.planes, ensemble.labels)
    result.warnings = (
        *scan_warnings(axial, ensemble.training),
        *structure_warnings(result.volumes_ml, ensemble.training, at_ends=at_ends),
    )
    return result


def _at_ends(planes: npt.NDArray[Any], names: Sequence[str]) -> dict[str, bool]:
    """Tell of every structure whether it is on the first or the last slice."""
    on_ends = int(np.bitwise_or.reduce(planes[[0, -1]], axis=None))
    return {name: bool(on_ends >> bit & 1) for bit, name in enumerate(names)}
