import random
import re

from nasoseg.inference.scan_names import Naming, names_apart


def naming(path: str, key: str = "", root: str = "in") -> Naming:
    place = tuple(path.split("/"))
    return Naming(place[-1], place if len(place) > 1 else (root, *place), key or path)


def test_a_name_of_its_own_is_kept():
    assert names_apart([naming("a/CT"), naming("b/MR"), naming("c")]) == ["CT", "MR", "c"]
    assert names_apart([]) == []


def test_one_name_is_told_apart_by_its_place():
    assert names_apart([naming("a/CT"), naming("b/x/ct"), naming("CT")]) == ["a_CT", "b_x_ct", "in_CT"]


def test_one_place_is_told_apart_by_a_checksum():
    found = names_apart([naming("a/CT", "1"), naming("A/CT", "2"), naming("b/CT", "1")])
    assert found[2] == "b_CT"
    assert re.fullmatch(r"a_CT_[0-9a-f]{8}", found[0])
    assert re.fullmatch(r"A_CT_[0-9a-f]{8}", found[1])
    again = names_apart([naming("b/CT", "1"), naming("A/CT", "3"), naming("a/CT", "1"), naming("A/CT", "2")])
    assert (again[2], again[3]) == (found[0], found[1])


def test_a_place_that_is_another_ones_name():
    scans = [naming("a/CT"), naming("b/CT"), naming("a_CT"), naming("a_CT/CT")]
    expected = dict(zip(scans, names_apart(scans), strict=True))
    assert len({name.casefold() for name in expected.values()}) == 4
    for seed in range(5):
        random.Random(seed).shuffle(scans)
        assert names_apart(scans) == [expected[scan] for scan in scans]


def test_names_are_safe_and_long_ones_stay_apart():
    found = names_apart([naming("x" * 200 + "/..", "1"), naming("x" * 200 + "/..", "2"), naming("a/..")])
    assert len(set(found)) == 3
    assert max(map(len, found)) < 140
    assert not any(name.startswith(".") for name in found)


def test_equal_checksums_are_numbered():
    assert names_apart([naming("a", "k"), naming("a", "k")])[1].endswith("_2")
