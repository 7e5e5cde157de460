"""Our objects before a real archive: sent to Orthanc by C-STORE, listed under their patient, and given back whole."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import numpy as np
import pydicom
import pytest
from generated_ct_series import axial_geometry, ct_series, write_ct

from nasoseg.volumes.dicom_seg import write_seg
from nasoseg.volumes.rtstruct import write_rtstruct

SECONDS_TO_START = 60


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def ask(port: int, path: str, query: dict | None = None) -> bytes:
    body = None if query is None else json.dumps(query).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=body)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Ports of a running Orthanc: DICOM, and its web interface."""
    for program in ("Orthanc", "storescu"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    folder = tmp_path_factory.mktemp("orthanc")
    dicom, web = free_port(), free_port()
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "DicomPort": dicom,
        "HttpPort": web,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowStore": True,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        started = time.monotonic()
        while True:
            try:
                ask(web, "/system")
                break
            except OSError:
                ended = server.poll() is not None or time.monotonic() - started > SECONDS_TO_START
                assert not ended, (folder / "log").read_text()[-2000:]
                time.sleep(0.05)
        yield dicom, web
    finally:
        server.terminate()
        server.wait(30)


def test_orthanc_takes_our_rtstruct_and_seg_and_gives_them_back(orthanc, tmp_path):
    dicom, web = orthanc
    shape = (4, 20, 24)
    ct = ct_series(axial_geometry(shape), array=np.full(shape, 40, np.int16))
    masks = {"Parotid_L": np.zeros(shape, bool), "Larynx": np.zeros(shape, bool)}
    masks["Parotid_L"][1:3, 5:15, 6:12] = True
    masks["Larynx"][0:2, 8:12, 15:20] = True
    write_rtstruct(tmp_path / "rt.dcm", masks, ct)
    write_seg(tmp_path / "seg.dcm", masks, ct)
    files = [*sorted(write_ct(ct, tmp_path / "ct").iterdir()), tmp_path / "rt.dcm", tmp_path / "seg.dcm"]
    # -R: propose what the files need; SEG is not among the classes that storescu proposes by itself.
    command = ["storescu", "-R", "127.0.0.1", str(dicom), *map(str, files)]
    sent = subprocess.run(command, capture_output=True, text=True, errors="replace")
    assert sent.returncode == 0, sent.stderr

    studies = json.loads(ask(web, "/studies?expand"))
    assert [study["MainDicomTags"]["StudyInstanceUID"] for study in studies] == [ct.study_instance_uid]
    series = json.loads(ask(web, "/series?expand"))
    assert sorted(s["MainDicomTags"]["Modality"] for s in series) == ["CT", "RTSTRUCT", "SEG"]
    for path in (tmp_path / "rt.dcm", tmp_path / "seg.dcm"):
        ours = pydicom.dcmread(path)
        query = {"Level": "Instance", "Query": {"SOPInstanceUID": ours.SOPInstanceUID}}
        (instance,) = json.loads(ask(web, "/tools/find", query))
        returned = tmp_path / f"returned_{path.name}"
        returned.write_bytes(ask(web, f"/instances/{instance}/file"))
        theirs = pydicom.dcmread(returned)
        assert theirs.to_json_dict() == ours.to_json_dict()
        assert theirs.file_meta.MediaStorageSOPClassUID == ours.SOPClassUID
