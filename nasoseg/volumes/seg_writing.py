"""DICOM SEG out: masks on the grid of a CT to bit masks on its original planes, through highdicom."""

import os
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version

import highdicom as hd
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from nasoseg.volumes.ct_series import CtSeries, SlicePlane
from nasoseg.volumes.dicom_header import tolerant
from nasoseg.volumes.object_writing import begin_object, object_file
from nasoseg.volumes.patient_study import NAME, PURPOSE, carry_over, short_text
from nasoseg.volumes.plane_stack import on_planes
from nasoseg.volumes.segment_codes import coded
from nasoseg.volumes.structure_set import PackedMask, Roi, checked_mask


def write_seg(
    path: str | os.PathLike[str],
    masks: Mapping[str, npt.NDArray[np.bool_]],
    ct: CtSeries,
    *,
    rois: Mapping[str, Roi] | None = None,
    label: str = NAME,
    description: str = "",
) -> list[str]:
    """Write masks as a binary DICOM SEG: to a temporary file beside ``path``, renamed when it is complete.

    Each structure is one segment, with SNOMED CT codes where it has them (``segment_codes``); segments may overlap.
    The frames lie on the original planes of the CT, each naming its source image; those without a voxel are left out.

    Args:
        path: The file; an older one is replaced.
        masks: Masks (z, h, w) on the grid of ``ct.volume``, by structure; taken one at a time.
        ct: The CT. Patient and study are carried over from it as given.
        rois: Names and colours; where None, by ``roi_labels``: TG-263 names of known structures.
        label: Content label: the first 16 capital letters, digits and underscores of it, from a letter on.
        description: Series description, at most 64 characters.

    Returns:
        Remarks: names that had to be changed, structures without a voxel.

    Raises:
        NasosegError: If there is no mask, or one is not on the CT's grid; if a name is not printable; if the disk is
            full or not writable.
    """
    begun = begin_object(path, masks, ct, rois=rois, drawn="masks")
    labels, frame, remarks = begun.labels, begun.frame, begun.remarks
    packed = {}
    for name in labels:
        packed[name] = PackedMask(on_planes(checked_mask(name, masks[name], ct.volume.geometry.shape), ct))
        if not packed[name].voxels:
            remarks.append(f"structure {name!r} has no voxel: written as a segment without frames")
    pixels, planes = _pixels(list(packed.values()), ct)
    # highdicom takes one multi-frame image, and a CT may be several: frames go in as images with UIDs of their own.
    uids = [plane.sop_instance_uid if plane.frame is None else str(generate_uid()) for plane in ct.planes]
    with tolerant():
        segmentation = hd.seg.Segmentation(
            source_images=_source_images(ct, uids, frame),
            pixel_array=pixels,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_described(name, roi) for name, roi in labels.items()],
            series_instance_uid=generate_uid(),
            series_number=1,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer=NAME,
            manufacturer_model_name=NAME,
            software_versions=version(NAME),
            device_serial_number="0",  # required; software has none
            content_label=_content_label(label),
            content_description=short_text(PURPOSE, 64),
            plane_positions=[_position(plane) for plane in planes],
            transfer_syntax_uid=ExplicitVRLittleEndian,
            series_description=short_text(description or f"{label} segmentation", 64),
        )
        _name_frames(segmentation, dict(zip(uids, ct.planes, strict=True)))
        texts = [label, description, *(roi.name for roi in labels.values()), *labels]
        carry_over(ct.header, segmentation, texts=texts)
        segmentation.StudyInstanceUID = ct.study_instance_uid
        with object_file(path) as temporary:
            segmentation.save_as(temporary)
    return remarks


def _content_label(label: str) -> str:
    """Make a DICOM code string of a text; "SEG" if no letter is in it."""
    plain = re.sub(r"[^A-Z0-9]", "_", label.upper())
    return plain.lstrip("0123456789_")[:16] or "SEG"


