"""`prepare`: what is stored is what the files hold, in both layouts and any orientation, killed in between or not."""

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from generated_studies import AFFINE_RAS, BOXES, SHAPE, ct, mask, save, write_nnunet, write_patients

from nasoseg.cli import check, info, prepare
from nasoseg.data.parts import parts_folder
from nasoseg.data.prepare import prepare_nifti
from nasoseg.data.resample import to_source
from nasoseg.data.store import Store
from nasoseg.labels import OPENKBP
from nasoseg.volumes.nifti import read_volume, write_volume


def axial(array: np.ndarray) -> np.ndarray:
    """(column to Left, row to Anterior, slice to Superior) as the files here -> axial, worked out by hand."""
    return array.transpose(2, 1, 0)[:, ::-1]


def stored_mask(store: Store, key: str, structure: str) -> np.ndarray:
    return (store.read(key, "labels", slice(None)) >> store.names.index(structure)) & 1


def test_folders_are_stored_as_they_are(tmp_path):
    root = write_patients(tmp_path / "studies")
    summary = prepare_nifti(root, tmp_path / "s.h5", workers=1)
    with Store(tmp_path / "s.h5") as store:
        assert store.keys == [f"case {i}" for i in range(4)]
        assert store.names == ["Brainstem", "Parotid_R", "Parotid_L", "Larynx"]  # OpenKBP's order, synonyms known
        for number, key in enumerate(store.keys):
            assert np.array_equal(store.read(key, "image", slice(None)), axial(ct(number)))
            for structure in BOXES:
                there = number > 0 or structure != "Larynx"
                drawn = axial(mask(structure)) if there else 0
                assert np.array_equal(stored_mask(store, key, structure), np.broadcast_to(drawn, axial(ct()).shape))
                assert store.is_annotated(key)[store.names.index(structure)] == there
            np.testing.assert_allclose(store.geometry(key).spacing_mm, [3, 2, 1.5])
            assert store.check(key) == []
        assert store.check_header() == []
    larynx = next(s for s in summary.inventory.structures if s.name == "Larynx")
    assert (larynx.annotated, larynx.present, larynx.slices) == (3, 3, 9)
    assert larynx.median_ml == pytest.approx(5 * 5 * 3 * 9 / 1000)  # voxels of 1.5 x 2 x 3 mm
    assert summary.inventory.slices == 32
    assert summary.left_out == {}
    assert [p.name for p in tmp_path.iterdir() if p.name != "studies"] == ["s.h5"]


def test_absent_means_annotated_and_empty(tmp_path):
    root = write_patients(tmp_path / "studies")
    save(root / "case 1" / "segmentations" / "Larynx.nii.gz", np.zeros(SHAPE, np.uint8))
    prepare_nifti(root, tmp_path / "s.h5", absent=["Larynx"], workers=1)
    with Store(tmp_path / "s.h5") as store:
        bit = store.names.index("Larynx")
        assert store.annotated[:, bit].all()
        assert [int(store.voxels[key][:, bit].sum()) for key in store.keys] == [0, 0, 75, 75]


def test_order_is_the_presets_or_the_alphabet_or_as_asked(tmp_path):
    root = tmp_path / "studies"
    save(root / "a" / "ct.nii.gz", ct())
    for structure in ("PTV70", "Mandible", "SpinalCord"):
        save(root / "a" / "segmentations" / f"{structure}.nii.gz", mask("Larynx"))
    order = [s.name for s in OPENKBP if s.name in ("PTV70", "Mandible", "SpinalCord")]
    assert names(root, tmp_path / "1.h5") == order == ["SpinalCord", "Mandible", "PTV70"]
    assert names(root, tmp_path / "2.h5", structures=["Bone_Mandible", "PTV70"]) == ["Mandible", "PTV70"]
    save(root / "a" / "segmentations" / "Thyroid.nii.gz", mask("Larynx"))
    assert names(root, tmp_path / "3.h5") == ["Mandible", "PTV70", "SpinalCord", "Thyroid"]


def names(root: Path, out: Path, **options: object) -> list[str]:
    prepare_nifti(root, out, workers=1, **options)
    return Store(out).names


