import argparse
import json
import re
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasoseg.cli import split as split_command
from nasoseg.data.splits import PARTS, Split, make_split
from nasoseg.data.store import Patient, Store, write_store
from nasoseg.data.stratification import deal
from nasoseg.errors import NasosegError
from nasoseg.labels import OPENKBP, Structure
from nasoseg.volumes.volume import Geometry


def write_tiny(path, patterns, depths, keys=None, empty=()):
    """Write a store of patients of a few slices of 8 x 8; ``patterns`` (patients, k) says what is annotated.

    In the patients with the numbers ``empty`` it is annotated, but nothing is drawn.
    """
    patients = []
    for number, (pattern, depth) in enumerate(zip(patterns, depths, strict=True)):
        labels = np.full((depth, 8, 8), sum(1 << bit for bit, drawn in enumerate(pattern) if drawn), "<u2")
        labels[...] *= number not in empty
        grid = Geometry(labels.shape, np.eye(4))
        image = np.zeros(labels.shape, np.int16)
        patients.append(
            Patient(
                keys[number] if keys else f"p{number:02}", image, labels, np.array(pattern, bool), grid.affine_lps, grid
            )
        )
    structures = [Structure(f"s{bit}", f"s{bit}") for bit in range(len(patterns[0]))]
    write_store(path, patients, structures)
    return Store(path)


def test_scans_of_one_patient_are_dealt_together(tmp_path):
    people = [f"P{number:010x}" for number in range(6)]
    keys = [*people[:4], *(f"{person}-{scan:06x}" for person in people[4:] for scan in range(3)), "P1-2", "P1-3"]
    store = write_tiny(tmp_path / "store.h5", [[True]] * len(keys), [1] * len(keys), sorted(keys))
    for seed in range(5):
        for fold in make_split(store, folds=4, seed=seed).folds:
            sides = [{key[:11] for key in getattr(fold, part)} for part in PARTS]
            assert all(sides)
            assert sum(map(len, sides)) == len(set().union(*sides)) == 8  # P1-2 and P1-3 are no pseudonyms
    path = tmp_path / "split.json"
    make_split(store, folds=4).save(path)
    document = json.loads(path.read_text())
    fold = document["folds"][0]
    (side,) = [part for part in PARTS if f"{people[4]}-000000" in fold[part]]
    other = "train" if side != "train" else "test"
    fold[side].remove(f"{people[4]}-000000")
    fold[other].append(f"{people[4]}-000000")
    path.write_text(json.dumps(document))
    with pytest.raises(NasosegError, match=r"found fold 0: scans of one patient, .* expected all scans of a patient"):
        Split.load(path)
    with pytest.raises(NasosegError, match="has 8 patients"):
        make_split(store, folds=9)


@st.composite
def annotation(draw):
    patients, structures = draw(st.integers(6, 20)), draw(st.integers(1, 4))
    rates = draw(st.lists(st.sampled_from([0.1, 0.3, 0.6, 1.0]), min_size=structures, max_size=structures))
    random = np.random.RandomState(draw(st.integers(0, 2**31)))
    patterns = random.rand(patients, structures) < np.array(rates)
    return patterns.tolist(), random.randint(1, 4, patients).tolist()


@settings(deadline=None, max_examples=20)
@given(annotation(), st.integers(2, 5), st.integers(0, 2**32 - 1), st.sampled_from(["clean", "paper"]))
def test_every_slice_is_tested_once_and_no_patient_leaks(tmp_path_factory, drawn, folds, seed, protocol):
    folder = tmp_path_factory.mktemp("split")
    store = write_tiny(folder / "store.h5", *drawn)
    split = make_split(store, folds=folds, protocol=protocol, seed=seed)
    everything = sorted((key, z) for key in store.keys for z in range(len(store.voxels[key])))

    tested = []
    for fold in range(folds):
        members = {
            part: [(key, z) for key, slices in split.part(fold, part).items() for z in slices.tolist()]
            for part in PARTS
        }
        tested += members["test"]
        if protocol == "clean":
            sides = [set(split.part(fold, part)) for part in PARTS]
            assert all(sides)
            assert sum(map(len, sides)) == len(set().union(*sides)) == len(store.keys)
            assert sorted(member for part in members.values() for member in part) == everything
        else:
            assert members["validation"] == members["test"]
            assert sorted(members["train"] + members["test"]) == everything
    assert sorted(tested) == everything

    split.save(folder / "split.json")
    loaded = Split.load(folder / "split.json", store)
    assert loaded == split
    assert loaded.sha256 == split.sha256
    assert make_split(store, folds=folds, protocol=protocol, seed=seed) == split


