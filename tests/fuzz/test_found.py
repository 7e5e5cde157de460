"""Inputs that once broke the promise, found by fuzzing or beside what it found, each as small as it can be."""

import gzip
import json
import shutil
import struct
import zipfile

import h5py
import nibabel
import numpy as np
import pytest
from generated_dicom import anatomy, write_ct
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import RLELossless

from nasoseg.comparison.plan import read_plan
from nasoseg.data.split_file import parse_split
from nasoseg.data.store import Store
from nasoseg.data.training_data import read_training_data
from nasoseg.errors import NasosegError
from nasoseg.evaluation.results import COLUMNS, read_results
from nasoseg.structure_map import load_structure_map
from nasoseg.tasks.building import build_task
from nasoseg.volumes.dicom import read_ct
from nasoseg.volumes.dicom_header import tolerant, words
from nasoseg.volumes.nifti import read_volume
from nasoseg.volumes.rtstruct import read_rtstruct


def test_a_panic_of_the_rle_decoder_is_an_error_of_ours(tmp_path):
    """It is written in Rust, and its PanicException is no Exception."""
    shape = (3, 16, 16)
    path = write_ct(tmp_path, anatomy(shape), syntax=RLELossless)[1]
    segments = [b"\x81\x07" * 3, b"\x81\x07" * 2]  # 128 times 7: more than there are pixels, and as many
    frame = struct.pack("<16I", 2, 64, 64 + len(segments[0]), *[0] * 13) + b"".join(segments)
    dataset = dcmread(path)
    dataset.PixelData = encapsulate([frame])
    dataset.save_as(path)
    with pytest.raises(NasosegError, match="its pixels cannot be read"):
        read_ct(tmp_path)


def test_a_slice_any_number_of_millimetres_away_is_missing_slices_not_a_list_of_them(tmp_path):
    def move(dataset, z):
        if z == 4:
            dataset.ImagePositionPatient = ["-20", "-30", str(100 + 25 * 10**9)]

    write_ct(tmp_path, anatomy(), edit=move)
    with pytest.raises(NasosegError, match=r"1e\+10 slices are missing, at 110\.00, 112\.50, .*\.\.\. mm"):
        read_ct(tmp_path)


def test_messages_quote_little_of_a_header_and_nobody(tmp_path):
    write_ct(tmp_path / "ct", anatomy(), patient="P-7781")
    ct = read_ct(tmp_path / "ct")
    dataset = dcmread(next((tmp_path / "ct").iterdir()), stop_before_pixels=True)
    with tolerant():
        dataset.SOPClassUID, dataset.Modality = "1." * 1000, "a" * 3000
        dataset.save_as(tmp_path / "rs.dcm")
    with pytest.raises(NasosegError, match="expected a DICOM RTSTRUCT") as caught:
        read_rtstruct(tmp_path / "rs.dcm", ct)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("content", [
    '{"windows_hu": [[-160, 240]], "patients": ' + "[" * 100_000,
    '{"windows_hu": [[-160, 1e400]], "patients": 1e400}',
    '{"windows_hu": [[-160, ' + "9" * 400 + "]]}",
])  # fmt: skip
def test_training_data_too_deep_or_too_large(tmp_path, content):
    path = tmp_path / "training_data.json"
    path.write_text(content)
    with pytest.raises(NasosegError, match=r"training_data\.json: cannot be read") as caught:
        read_training_data(path)
    assert len(str(caught.value)) < 500


def test_an_image_type_that_is_a_number(tmp_path):
    path = write_ct(tmp_path, anatomy())[0]
    dataset = dcmread(path)
    dataset[0x00080008] = RawDataElement(Tag(0x00080008), "FD", 8, struct.pack("<d", 1e308), 0, False, True)
    dataset.save_as(path)
    assert words(dcmread(path), "ImageType") == ["1E+308"]
    assert read_ct(tmp_path).volume.geometry.shape == anatomy().shape


def test_a_zip_with_a_member_that_has_no_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "ct.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("a"), b"x")
    content = (tmp_path / "ct.zip").read_bytes()
    directory = content.index(b"PK\x01\x02")
    without = bytearray(content[:directory]) + content[directory : directory + 46] + content[directory + 47 :]
    without[directory + 28] = 0  # the length of the name
    end = without.index(b"PK\x05\x06")
    without[end + 12 : end + 16] = struct.pack("<I", 46)
    (tmp_path / "ct.zip").write_bytes(without)
    with pytest.raises(NasosegError, match="holds '', a link or a name that leads out"):
        read_ct(tmp_path / "ct.zip")


@pytest.mark.parametrize(("place", "name", "found"), [
    ("", "format", "not a nasoseg store: found format 'xxx"),
    ("patients/pt_100", "affine_lps", "patient pt_100: affine_lps is xxx"),
])  # fmt: skip
def test_a_store_with_a_long_attribute(small_store, tmp_path, place, name, found):
    path = tmp_path / "store.h5"
    shutil.copyfile(small_store.path, path)
    with h5py.File(path, "r+") as file:
        file[place or "/"].attrs[name] = "x" * 60000
    with pytest.raises(NasosegError, match=f"{found}.*prepare") as caught:
        Store(path)
    assert len(str(caught.value)) < 700


def test_a_model_with_a_long_argument_of_the_wrong_kind():
    blueprint = {"class_path": "nasoseg.UNet", "init_args": {"depth": "2" + "[" * 5000}}
    with pytest.raises(NasosegError, match=r"config\.yaml: the model cannot be built.*pass model=") as caught:
        build_task(blueprint, labels=["Larynx"], in_channels=1, where="config.yaml")
    assert len(str(caught.value)) < 1000


