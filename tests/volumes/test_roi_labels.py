"""Names, types and colours of structures in DICOM objects."""

import pytest

from nasoseg.errors import NasosegError
from nasoseg.labels import OPENKBP, PAPER
from nasoseg.volumes.roi_labels import LONGEST_NAME, interpreted_type, roi_labels
from nasoseg.volumes.structure_set import Roi


def test_known_structures_have_tg263_names_and_their_colours():
    labels, remarks = roi_labels(structure.name for structure in OPENKBP)
    assert remarks == []
    assert [label.name for label in labels.values()] == [structure.tg263 for structure in OPENKBP]
    assert [label.colour for label in labels.values()] == [structure.colour for structure in OPENKBP]
    assert [label.number for label in labels.values()] == list(range(1, 11))
    assert [label.interpreted_type for label in labels.values()] == ["ORGAN"] * 7 + ["PTV"] * 3


def test_types():
    types = {structure.name: interpreted_type(structure.name) for structure in PAPER}
    assert {name: kind for name, kind in types.items() if kind != "ORGAN"} == {
        "locref": "MARKER",
        "CTV2": "CTV",
        "CTVnd": "CTV",
    }
    named = {
        "GTVp": "GTV",
        "External": "EXTERNAL",
        "BODY": "EXTERNAL",
        "Bone": "ORGAN",
        "Body_1": "EXTERNAL",
        "External Contour": "EXTERNAL",
        "BodyOutline2": "EXTERNAL",
        "Couch_1": "SUPPORT",
        "CouchSurface": "SUPPORT",
        "Bolus 5mm": "BOLUS",
        "Localization": "MARKER",
        "PTV_High": "PTV",
        "": "ORGAN",
    }
    assert {name: interpreted_type(name) for name in named} == named


@pytest.mark.parametrize(
    "name",
    [
        "External_Carotid_L",
        "ExternalJugularVein",
        "BodyOfMandible",
        "body_fat",
        "Body-PTV",
        "LocalizationNode",
        "A_Ext",
    ],
)
def test_an_organ_whose_name_begins_as_another_type_does(name):
    assert interpreted_type(name) == "ORGAN"


def test_unknown_structures_have_colours_of_their_own():
    labels, _ = roi_labels(["Foo", "Bar", "Baz", "Heart"])
    assert [label.name for label in labels.values()] == ["Foo", "Bar", "Baz", "Heart"]
    assert len({label.colour for label in labels.values()}) == 4


def test_names_that_dicom_cannot_hold_are_changed_and_said():
    names = ["x" * 70, "x" * 70 + "y", "a\\b\0c", "../etc/Größe 左", " padded "]
    labels, remarks = roi_labels(names)
    written = [label.name for label in labels.values()]
    assert written == ["x" * LONGEST_NAME, "x" * 60 + " (2)", "a_b_c", "../etc/Größe 左", "padded"]
    assert len(remarks) == 4
    assert remarks[2] == r"structure 'a\\b\x00c' is written as 'a_b_c'"
    assert max(map(len, written)) == LONGEST_NAME


def test_two_spellings_of_one_structure_stay_apart():
    labels, remarks = roi_labels(["Parotid_L", "LeftParotid"])
    assert [label.name for label in labels.values()] == ["Parotid_L", "LeftParotid"]
    assert remarks == []


def test_given_labels_are_taken_as_they_are():
    labels, _ = roi_labels(["Larynx", "Eye"], rois={"Eye": Roi("Auge", 9, "AVOIDANCE")})
    assert labels["Eye"].name == "Auge"
    assert labels["Eye"].number == 2
    assert labels["Eye"].interpreted_type == "AVOIDANCE"
    assert labels["Eye"].colour is not None


@pytest.mark.parametrize("name", ["", "  ", "\0\x07", "\\"])
def test_a_name_without_anything_to_print(name):
    with pytest.raises(NasosegError, match="expected a name with printable characters"):
        roi_labels([name])
