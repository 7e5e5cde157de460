import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasoseg import labels
from nasoseg.errors import NasosegError, nearest
from nasoseg.labels import OPENKBP, PAPER, Structure

MIRRORED = [
    ("Parotid_L", "Parotid_R"),
    ("Parotid L", "Parotid R"),
    ("Parotid-L", "Parotid-R"),
    ("parotid_l", "parotid_r"),
    ("PAROTID_L", "PAROTID_R"),
    ("LeftParotid", "RightParotid"),
    ("Left Parotid", "Right Parotid"),
    ("left_parotid", "right_parotid"),
    ("LEFT PAROTID", "RIGHT PAROTID"),
    ("ParotidLeft", "ParotidRight"),
    ("L Parotid", "R Parotid"),
    ("parotid lt", "parotid rt"),
    ("Parotid Lt", "Parotid Rt"),
    ("PAROTID LT", "PAROTID RT"),
    ("OpticNrv_L", "OpticNrv_R"),
    ("Eyes L", "Eyes R"),
    ("Lens_L", "Lens_R"),
    ("LensL", "LensR"),
    ("EyeL_PRV", "EyeR_PRV"),
    ("LParotid", "RParotid"),
    ("LtParotid", "RtParotid"),
    ("ParotidLt", "ParotidRt"),
    ("Parotid.L", "Parotid.R"),
    ("parotid (l)", "parotid (r)"),
    ("Lt. Parotid", "Rt. Parotid"),
    ("Lobe_Temporal_L", "Lobe_Temporal_R"),
    ("Eye_L_PRV", "Eye_R_PRV"),
    ("Glnd_Submand_L", "Glnd_Submand_R"),
    ("L", "R"),
]
WITHOUT_SIDE = [
    "Larynx", "Brainstem", "Brain Stem", "SpinalCord", "PTV56", "PTV70", "PTV_5600", "CTVnd", "Mandible", "Lips",
    "Lens", "OpticChiasm", "Esophagus", "locref", "BrainLeftover", "Cleft", "Bright", "Cleft_Palate", "ALT", "Retina",
    "LR", "PTVL", "CTV_LN", "leftparot", "Lymph", "Node_LIIa", "Level2", "leftover", "Rtx", "ROI", "Lung", "Rectum", "",
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), MIRRORED)
def test_sided_names_mirror_to_each_other(left, right):
    assert labels.mirrored(left) == right
    assert labels.mirrored(right) == left


@pytest.mark.parametrize("name", WITHOUT_SIDE)
def test_names_without_a_side_mirror_to_themselves(name):
    assert labels.mirrored(name) == name


@pytest.mark.parametrize(("name", "other"), [
    ("leftparotid", "Parotid_R"),
    ("rparotid", "Parotid_L"),
    ("PAROTIDL", "Parotid_R"),
    ("LEFTEYE", "Eye_R"),
    ("opticnrvr", "OpticNrv_L"),
])  # fmt: skip
def test_known_structures_mirror_though_the_spelling_hides_the_side(name, other):
    assert labels.mirrored(name) == other
    assert labels.mirror_order([name, other]) == [1, 0]


@pytest.mark.parametrize("preset", [OPENKBP, PAPER], ids=["OPENKBP", "PAPER"])
def test_presets_name_distinct_structures_and_mirror(preset):
    names = labels.names(preset)
    assert len(set(names)) == len({labels.identity(name) for name in names}) == len(preset)
    assert len({s.colour for s in preset}) == len(preset)
    order = labels.mirror_order(names)
    assert [order[i] for i in order] == list(range(len(names)))  # twice mirrored is as it was
    sided = [(name, names[order[i]]) for i, name in enumerate(names) if order[i] != i]
    assert len(sided) == (2 if preset is OPENKBP else 8)
    for spelling in [spelling for s in preset for spelling in (s.name, s.tg263, *s.synonyms)]:
        assert labels.identity(labels.mirrored(labels.mirrored(spelling))) == labels.identity(spelling)


@pytest.mark.parametrize("preset", [OPENKBP, PAPER], ids=["OPENKBP", "PAPER"])
def test_every_spelling_of_a_structure_means_that_structure(preset):
    for structure in preset:
        for spelling in (structure.name, structure.tg263, *structure.synonyms):
            assert labels.identity(spelling) == labels.identity(structure.name)
            assert labels.identity(spelling.upper().replace(" ", "_")) == labels.identity(structure.name)


def test_presets_agree_about_what_they_share():
    """A split or store with OpenKBP's names can be read with the paper's."""
    assert labels.identity("RightParotid") == labels.identity("Parotid_R")
    shared = {labels.identity(s.name) for s in OPENKBP} & {labels.identity(s.name) for s in PAPER}
    assert shared == {labels.identity(name) for name in ("Brainstem", "SpinalCord", "Parotid_L", "Parotid_R")}


