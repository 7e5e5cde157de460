import csv
import os
from pathlib import Path

import pytest

from nasoseg.data.key_table import KeyRow, check_key_table, write_key_table
from nasoseg.errors import NasosegError

ROW = KeyRow("P0", "MRN, 7", "1.2", "1.3")


def test_the_table_is_for_its_owner_alone_whatever_was_there(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("older")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        write_key_table(path, [ROW])
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    with path.open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {"pseudonym": "P0", "PatientID": "MRN, 7", "StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3"}
        ]
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_path_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_key_table(None, force=False)
    write_key_table(None, [ROW])
    assert list(tmp_path.iterdir()) == []


def test_an_older_table_is_replaced_only_by_force(tmp_path):
    path = tmp_path / "table.csv"
    check_key_table(path, force=False)
    path.touch()
    with pytest.raises(NasosegError, match=r"table.csv: exists already, .* pass --force"):
        check_key_table(path, force=False)
    check_key_table(path, force=True)


@pytest.mark.parametrize("name", [".", "none/table.csv"])
def test_a_place_that_cannot_hold_it_is_told_at_once(tmp_path, name):
    with pytest.raises(NasosegError, match="expected the name of a file in a folder that exists"):
        check_key_table(tmp_path / name, force=True)


def test_a_table_that_cannot_be_written_says_what_to_do(tmp_path):
    with pytest.raises(NasosegError, match=r"could not be written \(No such file.*store is complete.*--force"):
        write_key_table(Path(tmp_path / "none" / "table.csv"), [ROW])
