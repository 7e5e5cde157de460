"""Reading results: what `nasoseg test` wrote comes back, and what does not belong together is refused."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from nasoseg.errors import NasosegError
from nasoseg.evaluation import read_results
from nasoseg.evaluation.results import COLUMNS
from nasoseg.metrics import OverlapMetrics
from nasoseg.tasks.results import write_metrics

CONTEXT = {"method": "UNet", "protocol": "clean", "fold": 0, "store": "aaa", "split": "bbb"}


def write_run(folder: Path, *patients: str, **context: object) -> Path:
    """Write a run's metrics.csv by the code that `nasoseg test` uses; structure two is absent in the last patient."""
    overlap = OverlapMetrics(patients, ["one", "two"])
    for number, patient in enumerate(patients):
        truth = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
        truth[0, 0, :2] = True
        truth[0, 1, 3] = number < len(patients) - 1
        predicted = truth.roll(1, dims=2) & truth.any(dim=(2, 3), keepdim=True)
        annotated = torch.ones(1, 2, dtype=torch.bool)
        slices = torch.tensor([0])
        overlap.update(predicted, predicted.float(), truth, annotated=annotated, patients=[patient], slices=slices)
    folder.mkdir(parents=True)
    write_metrics(folder / "metrics.csv", overlap.compute(), context=CONTEXT | context)
    return folder


def change(path: Path, line: int, **cells: str) -> None:
    """Change cells of one line; the header is line 1."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    lines[line - 2] |= cells
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(lines)


def refused(paths: object, *words: str) -> None:
    with pytest.raises(NasosegError) as caught:
        read_results(paths)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_what_was_written_comes_back(tmp_path):
    run = write_run(tmp_path / "unet" / "fold0", "007", "NA")
    table = read_results([run])
    assert tuple(table.columns) == COLUMNS
    assert set(table["patient"]) == {"007", "NA", ""}  # names stay names
    assert set(table["fold"]) == {"0"}
    assert table["value"].dtype == np.float64
    dsc = table[(table["metric"] == "dsc") & (table["averaging"] == "volume")]
    found = dsc.set_index(["patient", "structure"])["value"]
    assert found["007", "one"] == 0.5  # rows 0, 1 against rows 1, 2
    assert found["007", "two"] == 0
    assert np.isnan(found["NA", "two"])  # absent and not predicted
    assert set(table["averaging"]) == {"volume", "slice", "pooled", "micro"}


def test_folders_of_runs_are_searched_and_training_logs_passed_over(tmp_path):
    first = write_run(tmp_path / "runs" / "unet" / "fold0", "a", "b")
    write_run(tmp_path / "runs" / "unet" / "fold1", "c", "d", fold=1)
    (first / "logs").mkdir()
    (first / "logs" / "metrics.csv").write_text("epoch,val/dsc\n0,0.5\n")
    assert set(read_results([tmp_path / "runs"])["patient"]) == {"a", "b", "c", "d", ""}
    again = read_results([tmp_path / "runs", first, first / "metrics.csv"])  # each file once
    assert len(again) == len(read_results([tmp_path / "runs"]))


def test_results_of_other_programs_go_with_ours(tmp_path):
    ours = write_run(tmp_path / "ours", "a", "b")
    unknown = dict.fromkeys(("protocol", "fold", "store", "split"), "-")
    others = write_run(tmp_path / "others", "a", "b", method="other", **unknown)
    assert set(read_results([ours, others])["protocol"]) == {"clean", "-"}


def test_two_protocols_have_two_splits(tmp_path):
    write_run(tmp_path / "0", "a", "b")
    write_run(tmp_path / "1", "a", "b", protocol="paper", split="ccc")
    write_run(tmp_path / "2", "b", "c", protocol="paper", split="ccc", fold=1)  # patient b in two folds: slices dealt
    assert set(read_results([tmp_path])["protocol"]) == {"clean", "paper"}


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ({"store": "zzz", "fold": 1}, ("store zzz", "aaa", "expected the same store")),
        ({"split": "zzz", "fold": 1}, ("split zzz", "bbb", "one split file a protocol", "protocol clean")),
        ({"fold": 1}, ("UNet tested patient 'b' in fold 1", "in fold 0", "another split")),
        ({}, ("a second value of method 'UNet'", "patient 'b'", "structure 'one'", "--method")),
    ],
)
def test_what_does_not_belong_together_is_refused_with_both_files(tmp_path, context, words):
    first = write_run(tmp_path / "first", "a", "b")
    second = write_run(tmp_path / "second", "b", "c", **context)
    refused([first, second], str(first / "metrics.csv"), str(second / "metrics.csv"), *words)


def test_two_spellings_of_a_structure_are_refused(tmp_path):
    first = write_run(tmp_path / "first", "a", "b")
    second = write_run(tmp_path / "second", "a", "b", method="other")
    for run, name in ((first, "Parotid_L"), (second, "LeftParotid")):
        change(run / "metrics.csv", 2, structure=name)
    refused([first, second], "'LeftParotid'", "'Parotid_L'", "one spelling", str(second))


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ({"value": "high"}, ("line 3: value is 'high'", "expected a finite number, or nan")),
        ({"value": ""}, ("line 3: value is ''",)),
        ({"value": "inf"}, ("line 3: value is 'inf'",)),
        ({"averaging": "macro"}, ("line 3: averaging is 'macro'", "volume, slice, pooled, micro")),
        ({"patient": ""}, ("line 3: patient is ''", "empty in rows of pooled")),
        ({"method": ""}, ("line 3: method is ''", "filled in all others")),
    ],
)
def test_wrong_cells_are_named_with_their_line(tmp_path, cells, words):
    path = write_run(tmp_path / "run", "a", "b") / "metrics.csv"
    change(path, 3, **cells)
    refused([path], str(path), *words)


def test_damaged_files_are_refused(tmp_path):
    path = write_run(tmp_path / "run", "a", "b") / "metrics.csv"
    whole = path.read_text().splitlines()
    path.write_text("\n".join([*whole[:4], whole[4].rpartition(",")[0]]))  # its last line is cut
    refused([path], "line 5: value is ''")
    path.write_text("\n".join([whole[0], whole[1] + ",more,cells"]))
    refused([path], str(path), "cannot be read as a table")
    path.write_bytes(b"\xff\xfe\x00\x81")
    refused([path], str(path), "cannot be read as a table")
    path.write_text("")
    refused([path], "cannot be read as a table")
    path.write_text(whole[0])
    refused([path], "no row below the header")
    path.write_text("epoch,val/dsc\n0,0.5\n")
    refused([path], "no column method, protocol", "found epoch, val/dsc")


def test_no_results_are_refused(tmp_path):
    refused([], "no path was given")
    refused([tmp_path], str(tmp_path), "no metrics.csv in it", "nasoseg test")
    refused([tmp_path / "nowhere"], "no such file or folder")
