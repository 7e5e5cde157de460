import multiprocessing
import os
import pickle
import random
import shutil
import subprocess
from dataclasses import replace

try:
    import resource
except ImportError:  # Windows
    resource = None

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasoseg.data.store import Patient, Store, count_voxels, pack_planes, plane_dtype, write_store
from nasoseg.errors import NasosegError
from nasoseg.labels import OPENKBP, Structure
from nasoseg.volumes.volume import Geometry

OBLIQUE = np.array([[0.1, 0.2, 0.9, -40.0], [0.3, 0.8, -0.1, 7.5], [2.5, -0.2, 0.1, 1e3], [0.0, 0.0, 0.0, 1.0]])


def random_patient(key, *, structures, shape=(3, 32, 40), seed=0):
    generator = np.random.default_rng(seed)
    image = generator.integers(-1024, 3072, shape).astype(np.int16)
    planes = generator.integers(0, 2**structures, shape, np.uint64).astype(plane_dtype(structures))
    annotated = np.ones(structures, bool)
    source = Geometry((shape[2], shape[1], shape[0]), OBLIQUE[:, [2, 1, 0, 3]])
    return Patient(key, image, planes, annotated, OBLIQUE, source)


def structures(number):
    return [Structure(f"s{bit}", f"s{bit}") for bit in range(number)]


def everything(store):
    """All that a store gives, in a form that can be compared."""
    patients = [store.patient(key) for key in store.keys]
    return [
        (store.structures, store.keys, store.annotated.tolist(), store.content_sha256),
        [(p.key, p.image.tobytes(), p.labels.tobytes(), p.labels.dtype, p.annotated.tolist()) for p in patients],
        [(p.affine_lps.tolist(), p.source.shape, p.source.affine_lps.tolist()) for p in patients],
        [store.voxels[key].tolist() for key in store.keys],
    ]


@pytest.fixture
def damaged(small_store, tmp_path):
    """A copy of the small store, to be damaged."""
    return shutil.copy(small_store.path, tmp_path / "store.h5")


@settings(deadline=None, max_examples=12)
@given(st.sampled_from([1, 10, 16, 17, 32, 33, 64]), st.integers(1, 4), st.integers(1, 40), st.integers(1, 40))
def test_patients_come_back_exactly(tmp_path_factory, number, z, h, w):
    path = tmp_path_factory.mktemp("store") / "store.h5"
    patients = [random_patient(k, structures=number, shape=(z, h, w), seed=i) for i, k in enumerate(("b", "a", "é ü"))]
    patients[1] = replace(patients[1], labels=np.zeros_like(patients[1].labels), annotated=np.zeros(number, bool))
    write_store(path, iter(patients), structures(number))
    with Store(path) as store:
        assert store.keys == ["a", "b", "é ü"]
        assert store.structures == structures(number)
        for patient in patients:
            read = store.patient(patient.key)
            for name in ("image", "labels", "annotated", "affine_lps"):
                expected, found = getattr(patient, name), getattr(read, name)
                assert found.dtype == expected.dtype
                np.testing.assert_array_equal(found, expected)
            assert read.source.shape == patient.source.shape
            np.testing.assert_array_equal(read.source.affine_lps, patient.source.affine_lps)
            np.testing.assert_array_equal(store.voxels[patient.key], count_voxels(patient.labels, number))
            np.testing.assert_array_equal(store.read(patient.key, "image", z - 1), patient.image[z - 1])
            assert store.check(patient.key) == []
        assert store.check_header() == []
    assert [file.name for file in path.parent.iterdir()] == ["store.h5"]


@pytest.mark.parametrize(("number", "bits"), [(1, 16), (16, 16), (17, 32), (32, 32), (33, 64), (64, 64)])
def test_planes_are_as_wide_as_needed_and_overlap(number, bits):
    shape = (2, 3, 4)
    masks = {number - 1: np.zeros(shape, bool), 0: np.ones(shape, np.uint8)}
    masks[number - 1][1, 2, 3] = True
    planes = pack_planes(masks, shape=shape, structures=number)
    assert planes.dtype == np.dtype(f"<u{bits // 8}")
    assert int(planes[1, 2, 3]) == 1 | 1 << (number - 1)
    counts = count_voxels(planes, number)
    assert counts.shape == (2, number)
    assert counts[:, number - 1].tolist() == ([12, 12] if number == 1 else [0, 1])


