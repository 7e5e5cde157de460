"""Numbers that are wrong and look right: for each such fault of our own code, a check of the suite that fails on it.

Every fault is put into the code while it runs. The check, a test that stands elsewhere, must pass without and fail with
it; where it would not, the fault could come back unseen.
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasoseg import losses
from nasoseg.data import resample, splits
from nasoseg.data.datamodule import SliceDataModule
from nasoseg.metrics import surface
from nasoseg.models import blocks
from nasoseg.volumes import contours, dicom, dicom_pixels, nifti, volume
from nasoseg.volumes.volume import Volume

TESTS = Path(__file__).parents[1]


def turned(change: Callable[[Any], Any]) -> Callable[[Any], Callable[..., Any]]:
    """Make a fault that changes what a function returns."""
    return lambda original: lambda *given, **named: change(original(*given, **named))


def in_axial(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any], Callable[..., Any]]:
    return turned(lambda axial: Volume(np.ascontiguousarray(change(axial.array)), axial.geometry))


def with_slope_of_1(original):
    return lambda stored, one, counts: original(stored, replace(one, slope=1.0), counts)


def with_spacing_1(original):
    return lambda elements, others, spacing_mm: original(elements, others, np.ones(3))


def with_masks_half_a_pixel_on(original):
    def weights(axis, *, widened):
        return original(axis if widened else replace(axis, shift=axis.shift + 0.5), widened=widened)

    return weights


def with_crossings_half_a_pixel_on(original):
    def crossings(drawn, rows):
        found, columns = original(drawn, rows)
        return found, columns + 0.5

    return crossings


def with_validation_in_training(folds):
    return [replace(fold, train={**fold.train, **fold.validation}) for fold in folds]


def without_annotated(original):
    return lambda self, sums, target, annotated: original(self, sums, target, None)


def cropped_at_the_other_end(original):
    def forward(self, x):
        h, w = x.shape[-2:]
        return self.network(blocks.pad_to(x, self.multiple))[..., -h:, -w:]

    return forward


@dataclass(frozen=True)
class Fault:
    """Say what is put in where, and which check finds it.

    Attributes:
        where: Module or class.
        name: Its function.
        wrong: Makes the wrong function of the right one.
        check: File and name of a test, below ``tests``.
        given: Arguments of the check.
    """

    where: Any
    name: str
    wrong: Callable[[Any], Any]
    check: str
    given: dict[str, Any]


FAULTS = {
    "left and right swapped": Fault(
        volume.Volume, "axial", in_axial(lambda array: array[..., ::-1]),
        "volumes/test_volume.py::test_axial_runs_to_superior_posterior_left", {},
    ),
    "left and right, front and back of NIfTI swapped": Fault(
        nifti, "ras_from_lps", lambda original: np.copy,
        "volumes/test_nifti.py::test_ras_from_lps_is_its_own_inverse", {},
    ),
    "slices reversed": Fault(
        volume.Volume, "axial", in_axial(lambda array: array[::-1]),
        "volumes/test_volume.py::test_axial_runs_to_superior_posterior_left", {},
    ),
    "slices of DICOM reversed": Fault(
        dicom, "read_hu", turned(lambda read: (read[0][::-1], read[1])),
        "volumes/test_dicom.py::test_a_series_is_read_as_written", {},
    ),
    "HU off by 1024": Fault(
        dicom_pixels, "_to_hu", turned(lambda hu: hu + 1024),
        "volumes/test_dicom.py::test_a_series_is_read_as_written", {},
    ),
    "HU of NIfTI off by 1024": Fault(
        nifti, "read_volume", turned(lambda read: Volume(read.array + 1024, read.geometry)),
        "volumes/test_nifti.py::test_ct_applies_slope_and_intercept_and_rounds", {},
    ),
    "wrong rescale slope": Fault(
        dicom_pixels, "_to_hu", with_slope_of_1,
        "volumes/test_dicom_pixels.py::test_every_slice_has_its_own_rescale", {},
    ),
    "spacing ignored": Fault(
        surface, "_nearest_mm", with_spacing_1, "metrics/test_surface.py::test_shifted_cube_by_hand", {},
    ),
    "resampled masks half a pixel off": Fault(
        resample.Axis, "weights", with_masks_half_a_pixel_on,
        "data/test_resample.py::test_a_marked_place_stays_in_mm", {"options": {"pixel_mm": 0.45}},
    ),
    "contours half a pixel off": Fault(
        contours, "_crossings", with_crossings_half_a_pixel_on,
        "volumes/test_contours.py::test_on_the_edge_the_upper_and_left_side_count", {},
    ),
    "validation patients in training": Fault(
        splits, "_clean_folds", turned(with_validation_in_training),
        "data/test_datamodule.py::test_no_test_patient_is_trained_on", {},
    ),
    "Dice on structures that nobody drew": Fault(
        losses.DiceLoss, "of_sums", without_annotated,
        "test_losses.py::test_what_was_not_annotated_costs_nothing", {"head": "multilabel"},
    ),
    "focal loss on structures that nobody drew": Fault(
        losses.FocalLoss, "of_sums", without_annotated,
        "test_losses.py::test_what_was_not_annotated_costs_nothing", {"head": "multilabel"},
    ),
    "structures that nobody drew are no background": Fault(
        losses, "_merge_unknown", lambda original: lambda log_p, annotated: log_p,
        "test_losses.py::test_multiclass_merges_an_undrawn_structure_with_the_background", {},
    ),
    "prediction taken from padded pixels": Fault(
        blocks.Padded, "forward", cropped_at_the_other_end,
        "silent/test_padding.py::test_padding_moves_no_pixel", {"size": (33, 47)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_silent_fault_is_found(fault, small_store, tmp_path, monkeypatch):
    file, _, name = fault.check.partition("::")
    monkeypatch.syspath_prepend((TESTS / file).parent)
    module = importlib.import_module(Path(file).stem)
    test = getattr(module, name)

    def run(folder: str) -> None:
        """Run the check, with what its fixtures would give it."""
        given = dict(fault.given)
        wanted = inspect.signature(test).parameters
        if "tmp_path" in wanted:
            given["tmp_path"] = tmp_path / folder
            given["tmp_path"].mkdir()
        if "data" in wanted:
            given["data"] = SliceDataModule(small_store.path, folds=4, batch_size=4)
            given["data"].setup()
        test(**given)

    run("right")
    right = getattr(fault.where, fault.name)
    wrong = fault.wrong(right)
    monkeypatch.setattr(fault.where, fault.name, wrong)
    if getattr(module, fault.name, None) is right:  # the test imported it by name
        monkeypatch.setattr(module, fault.name, wrong)
    with pytest.raises(AssertionError):
        run("wrong")
