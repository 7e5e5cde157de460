"""`prepare dicom`: what is stored is what the scanner and the physician wrote, and nothing of who the patient is."""

import csv
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from generated_dicom import AXIAL, anatomy, uid, write_ct
from generated_export import (
    AFFINES,
    ALPHA,
    BETA,
    MARKERS,
    SHAPE,
    STRUCTURES,
    drawn,
    hu,
    rois,
    write_export,
    write_rtstruct,
)
from generated_rtstruct import square

from nasoseg.cli import main
from nasoseg.data.parts import parts_folder, secret_file
from nasoseg.data.prepare import prepare_dicom
from nasoseg.data.store import Store
from nasoseg.errors import NasosegError
from nasoseg.volumes.dicom import read_ct
from nasoseg.volumes.dicom_seg import write_seg
from nasoseg.volumes.volume import Geometry


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return write_export(tmp_path / "export")


def stored_mask(store: Store, key: str, structure: str) -> np.ndarray:
    return ((store.read(key, "labels", slice(None)) >> store.names.index(structure)) & 1).astype(bool)


def zipped(folder: Path, archive: Path) -> Path:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder))
    return archive


def keys_of(table: Path) -> dict[str, str]:
    with table.open(newline="") as file:
        return {row["PatientID"]: row["pseudonym"] for row in csv.DictReader(file)}


def test_hu_masks_and_places_are_those_of_the_files(export, tmp_path):
    table = tmp_path / "table.csv"
    summary = prepare_dicom(export, tmp_path / "s.h5", workers=1, key_table=table)
    keys = keys_of(table)
    assert summary.left_out == {}
    with Store(tmp_path / "s.h5") as store:
        assert store.keys == sorted(keys.values())
        assert store.names == ["SpinalCord", "Parotid_R", "Parotid_L", "Larynx", "Mandible"]  # OpenKBP's order
        assert [s.tg263 for s in store.structures][2:] == ["Parotid_L", "Larynx", "Bone_Mandible"]
        for patient, turn in ((ALPHA, np.s_[:]), (BETA, np.s_[:, ::-1, ::-1])):
            key = keys[patient]
            assert np.array_equal(store.read(key, "image", slice(None)), hu(patient)[turn])
            for roi, structure in STRUCTURES.items():
                wanted = drawn(roi, AFFINES[patient])
                assert wanted.sum() > 60
                assert np.array_equal(stored_mask(store, key, structure), wanted[turn])
            assert store.is_annotated(key).tolist() == [True, True, True, False, False]
            assert store.geometry(key).matches(Geometry(SHAPE, AXIAL), tolerance_mm=1e-6)
            assert store.source(key).matches(Geometry(SHAPE, AFFINES[patient]), tolerance_mm=1e-6)
            assert store.check(key) == []
    assert sorted(summary.notes) == sorted(
        [
            "files that are no DICOM were passed over",
            f"names of ROIs that mean no structure: 1; `nasoseg structures {export} --draft FILE` lists them and"
            " begins a structures file",
            *(f"{key}: Larynx: no mask: 1 contour of type POINT left out" for key in keys.values()),
            *(f"{key}: Mandible: no mask: it has no contours" for key in keys.values()),
            "Larynx: annotated in no patient of the store",
            "Mandible: annotated in no patient of the store",
        ]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "s.h5", "table.csv"]


def test_a_zip_gives_the_same_store(export, tmp_path):
    archive = zipped(export, tmp_path / "export.zip")
    for root, name in ((export, "folder.h5"), (archive, "zip.h5")):
        prepare_dicom(root, tmp_path / name, workers=1, pseudonym_key=tmp_path / "secret")
    assert Store(tmp_path / "folder.h5").content_sha256 == Store(tmp_path / "zip.h5").content_sha256


def test_processes_and_progress(export, tmp_path):
    said: list[tuple[str, int, int]] = []
    secret = {"pseudonym_key": tmp_path / "secret"}
    two = prepare_dicom(export, tmp_path / "2.h5", workers=2, progress=lambda *now: said.append(now), **secret)
    one = prepare_dicom(export, tmp_path / "1.h5", workers=1, **secret)
    assert two == one
    assert said[:2] == [("reading names", 1, 2), ("reading names", 2, 2)]
    assert {name for name, _, _ in said[2:]} == set(Store(tmp_path / "2.h5").keys)
    assert [done for _, done, _ in said[2:]] == [1, 2]


