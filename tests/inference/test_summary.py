import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nasoseg.errors import NasosegError
from nasoseg.inference.segmentation import Segmentation
from nasoseg.inference.study import Study
from nasoseg.inference.summary import write_summary
from nasoseg.volumes.volume import Geometry, Volume

PROCESS = """
import sys
from pathlib import Path
import test_summary
for number in range(30):
    test_summary.write_summary(Path(sys.argv[1]), test_summary.found(f"{sys.argv[2]}_{number}"))
"""


def found(name: str, *warnings: str, voxels: int = 0) -> Segmentation:
    planes = np.zeros((2, 4, 4), np.uint8)
    planes.flat[:voxels] = 1
    volume = Volume(np.zeros((2, 4, 4), np.int16), Geometry((2, 4, 4), np.diag([10.0, 10.0, 10.0, 1.0])))
    return Segmentation(Study(volume, name), planes, ["Larynx"], warnings=warnings)


def rows(path) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for row in csv.DictReader(path.read_text().splitlines())]


def test_older_rows_of_a_scan_are_replaced(tmp_path):
    path = tmp_path / "summary.csv"
    write_summary(path, found("a", "Larynx: too small", "not in HU"))
    write_summary(path, found("b", voxels=2))
    assert rows(path) == [
        ("a", "Larynx", "0.0000", "too small"),
        ("a", "", "", "not in HU"),
        ("b", "Larynx", "2.0000", ""),
    ]
    write_summary(path, found("a", voxels=3))
    assert rows(path) == [("b", "Larynx", "2.0000", ""), ("a", "Larynx", "3.0000", "")]
    assert list(tmp_path.iterdir()) == [path]


def test_several_processes_write_into_one_file(tmp_path):
    path = tmp_path / "summary.csv"
    command = [sys.executable, "-c", PROCESS, str(path)]
    processes = [subprocess.Popen([*command, name], cwd=Path(__file__).parent) for name in "ab"]
    assert [process.wait() for process in processes] == [0, 0]
    assert {row[0] for row in rows(path)} == {f"{name}_{number}" for name in "ab" for number in range(30)}


def test_another_file_is_left_alone(tmp_path):
    (tmp_path / "summary.csv").write_text("patient,dose\n")
    with pytest.raises(NasosegError, match="is no summary of `nasoseg segment`"):
        write_summary(tmp_path / "summary.csv", found("a"))
    assert (tmp_path / "summary.csv").read_text() == "patient,dose\n"
