"""Which structures nnU-Net learns together, on annotation tables small enough to work out by hand."""

import numpy as np
import pytest

from nasoseg.comparison.nnunet_groups import make_groups, parse_groups
from nasoseg.data.splits import Fold, Split
from nasoseg.data.store import Patient, Store, write_store
from nasoseg.errors import NasosegError
from nasoseg.labels import Structure
from nasoseg.volumes.volume import Geometry

TRAIN, VALIDATION, TEST = 10, 3, 2


@pytest.fixture
def table(tmp_path):
    """Make a store and a split from annotation columns: ten training patients, three for validation, two for test."""

    def make(**columns: str) -> tuple[Store, Split]:
        patients = []
        for row in range(TRAIN + VALIDATION + TEST):
            annotated = np.array([column.replace(" ", "")[row] == "x" for column in columns.values()])
            image, labels = np.zeros((1, 2, 2), np.int16), np.zeros((1, 2, 2), np.uint16)
            grid = Geometry((1, 2, 2), np.eye(4))
            patients.append(Patient(f"p{row:02}", image, labels, annotated, np.eye(4), grid))
        write_store(tmp_path / "table.h5", patients, [Structure(name, name) for name in columns])
        store = Store(tmp_path / "table.h5")
        members = dict.fromkeys(store.keys, (0,))
        parts = (store.keys[:TRAIN], store.keys[TRAIN : TRAIN + VALIDATION], store.keys[TRAIN + VALIDATION :])
        fold = Fold(*({key: members[key] for key in part} for part in parts))
        return store, Split("clean", 0, store.content_sha256, dict.fromkeys(store.keys, 1), (fold,))

    return make


ALL = "xxxxxxxxxx xxx xx"


def test_a_structure_joins_while_the_group_keeps_enough_patients(table):
    # 13 patients learn; 20 % of 13 may go: 10.4 must stay. B leaves 11, then C with B 10: too few, so C opens a group.
    store, split = table(A=ALL, B=".xxxxxxxxx .xx xx", C="xxxxxxxxxx .x. xx")
    grouping = make_groups(store, split, fold=0, labels=store.names)
    assert [group.structures for group in grouping.groups] == [("A", "B"), ("C",)]
    first, second = grouping.groups
    assert first.left_out == ("p00", "p10")
    assert first.train == tuple(f"p{i:02}" for i in range(1, 10))
    assert first.validation == ("p11", "p12")
    assert second.train == tuple(f"p{i:02}" for i in range(10))
    assert second.validation == ("p11",)
    assert (first.dataset, second.dataset) == ("Dataset001_group1", "Dataset002_group2")
    assert "group1: A, B: 9 training and 2 validation patients" in grouping.text()
    assert "left out, 2: p00, p10" in grouping.text()


def test_losses_add_up_over_a_group(table):
    """Each of B, C, D costs A two of 13, within the share, but two of them four: C is turned away, and D joins C."""
    store, split = table(A=ALL, B="..xxxxxxxx xxx xx", C="xx..xxxxxx xxx xx", D="xxxx..xxxx xxx xx")
    grouping = make_groups(store, split, fold=0, labels=store.names)
    assert [group.structures for group in grouping.groups] == [("A", "B"), ("C", "D")]
    wide = make_groups(store, split, fold=0, labels=store.names, most_lost=0.5)
    assert [group.structures for group in wide.groups] == [("A", "B", "C", "D")]
    assert len(wide.groups[0].train) == 4


def test_test_patients_decide_nothing(table):
    store, split = table(A=ALL, B="xxxxxxxxxx xxx ..")
    (group,) = make_groups(store, split, fold=0, labels=store.names).groups
    assert group.structures == ("A", "B")
    assert not set(split.part(0, "test")) & {*group.learned_from, *group.left_out}


def test_no_group_gives_its_last_validation_patient_away(table):
    store, split = table(A=ALL, B="xxxxxxxxxx ... xx")
    grouping = make_groups(store, split, fold=0, labels=store.names, most_lost=0.9)
    assert [group.structures for group in grouping.groups] == [("A",), ("B",)]
    assert grouping.groups[1].validation == ()
    assert "no validation patient" in grouping.text()


def test_a_structure_without_a_training_patient_is_told_not_trained(table):
    store, split = table(A=ALL, B=".......... xxx xx")
    grouping = make_groups(store, split, fold=0, labels=store.names)
    assert grouping.trained == {"A"}
    assert grouping.untrained == {"B": "annotated in no training patient of fold 0"}
    assert "B: not trained and not scored" in grouping.text()
    with pytest.raises(NasosegError, match="nothing can be trained"):
        make_groups(store, split, fold=0, labels=["B"])


def test_groups_by_hand(table):
    store, split = table(A=ALL, B=".xxxxxxxxx xxx xx", C=ALL)
    grouping = make_groups(store, split, fold=0, labels=store.names, by_hand=parse_groups("B, A"))
    assert [group.structures for group in grouping.groups] == [("A", "B")]
    assert grouping.untrained == {"C": "in no group of --groups"}


@pytest.mark.parametrize(
    ("by_hand", "words"),
    [
        ("A;Bb", "--groups has no structure 'Bb'"),
        ("A,B;A", "'A' is named twice"),
        ("B,C", "no training patient of fold 0 has all of B, C"),
    ],
)
def test_wrong_groups(table, by_hand, words):
    store, split = table(A=ALL, B="xxxxx..... xxx xx", C=".....xxxxx xxx xx")
    with pytest.raises(NasosegError, match=words):
        make_groups(store, split, fold=0, labels=store.names, by_hand=parse_groups(by_hand))


def test_wrong_arguments(table):
    store, split = table(A=ALL)
    with pytest.raises(NasosegError, match=r"--group-loss: found 1\.0"):
        make_groups(store, split, fold=0, labels=["A"], most_lost=1.0)
    with pytest.raises(NasosegError, match="--groups: found 'A,;B'"):
        parse_groups("A,;B")