def test_a_users_structures_in_his_order_and_what_absent_means(export, tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("names: {Myelon: ignore}\nstructures: {Boost: {synonyms: [PTV Secretname]}}")
    options = {"structures": mine, "workers": 1, "absent": ["Mandible", "Larynx", "Eye_L"]}
    prepare_dicom(export, tmp_path / "s.h5", only=["Boost", "Mandible", "LeftParotid", "Larynx", "Eye_L"], **options)
    with Store(tmp_path / "s.h5") as store:
        assert store.names == ["Boost", "Mandible", "LeftParotid", "Larynx", "Eye_L"]
        for key in store.keys:
            # The mandible is empty and the eye nowhere: absent. Of the larynx there is a point: something was drawn.
            assert store.is_annotated(key).tolist() == [True, True, True, False, True]
            assert store.voxels[key].any(axis=0).tolist() == [True, False, True, False, False]
    prepare_dicom(export, tmp_path / "set.h5", only=["openkbp"], workers=1)
    with Store(tmp_path / "set.h5") as store:
        assert len(store.names) == 10
        assert store.annotated.sum(axis=0).tolist() == [0, 2, 2, 2, 0, 0, 0, 0, 0, 0]


def test_masks_are_resampled_with_the_ct(export, tmp_path):
    summary = prepare_dicom(export, tmp_path / "s.h5", workers=1, pixel_mm=2.0, size=16)
    assert summary.inventory.shapes["rows"] == (16, 16)
    with Store(tmp_path / "s.h5") as store:
        for key in store.keys:
            volume = store.voxels[key][:, store.names.index("SpinalCord")].sum() * 2 * 2 * 2.5
            assert volume == pytest.approx(6.14**2 * 3 * 2.5, rel=0.25)


def test_no_byte_tells_who_the_patients_are(export, tmp_path):
    victim = sorted((export / BETA / "images" / "series").iterdir())[2]
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-100])
    out = tmp_path / "s.h5"
    with pytest.raises(NasosegError, match="1 of 2 CT scans cannot be used") as raised:
        prepare_dicom(export, out, workers=1)
    for marker in ("Secretname^", f" {BETA}", f"'{BETA}'", "1.2.826"):  # a path, where a file must be named, has more
        assert marker not in str(raised.value)
    left = {path.name: path.read_bytes() for path in parts_folder(out).iterdir()}
    assert len(left) == 3  # a part, the lock, the secret
    assert secret_file(parts_folder(out)).stat().st_mode & 0o777 == 0o600
    assert any(b"no mask" in data for data in left.values())  # remarks are in it
    victim.write_bytes(whole)
    prepare_dicom(export, out, workers=1)
    for name, data in (left | {out.name: out.read_bytes()}).items():
        for marker in (*MARKERS, str(tmp_path).encode()):
            assert marker not in data, f"{marker!r} in {name}"
            assert marker not in name.encode()
    assert list(tmp_path.glob("s.h5*")) == [out]


@pytest.mark.parametrize("as_zip", [False, True])
def test_what_was_finished_is_not_done_again(export, tmp_path, as_zip):
    out = tmp_path / "s.h5"
    shutil.copytree(export, tmp_path / "bad")
    next((tmp_path / "bad" / BETA).rglob("0*.dcm")).write_bytes(b"")
    bad, good = tmp_path / "bad", export
    if as_zip:
        bad, good = zipped(bad, tmp_path / "a.zip"), zipped(good, tmp_path / "b.zip")
    with pytest.raises(NasosegError, match="1 of 2 CT scans cannot be used"):
        prepare_dicom(bad, out, workers=1)
    (part,) = parts_folder(out).glob("*.h5")
    (parts_folder(out) / "killed.tmp").write_bytes(b"left by a kill")
    with pytest.raises(NasosegError, match="1 of 2"):
        prepare_dicom(bad, out, workers=1)
    assert list(parts_folder(out).glob("*.tmp")) == []
    if not as_zip:
        shutil.rmtree(bad / BETA)
        shutil.copytree(good / BETA, bad / BETA)
        good = bad
    summary = prepare_dicom(good, out, workers=1)
    assert summary.reused == (0 if as_zip else 1)  # another zip is another source
    assert part.stem in Store(out).keys
    assert not parts_folder(out).exists()