def _pixels(masks: list[PackedMask], ct: CtSeries) -> tuple[npt.NDArray[np.uint8], list[SlicePlane]]:
    """Stack the masks (plane, row, column, segment) on the planes where any has a voxel; those planes."""
    used = np.zeros(len(ct.planes), bool)
    for mask in masks:
        used |= mask.unpack().any(axis=(1, 2))
    used[0] |= not used.any()  # a SEG has one frame at least
    planes = np.flatnonzero(used)
    pixels = np.empty((len(masks), len(planes), ct.planes[0].rows, ct.planes[0].columns), np.uint8)
    for mask, into in zip(masks, pixels, strict=True):
        into[:] = mask.unpack()[planes]
    return np.moveaxis(pixels, 0, -1), [ct.planes[plane] for plane in planes]


def _described(name: str, roi: Roi) -> hd.seg.SegmentDescription:
    names = coded(name)
    described = hd.seg.SegmentDescription(
        segment_number=roi.number,
        segment_label=roi.name,
        segmented_property_category=names.category,
        segmented_property_type=names.kind,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=NAME, family=codes.DCM.ArtificialIntelligence, version=version(NAME)
        ),
        tracking_uid=generate_uid(),
        tracking_id=short_text(name, 64) or roi.name,
        display_color=hd.color.CIELabColor.from_rgb(*roi.colour) if roi.colour else None,
    )
    if names.side is not None:
        modifier = hd.sr.CodedConcept.from_code(names.side)
        described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [modifier]
    return described


def _position(plane: SlicePlane) -> hd.PlanePositionSequence:
    return hd.PlanePositionSequence(hd.CoordinateSystemNames.PATIENT, plane.affine_lps[:3, 2].tolist())


def _source_images(ct: CtSeries, uids: Sequence[str], frame: str) -> list[pydicom.Dataset]:
    """Describe the CT's planes as highdicom needs them: their places and UIDs; patient and study come later."""
    first = ct.planes[0]
    down, along = first.affine_lps[:3, 0], first.affine_lps[:3, 1]
    spacing = [float(np.linalg.norm(down)), float(np.linalg.norm(along))]
    orientation = hd.PlaneOrientationSequence(
        hd.CoordinateSystemNames.PATIENT, [*(along / spacing[1]), *(down / spacing[0])]
    )
    apart = float(ct.volume.geometry.spacing_mm[0])
    measures = hd.PixelMeasuresSequence(
        pixel_spacing=spacing, slice_thickness=apart, spacing_between_slices=apart if ct.straight else None
    )

    def image(plane: SlicePlane, uid: str) -> pydicom.Dataset:
        one = pydicom.Dataset()
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
            setattr(one, keyword, "")
        one.StudyDate = one.StudyTime = None
        one.StudyInstanceUID, one.SeriesInstanceUID = ct.study_instance_uid, ct.series_instance_uid
        one.SOPClassUID = plane.sop_class_uid if plane.frame is None else CTImageStorage
        one.SOPInstanceUID, one.Modality = uid, "CT"
        one.FrameOfReferenceUID = frame
        one.PositionReferenceIndicator = ct.header.get("PositionReferenceIndicator") or ""
        one.Rows, one.Columns = plane.rows, plane.columns
        for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
            if ct.header.get(keyword):
                one[keyword] = ct.header[keyword]
        for part in (measures, orientation, _position(plane)):
            one.update(part[0])
        return one

    return [image(plane, uid) for plane, uid in zip(ct.planes, uids, strict=True)]


def _name_frames(segmentation: hd.seg.Segmentation, planes: Mapping[str, SlicePlane]) -> None:
    """Name multi-frame images and the numbers of their frames, instead of the UIDs that the frames went in with."""
    if all(plane.frame is None for plane in planes.values()):
        return
    sources = [
        source
        for group in segmentation.PerFrameFunctionalGroupsSequence
        for derivation in group.get("DerivationImageSequence", [])
        for source in derivation.SourceImageSequence
    ]
    for source in {id(source): source for source in sources}.values():  # segments on one plane share its item
        plane = planes[source.ReferencedSOPInstanceUID]
        source.update(_reference(plane))
        if plane.frame is not None:
            source.ReferencedFrameNumber = plane.frame
    images = {plane.sop_instance_uid: plane for plane in planes.values()}
    segmentation.SourceImageSequence = [_reference(image) for image in images.values()]
    for series in segmentation.ReferencedSeriesSequence:
        series.ReferencedInstanceSequence = [_reference(image) for image in images.values()]


def _reference(image: SlicePlane) -> pydicom.Dataset:
    reference = pydicom.Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.sop_class_uid, image.sop_instance_uid
    return reference