@pytest.mark.parametrize("number", [0, 65])
def test_too_few_or_many_structures_are_refused(number):
    with pytest.raises(NasosegError, match=f"found {number} structures, expected 1 to 64"):
        plane_dtype(number)


BAD_PATIENTS = {
    "labels of another shape": ({"labels": np.zeros((3, 32, 39), "<u2")}, r"labels uint16 \(3, 32, 39\) in place of"),
    "labels too wide": ({"labels": np.zeros((3, 32, 40), "<u4")}, r"labels uint32 .* in place of uint16"),
    "bits beyond": ({"labels": np.full((3, 32, 40), 8, "<u2")}, "bits beyond its 3 structures"),
    "float image": ({"image": np.zeros((3, 32, 40), np.float32)}, "image float32"),
    "flat image": ({"image": np.zeros((32, 40), np.int16)}, r"an image of shape \(32, 40\)"),
    "no slices": ({"image": np.zeros((0, 32, 40), np.int16)}, r"an image of shape \(0, 32, 40\)"),
    "annotated of another length": ({"annotated": np.ones(4, bool)}, r"annotated bool \(4,\) in place of bool \(3,\)"),
    "affine of another shape": ({"affine_lps": np.eye(3)}, r"affine_lps float64 \(3, 3\)"),
    "affine with NaN": ({"affine_lps": np.full((4, 4), np.nan)}, "an affine that is not finite"),
    "source without end": ({"source": Geometry((3, 32, 40), np.full((4, 4), np.inf))}, "an affine that is not finite"),
    "key with a slash": ({"key": "a/b"}, "patient 'a/b'"),
    "empty key": ({"key": ""}, "patient ''"),
    "dot as key": ({"key": "."}, r"patient '\."),
    "dots in a key": ({"key": "a..b"}, r"patient 'a\.\.b'"),
    "padded key": ({"key": "pat 1 "}, "patient 'pat 1 '"),
}