def test_other_meanings_of_names_are_done_again(export, tmp_path):
    next((export / BETA).rglob("0*.dcm")).write_bytes(b"")
    mine = tmp_path / "mine.yaml"
    for text, reused in (("ignore: [zz*]", 0), ("ignore: [yy*]", 1), ("names: {Myelon: Brainstem}", 0)):
        mine.write_text(text)
        seen: list[str] = []
        with pytest.raises(NasosegError, match="1 of 2"):
            prepare_dicom(
                export,
                tmp_path / "s.h5",
                structures=mine,
                only=["SpinalCord", "Brainstem", "Parotid_L"],
                workers=1,
                progress=lambda what, *_, seen=seen: seen.append(what),
            )
        assert seen.count("finished before") == reused


def test_pseudonyms_come_from_the_secret_and_lead_back_by_the_table(export, tmp_path):
    for name in ("a", "b"):
        prepare_dicom(
            export, tmp_path / f"{name}.h5", workers=1, pseudonym_key=tmp_path / "secret", key_table=tmp_path / name
        )
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text()
    prepare_dicom(export, tmp_path / "c.h5", workers=1)
    assert not set(Store(tmp_path / "c.h5").keys) & set(Store(tmp_path / "a.h5").keys)
    with (tmp_path / "a").open(newline="") as file:
        rows = {row["PatientID"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {ALPHA, BETA}
    assert rows[ALPHA]["StudyInstanceUID"] == uid(ALPHA, "study")
    assert rows[ALPHA]["SeriesInstanceUID"] == uid(ALPHA, "series")


def test_several_cts_of_a_patient_are_several_scans(export, tmp_path):
    folder = export / "replanned"
    write_ct(folder, anatomy(SHAPE, seed=9), patient=ALPHA, series="second")
    write_rtstruct(folder / "rs.dcm", ALPHA, rois(["Myelon"]), series="second")
    write_ct(export / "diagnostic", anatomy(SHAPE), patient=ALPHA, series="third")
    secret = {"pseudonym_key": tmp_path / "secret", "workers": 1}
    summary = prepare_dicom(export, tmp_path / "s.h5", **secret)
    one, two, other = sorted(Store(tmp_path / "s.h5").keys, key=lambda key: -len(key))
    assert one.split("-")[0] == two.split("-")[0] != other
    assert any("patients with several CTs: 1;" in note for note in summary.notes)
    ((label, why),) = summary.left_out.items()
    assert label.startswith(one.split("-")[0])
    assert why == f"{export / 'diagnostic'}: CT of 6 slices: no RTSTRUCT or DICOM SEG belongs to it"

    chosen = prepare_dicom(export, tmp_path / "one.h5", series=[uid(ALPHA, "second")], **secret)
    assert Store(tmp_path / "one.h5").keys == sorted([one.split("-")[0], other])
    assert sum("another CT of the patient was chosen" in why for why in chosen.left_out.values()) == 2
    with Store(tmp_path / "one.h5") as store:
        image = store.read(one.split("-")[0], "image", slice(None))
    assert np.array_equal(image, anatomy(SHAPE, seed=9))


def test_structure_sets_of_one_ct_are_united(export, tmp_path):
    write_rtstruct(export / BETA / "more.dcm", BETA, {"Hirnstamm": [square(107.5, -4, 4, y=-14)]})
    shutil.copy(export / BETA / "rs.dcm", export / BETA / "copy.dcm")  # exported twice
    table = tmp_path / "table.csv"
    summary = prepare_dicom(export, tmp_path / "s.h5", workers=1, key_table=table)
    keys = keys_of(table)
    with Store(tmp_path / "s.h5") as store:
        bit = store.names.index("Brainstem")
        assert [bool(store.is_annotated(keys[p])[bit]) for p in (ALPHA, BETA)] == [False, True]
        assert store.voxels[keys[BETA]][3, bit] == 9 * 10
    assert f"{keys[BETA]}: SpinalCord: drawn alike in two files, taken once" in summary.notes


def test_dicom_seg_is_read_as_rtstruct_is(export, tmp_path):
    folder = export / BETA
    ct = read_ct(folder)
    masks = {"Myelon": drawn("Myelon", AFFINES[BETA])}
    (folder / "rs.dcm").unlink()
    write_seg(folder / "seg.dcm", masks, ct)
    table = tmp_path / "table.csv"
    prepare_dicom(export, tmp_path / "s.h5", only=["SpinalCord"], workers=1, key_table=table)
    with Store(tmp_path / "s.h5") as store:
        mask = stored_mask(store, keys_of(table)[BETA], "SpinalCord")
    assert np.array_equal(mask, masks["Myelon"][:, ::-1, ::-1])


def test_swapped_sides_are_told(tmp_path):
    write_ct(tmp_path / "export", hu(ALPHA), patient=ALPHA)
    swapped = rois()
    swapped["Parotis li"], swapped["Parotis re"] = swapped["Parotis re"], swapped["Parotis li"]
    write_rtstruct(tmp_path / "export" / "rs.dcm", ALPHA, swapped)
    summary = prepare_dicom(tmp_path / "export", tmp_path / "s.h5", workers=1)
    assert any("Parotid_L and Parotid_R look swapped" in note for note in summary.notes)


def test_an_empty_roi_takes_no_structure_from_a_drawn_one(tmp_path):
    write_ct(tmp_path / "export", hu(ALPHA), patient=ALPHA)
    contours = rois(["Myelon"]) | {"SpinalCord": [], "Moelle": [square(110.0, -3, 3, y=-10)]}
    write_rtstruct(tmp_path / "export" / "rs.dcm", ALPHA, contours)
    with pytest.raises(NasosegError, match=r"'Myelon' and 'Moelle' all mean SpinalCord \(synonym\)"):
        prepare_dicom(tmp_path / "export", tmp_path / "s.h5", workers=1)
    del contours["Moelle"]
    write_rtstruct(tmp_path / "export" / "rs.dcm", ALPHA, contours)
    prepare_dicom(tmp_path / "export", tmp_path / "s.h5", workers=1)
    with Store(tmp_path / "s.h5") as store:
        assert np.array_equal(stored_mask(store, store.keys[0], "SpinalCord"), drawn("Myelon"))
    contours["SpinalCord"] = [square(110.0, -3, 3, y=-10)]  # drawn too, and under the plainer name
    write_rtstruct(tmp_path / "export" / "rs.dcm", ALPHA, contours)
    summary = prepare_dicom(tmp_path / "export", tmp_path / "s.h5", workers=1, force=True)
    assert any("SpinalCord: a second ROI that means it less plainly was left out" in note for note in summary.notes)
    with Store(tmp_path / "s.h5") as store:
        assert np.flatnonzero(stored_mask(store, store.keys[0], "SpinalCord").any(axis=(1, 2))).tolist() == [4]


def test_command_line(export, tmp_path, capsys):
    write_ct(export / "diagnostic", anatomy(SHAPE), patient="Gamma-1", series="third")
    options = ["--only", "Parotid_L,SpinalCord", "--key-table", str(tmp_path / "table.csv"), "--workers", "1"]
    assert main(["prepare", "dicom", str(export), str(tmp_path / "s.h5"), *options]) == 0
    printed = capsys.readouterr()
    for shown in (
        "patients   2", "left out: 1 scans and contour files", "no RTSTRUCT or DICOM SEG belongs to it",
        "names of ROIs that mean no structure: 1", "secret was thrown away", "table.csv leads back to the patients",
    ):  # fmt: skip
        assert shown in printed.out
    for secret in ("Secretname", ALPHA, BETA, "Gamma-1", "19500607", "1950-06-07"):
        assert secret not in printed.out + printed.err
    assert main(["prepare", "dicom", str(export), str(tmp_path / "t.h5"), *options]) == 1
    assert "table.csv: exists already" in capsys.readouterr().err


def test_lung1_003(request, tmp_path, capsys):
    archive = request.config.rootpath.parent / "shared" / "data" / "dicom" / "lung1-003.zip"
    if not archive.is_file():
        pytest.skip("the real DICOM studies are not beside the project")
    out = tmp_path / "s.h5"
    options = ["--only", "SpinalCord,Esophagus", "--pixel-mm", "2", "--size", "256", "--workers", "1"]
    assert main(["prepare", "dicom", str(archive), str(out), *options]) == 0
    printed = capsys.readouterr()
    with Store(out) as store:
        (key,) = store.keys
        assert store.annotated.all()
        hu = store.read(key, "image", slice(None))
        cord = stored_mask(store, key, "SpinalCord")
        assert hu.shape == (107, 256, 256)
    assert 20 < np.median(hu[cord]) < 60
    ring = np.roll(cord, 6, axis=2) & ~cord  # 12 mm beside it stand the vertebral arches
    assert np.percentile(hu[ring], 90) > 200
    for data in (out.read_bytes(), printed.out.encode().replace(str(archive).encode(), b""), printed.err.encode()):
        assert b"LUNG1" not in data
        assert b"1.3.6.1" not in data
