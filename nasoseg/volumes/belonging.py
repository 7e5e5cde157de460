"""Whether contours or segments were drawn on this CT: by patient, frame of reference and images."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from nasoseg.errors import NasosegError
from nasoseg.volumes.ct_series import CtSeries


@dataclass(frozen=True)
class Reference:
    """Say what a file tells of the images that it was drawn on; empty where it tells nothing.

    Attributes:
        patient_id: The patient.
        frames_of_reference: UIDs of the coordinate systems, from any place in the file.
        series: UIDs of the image series.
        images: UIDs of the images.
    """

    patient_id: str
    frames_of_reference: frozenset[str]
    series: frozenset[str]
    images: frozenset[str]


def check_belonging(
    path: str | os.PathLike[str],
    reference: Reference,
    ct: CtSeries,
    *,
    trust_images: bool = False,
    places_fit: Callable[[], bool],
) -> list[str]:
    """Check that a file belongs to a CT.

    The patient must be the same where both say who it is. Then the frame of reference decides. Where one of the two
    has none, the series or images decide that the file names; where it names none either, its places must fit.

    Args:
        path: The file, for the error text.
        reference: What the file says.
        ct: The CT.
        trust_images: Accept another frame of reference where every image that the file names is a slice of this CT.
        places_fit: Tells whether contours or frames lie on the slices; asked only where nothing else can decide.

    Returns:
        Remarks; none where everything agrees.

    Raises:
        NasosegError: If the file belongs to another patient or to other images, or if nothing shows that it does not.
    """
    patient = str(ct.header.get("PatientID") or "").strip()
    if reference.patient_id and patient and reference.patient_id != patient:
        raise NasosegError(
            f"{path}: belongs to another patient than the CT: found two PatientIDs, expected one. Give the file that"
            " was drawn on this CT"
        )
    own_images = {plane.sop_instance_uid for plane in ct.planes}
    named_here = bool(reference.images & own_images) or ct.series_instance_uid in reference.series
    names_any = bool(reference.images or reference.series)
    if reference.frames_of_reference and ct.frame_of_reference_uid:
        if ct.frame_of_reference_uid in reference.frames_of_reference:
            if names_any and not named_here:
                return ["the images that it names are not those of the CT: placed by position in the same frame"]
            return []
        found = ", ".join(sorted(reference.frames_of_reference))
        wrong = f"{path}: drawn in frame of reference {found}, the CT has {ct.frame_of_reference_uid}"
        if not (reference.images and reference.images <= own_images):
            raise NasosegError(f"{wrong}: expected the same. Give the file that was drawn on this CT")
        if not trust_images:
            raise NasosegError(
                f"{wrong}: expected the same. All {len(reference.images)} images that it names are slices of this CT,"
                " so that the frame may be a fault of the writer: look at the contours, then pass trust_images=True"
            )
        return [f"its frame of reference is {found}, not the CT's: accepted because it names this CT's images"]
    lacking = "the file" if not reference.frames_of_reference else "the CT"
    if names_any:
        if named_here:
            return [f"{lacking} has no frame of reference: accepted because the file names this CT's series or images"]
        raise NasosegError(
            f"{path}: {lacking} has no frame of reference, and the file names other images than the CT's series"
            f" {ct.series_instance_uid}: expected one of the two to agree. Give the file that was drawn on this CT"
        )
    if not places_fit():
        raise NasosegError(
            f"{path}: {lacking} has no frame of reference, the file names no images, and it does not lie on the CT's"
            " slices: nothing shows that it belongs to this CT. Export it again with its references"
        )
    return [f"{lacking} has no frame of reference and the file names no images: accepted by its position alone"]