def test_rename_joins_two_spellings(tmp_path):
    root = write_patients(tmp_path / "studies")
    masks = root / "case 2" / "segmentations"
    (masks / "Larynx.nii.gz").rename(masks / "LARYNX.nii.gz")
    prepare_nifti(root, tmp_path / "s.h5", rename={"LARYNX": "Larynx"}, workers=1)
    with Store(tmp_path / "s.h5") as store:
        assert store.annotated[:, store.names.index("Larynx")].tolist() == [False, True, True, True]


def test_any_orientation_and_format_gives_the_same_patient(tmp_path):
    root = tmp_path / "studies"
    for number, ending in enumerate((".nii.gz", ".nii", ".nrrd", ".mha")):
        # The same patient, its axes permuted and flipped in the files; the mask otherwise than the CT.
        for name, order, flips, array in (
            ("ct", np.roll([0, 1, 2], number), [number % 2, number // 2, 1], ct()),
            ("segmentations/Larynx", [2, 0, 1], [1, 0, number % 2], mask("Larynx")),
        ):
            image = nibabel.Nifti1Image(array, AFFINE_RAS)
            signs = [-1 if flip else 1 for flip in flips]
            turned = image.as_reoriented(np.column_stack([order, signs]))
            path = save(root / f"p{number}" / f"{name}.nii.gz", np.asarray(turned.dataobj), turned.affine)
            if ending != ".nii.gz":
                volume = read_volume(path)
                write_volume(path.with_name(path.name.replace(".nii.gz", ending)), volume.array, volume.geometry)
                path.unlink()
    prepare_nifti(root, tmp_path / "s.h5", workers=1)
    with Store(tmp_path / "s.h5") as store:
        assert len({store.source(key).shape for key in store.keys}) > 1
        for key in store.keys:
            assert np.array_equal(store.read(key, "image", slice(None)), axial(ct()))
            assert np.array_equal(stored_mask(store, key, "Larynx"), axial(mask("Larynx")))
            np.testing.assert_allclose(store.geometry(key).affine_lps, store.geometry("p0").affine_lps, atol=1e-4)
            ct_file = next((root / key).glob("ct.*"))
            hu = store.read(key, "image", slice(None)).astype(np.float32)
            assert np.array_equal(to_source(hu, store.geometry(key), store.source(key)), read_volume(ct_file).array)


def test_nnunet_with_nested_regions(tmp_path):
    summary = prepare_nifti(write_nnunet(tmp_path / "Dataset001"), tmp_path / "s.h5", workers=1)
    with Store(tmp_path / "s.h5") as store:
        assert store.keys == ["hn_000", "hn_001", "hn_002"]
        assert store.names == ["Brainstem", "Glands", "Parotid_L"]
        assert store.annotated.all()  # a value that does not occur: annotated and empty
        for number, key in enumerate(store.keys):
            glands = mask("Parotid_L") | mask("Parotid_R")
            assert np.array_equal(stored_mask(store, key, "Glands"), axial(glands))
            assert np.array_equal(stored_mask(store, key, "Parotid_L"), axial(mask("Parotid_L")))
            assert np.array_equal(stored_mask(store, key, "Brainstem"), axial(mask("Brainstem")) * (number > 0))
    assert summary.notes == []


def test_nnunet_reads_version_1_and_says_what_it_passes_over(tmp_path):
    root = write_nnunet(
        tmp_path / "Task001", labels={"0": "background", "1": "A", "2": "B", "3": "C"}, channel_names={"0": "T2"}
    )
    save(root / "imagesTr" / "hn_001_0001.nii.gz", ct())
    save(root / "imagesTs" / "hn_009_0000.nii.gz", ct())
    summary = prepare_nifti(root, tmp_path / "s.h5", workers=1)
    assert [s.name for s in summary.inventory.structures] == ["A", "B", "C"]
    assert len(summary.notes) == 3
    assert "'T2'" in summary.notes[0]
    assert "1 files of further channels" in summary.notes[1]
    assert "imagesTs" in summary.notes[2]


def test_resampled_and_what_vanishes_is_said(tmp_path):
    root = write_patients(tmp_path / "studies", patients=2)
    dot = np.zeros(SHAPE, np.uint8)
    dot[5, 5, 5] = 255
    save(root / "case 1" / "segmentations" / "Lens.nii.gz", dot)
    summary = prepare_nifti(root, tmp_path / "s.h5", pixel_mm=5.0, size=16, workers=1)
    assert summary.inventory.shapes == {"slices": (8, 8), "rows": (16, 16), "columns": (16, 16)}
    assert summary.notes == [
        "case 1: Lens (1 voxels) vanished by resampling: not annotated",
        "Lens: annotated in no patient of the store",
    ]
    with Store(tmp_path / "s.h5") as store:
        image = store.read("case 1", "image", slice(None))
        assert (image[:, 0] == -1024).all()  # 80 mm of a scan of 40 mm
        assert stored_mask(store, "case 1", "Larynx").any()


def test_pseudonyms(tmp_path):
    root = write_patients(tmp_path / "studies")
    for name in ("a.h5", "b.h5"):
        summary = prepare_nifti(root, tmp_path / name, pseudonym_key=tmp_path / "secret", workers=1)
        assert summary.pseudonymous
    prepare_nifti(root, tmp_path / "c.h5", pseudonym_key=tmp_path / "another", workers=1)
    keys = {name: set(Store(tmp_path / name).keys) for name in ("a.h5", "b.h5", "c.h5")}
    assert keys["a.h5"] == keys["b.h5"]
    assert not keys["a.h5"] & keys["c.h5"]
    assert all(len(key) == 11 and key[0] == "P" and int(key[1:], 16) for key in keys["a.h5"])
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert b"case" not in (tmp_path / "a.h5").read_bytes()
    assert str(tmp_path).encode() not in (tmp_path / "a.h5").read_bytes()


def test_workers_and_this_process_agree(tmp_path):
    root = write_patients(tmp_path / "studies", patients=5)
    seen = []
    many = prepare_nifti(root, tmp_path / "2.h5", workers=2, progress=lambda *said: seen.append(said))
    one = prepare_nifti(root, tmp_path / "1.h5", workers=1)
    assert many.inventory == one.inventory
    assert [done for _, done, _ in seen] == [1, 2, 3, 4, 5]
    assert {total for _, _, total in seen} == {5}


_RUN = """
import sys
from nasoseg.data.prepare import prepare_nifti
if __name__ == "__main__":
    prepare_nifti(sys.argv[1], sys.argv[2], workers=2, progress=lambda *said: print(*said, flush=True))
"""


def children(pid: int) -> set[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    found = {int(child) for child in listed.read_text().split()} if listed.exists() else set()
    return found | {grandchild for child in found for grandchild in children(child)}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to see the workers")
def test_killed_and_started_again(tmp_path, sample_root):
    (tmp_path / "run.py").write_text(_RUN)
    out = tmp_path / "s.h5"
    command = [sys.executable, str(tmp_path / "run.py"), str(sample_root), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if int(line.split()[-2]) >= 3:
                break
        workers = children(process.pid)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert len(workers) >= 2
    until = time.monotonic() + 20
    while any(Path(f"/proc/{pid}/stat").exists() for pid in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(Path(f"/proc/{pid}/stat").exists() for pid in workers), "a worker outlived its parent"
    assert not out.exists()
    finished = {path.name: path.stat().st_mtime_ns for path in parts_folder(out).glob("*.h5")}
    assert 3 <= len(finished) < 12
    (parts_folder(out) / "pt_0.tmp").write_bytes(b"left by the kill")

    kept = []

    def watch(what: str, done: int, total: int) -> None:
        kept.append({path.name: path.stat().st_mtime_ns for path in parts_folder(out).glob("*.h5")})

    summary = prepare_nifti(sample_root, out, workers=1, progress=watch)
    assert summary.reused == len(finished)
    assert len(kept[-1]) == 12
    assert {name: kept[-1][name] for name in finished} == finished, "a finished part was made again"
    assert not parts_folder(out).exists()
    undisturbed = prepare_nifti(sample_root, tmp_path / "undisturbed.h5", workers=1)
    assert summary.inventory == undisturbed.inventory  # the content's hash is in it
    with Store(out) as store:
        assert [finding for key in store.keys for finding in store.check(key)] == []


def test_changed_options_and_changed_files_are_done_again(tmp_path):
    root = write_patients(tmp_path / "studies")
    bad = root / "case 3" / "ct.nii.gz"
    bad.write_bytes(bad.read_bytes()[:100])
    for options in ({}, {"size": 16}, {"size": 16}):
        with pytest.raises(Exception, match=r"1 of 4 patients"):
            prepare_nifti(root, tmp_path / "s.h5", workers=1, **options)
    save(root / "case 2" / "segmentations" / "Larynx.nii.gz", mask("Brainstem"))
    save(bad, ct(3))
    summary = prepare_nifti(root, tmp_path / "s.h5", workers=1, size=16)
    assert summary.reused == 2
    prepare_nifti(root, tmp_path / "fresh.h5", workers=1, size=16)
    assert summary.inventory.content_sha256 == Store(tmp_path / "fresh.h5").content_sha256


def run(command: object, *words: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


def test_command_line(tmp_path, capsys):
    root = write_patients(tmp_path / "studies")
    (root / "notes").mkdir()
    (root / "case 3" / "ct.nii.gz").write_bytes(b"")
    out = tmp_path / "s.h5"
    options = ["--absent", "Larynx,Brainstem", "--rename", "Brainstem=Stem", "--workers", "1"]
    with pytest.raises(Exception, match=r"--absent: the store has no structure 'Brainstem': did you mean 'Stem'"):
        run(prepare, "nifti", root, out, *options)
    options[1] = "Larynx"
    assert run(prepare, "nifti", root, out, *options, "--skip-bad") == 0
    printed = capsys.readouterr().out
    assert "patients   3" in printed
    assert "left out: 1 patients\n  case 3: " in printed
    assert "notes: passed over, neither a CT nor segmentations in it" in printed
    assert "names of their folders" in printed
    assert run(info, out) == 0
    assert capsys.readouterr().out.strip() in printed
    assert run(info, out, "--json") == 0
    described = json.loads(capsys.readouterr().out)
    assert described["structures"][0] == {
        "name": "Larynx", "tg263": "Larynx", "annotated": 3, "present": 2, "slices": 6,
        "median_ml": pytest.approx(0.675),
    }  # fmt: skip
    assert described["spacing_mm"]["rows"] == [2, 2]
    assert run(check, out) == 0
    assert "3 patients, all checksums right" in capsys.readouterr().out


def test_check_finds_a_flipped_byte(tmp_path, capsys):
    out = tmp_path / "s.h5"
    prepare_nifti(write_patients(tmp_path / "studies"), out, workers=1)
    with h5py.File(out) as file:
        chunk = file["patients/case 2/image"].id.get_chunk_info(3)
    data = bytearray(out.read_bytes())
    data[chunk.byte_offset + chunk.size // 2] ^= 1
    out.write_bytes(data)
    assert run(check, out) == 1
    captured = capsys.readouterr()
    assert "case 2" in captured.out
    assert "1 findings" in captured.err


def test_openkbp(openkbp, tmp_path):
    root = tmp_path / "studies"
    root.mkdir()
    for folder in sorted(openkbp.iterdir())[::8]:
        (root / folder.name).symlink_to(folder)
    summary = prepare_nifti(root, tmp_path / "s.h5", absent=["PTV56", "PTV63"], workers=1)
    assert summary.inventory.patients == 16
    assert [s.name for s in summary.inventory.structures] == [s.name for s in OPENKBP]
    for structure in summary.inventory.structures:
        files = list(root.glob(f"*/segmentations/{structure.name}.nii.gz"))
        assert structure.present == len(files)
        assert structure.annotated == (16 if structure.name in ("PTV56", "PTV63") else len(files))
        images = [nibabel.load(file) for file in files]
        volumes_ml = [np.count_nonzero(i.dataobj) * np.prod(i.header.get_zooms()) / 1000 for i in images]
        assert structure.median_ml == pytest.approx(np.median(volumes_ml), rel=1e-5)