@settings(deadline=None)
@given(st.text(max_size=20))
def test_folding_is_stable_and_identity_follows_it(name):
    folded = labels.folded(name)
    assert labels.folded(folded) == folded
    assert labels.identity(name) == labels.identity(f" {name}_-\t") == labels.identity(folded)


@settings(deadline=None)
@given(st.text("LRlrefight _-Tpy", max_size=12))
def test_mirroring_twice_gives_the_name_back(name):
    other = labels.mirrored(name)
    words = name.replace("_", " ").replace("-", " ").split()
    marks = [
        match for spelling in (name, other) for mark, _ in labels._SIDE_PATTERNS for match in mark.findall(spelling)
    ]
    if len(words) <= 1 and len(marks) <= 2:  # with two marks, as in LLeL, it is not said which is the side's
        assert labels.mirrored(other) == name
    assert len(other) - len(name) in (-1, 0, 1)


def test_unknown_structures_keep_their_names():
    assert labels.identity("Cochlea_L") == "cochleal"
    assert labels.identity("Cochlea_L") != labels.identity("Cochlea_R")
    assert labels.structure("Cochlea_L") == Structure("Cochlea_L", "Cochlea_L")


def test_known_structures_keep_the_users_name_and_get_the_rest():
    found = labels.structure("left parotid")
    assert (found.name, found.tg263) == ("left parotid", "Parotid_L")
    assert found.colour == next(s.colour for s in OPENKBP if s.name == "LeftParotid")


def test_names_are_taken_from_text_and_structures():
    assert labels.names(["Cochlea", OPENKBP[0]]) == ["Cochlea", "Brainstem"]


@pytest.mark.parametrize(("given_labels", "message"), [
    ([], "labels: found an empty list, expected one structure name or more"),
    (["Larynx", "Larynx"], "'Larynx' is listed twice: remove one"),
    (["Brainstem", "Brain Stem"], "'Brain Stem' means the same as 'Brainstem'.*Rename one"),
    (["Parotid_L", "LeftParotid"], "'LeftParotid' means the same as 'Parotid_L'"),
    (["larynx", "Larynx"], "'Larynx' means the same as 'larynx'"),
    (["R\u00fcckenmark", "Ru\u0308ckenmark"], "means the same as"),  # looks alike: letter and accent apart
    ("Larynx", r"found the text 'Larynx', expected a list of structure names: \['Larynx'\]"),
])  # fmt: skip
def test_labels_that_name_one_thing_twice_are_refused(given_labels, message):
    with pytest.raises(NasosegError, match=message):
        labels.names(given_labels)


def test_two_spellings_are_named_with_their_places_and_the_remedy():
    with pytest.raises(NasosegError) as caught:
        labels.check_spellings(
            [("Cord", "a/Cord.nii.gz"), ("Eye", "a/Eye.nii.gz"), ("Spinal_Cord", "b/Spinal_Cord.nrrd")]
        )
    for part in ("b/Spinal_Cord.nrrd", "'Spinal_Cord'", "'Cord'", "a/Cord.nii.gz", "--rename 'Spinal_Cord=Cord'"):
        assert part in str(caught.value)
    labels.check_spellings([("Cord", "a"), ("Cord", "b")])


def test_positions_find_synonyms_in_the_wanted_order():
    available = labels.names(OPENKBP)
    assert labels.positions(["PTV_7000", "Parotid_R", "Brain Stem"], available, where="store.h5") == [9, 2, 0]
    with pytest.raises(NasosegError, match=r"store.h5 has no structure 'Mandibel': did you mean 'Mandible'\?"):
        labels.positions(["Brainstem", "Mandibel"], available, where="store.h5")


@pytest.mark.parametrize(("given_labels", "order"), [
    (["Parotid_L", "Larynx", "Parotid_R"], [2, 1, 0]),
    (["RightParotid", "Parotid_L"], [1, 0]),  # the partner may be spelled in another way
    (["Larynx"], [0]),
    (["L", "R"], [1, 0]),
])  # fmt: skip
def test_mirror_order_swaps_partners(given_labels, order):
    assert labels.mirror_order(given_labels) == order


def test_mirroring_without_a_partner_is_refused():
    with pytest.raises(NasosegError, match=r"'Eye_L' has no partner 'Eye_R' among the labels.*turn mirroring off"):
        labels.mirror_order(["Eye_L", "Larynx"])


def test_nearest_names_are_hinted():
    valid = ["Larynx", "Mandible", "LeftParotid", "RightParotid"]
    assert nearest("larinx", valid) == "did you mean 'Larynx'?"
    assert nearest("Parotid", valid) == "did you mean 'LeftParotid' or 'RightParotid'?"
    assert nearest("xyz", valid) == "valid: 'Larynx', 'Mandible', 'LeftParotid', 'RightParotid'"
    assert nearest("xyz", (f"{i}" for i in range(30))).endswith("'19', ...")
    assert nearest("anything", []) == "valid: "
