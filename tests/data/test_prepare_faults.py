"""`prepare` on bad input: each error names file, finding, expectation and remedy, and nothing half-made is left."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from generated_studies import AFFINE_RAS, SHAPE, ct, mask, save, write_nnunet, write_patients

from nasoseg.data.parts import locked, parts_folder
from nasoseg.data.prepare import prepare_nifti
from nasoseg.data.store import Store
from nasoseg.errors import NasosegError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_patients(tmp_path / "studies")


def refused(root: Path, out: Path, *words: str, **options: object) -> str:
    """The error says all ``words`` on one screen; no store is there."""
    with pytest.raises(NasosegError) as caught:
        prepare_nifti(root, out, **{"workers": 1, **options})
    message = str(caught.value)
    assert len(message) < 4000  # ten patients, each with a long path
    for word in words:
        assert word in message, message
    assert not out.exists()
    return message


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def nan_ct(path: Path) -> None:
    array = ct().astype(np.float32)
    array[3, 3, 3] = np.nan
    save(path, array)


def shifted(path: Path) -> None:
    affine = AFFINE_RAS.copy()
    affine[2, 3] += 1.5  # half a slice
    save(path, mask("Larynx"), affine)


def half(path: Path) -> None:
    save(path, mask("Larynx").astype(np.float32) * 0.5)


CT, LARYNX = "ct.nii.gz", "segmentations/Larynx.nii.gz"
FAULTS: list[tuple[str, Callable[[Path], object], tuple[str, ...]]] = [
    (CT, truncate, ("cannot be read", "truncated", "copy or export it again")),
    (LARYNX, truncate, ("cannot be read", "truncated", "copy or export it again")),
    (CT, nan_ct, ("1 of 3840 voxels are NaN", "expected finite", "leave the patient out")),
    (CT, lambda path: save(path, np.zeros(SHAPE, np.int16)), ("constant CT", "Hounsfield", "export the CT again")),
    (CT, lambda path: save(path, np.stack([ct(), ct()], axis=-1)), ("4-D", "(24, 20, 8, 2)", "expected a 3-D")),
    (LARYNX, lambda path: save(path, mask("Larynx")[:-1]), ("another grid", "(8, 20, 23)", "expected (8, 20, 24)")),
    (LARYNX, shifted, ("another grid", "101.5", "100.0", "resample it onto the CT's grid")),
    (LARYNX, lambda path: save(path, np.zeros(SHAPE, np.uint8)), ("no voxel", "remove the file", "--absent Larynx")),
    (LARYNX, half, ("0.5", "whole numbers", "thresholded")),
    (CT, Path.unlink, ("found none as its CT", "expected one ct.nii.gz", "add it")),
]


@pytest.mark.parametrize(("file", "spoil", "words"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_a_bad_file_is_named(root, tmp_path, file, spoil, words):
    bad = root / "case 2" / file
    spoil(bad)
    out = tmp_path / "s.h5"
    name = str(bad) if bad.exists() else str(bad.parent)
    message = refused(root, out, "1 of 4 patients cannot be used", f"case 2: {name}", "--skip-bad", *words)
    assert message.count("\n  case ") == 1
    assert len(list(parts_folder(out).glob("*"))) == 4  # three parts and the lock; no temporary file
    summary = prepare_nifti(root, out, workers=1, skip_bad=True)
    assert summary.reused == 3
    assert list(summary.left_out) == ["case 2"]
    assert Store(out).keys == ["case 0", "case 1", "case 3"]
    assert not parts_folder(out).exists()


def test_all_bad_patients_are_listed_the_first_ten(tmp_path):
    root = write_patients(tmp_path / "studies", patients=13)
    for folder in root.iterdir():
        if folder.name != "case 5":
            truncate(folder / "ct.nii.gz")
    message = refused(root, tmp_path / "s.h5", "12 of 13 patients", "and 2 more")
    assert message.count("cannot be read") == 10


def test_no_patient_is_left(root, tmp_path):
    for folder in root.iterdir():
        truncate(folder / "ct.nii.gz")
    refused(root, tmp_path / "s.h5", "no patient can be used", "case 3: ", skip_bad=True)
    assert not parts_folder(tmp_path / "s.h5").exists()


def test_two_spellings_of_one_structure(root, tmp_path):
    masks = root / "case 2" / "segmentations"
    (masks / "Parotid_L.nii.gz").rename(masks / "Left Parotid.nii.gz")
    refused(root, tmp_path / "s.h5", "'Left Parotid'", "'Parotid_L'", "case 2", "--rename 'Parotid_L=Left Parotid'")
    prepare_nifti(root, tmp_path / "s.h5", workers=1, rename={"Parotid_L": "Left Parotid"})


def test_two_spellings_in_one_patient(root, tmp_path):
    save(root / "case 2" / "segmentations" / "larynx.nii.gz", mask("Larynx"))
    refused(root, tmp_path / "s.h5", "'larynx'", "'Larynx'", "--rename 'larynx=Larynx'")
    refused(root, tmp_path / "s.h5", "case 2", "'Larynx' twice", "remove one", rename={"larynx": "Larynx"})


def test_accents_that_macos_wrote_apart_are_one_spelling(root, tmp_path):
    """Two names that look the same, of which no one would see that they are two structures."""
    apart, together = "Ru\u0308ckenmark", "R\u00fcckenmark"
    for number in range(4):
        masks = root / f"case {number}" / "segmentations"
        (masks / "Brainstem.nii.gz").rename(masks / f"{together if number else apart}.nii.gz")
    prepare_nifti(root, tmp_path / "s.h5", workers=1, absent=[apart])
    with Store(tmp_path / "s.h5") as store:
        assert store.names.count(together) == 1
        assert apart not in store.names
        assert all(store.is_annotated(key)[store.names.index(together)] for key in store.keys)
    prepare_nifti(root, tmp_path / "t.h5", workers=1, rename={apart: "SpinalCord"})
    save(root / "case 1" / "segmentations" / f"{apart}.nii.gz", mask("Brainstem"))
    refused(root, tmp_path / "u.h5", "case 1", "is also in", "expected one file a structure")


def test_two_files_for_one_thing(root, tmp_path):
    shutil.copy(root / "case 1" / CT, root / "case 1" / "ct.nii")
    refused(root, tmp_path / "s.h5", "case 1", "ct.nii and ct.nii.gz", "keep one")
    (root / "case 1" / "ct.nii").unlink()
    shutil.copy(root / "case 1" / LARYNX, root / "case 1" / "segmentations" / "Larynx.nrrd")
    refused(root, tmp_path / "s.h5", "Larynx.nrrd", "also in Larynx.nii.gz", "remove one")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"structures": ["Larinx"]}, ["no structure 'Larinx'", "did you mean 'Larynx'?"]),
        ({"absent": ["Brain"]}, ["--absent", "'Brain'", "did you mean 'Brainstem'?"]),
        ({"rename": {"Larinx": "Larynx"}}, ["--rename", "'Larinx'", "did you mean 'Larynx'?"]),
        ({"rename": {"Larynx": "GTV/CTV"}}, ["structure 'GTV/CTV'", "--rename"]),
        ({"pixel_mm": 0.01}, ["--pixel-mm", "0.01", "0.1 to 20 mm"]),
        ({"pixel_mm": float("nan")}, ["--pixel-mm", "nan", "0.1 to 20 mm"]),
        ({"size": 8}, ["--size", "found 8", "16 to 4096"]),
        ({"workers": 0}, ["--workers", "found 0"]),
    ],
    ids=str,
)
def test_bad_options(root, tmp_path, options, words):
    refused(root, tmp_path / "s.h5", *words, **options)
    assert not parts_folder(tmp_path / "s.h5").exists()


def test_bad_roots(tmp_path):
    refused(tmp_path / "none", tmp_path / "s.h5", "no such folder", "<patient>/ct.nii.gz")
    (tmp_path / "empty" / "x").mkdir(parents=True)
    refused(tmp_path / "empty", tmp_path / "s.h5", "no study found (it holds x)", "imagesTr")
    save(tmp_path / "empty" / "x" / "ct.nii.gz", ct())
    refused(tmp_path / "empty", tmp_path / "s.h5", "no patient has a structure", "segmentations")


def test_the_store_is_not_overwritten(root, tmp_path):
    out = tmp_path / "s.h5"
    out.write_text("precious")
    with pytest.raises(NasosegError, match=r"s.h5: exists already: .* --force"):
        prepare_nifti(root, out, workers=1)
    truncate(root / "case 0" / CT)
    with pytest.raises(NasosegError, match=r"1 of 4"):
        prepare_nifti(root, out, workers=1, force=True)
    assert out.read_text() == "precious"
    prepare_nifti(root, out, workers=1, force=True, skip_bad=True)
    assert len(Store(out).keys) == 3
    refused(root, tmp_path / "none" / "s.h5", "no folder", "make it first")
    with pytest.raises(NasosegError, match="is a folder"):
        prepare_nifti(root, tmp_path, workers=1)


def test_two_at_once(root, tmp_path):
    with locked(parts_folder(tmp_path / "s.h5")):
        refused(root, tmp_path / "s.h5", "another `nasoseg prepare`", "wait")


def test_a_strange_folder_of_parts_keeps_what_is_not_ours(root, tmp_path):
    folder = parts_folder(tmp_path / "s.h5")
    folder.mkdir()
    (folder / "letter.txt").write_text("precious")
    (folder / "case 0.h5").write_text("not a part")
    assert prepare_nifti(root, tmp_path / "s.h5", workers=1).reused == 0
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]


def test_names_that_cannot_be_keys(root, tmp_path):
    (root / "case 3").rename(root / "a..b")
    refused(root, tmp_path / "s.h5", "patient 'a..b'", "--pseudonym-key")
    (root / "a..b").rename(root / "a\nb")
    refused(root, tmp_path / "s.h5", r"patient 'a\nb'", "rename the folder")
    prepare_nifti(root, tmp_path / "s.h5", workers=1, pseudonym_key=tmp_path / "secret")


def test_bad_secrets(root, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("short")
    secret.chmod(0o600)
    refused(root, tmp_path / "s.h5", str(secret), "5 bytes", "16 or more", pseudonym_key=secret)
    secret.write_text("x" * 64)
    secret.chmod(0o644)
    refused(root, tmp_path / "s.h5", str(secret), "mode 0644", "chmod 600", pseudonym_key=secret)
    refused(root, tmp_path / "s.h5", "cannot be read or made", pseudonym_key=tmp_path / "no" / "secret")


def label(root: Path, case: int, value: int) -> None:
    array = mask("Parotid_L") * 2
    array[0, 0, 0] = value
    save(root / "labelsTr" / f"hn_{case:03}.nii.gz", array)


def test_nnunet_values_that_nobody_described(tmp_path):
    root = write_nnunet(tmp_path / "d")
    label(root, 1, 9)
    refused(root, tmp_path / "s.h5", "hn_001: ", "values [9]", "[0, 1, 2, 3]", "correct the file")


def test_nnunet_ignore_is_not_taken_for_background(tmp_path):
    labels = {"background": 0, "Brainstem": 1, "Glands": [2, 3], "ignore": 4}
    root = write_nnunet(tmp_path / "d", labels=labels)
    prepare_nifti(root, tmp_path / "none.h5", workers=1)  # no voxel carries it
    assert Store(tmp_path / "none.h5").names == ["Brainstem", "Glands"]
    label(root, 1, 4)
    refused(root, tmp_path / "s.h5", "hn_001: ", "1 voxels carry the label 'ignore' (4)", "relabel")


def test_nnunet_without_its_partner(tmp_path):
    root = write_nnunet(tmp_path / "d")
    (root / "labelsTr" / "hn_002.nii.gz").unlink()
    (root / "imagesTr" / "hn_001_0000.nii.gz").unlink()
    refused(
        root, tmp_path / "s.h5", "2 of 3", "imagesTr/hn_001_0000.nii.gz: no such", "labelsTr/hn_002.nii.gz: no such"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": {"background": 0}}, ["expected one structure or more"]),
        ({"labels": {"background": 0, "A": [0, 1]}}, ["0 for background only"]),
        ({"labels": {"background": 0, "A": "one"}}, ["'A' is 'one'", "whole number"]),
        ({"labels": None}, ["cannot be read as nnU-Net's description"]),
        ({"file_ending": ".png"}, ["file_ending '.png'", ".nii.gz", "convert"]),
        ({"dataset": {"hn": {}}}, ['lists its files under "dataset"', "imagesTr"]),
    ],
    ids=str,
)
def test_nnunet_descriptions(tmp_path, changes, words):
    root = write_nnunet(tmp_path / "d", **changes)
    refused(root, tmp_path / "s.h5", str(root / "dataset.json"), *words)


def test_nnunet_without_description(tmp_path):
    root = write_nnunet(tmp_path / "d")
    (root / "dataset.json").write_text(json.dumps({"labels": 1})[:-3])
    refused(root, tmp_path / "s.h5", "dataset.json", "expected JSON")
    (root / "dataset.json").unlink()
    refused(root, tmp_path / "s.h5", "dataset.json", "FileNotFoundError")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 700 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if shutil.which("mount") and hasattr(os, "geteuid") and os.geteuid() == 0
        else None
    )
    if mounted is None or mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip() if mounted else 'only root can'}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk(small_disk, sample_root, workers):
    out = small_disk / "s.h5"
    refused(sample_root, out, str(out), "the disk is full", "free space", "finished patients are kept", workers=workers)
    parts = list(parts_folder(out).glob("*.h5"))
    assert parts
    assert not list(parts_folder(out).glob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    summary = prepare_nifti(sample_root, out, workers=1)
    assert summary.reused == len(parts)
    assert summary.inventory.patients == 12


def test_a_disk_that_fills_up_at_the_merge(small_disk, tmp_path):
    # The parts fit, and the whole store beside them does not.
    root = tmp_path / "studies"
    random = np.random.default_rng(0)
    for number in range(4):
        noise = random.integers(-1000, 1000, (64, 64, 18)).astype(np.int16)  # 110 kB when compressed
        save(root / f"p{number}" / "ct.nii.gz", noise)
        save(root / f"p{number}" / "segmentations" / "A.nii.gz", (noise > 900).astype(np.uint8))
    out = small_disk / "s.h5"
    refused(root, out, "the disk is full")
    assert len(list(parts_folder(out).glob("*.h5"))) == 4
    assert sorted(path.name for path in parts_folder(out).iterdir()) == ["lock", *(f"p{i}.h5" for i in range(4))]
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert prepare_nifti(root, out, workers=1).reused == 4


def test_hidden_files_are_not_read(root, tmp_path):
    for folder in root.iterdir():
        masks = folder / "segmentations"
        shutil.copy(masks / "Brainstem.nii.gz", masks / ".0a1b2c3d-4242.tmp.Brainstem.nii.gz")  # left by a kill
        (masks / "._Brainstem.nii.gz").write_bytes(b"\0\5\x16\7")  # of macOS
        (folder / "._ct.nii.gz").write_bytes(b"\0\5\x16\7")
    summary = prepare_nifti(root, tmp_path / "s.h5", workers=1)
    assert sorted(Store(tmp_path / "s.h5").names) == ["Brainstem", "Larynx", "Parotid_L", "Parotid_R"]
    assert summary.notes == []
    cases = write_nnunet(tmp_path / "cases")
    for part in ("imagesTr", "labelsTr"):
        for path in list((cases / part).iterdir()):
            path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    prepare_nifti(cases, tmp_path / "cases.h5", workers=1)
    assert len(Store(tmp_path / "cases.h5").keys) == 3


def test_voxels_beside_their_header_are_read_anew_where_they_changed(root, tmp_path):
    header = root / "whole" / "ct.mhd"
    header.parent.mkdir()
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(ct().T.copy()), str(header))
    truncate(root / "case 3" / CT)
    refused(root, tmp_path / "s.h5", "case 3")
    (ct() + np.int16(70)).T.tofile(header.with_suffix(".raw"))  # the header stays as it is
    prepare_nifti(root, tmp_path / "s.h5", workers=1, skip_bad=True)
    assert Store(tmp_path / "s.h5").patient("whole").image.mean() == pytest.approx(ct().mean() + 70)


def test_compressed_voxels_beside_a_mask_are_no_file_to_tell_of(root, tmp_path):
    image = SimpleITK.ReadImage(str(root / "case 1" / "segmentations" / "Larynx.nii.gz"))
    SimpleITK.WriteImage(image, str(root / "case 1" / "segmentations" / "Lens_L.mhd"), True)
    assert (root / "case 1" / "segmentations" / "Lens_L.zraw").exists()
    assert prepare_nifti(root, tmp_path / "s.h5", workers=1).notes == []
