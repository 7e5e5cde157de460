from pathlib import Path

import pytest

from nasoseg.errors import NasosegError
from nasoseg.structure_file import SHIPPED, read_chain, read_structure_file


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str, name: str = "mine.yaml") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def test_a_file_is_read_whole(written):
    file = read_structure_file(
        written(r"""
extends: nothing
structures:
  Tongue: {tg263: Tongue_All, type: ORGAN, colour: [1, 2, 255], synonyms: [Zunge, Langue], patterns: ['zunge\w*']}
  Lips:
pairs:
  Plexus: {tg263: BrachialPlex, synonyms: [Plexus brachialis]}
names: {"weird \e[31m name": Tongue, "old": ignore, "later":}
ignore: ['zz*']
sets: {mine: [Tongue, Lips]}
""")
    )
    tongue, lips, left, right = file.entries
    assert (tongue.name, tongue.tg263, tongue.roi_type, tongue.colour) == ("Tongue", "Tongue_All", "ORGAN", (1, 2, 255))
    assert tongue.synonyms == ("Zunge", "Langue")
    assert tongue.patterns[0].fullmatch("ZUNGENGRUND")
    assert (lips.name, lips.tg263, lips.synonyms) == ("Lips", None, ())
    assert (left.name, left.tg263, left.side) == ("Plexus_L", "BrachialPlex_L", "L")
    assert (right.name, right.tg263, right.side) == ("Plexus_R", "BrachialPlex_R", "R")
    assert left.bases == ("Plexus", "BrachialPlex", "Plexus brachialis")
    assert file.names == {"weird \x1b[31m name": "Tongue", "old": "ignore", "later": None}
    assert (file.extends, file.ignore, file.sets) == ("nothing", ("zz*",), {"mine": ("Tongue", "Lips")})


def test_an_empty_file_adds_nothing(written):
    file = read_structure_file(written(""))
    assert (file.extends, file.entries, file.names, file.ignore) == ("shipped", (), {}, ())


def test_files_extend_each_other(written, tmp_path):
    written("extends: nothing", "base.yaml")
    (tmp_path / "sub").mkdir()
    top = written("extends: ../base.yaml", "sub/top.yaml")
    assert [file.path.name for file in read_chain(top)] == ["top.yaml", "base.yaml"]
    assert [file.path for file in read_chain(written("", "plain.yaml"))] == [tmp_path / "plain.yaml", SHIPPED]
    assert [file.path for file in read_chain(None)] == [SHIPPED]


def test_files_in_a_circle_are_refused(written):
    written("extends: two.yaml", "one.yaml")
    with pytest.raises(NasosegError, match=r"two.yaml: extends 'one.yaml', which extends this file"):
        read_chain(written("extends: one.yaml", "two.yaml").with_name("one.yaml"))


@pytest.mark.parametrize(("text", "message"), [
    ("a: [", "cannot be read as a structures file .*expected YAML with extends, structures"),
    ("[" * 500, "cannot be read as a structures file"),
    ("- a", r"found \['a'\], expected a mapping with extends"),
    ("structure: {}", "unknown key 'structure': did you mean 'structures'"),
    ("structures: {Eye: {synonym: [a]}}", "structures.Eye: unknown key 'synonym': did you mean 'synonyms'"),
    ("structures: {Eye: {}, Eye: {}}", "'Eye' stands there twice"),
    ("structures: {No: {}}", "structures.False: not usable as a structure's name.*in quotes"),
    ("structures: {'a/b': {}}", "not usable as a structure's name"),
    ("structures: {'..': {}}", "not usable as a structure's name"),
    ('structures: {"a\\e": {}}', r"structures.a\\x1b: not usable"),
    ("structures: {ignore: {}}", "not usable as a structure's name"),
    ("structures: {'': {}}", "not usable as a structure's name"),
    (f"structures: {{{'a' * 65}: {{}}}}", "not usable as a structure's name"),
    ("structures: {Eye: {tg263: 7}}", "tg263: found 7, expected a text"),
    ("structures: {Eye: {type: ORGANS}}", "type: found 'ORGANS': did you mean 'ORGAN'"),
    ("structures: {Eye: {colour: [1, 2]}}", r"colour: found \[1, 2\], expected three whole numbers"),
    ("structures: {Eye: {colour: [1, 2, true]}}", "colour: found"),
    ("structures: {Eye: {colour: [1, 2, 256]}}", "colour: found"),
    ("structures: {Eye: {synonyms: Auge}}", "synonyms: found 'Auge', expected a list of texts"),
    ("structures: {Eye: {synonyms: [70]}}", "synonyms: found 70, expected a list of texts, in quotes"),
    ("structures: {Eye: {synonyms: ['']}}", "synonyms: found '', expected"),
    ("structures: {Eye: {patterns: ['(']}}", "structures.Eye.patterns: '\\(' cannot be used"),
    ("structures: {Eye: {patterns: ['(a+)+']}}", "structures.Eye.patterns: .* repeats a group"),
    ("pairs: {Eye: {patterns: [eye]}}", "pairs.Eye.patterns: a pair has none.*Eye_L and Eye_R"),
    ("names: {70: Eye}", "names: 70: found 'Eye'"),
    ("names: {a: [Eye]}", "names: 'a': found"),
    ("names: [a]", "names: found"),
    ("extends: 3", "extends: found 3, expected `shipped`"),
    ("ignore: zz*", "ignore: found 'zz\\*', expected a list"),
    ("sets: {a: b}", "sets.a: found 'b', expected a list"),
    ("a: &a [x, x]\nb: &b [*a, *a]\nignore: [*b]", "unknown key 'a'"),
    ("ignore: &a [*a]", "unfolds to more than 100000 values, expected a structures file"),
    ("!!python/object:os.system {}", "cannot be read as a structures file"),
])  # fmt: skip
def test_wrong_files_are_refused_with_place_and_remedy(written, text, message):
    with pytest.raises(NasosegError, match=f"mine.yaml.*{message}"):
        read_structure_file(written(text))


def test_files_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(NasosegError, match=r"none.yaml: cannot be read .*No such file"):
        read_structure_file(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NasosegError, match=r"binary.yaml: cannot be read"):
        read_structure_file(tmp_path / "binary.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(NasosegError, match=r"large.yaml: 2097152 bytes, expected a structures file of at most"):
        read_structure_file(tmp_path / "large.yaml")
