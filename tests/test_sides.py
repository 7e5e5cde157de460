import math

import pytest

from nasoseg.sides import (
    estimated_midline_x_mm,
    laterality_conflicts,
    plain,
    sided_forms,
    sides_named,
)


@pytest.mark.parametrize(("name", "folded"), [
    ("Nerf optique D.", "nerfoptiqued"),
    ("NERF_OPTIQUE-D *", "nerfoptiqued"),
    ("Œil", "oeil"),
    ("Ohrspeicheldrüse", "ohrspeicheldruse"),
    ("PTV_70.5", "ptv70.5"),
    ("***", ""),
])  # fmt: skip
def test_names_fold(name, folded):
    assert plain(name) == folded


@pytest.mark.parametrize(("name", "side", "rest"), [
    ("Parotid_L", "L", "parotid"),
    ("Parotis li.", "L", "parotis"),
    ("parotis_re", "R", "parotis"),
    ("Lt Optic Nerve", "L", "opticnerve"),
    ("LeftParotid", "L", "parotid"),
    ("LParotid", "L", "parotid"),
    ("ParotidR", "R", "parotid"),
    ("Linse rechts", "R", "linse"),
    ("OEIL DRT", "R", "oeil"),
    ("Nerf optique gauche", "L", "nerfoptique"),
    ("Parotide dx", "R", "parotide"),
    ("parotida izq", "L", "parotida"),
    ("Optic L Nerve", "L", "opticnerve"),
    ("TMjoint_L", "L", "tmjoint"),
])  # fmt: skip
def test_a_word_gives_the_side(name, side, rest):
    assert sided_forms(name) == [(side, rest)]
    assert sides_named(name) == {side}


@pytest.mark.parametrize(("name", "form"), [
    ("parotidl", ("L", "parotid")),
    ("LENSLT", ("L", "lens")),
    ("rechtsauge", ("R", "auge")),
    ("左腮腺", ("L", "腮腺")),
    ("腮腺右", ("R", "腮腺")),
])  # fmt: skip
def test_a_glued_side_is_one_reading(name, form):
    assert form in sided_forms(name)
    assert sides_named(name) == set()


@pytest.mark.parametrize("name", ["Parotid_L_re", "L R", "L", "", "Brain"])
def test_names_of_no_or_both_sides_have_no_reading(name):
    assert sided_forms(name) == []


# Worked by hand: the midline at x = 2 mm, the patient's left at larger x.
RIGHT_WAY = {
    "Parotid_L": (52.0, 0.0, 0.0),
    "Parotid_R": (-48.0, 0.0, 0.0),
    "LeftEye": (34.0, -60.0, 40.0),
    "RightEye": (-30.0, -60.0, 40.0),
    "SpinalCord": (2.0, 40.0, -30.0),
    "PTV70": (-20.0, 0.0, 0.0),
}


def test_the_midline_is_the_median_of_pairs_and_midline_structures():
    assert estimated_midline_x_mm(RIGHT_WAY) == 2.0
    assert estimated_midline_x_mm({"SpinalCord": (7.0, 0, 0)}) == 7.0
    assert estimated_midline_x_mm({"Parotid_L": (52.0, 0, 0), "PTV70": (3, 0, 0)}) is None
    assert estimated_midline_x_mm({}) is None


def test_structures_on_their_side_are_not_reported():
    assert laterality_conflicts(RIGHT_WAY) == []
    assert laterality_conflicts(RIGHT_WAY, 0.0) == []


def test_a_swapped_pair_is_one_line():
    swapped = RIGHT_WAY | {"Parotid_L": (-48.0, 0, 0), "Parotid_R": (52.0, 0, 0)}
    (line,) = laterality_conflicts(swapped)
    assert line.startswith(
        "Parotid_L and Parotid_R look swapped: Parotid_L lies 50 mm to the patient's right of the midline, Parotid_R"
        " 50 mm to the left"
    )


def test_a_mirrored_patient_is_reported_pair_by_pair():
    mirrored = {name: (4.0 - x, y, z) for name, (x, y, z) in RIGHT_WAY.items()}
    assert [line.split(" look")[0] for line in laterality_conflicts(mirrored)] == [
        "Parotid_L and Parotid_R",
        "LeftEye and RightEye",
    ]


def test_one_structure_on_the_wrong_side_is_reported_alone():
    (line,) = laterality_conflicts(RIGHT_WAY | {"Cochlea_R": (32.0, 0, 0)})
    assert line.startswith("Cochlea_R lies 30 mm to the patient's left of the midline, expected on the right")


def test_small_distances_are_tolerated():
    near = {"OpticNrv_L": (-2.9, 0, 0)}
    assert laterality_conflicts(near, 2.0) == []
    assert len(laterality_conflicts({"OpticNrv_L": (-3.1, 0, 0)}, 2.0)) == 1
    assert len(laterality_conflicts(near, 2.0, tolerance_mm=0)) == 1


def test_a_side_that_the_spelling_hides_is_seen():
    assert len(laterality_conflicts({"leftparotid": (-50.0, 0, 0)}, 0.0)) == 1


def test_doubtful_words_need_a_partner():
    assert laterality_conflicts({"Plan re": (50.0, 0, 0)}, 0.0) == []
    (line,) = laterality_conflicts({"Plexus re": (50.0, 0, 0), "Plexus li": (-50.0, 0, 0)}, 0.0)
    assert "Plexus re and Plexus li look swapped" in line


def test_empty_structures_and_no_midline_give_no_judgement():
    assert laterality_conflicts({"Parotid_L": (math.nan,) * 3, "SpinalCord": (0.0, 0, 0)}) == []
    assert laterality_conflicts({"Parotid_L": (-50.0, 0, 0)}) == []
    assert laterality_conflicts({}, 0.0) == []