def test_a_model_of_more_levels_than_a_plane_has_pixels():
    blueprint = {"class_path": "nasoseg.UNet", "init_args": {"depth": 2**31}}
    with pytest.raises(NasosegError, match=r"depth 2147483648, .* expected 1 to 12"):
        build_task(blueprint, labels=["Larynx"], in_channels=1, where="config.yaml")


def split(**changes):
    document = {"format": "nasoseg-split", "version": 1, "protocol": "clean", "seed": 0, "store_sha256": "0" * 64}
    folds = [{"train": ["a"], "validation": ["b"], "test": ["c"]}] * 2
    return json.loads(json.dumps(document | {"slices": {"a": 1, "b": 1, "c": 1}, "folds": folds} | changes))


@pytest.mark.parametrize(("changes", "words"), [
    ({"slices": {f"p{n}": 16384 for n in range(700)}}, "11468800 slices, expected at most 10000000 in all"),
    ({"protocol": "paper", "slices": {"a": 16384}, "folds": [{"test": {"a": [0]}}] * 10_000}, "10000 folds of 16384"),
    ({"seed": "x" * 5000}, r"seed 'xxx.*\.\.\., expected"),
    ({"version": ["x" * 5000]}, "version"),
    ({"folds": [{"train": ["y" * 5000], "validation": ["b"], "test": ["c"]}] * 2}, "patient 'yyy"),
], ids=range(5))  # fmt: skip
def test_splits_that_would_take_all_memory_or_fill_a_screen(tmp_path, changes, words):
    with pytest.raises(NasosegError, match=words) as caught:
        parse_split(tmp_path / "split.json", split(**changes))
    assert len(str(caught.value)) < 700


def test_a_structures_file_with_a_long_name(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"names: {{Couch: '{'i- ' * 3000}'}}")
    with pytest.raises(NasosegError, match="no structure 'i- ") as caught:
        load_structure_map(path)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(("changes", "words"), [
    ("folds: 2147483648", "folds: found 2147483648, expected a whole number, 2 or more, at most 10000"),
    ("folds: [&a [1, *a]]", "unfolds"),
    ("organs: 7", "organs: found 7, expected a list of texts"),
    ("organs: [[1]]", "organs: found"),
    ("shared: {a: b}", "shared: found"),
    (f"shared: ['{'x' * 5000}']", "there is no file"),
    ("protocols: {clean: 3}", "protocols: clean: found 3"),
    ("out: [1]", "out: found"),
    ("reference: 2020-13-45", "cannot be read as a benchmark"),
], ids=range(9))  # fmt: skip
def test_benchmarks_with_values_of_the_wrong_kind(tmp_path, changes, words):
    (tmp_path / "unet.yaml").write_text("model: {}")
    path = tmp_path / "plan.yaml"
    path.write_text(f"store: sample\nmethods: {{unet: unet.yaml}}\n{changes}\n")
    with pytest.raises(NasosegError, match=words) as caught:
        read_plan(path)
    assert len(str(caught.value)) < 700


def test_results_with_a_cell_that_fills_a_screen(tmp_path):
    path = tmp_path / "metrics.csv"
    row = ["unet", "clean", "[" * 3000, "a", "b", "p", "Mandible", "volume", "dsc", "0.5"]
    path.write_text(",".join(COLUMNS) + "\n" + ",".join(row))
    with pytest.raises(NasosegError, match=r"line 2: fold is '\[\[\[.*, expected at most 256 characters") as caught:
        read_results([path])
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("offset", [3e9, 1e30, -4e18])
def test_voxels_that_begin_beyond_any_file(tmp_path, ending, offset):
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    content = bytearray(image.to_bytes())
    content[108:112] = struct.pack("<f", offset)
    path = tmp_path / f"x{ending}"
    path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    with pytest.raises(NasosegError, match=r"x\.nii.*(from byte|cannot be read as an image)"):
        read_volume(path)


def test_a_damaged_slice_with_an_empty_element_of_unknown_value_representation(tmp_path):
    path = write_ct(tmp_path, anatomy())[2]
    dataset = dcmread(path)
    dataset[0x00281054] = RawDataElement(Tag(0x00281054), "LO", 0, b"", 0, False, True)
    del dataset.Rows
    dataset.save_as(path)
    path.write_bytes(path.read_bytes().replace(b"\x28\x00\x54\x10LO", b"\x28\x00\x54\x10L\x00"))
    with pytest.raises(NasosegError, match=r"\.dcm"):
        read_ct(tmp_path)


def test_a_store_whose_patients_are_a_million_numbers(small_store, tmp_path):
    path = shutil.copy(small_store.path, tmp_path / "store.h5")
    with h5py.File(path, "r+") as file:
        del file["patients"]
        file.create_dataset("patients", (10**6,), "<i2", chunks=(1,))
    with pytest.raises(NasosegError, match=r"store\.h5.*'patients' is no group"):
        Store(path)


def test_a_zip_whose_own_name_of_a_member_is_no_text(tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("größe.dcm", b"x")
    content = path.read_bytes()
    name = "größe.dcm".encode()
    path.write_bytes(content.replace(name, name[:2] + b"\xed" + name[3:], 1))  # before the file; the list keeps it
    with pytest.raises(NasosegError, match=r"export\.zip: cannot be unpacked"):
        read_ct(path)


def test_a_benchmark_whose_method_is_another_text(tmp_path):
    (tmp_path / "words.txt").write_text("one two three")
    (tmp_path / "benchmark.yaml").write_text("store: x.h5\nmethods: {unet: words.txt}\n")
    with pytest.raises(NasosegError, match=r"benchmark\.yaml: unet: .*words\.txt: found str, expected keys"):
        read_plan(tmp_path / "benchmark.yaml")
