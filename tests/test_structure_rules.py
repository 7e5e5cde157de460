from pathlib import Path

import pytest

from nasoseg import labels
from nasoseg.errors import NasosegError
from nasoseg.sides import plain
from nasoseg.structure_file import read_structure_file
from nasoseg.structure_map import load_structure_map
from nasoseg.structure_rules import FileRules


@pytest.mark.parametrize(("text", "message"), [
    ("structures: {A: {synonyms: [Zunge]}, B: {synonyms: [zun_ge]}}", "'zun_ge' is claimed by 'A' and by 'B'"),
    ("structures: {A: {tg263: Tongue}, B: {synonyms: [tongue]}}", "'tongue' is claimed by 'A' and by 'B'"),
    ("structures: {A: {}, a_: {}}", "'a_' is claimed by 'A' and by 'a_'"),
    ("structures: {A: {}, B: {synonyms: [Bé]}, C: {synonyms: [be]}}", "'be' is claimed by 'B' and by 'C'"),
    ("pairs: {A: {synonyms: [Plexus]}, B: {synonyms: [plexus]}}", "'plexus L' is claimed by 'A_L' and by 'B_L'"),
    ("structures: {A: {synonyms: [x]}}\nnames: {X: ignore}", "'X' is claimed by 'A' and by 'ignore'"),
    ("structures: {A: , B: }\nnames: {x: A, X: B}", "'X' is claimed by 'A' and by 'B'"),
])  # fmt: skip
def test_a_spelling_of_two_structures_is_an_error_that_names_both(tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text("extends: nothing\n" + text)
    with pytest.raises(NasosegError, match=f"mine.yaml: {message}: expected one structure for each spelling"):
        load_structure_map(tmp_path / "mine.yaml")


def test_the_shipped_file_repeats_nothing_of_the_presets():
    """Labels are the one source of the presets' spellings; the file adds to them."""
    shipped = read_structure_file(Path(labels.__file__).with_name("structures.yaml"))
    preset = {plain(spelling) for s in (*labels.PAPER, *labels.OPENKBP) for spelling in (s.tg263, *s.synonyms)}
    added = [spelling for entry in shipped.entries for spelling in (*entry.synonyms, entry.tg263 or entry.name)]
    repeated = {spelling for spelling in added if plain(spelling) in preset}
    own_names = {entry.name for entry in shipped.entries} | {f"Bone_Mandible_{side}" for side in "LR"}
    assert repeated <= own_names


def test_rules_of_one_file_are_tried_in_order(tmp_path):
    (tmp_path / "mine.yaml").write_text(r"""
structures:
  A: {tg263: Tongue, synonyms: [zz_top], patterns: ['zz\w*', 'b\w*']}
  B: {patterns: ['bo+']}
ignore: ['zz*']
""")
    file = read_structure_file(tmp_path / "mine.yaml")
    rules = FileRules(file, {"A": "A", "B": "B"}, [])
    found = {name: rules.find(name) for name in ("A", "a", "tongue", "ZZ Top", "zz_ring", "bar", "boo", "other")}
    assert {name: claim and (claim.keys, claim.rule) for name, claim in found.items()} == {
        "A": (("A",), "exact"),
        "a": (("A",), "folded"),
        "tongue": (("A",), "tg263"),
        "ZZ Top": (("A",), "synonym"),
        "zz_ring": ((), "ignored"),  # before the pattern that would fit it
        "bar": (("A",), "pattern"),
        "boo": (("A", "B"), "pattern"),
        "other": None,
    }