@settings(deadline=None, max_examples=60)
@given(annotation(), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_dealing_balances_the_rare_labels(drawn, folds, seed):
    labels = np.array(drawn[0])
    sizes = [len(labels) // folds + (fold < len(labels) % folds) for fold in range(folds)]
    parts = deal(labels, sizes, np.random.RandomState(seed))
    assert [len(part) for part in parts] == sizes
    assert sorted(np.concatenate(parts)) == list(range(len(labels)))
    counts = np.array([labels[part].sum(axis=0) for part in parts])
    apart = counts.max(axis=0) - counts.min(axis=0)
    total = labels.sum(axis=0)
    if (total > 0).any():
        assert apart[np.argmin(np.where(total > 0, total, 10**6))] <= 1  # the rarest is spread as evenly as can be
    assert apart.max() <= 2  # the others follow within what the rarer ones leave open


def test_dealing_to_unequal_parts_gives_each_its_share_of_the_rare_label():
    labels = np.zeros((100, 1), bool)
    labels[:20] = True
    for seed in range(5):
        train, validation = deal(labels, (85, 15), np.random.RandomState(seed))
        assert (labels[train].sum(), labels[validation].sum()) == (17, 3)


def test_dealing_refuses_sizes_that_do_not_add_up():
    with pytest.raises(ValueError, match="sizes add up to 4, expected the number of items, 5"):
        deal(np.zeros((5, 1), bool), (2, 2), np.random.RandomState(0))


def test_four_clean_folds_of_the_sample_test_every_organ(small_store):
    for seed in range(5):
        split = make_split(small_store, folds=4, seed=seed)
        for fold in range(4):
            counts = split.annotated_counts(small_store, fold)
            assert min(counts["test"][s.name] for s in OPENKBP) >= 1
            assert counts["test"]["PTV63"] == 1  # 4 of 12 patients, dealt to 4 folds
            assert counts["test"]["Esophagus"] == 2  # 8 of 12
            assert min(counts["train"].values()) >= 1
            total = {name: sum(counts[part][name] for part in PARTS) for name in small_store.names}
            assert list(total.values()) == small_store.annotated.sum(axis=0).tolist()


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_another_seed_gives_another_split(small_store, protocol):
    splits = [make_split(small_store, folds=4, protocol=protocol, seed=seed) for seed in (0, 1, 3)]
    assert len({json.dumps([sorted(f.test.items()) for f in split.folds]) for split in splits}) == 3
    assert len({split.sha256 for split in splits}) == 3


def test_a_seed_means_the_same_for_ever(small_store):
    """Published results name a seed: the dealing must not change with a release of anything."""
    folds = make_split(small_store, folds=4, seed=0).folds
    tested = [" ".join(fold.test) for fold in folds]
    assert tested == ["pt_172 pt_59 pt_92", "pt_144 pt_235 pt_36", "pt_104 pt_119 pt_157", "pt_100 pt_109 pt_140"]
    assert [list(fold.validation) for fold in folds] == [["pt_157"], ["pt_157"], ["pt_144"], ["pt_119"]]


def test_a_seed_means_the_same_slices_for_ever(small_store):
    folds = make_split(small_store, folds=4, protocol="paper", seed=0).folds
    assert [fold.test["pt_104"] for fold in folds] == [(4, 6), (3,), (0, 5), (1, 2, 7)]


def test_validation_fraction_sets_the_validation_part(small_store):
    sizes = [
        len(make_split(small_store, folds=4, validation_fraction=f).part(0, "validation")) for f in (0.01, 0.3, 0.99)
    ]
    assert sizes == [1, 3, 8]  # at least one patient each to validate and to train, of nine


BAD_ARGUMENTS = {
    "too many folds": ({"folds": 13}, "folds: found 13, expected 2 to 12.*12 patients.*prepare more patients"),
    "one fold": ({"folds": 1}, "folds: found 1, expected 2 to 12"),
    "too many folds of slices": ({"folds": 97, "protocol": "paper"}, "found 97, expected 2 to 96.*96 slices"),
    "protocol": ({"protocol": "Clean"}, "protocol: found 'Clean', expected 'clean' or 'paper'"),
    "seed": ({"seed": -1}, "seed: found -1, expected 0 to 4294967295"),
    "fraction": ({"validation_fraction": 1.0}, "validation_fraction: found 1.0"),
    "seed beyond 32 bits": ({"seed": 2**32}, "seed: found 4294967296, expected 0 to 4294967295"),
    "nothing to validate": ({"validation_fraction": 0}, "validation_fraction: found 0, expected more than 0"),
    "no fraction": ({"validation_fraction": float("nan")}, "validation_fraction: found nan"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_bad_arguments_are_refused(small_store, arguments, message):
    with pytest.raises(NasosegError, match=message):
        make_split(small_store, **arguments)


def test_defaults_are_five_clean_folds(small_store):
    assert make_split(small_store) == make_split(
        small_store, folds=5, protocol="clean", seed=0, validation_fraction=0.15
    )
    assert make_split(small_store, protocol="paper", seed=2**32 - 1).seed == 2**32 - 1


def test_organs_drawn_empty_are_spread_apart_from_those_that_are_seen(tmp_path):
    store = write_tiny(tmp_path / "store.h5", [[True]] * 12, [1] * 12, empty=range(8))
    for seed in range(2):
        for fold in make_split(store, folds=4, seed=seed).folds:
            assert sum(int(key[1:]) >= 8 for key in fold.test) == 1


def test_three_patients_are_the_fewest_that_can_be_trained_validated_and_tested(tmp_path):
    store = write_tiny(tmp_path / "three.h5", [[True]] * 3, [1] * 3)
    for fold in make_split(store, folds=3).folds:
        assert [len(fold.train), len(fold.validation), len(fold.test)] == [1, 1, 1]
    sizes = [
        len(fold.test) for fold in make_split(write_tiny(tmp_path / "five.h5", [[True]] * 5, [1] * 5), folds=3).folds
    ]
    assert sizes == [2, 2, 1]
    with pytest.raises(NasosegError, match=r"one\.h5: patients to deal to folds: found 1, expected 3 or more"):
        make_split(write_tiny(tmp_path / "one.h5", [[True]], [1]))


def test_two_patients_cannot_be_trained_validated_and_tested(tmp_path):
    store = write_tiny(tmp_path / "two.h5", [[True], [True]], [2, 2])
    with pytest.raises(NasosegError, match=r"leave 1 to train and validate, expected 2.*too few patients"):
        make_split(store, folds=2)
    assert len(make_split(store, folds=2, protocol="paper").folds) == 2


@pytest.mark.parametrize(("fold", "part", "message"), [
    (4, "test", "fold: found 4, expected 0 to 3"),
    (-1, "test", "fold: found -1, expected 0 to 3"),
    (0, "valid", "part: found 'valid', expected one of train, validation, test: did you mean 'validation'"),
])  # fmt: skip
def test_a_part_that_is_not_there_is_refused(small_store, fold, part, message):
    with pytest.raises(NasosegError, match=message):
        make_split(small_store, folds=4).part(fold, part)


def test_a_split_of_another_store_is_refused(small_store, tmp_path):
    other = write_tiny(tmp_path / "other.h5", [[True]] * 6, [2] * 6)
    make_split(other, folds=3).save(tmp_path / "split.json")
    with pytest.raises(NasosegError, match=f"{other.content_sha256}.*{small_store.content_sha256}.*nasoseg split"):
        Split.load(tmp_path / "split.json", small_store)


def first(document, part="train"):
    return document["folds"][0][part]


def drop(key):
    return lambda document: document.pop(key)


def put(key, value):
    return lambda document: document.__setitem__(key, value)


CHANGES = MappingProxyType({
    "leak into test": ("clean", lambda d: first(d).append(first(d, "test")[0]), "in train and in test"),
    "leak into validation": ("clean", lambda d: first(d).append(first(d, "validation")[0]), "in train and in valid"),
    "moved from test": ("clean", lambda d: first(d).append(first(d, "test").pop()), "tested in 0 folds"),
    "moved to test": ("clean", lambda d: first(d, "test").append(first(d).pop()), "tested in 2 folds"),
    "left out": ("clean", lambda d: first(d).pop(), "in no part, expected each patient in one part"),
    "unknown patient": ("clean", lambda d: first(d).append("nobody"), "'nobody' in train"),
    "empty part": ("clean", lambda d: first(d, "validation").clear(), r"validation \[\], expected a list of one"),
    "number as key": ("clean", lambda d: first(d).append(7), "fold 0: train"),
    "fold is a list": ("clean", lambda d: d["folds"].__setitem__(0, []), "fold 0: train None"),
    "part is missing": ("clean", lambda d: d["folds"][0].pop("validation"), "validation None"),
    "slice tested twice": ("paper", lambda d: first(d, "test").update(d["folds"][1]["test"]), "tested in [02] folds"),
    "slice out of range": ("paper", lambda d: next(iter(first(d, "test").values())).append(8), "numbers from 0 to 7"),
    "negative slice": ("paper", lambda d: next(iter(first(d, "test").values())).insert(0, -1), "numbers from 0 to 7"),
    "slice is true": ("paper", lambda d: next(iter(first(d, "test").values())).append(True), "numbers from 0 to 7"),
    "slice listed twice": ("paper", lambda d: (s := next(iter(first(d, "test").values()))).append(s[-1]), "each once"),
    "slices left out": ("paper", lambda d: first(d, "test").popitem(), "tested in 0 folds"),
    "unknown patient's slices": ("paper", lambda d: first(d, "test").update(nobody=[0]), "patient 'nobody'"),
    "no slice of a patient": ("paper", lambda d: first(d, "test").update(pt_36=[]), r"slices \[\] of patient 'pt_36'"),
    "slices are a number": ("paper", lambda d: first(d, "test").update(pt_36=3), "slices 3 of patient 'pt_36'"),
    "paper fold is a list": ("paper", lambda d: d["folds"].__setitem__(0, []), "fold 0: test None"),
    "paper fold is empty": ("paper", lambda d: first(d, "test").clear(), "test {}"),
    "protocol": ("clean", put("protocol", "Clean"), "protocol 'Clean', expected 'clean' or 'paper'"),
    "other protocol": ("clean", put("protocol", "paper"), "fold 0: test"),
    "protocol is a list": ("clean", put("protocol", ["clean"]), "protocol"),
    "no protocol": ("clean", drop("protocol"), "protocol None"),
    "no seed": ("clean", drop("seed"), "seed None"),
    "seed is text": ("clean", put("seed", "0"), "seed '0'"),
    "no hash": ("clean", drop("store_sha256"), "store_sha256 None"),
    "short hash": ("clean", put("store_sha256", "ab"), "64 hexadecimal digits"),
    "no slices": ("clean", drop("slices"), "slices None"),
    "endless slices": ("clean", lambda d: d["slices"].update(pt_36=10**12), "the number of slices of every patient"),
    "no folds": ("clean", drop("folds"), "folds None"),
    "one fold": ("clean", lambda d: d.update(folds=d["folds"][:1]), "a list of two folds or more"),
    "format": ("clean", drop("format"), "no split"),
    "version": ("clean", put("version", 2), "version 2, expected version 1"),
    "slices changed": ("clean", lambda d: d["slices"].update(pt_36=7), "'pt_36' has 7 slices here, expected 8"),
    "patient added": ("paper", lambda d: [d["slices"].update(nobody=1), first(d, "test").update(nobody=[0])],
                      "'nobody' has 1 slices here, expected none"),
    "patient gone": ("paper", lambda d: [d["slices"].pop("pt_36"), *(f["test"].pop("pt_36", 0) for f in d["folds"])],
                     "'pt_36' has no slices here, expected 8"),
})  # fmt: skip


@pytest.mark.parametrize(("protocol", "change", "message"), CHANGES.values(), ids=CHANGES)
def test_a_changed_file_is_refused(small_store, tmp_path, protocol, change, message):
    path = tmp_path / "split.json"
    make_split(small_store, folds=4, protocol=protocol).save(path)
    Split.load(path, small_store)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(NasosegError, match=message) as caught:
        Split.load(path, small_store)
    assert str(caught.value).startswith(f"{path}: ")
    assert "`nasoseg split`" in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("change", "found"), [
    (put("folds", "x" * 58), f"folds '{'x' * 58}', expected"),
    (put("folds", "x" * 59), f"folds '{'x' * 56}..., expected"),
    (put("protocol", "x" * 289), f"found protocol '{'x' * 289}', expected"),
    (put("protocol", "x" * 290), f"found protocol '{'x' * 290}..., expected"),
])  # fmt: skip
def test_what_is_long_is_quoted_in_part(small_store, tmp_path, change, found):
    path = tmp_path / "split.json"
    make_split(small_store, folds=4).save(path)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(NasosegError, match=re.escape(found)):
        Split.load(path)


@pytest.mark.parametrize(("content", "message"), [
    (b"", "no readable JSON"),
    (b"\xff\xfe\x00", "no readable JSON"),
    (b"[" * 100_000, "no readable JSON"),
    (b'{"format": "nasoseg-split", "seed": 0, "seed": 1}', "'seed' is there twice"),
    (b'{"seed": ' + b"9" * 5000 + b"}", "no readable JSON"),
    (b"[]", "no split"),
    (b"null", "no split"),
])  # fmt: skip
def test_what_is_no_split_is_refused(tmp_path, content, message):
    path = tmp_path / "split.json"
    path.write_bytes(content)
    with pytest.raises(NasosegError, match=message):
        Split.load(path)


def test_missing_folder_and_huge_files_are_refused(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(NasosegError, match="no such split file"):
            Split.load(path)
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(NasosegError, match="found 2147483648 bytes, expected at most"):
        Split.load(huge)


def test_saving_into_a_missing_folder_leaves_nothing(small_store, tmp_path):
    with pytest.raises(NasosegError, match="could not be written"):
        make_split(small_store, folds=4).save(tmp_path / "none" / "split.json")
    assert list(tmp_path.iterdir()) == []


def command(*arguments):
    parser = argparse.ArgumentParser()
    split_command.add_arguments(parser)
    return split_command.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_command_writes_the_split_and_prints_it(small_store, tmp_path, capsys, protocol):
    out = tmp_path / "split.json"
    arguments = ["--folds", "4", "--protocol", protocol, "--seed", "7", "--validation-fraction", "0.3"]
    assert command(small_store.path, out, *arguments) == 0
    made = make_split(small_store, folds=4, protocol=protocol, seed=7, validation_fraction=0.3)
    assert Split.load(out, small_store) == made
    printed = capsys.readouterr().out
    assert made.sha256 in printed
    rows = {line.split()[0]: line.split()[1:] for line in printed.splitlines()[3:] if line.strip()}
    assert rows["patients"] == (["6/3/3"] * 4 if protocol == "clean" else rows["patients"])
    assert rows["slices"] == (["48/24/24"] * 4 if protocol == "clean" else ["72/24/24"] * 4)
    assert [row.split("/")[2] for row in rows["Esophagus"]] == [
        str(made.annotated_counts(small_store, fold)["test"]["Esophagus"]) for fold in range(4)
    ]
    assert set(small_store.names) <= set(rows)


def test_command_does_not_overwrite_unless_forced(small_store, tmp_path, capsys):
    out = tmp_path / "split.json"
    out.write_text("mine")
    with pytest.raises(NasosegError, match=r"exists already.*--force"):
        command(small_store.path, out, "--folds", "4")
    assert out.read_text() == "mine"
    assert command(small_store.path, out, "--folds", "4", "--force") == 0
    assert Split.load(out, small_store).protocol == "clean"
    assert capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [out]
