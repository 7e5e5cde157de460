"""What structures are in coded terms: SNOMED CT where it has them, else a private scheme."""

import hashlib
from dataclasses import dataclass

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from nasoseg.labels import identity, structure
from nasoseg.volumes.patient_study import short_text

PRIVATE_SCHEME = "99NASOSEG"
"""Designator of the private scheme: PS3.16 section 8 leaves those that begin with 99 to everybody."""

# Keys are folded TG-263 names without the side. The codes are those of pydicom's copy of PS3.16.
_ORGANS = {
    "bonemandible": codes.SCT.Mandible,
    "brachialplex": codes.SCT.BrachialPlexus,
    "brain": codes.SCT.Brain,
    "brainstem": codes.SCT.BrainStem,
    "cavityoral": codes.SCT.OralCavity,
    "esophagus": codes.SCT.Esophagus,
    "eye": codes.SCT.Eye,
    "glndsubmand": codes.SCT.SubmandibularGland,
    "glndthyroid": codes.SCT.Thyroid,
    "heart": codes.SCT.Heart,
    "jointtm": codes.SCT.TemporomandibularJoint,
    "larynx": codes.SCT.Larynx,
    "lens": codes.SCT.CrystallineLens,
    "lips": codes.SCT.Lip,
    "lobetemporal": codes.SCT.TemporalLobe,
    "lung": codes.SCT.Lung,
    "opticchiasm": codes.SCT.OpticChiasm,
    "opticnrv": codes.SCT.OpticNerve,
    "parotid": codes.SCT.ParotidGland,
    "pituitary": codes.SCT.Pituitary,
    "spinalcord": codes.SCT.SpinalCord,
    "trachea": codes.SCT.Trachea,
}
_TARGETS = {
    "gtv": codes.SCT.GrossTumorVolume,
    "ctv": codes.SCT.ClinicalTargetVolume,
    "ptv": codes.SCT.PlanningTargetVolume,
}
_SIDES = {"l": codes.SCT.Left, "r": codes.SCT.Right}


@dataclass(frozen=True)
class Coded:
    """Name a structure in codes.

    Attributes:
        category: What kind of thing it is.
        kind: What it is.
        side: Left or right, None where it has no side or the code does not need one.
    """

    category: Code
    kind: Code
    side: Code | None = None


def coded(name: str) -> Coded:
    """Return the codes of a structure, by what its name means.

    A structure that SNOMED CT is not known to have gets a code of the scheme ``99NASOSEG``: its folded TG-263 name, or
    a hash of it where that is no code value (at most 16 letters and digits); the same for the same name always.
    """
    key = identity(name)
    if key in _ORGANS:
        return Coded(codes.cid7150.AnatomicalStructure, _ORGANS[key])
    if key[:-1] in _ORGANS and key[-1:] in _SIDES:
        return Coded(codes.cid7150.AnatomicalStructure, _ORGANS[key[:-1]], _SIDES[key[-1]])
    if key[:3] in _TARGETS:
        return Coded(codes.cid7150.SpatialAndRelationalConcept, _TARGETS[key[:3]])
    fits = key.isascii() and key.isalnum() and len(key) <= 16
    value = key if fits else hashlib.sha256(key.encode()).hexdigest()[:16]
    meaning = short_text(structure(name).tg263, 64) or value
    return Coded(codes.cid7150.AnatomicalStructure, Code(value, PRIVATE_SCHEME, meaning))
