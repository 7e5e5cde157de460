"""From a clinic's export to a report: nothing of who the patients are in any byte that is written or printed.

The exception is meant: RTSTRUCT and DICOM SEG, which ``segment`` writes for the clinic, carry the patient of their CT,
and a scan that ``segment`` writes is called by the name of its folder, which the clinic chose. Error messages name a
file that is at fault by its path.
"""

import re
import shutil

import pydicom
import pytest
import yaml
from all_bytes import contents, unfolded, written_as
from marked_export import NAMES, PATIENTS, TEXTS, header_markers, write_marked_export

from nasoseg.data.store import Store

FIT = {
    "model": {"class_path": "nasoseg.TwoStageUNet", "init_args": {"width": 2}},
    "data": {"folds": 3, "batch_size": 8, "workers": 0, "labels": ["SpinalCord", "Parotid_L", "Parotid_R"]},
    "trainer": {"max_epochs": 1, "accelerator": "cpu", "limit_train_batches": 2},
}


def found(markers, named):
    """List which markers are in which of the named bytes."""
    forms = {form: marker for marker in markers for form in written_as(marker)}
    pattern = re.compile(b"|".join(sorted(map(re.escape, forms), key=len, reverse=True)))
    return sorted({(name, forms[match]) for name, data in named for match in pattern.findall(data.lower())})


@pytest.fixture(scope="module")
def pipeline(warm, tmp_path_factory):
    """Run it all: folder of the export, folder of what was made, what was printed by command."""
    export = write_marked_export(tmp_path_factory.mktemp("in") / "export")
    out = tmp_path_factory.mktemp("out")
    (out / "fit.yaml").write_text(yaml.safe_dump(FIT | {"data": FIT["data"] | {"store": str(out / "s.h5")}}))
    run = out / "runs" / "unet"
    log = tmp_path_factory.mktemp("logs") / "log"
    scan = export / "Zzhospital" / f"Zzfolder {PATIENTS[0]}"
    said = {}
    for name, *arguments in (
        ("prepare", "dicom", export, out / "s.h5", "--workers", 1, "--size", 32),
        ("fit", "--config", out / "fit.yaml", "--run", run, "--test_at_end", "false"),
        ("test", "--config", run / "config.yaml"),
        ("predict", "--config", run / "config.yaml"),
        ("report", run, "--out", out / "page"),
        ("info", out / "s.h5"),
        (
            "segment",
            run,
            scan,
            out / "contours",
            "--format",
            "rtstruct,seg",
        ),
    ):
        code, text = warm.run(name, *arguments, log=log)
        assert code == 0, text
        said[name] = text
    return export, out, said


def test_the_search_finds_what_is_there(pipeline, tmp_path):
    """In the export itself, and in each way in which bytes may be folded."""
    export, out, _ = pipeline
    there = {marker for _, marker in found(header_markers(), contents(export))}
    assert there == set(header_markers())
    (tmp_path / "a").mkdir()
    for name in ("s.h5", "page/report.html"):
        shutil.copy(out / name, tmp_path / "a" / name.replace("/", "_"))
    key = Store(out / "s.h5").keys[0]
    assert {name.split(",")[0].split("/")[0] for name, _ in found([key], contents(tmp_path / "a"))} >= {"s.h5"}
    assert any("base64" in name for name, _ in contents(tmp_path / "a"))


def test_no_byte_that_is_written_or_printed_tells_who_they_are(pipeline):
    export, out, said = pipeline
    clinic = ("contours", "name of contours")
    mine = [(name, data) for name, data in contents(out) if not name.startswith(clinic)]
    assert len(mine) > 100
    assert found([*header_markers(), *NAMES], mine) == []
    printed = [(name, text.replace(str(export), "").encode()) for name, text in said.items() if name != "segment"]
    assert found([*header_markers(), *NAMES], printed) == []


def test_what_is_written_for_the_clinic_tells_no_more_than_who_it_is_for(pipeline):
    """The folder's name is the clinic's own; beside it the summary and the screen tell nothing."""
    _, out, said = pipeline
    inner = [(name, data) for name, data in contents(out / "contours") if name.endswith(".csv")]
    assert inner
    assert found(header_markers(), [*inner, ("segment", said["segment"].encode())]) == []
    filed_by = ("PN", "DA", "TM", "SH", "UI", "LO", "CS", "AS", "LT")  # what the standard says of patient and study
    others = {text for kind, text in TEXTS.items() if kind not in filed_by} | {"Zzprivate", "Zzcreator", "Zzroi"}
    written = list((out / "contours").rglob("*.dcm"))
    assert len(written) == 2
    for path in written:
        assert str(pydicom.dcmread(path).PatientID) == PATIENTS[0]
        assert found(others, unfolded(path.name, path.read_bytes())) == []


@pytest.mark.parametrize("command", ["prepare", "segment", "structures"])
def test_an_error_tells_no_more_than_a_path(warm, pipeline, tmp_path, command):
    export, out, _ = pipeline
    bad = tmp_path / "bad"
    shutil.copytree(export, bad)
    victim = sorted(bad.rglob("Zzfile 0*.dcm"))[1]
    victim.write_bytes(victim.read_bytes()[:-100])
    arguments = {
        "prepare": ("dicom", bad, tmp_path / "s.h5", "--workers", 1),
        "segment": (out / "runs" / "unet", victim.parent, tmp_path / "contours"),
        "structures": (bad / "none",),
    }[command]
    code, said = warm.run(command, *arguments, log=tmp_path / "log")
    assert code == 1
    assert "Traceback" not in said
    for path in sorted(bad.rglob("*"), key=lambda path: -len(str(path))):
        said = said.replace(str(path), "").replace(str(path.relative_to(bad)), "")
    assert found(header_markers(), [(command, said.encode())]) == []
    for name in ("s.h5.parts", "contours"):
        if (tmp_path / name).is_dir():
            assert found(header_markers(), contents(tmp_path / name)) == []
