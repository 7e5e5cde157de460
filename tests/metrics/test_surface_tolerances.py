"""Tolerances of NSD: by any spelling, by side, by kind, and by choice."""

import pytest

from nasoseg.errors import NasosegError
from nasoseg.labels import OPENKBP, PAPER, names
from nasoseg.metrics.surface_tolerances import DEFAULT_TOLERANCE_MM, TARGET_TOLERANCE_MM, tolerances_mm


def test_every_spelling_of_a_structure_has_its_tolerance():
    assert tolerances_mm(["Parotid_L", "RightParotid", "parotid l", "Glnd_Submand_R", "Brain Stem"]) == [
        2.85,
        2.85,
        2.85,
        2.02,
        2.5,
    ]


def test_presets():
    target = TARGET_TOLERANCE_MM
    assert tolerances_mm(names(OPENKBP)) == [2.5, 2.93, 2.85, 2.85, DEFAULT_TOLERANCE_MM, 2.0, 1.01, *[target] * 3]
    assert tolerances_mm(names(PAPER)) == [
        DEFAULT_TOLERANCE_MM,
        *[target] * 2,
        *[1.01] * 2,
        *[2.85] * 2,
        2.5,
        2.93,
        *[1.65] * 2,
        *[2.5] * 3,
    ]


def test_unknown_structures_have_the_default():
    assert tolerances_mm(["Spleen", "GTVp", "Ptvx"]) == [DEFAULT_TOLERANCE_MM, TARGET_TOLERANCE_MM, TARGET_TOLERANCE_MM]


def test_chosen_tolerances_go_first():
    assert tolerances_mm(["Larynx", "LeftParotid"], {"Parotid_L": 1}) == [2.0, 1.0]
    assert tolerances_mm(["Larynx"], {"Larynx": 0}) == [0.0]


def test_wrong_choices_are_refused():
    with pytest.raises(NasosegError, match="'Larnyx' is none of the labels: did you mean 'Larynx'"):
        tolerances_mm(["Larynx"], {"Larnyx": 1.0})
    for value in (-1.0, float("nan"), float("inf")):
        with pytest.raises(NasosegError, match=r"found .* for 'Larynx', expected 0 or more millimetres"):
            tolerances_mm(["Larynx"], {"Larynx": value})
