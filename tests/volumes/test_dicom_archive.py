"""Zips of DICOM: read like folders, and never able to write elsewhere, fill the disk or stay behind."""

import stat
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from generated_dicom import anatomy, write_ct

from nasoseg.errors import NasosegError
from nasoseg.volumes import dicom_archive
from nasoseg.volumes.dicom import read_ct
from nasoseg.volumes.dicom_archive import opened
from nasoseg.volumes.dicom_scan import find_series


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """Unpack where it can be seen, and check that nothing stays."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def zipped(path: Path, members: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def refused(path: Path, match: str) -> None:
    with pytest.raises(NasosegError, match=match), opened(path):
        pytest.fail("it was opened")


def test_a_zip_is_read_like_a_folder(tmp_path):
    hu = anatomy()
    files = {f"deep/er/{p.name}": p.read_bytes() for p in write_ct(tmp_path / "ct", hu)}
    path = zipped(tmp_path / "export.zip", files | {"deep/readme.txt": b"hello"})
    ct = read_ct(path)
    assert np.array_equal(ct.volume.array, hu)
    assert ct.header.PatientID == "P1"  # read whole before the folder went
    assert ct.remarks == ("not DICOM and passed over: deep/readme.txt (1 in all)",)
    assert [s.slices for s in find_series(path)] == [5]


def test_windows_slashes_are_folders(tmp_path):
    path = zipped(tmp_path / "x.zip", {"a.txt": b"1"})
    path.write_bytes(path.read_bytes().replace(b"a.txt", b"b\\txt"))
    with opened(path) as root:
        assert (root / "b" / "txt").read_bytes() == b"1"


def test_errors_name_the_file_in_the_zip(tmp_path):
    files = {f"in/{p.name}": p.read_bytes() for p in write_ct(tmp_path / "ct", anatomy())}
    name = next(iter(files))
    path = zipped(tmp_path / "export.zip", files | {name: files[name][:-10]})
    with pytest.raises(NasosegError) as raised:
        read_ct(path)
    assert str(raised.value).startswith(f"{path}/{name}: is cut short")


@pytest.mark.parametrize(
    "name", ["../out", "a/../../out", "/out", "\\out", "..\\out", "C:\\out", "C:out", "./C:out", ".", "a/.."]
)
def test_names_that_lead_out(tmp_path, name):
    refused(zipped(tmp_path / "x.zip", {"fine": b"1", name: b"2"}), "leads out of the folder")
    assert not (tmp_path / "out").exists()


def test_links(tmp_path):
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    refused(tmp_path / "x.zip", "a link or a name")


def test_bombs(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_archive, "_SMALL", 1 << 20)
    path = zipped(tmp_path / "x.zip", {str(n): bytes(1 << 20) for n in range(3)})
    assert path.stat().st_size < 1 << 14
    refused(path, "if you trust it, unpack it")


def test_a_large_zip_that_shrank_little_and_a_small_one_that_shrank_a_lot_are_no_bombs(tmp_path, monkeypatch):
    small = zipped(tmp_path / "small.zip", {"a": bytes(1 << 20)})
    assert small.stat().st_size * dicom_archive._MOST_INFLATION < 1 << 20
    with opened(small) as root:
        assert (root / "a").stat().st_size == 1 << 20
    monkeypatch.setattr(dicom_archive, "_SMALL", 1 << 10)
    with opened(zipped(tmp_path / "large.zip", {"a": bytes(1 << 20)}, method=zipfile.ZIP_STORED)) as root:
        assert (root / "a").stat().st_size == 1 << 20


def test_folders_of_their_own_are_no_files(tmp_path):
    with opened(zipped(tmp_path / "x.zip", {"deep/": b"", "deep/er/": b"", "deep/er/a": b"1"})) as root:
        assert (root / "deep" / "er" / "a").read_bytes() == b"1"


def test_as_much_as_is_allowed_and_free_is_unpacked(tmp_path, monkeypatch):
    path = zipped(tmp_path / "x.zip", {"a": b"12", "b": b"34"})
    monkeypatch.setattr(dicom_archive, "MOST_FILES", 2)
    monkeypatch.setattr(dicom_archive, "MOST_BYTES", 4)
    monkeypatch.setattr(dicom_archive.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 4}))
    with opened(path) as root:
        assert sorted(file.name for file in root.iterdir()) == ["a", "b"]


def test_too_many_files_and_bytes(tmp_path, monkeypatch):
    path = zipped(tmp_path / "x.zip", {"a": b"12", "b": b"34"})
    monkeypatch.setattr(dicom_archive, "MOST_FILES", 1)
    refused(path, "2 files of 4 bytes .* expected at most 1 files")
    monkeypatch.setattr(dicom_archive, "MOST_FILES", 9)
    monkeypatch.setattr(dicom_archive, "MOST_BYTES", 3)
    refused(path, "expected at most 9 files, 3 bytes")


def test_full_disk(tmp_path, monkeypatch):
    path = zipped(tmp_path / "x.zip", {"a": b"12"})
    monkeypatch.setattr(dicom_archive.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1}))
    refused(path, "unpacks to 2 bytes, but .* has 1 bytes free")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.dcm", b"1")
        archive.writestr("a.dcm", b"2")
    refused(tmp_path / "x.zip", r"two files of one name \(a\.dcm\)")


def test_encrypted(tmp_path):
    path = zipped(tmp_path / "x.zip", {"a": b"12"}, method=zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(raw))
    refused(path, "is encrypted")


@pytest.mark.parametrize("spoil", ["cut", "changed"])
def test_damaged(tmp_path, spoil):
    path = zipped(tmp_path / "x.zip", {"a": np.random.default_rng(0).bytes(5000)})
    raw = bytearray(path.read_bytes())
    if spoil == "cut":
        del raw[1000:3000]
    else:
        raw[2000] ^= 0xFF
    path.write_bytes(bytes(raw))
    refused(path, "cannot be unpacked")