def test_structures_that_no_store_can_have_are_refused(tmp_path):
    patient = random_patient("good", structures=2)
    for name, message in (("Lens/L", "structure 'Lens/L': expected"), ("s0", "two structures 's0', expected one")):
        with pytest.raises(NasosegError, match=message):
            write_store(tmp_path / "store.h5", [patient], [Structure("s0", "s0"), Structure(name, "other")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("change", "message"), BAD_PATIENTS.values(), ids=BAD_PATIENTS)
def test_patient_that_contradicts_itself_is_refused(tmp_path, change, message):
    good = random_patient("good", structures=3)
    bad = replace(random_patient("bad", structures=3), **change)
    with pytest.raises(NasosegError, match=message) as caught:
        write_store(tmp_path / "store.h5", [good, bad], structures(3))
    assert repr(bad.key) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_two_patients_of_one_key_and_no_patient_are_refused(tmp_path):
    patient = random_patient("twin", structures=3)
    with pytest.raises(NasosegError, match="two patients 'twin', expected one"):
        write_store(tmp_path / "store.h5", [patient, patient], structures(3))
    with pytest.raises(NasosegError, match="no patient to write"):
        write_store(tmp_path / "store.h5", [], structures(3))
    assert list(tmp_path.iterdir()) == []


def test_failed_writing_leaves_the_older_store(tmp_path):
    path = tmp_path / "store.h5"
    write_store(path, [random_patient("old", structures=3)], structures(3))

    def patients():
        yield random_patient("new", structures=3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store(path, patients(), structures(3))
    assert Store(path).keys == ["old"]
    assert [file.name for file in tmp_path.iterdir()] == ["store.h5"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount a small tmpfs")
def test_full_disk_leaves_nothing(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        patients = (random_patient(f"p{i}", structures=3, shape=(20, 64, 64), seed=i) for i in range(5))
        with pytest.raises(NasosegError, match=r"could not be written \(.*free disk space") as caught:
            write_store(small / "store.h5", patients, structures(3))
        assert str(small / "store.h5") in str(caught.value)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.skipif(resource is None, reason="no limits on this system")
@pytest.mark.parametrize("limit", [1, 5_000, 100_000])
def test_disk_that_refuses_at_any_time_leaves_nothing(tmp_path, limit):
    """The system's limit on a file's size stands for the full disk, which only root can make."""
    patients = [random_patient(f"p{i}", structures=3, shape=(20, 64, 64), seed=i) for i in range(3)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(NasosegError, match=r"store.h5: could not be written \(.*free disk space"):
            write_store(tmp_path / "store.h5", patients, structures(3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    write_store(tmp_path / "store.h5", patients, structures(3))  # and HDF5 is none the worse for it
    assert Store(tmp_path / "store.h5").check("p2") == []


def test_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(NasosegError, match=r"could not be written .*choose another folder"):
        write_store(tmp_path / "none" / "store.h5", [random_patient("p", structures=3)], structures(3))


def set_attribute(path, name, value):
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value


def test_other_versions_and_formats_are_refused(damaged):
    set_attribute(damaged, "version", 2)
    with pytest.raises(NasosegError, match="store of version 2, this nasoseg reads version 1: prepare it again"):
        Store(damaged)
    set_attribute(damaged, "format", "pictures")
    with pytest.raises(NasosegError, match="found format 'pictures', expected 'nasoseg-slices'"):
        Store(damaged)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04" + bytes(5000)])
def test_what_is_no_hdf5_is_refused(tmp_path, content):
    path = tmp_path / "store.h5"
    path.write_bytes(content)
    with pytest.raises(NasosegError, match="cannot be read as a store"):
        Store(path)


def test_missing_files_folders_and_foreign_hdf5_are_refused(tmp_path):
    for path in (tmp_path / "none.h5", tmp_path):
        with pytest.raises(NasosegError, match="no such store: expected an HDF5 file made by `nasoseg prepare`"):
            Store(path)
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["image"] = np.zeros(3)
    with pytest.raises(NasosegError, match="not a nasoseg store"):
        Store(tmp_path / "foreign.h5")


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.9, 0.999])
def test_truncated_store_is_refused(damaged, kept):
    with open(damaged, "rb+") as file:
        file.truncate(int(os.path.getsize(damaged) * kept))
    with pytest.raises(NasosegError, match=r"cannot be read as a store .*truncated or damaged"):
        Store(damaged)


def test_header_that_claims_more_slices_than_there_are_is_refused(tmp_path):
    """A file of a few kilobytes must not make the reader ask for gigabytes."""
    path = tmp_path / "store.h5"
    write_store(path, [random_patient("p", structures=3)], structures(3))
    with h5py.File(path, "r+") as file:
        group = file["patients/p"]
        for name, dtype in (("image", "<i2"), ("labels", "<u2")):
            del group[name]
            group.create_dataset(name, (16384, 16384, 16384), dtype, chunks=(1, 16384, 16384))
        del group["voxels"]
        group.create_dataset("voxels", (16384, 3), "<u4", data=np.zeros((16384, 3), "<u4"))
    with pytest.raises(NasosegError, match="patient p: image does not hold the 16384 slices that its shape claims"):
        Store(path)


def test_damaged_chunk_is_an_error_at_reading_and_a_finding_of_check(damaged):
    with h5py.File(damaged, "r") as file:
        chunk = file["patients/pt_36/image"].id.get_chunk_info(4)
    with open(damaged, "rb+") as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 0x10]))
    with Store(damaged) as store:
        store.read("pt_36", "image", 3)
        for slices in (4, slice(2, 6)):
            with pytest.raises(NasosegError, match=r"store.h5: patient pt_36: image cannot be read .*`nasoseg check`"):
                store.read("pt_36", "image", slices)
        assert [finding for key in store.keys for finding in store.check(key)] == store.check("pt_36")
        assert "patient pt_36: image cannot be read" in store.check("pt_36")[0]


def test_content_that_was_changed_with_valid_hdf5_is_found(damaged):
    """HDF5's own checksums are right here: only the recorded SHA-256 tells."""
    with h5py.File(damaged, "r+") as file:
        file["patients/pt_36/image"][2, 5, 5] += 1
        file["patients/pt_92/labels"][0, 0, 0] ^= 1
    with Store(damaged) as store:
        assert store.check("pt_36") == ["patient pt_36: image differs from its recorded SHA-256: it was damaged"]
        assert len(store.check("pt_92")) == 2
        assert "index of slices disagrees" in store.check("pt_92")[1]
        assert store.check("pt_100") == store.check_header() == []


@pytest.mark.parametrize("name", ["annotated", "affine_lps", "spacing_mm", "source_shape", "source_affine_lps"])
def test_attributes_that_were_changed_are_refused(damaged, name):
    with h5py.File(damaged, "r+") as file:
        attributes = file["patients/pt_36"].attrs
        value = attributes[name]
        value.flat[0] = not value.flat[0] if value.dtype == bool else value.flat[0] + 1
        attributes.modify(name, value)
    with pytest.raises(NasosegError, match="attributes differ from the recorded content_sha256"):
        Store(damaged)


def test_marks_that_contradict_voxels_are_found(tmp_path):
    path = tmp_path / "store.h5"
    patient = replace(random_patient("p", structures=3), annotated=np.array([True, False, True]))
    write_store(path, [patient], structures(3))
    assert Store(path).check("p") == ["patient p: s1 has voxels but is marked as not annotated"]


def test_any_flipped_byte_is_refused_found_or_without_effect(tmp_path):
    path = tmp_path / "store.h5"
    patients = [random_patient(f"p{i}", structures=3, shape=(2, 8, 8), seed=i) for i in range(2)]
    write_store(path, patients, structures(3))
    whole = path.read_bytes()
    expected = everything(Store(path))
    generator = random.Random(0)
    refused = found = checked = 0
    for position in [*range(64), *generator.sample(range(len(whole)), 500)]:
        flipped = bytearray(whole)
        flipped[position] ^= generator.choice([1 << generator.randrange(8), 0xFF])
        path.write_bytes(flipped)
        try:
            with Store(path) as store:
                findings = [*store.check_header(), *(finding for key in store.keys for finding in store.check(key))]
                assert findings or everything(store) == expected, f"silent change at byte {position}"
                found += bool(findings)
        except NasosegError as error:
            refused += str(path) in str(error) and len(str(error)) < 600
            continue
        checked += 1
    assert refused + checked == 564
    assert refused > 100
    assert found > 50


def test_store_that_was_replaced_while_open_is_refused(damaged):
    store = Store(damaged)
    write_store(damaged, [random_patient(key, structures=10) for key in store.keys], OPENKBP)
    with pytest.raises(NasosegError, match="it was replaced after it was opened"):
        store.read(store.keys[0], "image", 0)


def _digest(store, key, connection):
    connection.send([int(store.read(key, "image", z).sum(dtype=np.int64)) for _ in range(20) for z in range(8)])


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # libraries' idle threads
def test_store_opened_before_a_fork_reads_right_in_children_and_parent(small_store):
    with Store(small_store.path) as store:
        keys = store.keys[:3]
        expected = {key: store.patient(key).image.sum(axis=(1, 2), dtype=np.int64).tolist() * 20 for key in keys}
        context = multiprocessing.get_context("fork")
        pipes = {key: context.Pipe(duplex=False) for key in keys}
        children = [context.Process(target=_digest, args=(store, key, pipes[key][1])) for key in keys]
        for child in children:
            child.start()
        here = [int(store.read(keys[0], "image", z).sum(dtype=np.int64)) for _ in range(20) for z in range(8)]
        assert {key: pipes[key][0].recv() for key in keys} == expected
        assert here == expected[keys[0]]
        for child in children:
            child.join(30)
            assert child.exitcode == 0


def test_pickled_store_reads(small_store):
    with Store(small_store.path) as store:
        before = everything(store)  # opens the file, whose handle must stay behind
        with pickle.loads(pickle.dumps(store)) as again:
            assert everything(again) == before


def test_closed_store_opens_again_and_gone_file_is_an_error(damaged):
    store = Store(damaged)
    before = store.read("pt_36", "image", 0)
    store.close()
    np.testing.assert_array_equal(store.read("pt_36", "image", 0), before)
    store.close()
    os.unlink(damaged)
    with pytest.raises(NasosegError, match="patient pt_36: image cannot be read"):
        store.read("pt_36", "image", 0)


def test_a_relative_path_is_read_after_a_change_of_folder(tmp_path, monkeypatch):
    write_store(tmp_path / "store.h5", [random_patient("p", structures=3)], structures(3))
    monkeypatch.chdir(tmp_path)
    store = Store("store.h5")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert store.patient("p").image.shape == (3, 32, 40)
    store.close()
    (tmp_path / "store.h5").unlink()
    with pytest.raises(NasosegError, match=r"^store.h5: patient p: image cannot be read .* moved or removed"):
        store.patient("p")
