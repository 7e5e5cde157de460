from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import nasoseg
from nasoseg import labels
from nasoseg.errors import NasosegError
from nasoseg.structure_file import ROI_TYPES
from nasoseg.structure_map import StructureMap, load_structure_map


@pytest.fixture(scope="module")
def shipped() -> StructureMap:
    return load_structure_map()


@pytest.fixture
def mine(tmp_path: Path):
    def load(text: str) -> StructureMap:
        (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
        return load_structure_map(tmp_path / "mine.yaml")

    return load


def meaning(structure_map: StructureMap, name: str) -> tuple[str | None, str]:
    match = structure_map.match(name)
    return match.structure and match.structure.name, match.rule


@pytest.mark.parametrize(("name", "structure", "rule"), [
    ("Parotid_L", "Parotid_L", "exact"),
    ("parotid l", "Parotid_L", "folded"),
    ("PAROTID-L", "Parotid_L", "folded"),
    ("Bone_Mandible", "Mandible", "tg263"),
    ("PTV 7000", "PTV70", "tg263"),
    ("GTVn", "GTVnd", "tg263"),
    ("LeftParotid", "Parotid_L", "synonym"),
    ("Brain Stem", "Brainstem", "folded"),
    ("Hirnstamm", "Brainstem", "synonym"),
    ("tronc cerebral", "Brainstem", "synonym"),
    ("Tronc Cérébral", "Brainstem", "synonym"),
    ("Myelon", "SpinalCord", "synonym"),
    ("SpinalCord~", "SpinalCord", "synonym"),
    ("脑干", "Brainstem", "synonym"),
    ("Parotis li", "Parotid_L", "laterality"),
    ("Parotis_re", "Parotid_R", "laterality"),
    ("Auge li.", "Eye_L", "laterality"),
    ("Sehnerv re.", "OpticNrv_R", "laterality"),
    ("Lt Parotid", "Parotid_L", "laterality"),
    ("L Lens", "Lens_L", "laterality"),
    ("lensl", "Lens_L", "folded"),
    ("linker Sehnerv", "OpticNrv_L", "laterality"),
    ("OEIL DRT", "Eye_R", "laterality"),
    ("Nerf optique gauche", "OpticNrv_L", "laterality"),
    ("Parotide dx", "Parotid_R", "laterality"),
    ("Parótida izq", "Parotid_L", "laterality"),
    ("Oog links", "Eye_L", "laterality"),
    ("左腮腺", "Parotid_L", "laterality"),
    ("Unterkiefer", "Mandible", "synonym"),
    ("Unterkiefer li", "Mandible_L", "laterality"),
    ("submandibularR", "Glnd_Submand_R", "laterality"),
    ("PTV 70 Gy", "PTV70", "pattern"),
    ("ptv-56.0Gy", "PTV56", "pattern"),
    ("PTV6300cGy", "PTV63", "pattern"),
])  # fmt: skip
def test_clinics_spellings_mean_their_structures(shipped, name, structure, rule):
    assert meaning(shipped, name) == (structure, rule)


@pytest.mark.parametrize("name", [
    "zz_ring", "z_Parotid_L", "opt_PTV", "PTV70_opt", "Ring 56", "CouchSurface", "Dose 95[%]", "isodose 50",
    "Brainstem_PRV03", "Parotid_L-PTV", "BODY", "External", "avoid post", "Isocenter 1",
])  # fmt: skip
def test_helpers_are_ignored(shipped, name):
    assert meaning(shipped, name) == (None, "ignored")


@pytest.mark.parametrize(("name", "note"), [
    ("Heart", ""), ("Parotid", "names no side"), ("Parotid_L_re", "names both sides"), ("Parotids", ""),
    ("PTV70+PTV63", ""), ("PTV700", ""), ("Parotid_L_NOS", ""), ("Lobe_Temporal~_L", ""), ("Esophagus_S", ""), ("", ""),
    ("Ringknorpel", ""), ("SpinalCanal", ""), ("\x1b[31mred", ""), ("x" * 65, "too long for patterns"),
])  # fmt: skip
def test_other_names_stay_unknown(shipped, name, note):
    match = shipped.match(name)
    assert (match.structure, match.rule, match.note) == (None, "unknown", note)


def test_names_longer_than_dicom_allows_are_not_tried_with_patterns(mine):
    structure_map = mine("structures: {Long: {patterns: ['x+']}}\nignore: [y*]\nnames: {" + "x" * 70 + ": Long}")
    assert meaning(structure_map, "x" * 64) == ("Long", "pattern")
    assert meaning(structure_map, "x" * 65) == (None, "unknown")
    assert meaning(structure_map, "x" * 70) == ("Long", "synonym")
    assert [meaning(structure_map, "y" * length)[1] for length in (64, 65)] == ["ignored", "unknown"]


def test_the_type_of_a_point_lets_an_unknown_name_be_ignored(shipped):
    assert shipped.match("I1", roi_type="MARKER").rule == "ignored"
    assert shipped.match("I1", roi_type="ORGAN").rule == "unknown"
    assert shipped.match("Larynx", roi_type="MARKER").structure.name == "Larynx"


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_decided(name):
    match = SHIPPED_MAP.match(name)
    assert (match.structure is None) == (match.rule in ("ignored", "unknown", "conflict"))


SHIPPED_MAP = load_structure_map()


def test_the_shipped_map_has_the_three_sets(shipped):
    assert [s.name for s in shipped.structures("paper")] == labels.names(labels.PAPER)
    assert [s.name for s in shipped.structures("openkbp")] == labels.names(labels.OPENKBP)
    segrap = shipped.structures("segrap2023")
    assert len(segrap) == len({s.tg263 for s in segrap}) == 45
    assert [s.roi_type for s in shipped.structures("segrap2023_gtv")] == ["GTV", "GTV"]


@pytest.mark.parametrize("preset", [labels.PAPER, labels.OPENKBP], ids=["PAPER", "OPENKBP"])
def test_presets_keep_their_names_and_colours(shipped, preset):
    for structure in preset:
        found = shipped.structures([structure.name])[0]
        assert (found.name, found.tg263, found.colour) == (structure.name, structure.tg263, structure.colour)
        for spelling in (structure.tg263, *structure.synonyms):
            assert shipped.match(spelling).structure.tg263 == structure.tg263


def test_sets_mean_the_published_structures(shipped):
    segrap = {s.name: s.tg263 for s in shipped.structures("segrap2023")}
    assert segrap["TMjoint_L"] == "Joint_TM_L"
    assert segrap["BrainStem"] == "Brainstem"
    assert segrap["Larynx_Glottic"] == "Glottis"
    assert segrap["OpticNerve_R"] == "OpticNrv_R"
    assert segrap["IAC_L"] == "IAC_L"  # TG-263 has no name


def test_every_structure_has_a_type_a_colour_of_its_own_and_a_partner(shipped):
    structures = shipped.structures()
    assert {s.roi_type for s in structures} <= set(ROI_TYPES)
    preset = {s.colour for s in (*labels.PAPER, *labels.OPENKBP)}
    colours = [s.colour for s in structures if s.colour not in preset]
    assert len(set(colours)) == len(colours) > 25
    names = {s.name for s in structures}
    for name in names:
        assert labels.mirrored(name) in names


def test_the_shipped_file_is_in_the_package():
    assert (Path(nasoseg.__file__).parent / "structures.yaml").is_file()


def test_taking_some_structures_leaves_the_others_unwanted(shipped):
    taken = shipped.take(["LeftParotid", "Chiasm"])
    assert meaning(taken, "Parotis li") == ("LeftParotid", "laterality")
    assert meaning(taken, "Parotid_L") == ("LeftParotid", "exact")
    assert meaning(taken, "OpticChiasm") == ("Chiasm", "exact")
    assert taken.match("Larynx").rule == "unwanted"
    assert taken.match("Larynx").note == "Larynx was not asked for"
    assert meaning(shipped.take("openkbp"), "Parotis re") == ("RightParotid", "laterality")


@pytest.mark.parametrize(("wanted", "message"), [
    (["Mandibel"], "'Mandibel' is not in the structures file: did you mean 'Mandible'"),
    (["Lobe_Temporal_L", "TemporalLobe_L"], "'TemporalLobe_L' means the same as 'Lobe_Temporal_L': remove one"),
    (["Larynx", "Larynx"], "listed twice"),
    ([], "empty list"),
    ("segrap", "no set is called 'segrap': did you mean 'segrap2023"),
    (["Heart"], "'Heart' is not in the structures file"),
])  # fmt: skip
def test_wrong_wishes_are_refused(shipped, wanted, message):
    with pytest.raises(NasosegError, match=message):
        shipped.structures(wanted)


def test_one_structure_goes_to_the_plainest_of_several_names(shipped):
    names = ["Myelon", "SpinalCord", "Heart", "Auge li"]
    matches = shipped.assign(names)
    assert [m.rule for m in matches] == ["duplicate", "exact", "unknown", "laterality"]
    assert matches[0].structure is None
    assert matches[0].note == "SpinalCord is 'SpinalCord' (exact)"


@pytest.mark.parametrize("names", [["Myelon", "Moelle"], ["Larynx", "Larynx"]])
def test_two_names_of_one_structure_by_one_rule_are_a_conflict(shipped, names):
    matches = shipped.assign([*names, "Brain"])
    assert [(m.structure, m.rule) for m in matches[:2]] == [(None, "conflict")] * 2
    assert f"{names[0]!r} and {names[1]!r} all mean" in matches[0].note
    assert matches[2].structure.name == "Brain"


def test_a_name_that_two_patterns_claim_is_a_conflict_that_names_both(mine):
    match = mine(r"structures: {Tongue: {patterns: ['to\w*']}, Tonsil: {patterns: ['ton\w*']}}").match("Tonne")
    assert (match.structure, match.rule) == (None, "conflict")
    assert match.note == r"claimed by 'Tongue' and 'Tonsil' (pattern: to\w* and ton\w*): correct the structures file"


def test_a_users_file_decides_first_and_the_shipped_one_the_rest(mine):
    structure_map = mine(r"""
structures:
  LeftParotid: {synonyms: [GlParL], colour: [9, 9, 9]}
  Heart: {tg263: Heart, synonyms: [Herz]}
  Lid: {patterns: ['(?:lower|upper) lid.*']}
pairs:
  Plexus: {tg263: BrachialPlex, synonyms: [Plexus brachialis]}
names:
  "weird name": Cochlea_R
  Trachea: ignore
  later:
ignore: ['test*', Hypophyse]
""")
    for name, structure, rule in (
        ("GlParL", "LeftParotid", "synonym"),
        ("Parotis li", "LeftParotid", "laterality"),
        ("Parotid_L", "LeftParotid", "exact"),
        ("Parotid_R", "Parotid_R", "exact"),
        ("herz", "Heart", "synonym"),
        ("Upper Lid new", "Lid", "pattern"),
        ("Plexus brachialis re", "Plexus_R", "laterality"),
        ("L_BrachialPlex", "Plexus_L", "laterality"),
        ("Weird-Name", "Cochlea_R", "synonym"),
        ("trachea", None, "ignored"),
        ("Luftröhre", "Trachea", "synonym"),
        ("later", None, "unknown"),
        ("Testis", None, "ignored"),
        ("hypophyse", None, "ignored"),
        ("Pituitary", "Pituitary", "exact"),
        ("z_ring", None, "ignored"),
    ):
        assert meaning(structure_map, name) == (structure, rule), name
    left, right = structure_map.structures(["LeftParotid", "Parotid_R"])
    assert (left.tg263, left.colour) == ("Parotid_L", (9, 9, 9))
    assert (right.tg263, right.colour) == ("Parotid_R", (213, 94, 0))
    assert [s.tg263 for s in structure_map.structures(["Plexus_L", "Heart"])] == ["BrachialPlex_L", "Heart"]


def test_a_name_that_is_a_synonym_elsewhere_may_be_a_structure_of_its_own(mine):
    structure_map = mine("structures: {Constrictor: {tg263: Musc_Constrict_S}}")
    assert meaning(structure_map, "Constrictor") == ("Constrictor", "exact")
    assert meaning(structure_map, "PharynxConst") == ("Musc_Constrict", "synonym")
    same = mine("structures: {Constrictor: {tg263: Musc_Constrict}}")
    assert meaning(same, "PharynxConst") == ("Constrictor", "synonym")
    by_tg263 = mine("structures: {Strott: {tg263: Larynx}}")
    assert meaning(by_tg263, "Kehlkopf") == ("Strott", "synonym")


def test_a_file_may_start_from_nothing(mine):
    structure_map = mine("extends: nothing\nstructures: {Parotid_L: }")
    assert meaning(structure_map, "Parotid_L") == ("Parotid_L", "exact")
    assert meaning(structure_map, "LeftParotid") == (None, "unknown")
    assert structure_map.structures()[0].colour == (230, 159, 0)  # of the preset


@pytest.mark.parametrize(("text", "message"), [
    ("structures: {Parotid_L: , LeftParotid: }", "'Parotid_L' and 'LeftParotid' are one structure: .* join them"),
    ("names: {x: Larinx}", "names: 'x': no structure 'Larinx': did you mean 'Larynx'"),
])  # fmt: skip
def test_contradictions_with_the_shipped_file_are_refused(mine, text, message):
    with pytest.raises(NasosegError, match=f"mine.yaml: {message}"):
        mine(text)


def test_a_hostile_name_cannot_hang_the_shipped_patterns(shipped):
    for name in ("a" * 10**5, "ptv" + " " * 61, "p" * 64, "L" * 64, "_" * 10**5, "l_r " * 1000, "\n" * 1000):
        assert shipped.match(name).structure is None, name[:9]


def test_names_of_the_sample_are_known(shipped, sample_root):
    names = {path.name.removesuffix(".nii.gz") for path in sample_root.glob("*/segmentations/*.nii.gz")}
    assert names
    assert all(shipped.match(name).structure for name in names)


def test_the_shipped_yaml_parses_with_a_plain_reader():
    given = yaml.safe_load((Path(nasoseg.__file__).parent / "structures.yaml").read_text(encoding="utf-8"))
    assert set(given) == {"structures", "pairs", "ignore", "sets"}
