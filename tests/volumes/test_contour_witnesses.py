"""RTSTRUCT and SEG before other programs: plastimatch, dciodvfy and rt-utils, on real patients where they are there."""

import shutil
import subprocess
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from generated_ct_series import axial_geometry, ct_series, write_ct
from sample_files import read_nifti
from scipy import ndimage

from nasoseg.errors import NasosegError
from nasoseg.labels import structure
from nasoseg.volumes.ct_series import CtSeries
from nasoseg.volumes.dicom import read_ct
from nasoseg.volumes.dicom_seg import write_seg
from nasoseg.volumes.rtstruct import read_rtstruct, write_rtstruct


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def rasterised(rtstruct: Path, ct: Path, out: Path) -> dict[str, np.ndarray]:
    """Let plastimatch fill the contours on the grid of the CT: masks (slice, row, column) by name."""
    command = [program("plastimatch"), "convert", "--input", rtstruct, "--referenced-ct", ct]
    done = subprocess.run([*command, "--output-prefix", out, "--prefix-format", "mha"], capture_output=True)
    assert done.returncode == 0, done.stderr
    return {p.stem: SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(p))) != 0 for p in out.glob("*.mha")}


def complaints(path: Path) -> list[str]:
    done = subprocess.run([program("dciodvfy"), "-new", path], capture_output=True, errors="replace")
    return [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("Error")]


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def patient(folder: Path) -> tuple[CtSeries, dict[str, np.ndarray]]:
    scan = read_nifti(folder / "ct.nii.gz")
    masks = {
        path.name.removesuffix(".nii.gz"): read_nifti(path).array != 0
        for path in sorted((folder / "segmentations").glob("*.nii.gz"))
    }
    return ct_series(scan.geometry, array=scan.array.astype(np.int16)), masks


CARRIED = [
    "pt_100",
    "pt_104",
    "pt_109",
    "pt_119",
    "pt_140",
    "pt_144",
    "pt_157",
    "pt_172",
    "pt_235",
    "pt_36",
    "pt_59",
    "pt_92",
]
BESIDE = [
    "pt_10",
    "pt_115",
    "pt_126",
    "pt_15",
    "pt_162",
    "pt_211",
    "pt_27",
    "pt_51",
]  # thin and thick slices, small and large pixels, scans cut away


@pytest.mark.parametrize("name", CARRIED + BESIDE)
def test_plastimatch_fills_our_contours_to_our_masks(sample_root, request, tmp_path, name):
    # On 21 patients of OpenKBP all 159 structures came back without one voxel's difference.
    root = sample_root if name in CARRIED else request.getfixturevalue("openkbp")
    ct, masks = patient(root / name)
    write_rtstruct(tmp_path / "rt.dcm", masks, ct)
    theirs = rasterised(tmp_path / "rt.dcm", write_ct(ct, tmp_path / "ct"), tmp_path / "out")
    millilitres = np.prod(ct.volume.geometry.spacing_mm) / 1000
    ours = read_rtstruct(tmp_path / "rt.dcm", ct)
    for structure_name, mask in masks.items():
        tg263 = structure(structure_name).tg263
        least = 0.98 if mask.sum() * millilitres > 5 else 0.95
        assert dice(mask, theirs[tg263]) >= least, structure_name
        assert np.array_equal(ours[tg263], mask)
    assert complaints(tmp_path / "rt.dcm") == []


def odd_shapes(shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    _, y, x = np.indices(shape)
    ring = ((y - 20) ** 2 + (x - 25) ** 2 < 15**2) & ~((y - 20) ** 2 + (x - 22) ** 2 < 6**2)
    voxel, diagonal = np.zeros((2, *shape), bool)
    voxel[2, 7, 9] = True
    diagonal[1, np.arange(10, 20), np.arange(10, 20)] = True
    noise = np.random.default_rng(0).random(shape) < 0.5
    island = ring | ((y - 20) ** 2 + (x - 22) ** 2 < 3**2)
    return {"ring": ring, "island": island, "voxel": voxel, "diagonal": diagonal, "noise": noise}


def test_plastimatch_keeps_rings_islands_and_single_voxels(tmp_path):
    ct = ct_series(axial_geometry((4, 40, 50)))
    masks = odd_shapes((4, 40, 50))
    write_rtstruct(tmp_path / "rt.dcm", masks, ct)
    theirs = rasterised(tmp_path / "rt.dcm", write_ct(ct, tmp_path / "ct"), tmp_path / "out")
    for name, mask in masks.items():
        assert np.array_equal(theirs[name], mask), name


def test_dciodvfy_finds_no_error(tmp_path):
    ct = ct_series(axial_geometry((4, 40, 50)))
    masks = odd_shapes((4, 40, 50)) | {
        "LeftParotid": np.ones((4, 40, 50), bool),
        "Larynx": np.zeros((4, 40, 50), bool),
        "PTV70": np.ones((4, 40, 50), bool),
        "Größe/../x": np.ones((4, 40, 50), bool),
    }
    write_rtstruct(tmp_path / "rt.dcm", masks, ct)
    assert complaints(tmp_path / "rt.dcm") == []
    write_seg(tmp_path / "seg.dcm", masks, ct)
    assert complaints(tmp_path / "seg.dcm") == []
    assert complaints(next(write_ct(ct, tmp_path / "ct").iterdir())) == []  # what the others are measured on


def test_rt_utils_reads_our_contours(sample_root, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rt_utils = pytest.importorskip("rt_utils")
        ct, masks = patient(sample_root / "pt_100")
        write_rtstruct(tmp_path / "rt.dcm", masks, ct)
        folder = write_ct(ct, tmp_path / "ct")
        theirs = rt_utils.RTStructBuilder.create_from(str(folder), str(tmp_path / "rt.dcm"))
    for name, mask in masks.items():
        found = np.moveaxis(theirs.get_roi_mask_by_name(structure(name).tg263), 2, 0)
        # It rounds corners to pixels and counts what the border touches: up to a pixel larger all round, never moved.
        assert not (mask & ~found).any(), name
        assert not (found & ~ndimage.binary_dilation(mask, np.ones((1, 3, 3)))).any(), name


@pytest.fixture(scope="session")
def real_dicom(request: pytest.FixtureRequest) -> Path:
    root = request.config.rootpath.parent / "shared" / "data" / "dicom"
    if not root.is_dir():
        pytest.skip("the real DICOM files are not beside the project")
    return root


def test_lung1_003_against_plastimatch(real_dicom, tmp_path):
    with zipfile.ZipFile(real_dicom / "lung1-003.zip") as archive:
        for name in archive.namelist():
            target = tmp_path / ("rt" if name.endswith("/1.dcm") else "ct") / Path(name).name
            if not name.endswith(("/", "/109.dcm", "/113.dcm")):  # neither plan nor dose
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(archive.read(name))
    ct = read_ct(tmp_path / "ct")
    structures = read_rtstruct(tmp_path / "rt" / "1.dcm", ct)
    theirs = rasterised(tmp_path / "rt" / "1.dcm", tmp_path / "ct", tmp_path / "out")
    assert_plastimatch_reads_alike(ct, tmp_path / "ct", tmp_path / "ct.mha")
    assert len(structures) == 13
    for name, mask in structures.items():
        assert dice(mask, theirs[name]) >= 0.97, name
    write_rtstruct(tmp_path / "ours.dcm", structures, ct, rois=structures.rois)
    of_ours = rasterised(tmp_path / "ours.dcm", tmp_path / "ct", tmp_path / "of_ours")
    millilitres = np.prod(ct.volume.geometry.spacing_mm) / 1000
    for name, mask in structures.items():
        assert dice(mask, of_ours[name]) >= (0.98 if mask.sum() * millilitres > 5 else 0.95), name
    points = [roi for name, roi in structures.rois.items() if name not in structures]
    assert {roi.remarks for roi in points} == {("1 contour of type POINT left out",)}
    assert len(points) == 12
    assert structures.rois["Heart"].remarks == ("1 slice between its ends without a contour, left empty",)
    assert structures.rois["CTV-2"].remarks == ("18 slices between its ends without a contour, left empty",)
    # Where they belong: the left lung to the patient's left (x rises), the heart between, all in the body.
    x = {name: np.argwhere(structures[name].any(axis=(0, 1))).mean() for name in ("Lung L", "Heart", "Lung R")}
    assert x["Lung R"] < x["Heart"] < x["Lung L"]
    body = structures["Patient"]
    assert not (structures["Lung L"] & ~body).any()
    hu = ct.volume.array
    assert np.median(hu[structures["Lung L"]]) < -700
    assert np.median(hu[structures["Heart"]]) > 0


def assert_plastimatch_reads_alike(ct: CtSeries, folder: Path, out: Path) -> None:
    """Compare HU exactly, and the places of the first and the last voxel to 1e-3 mm."""
    command = [program("plastimatch"), "convert", "--input", folder, "--output-img", out]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    theirs = SimpleITK.ReadImage(str(out))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(theirs), ct.volume.array)
    last = np.array(ct.volume.array.shape) - 1
    for index in (0 * last, last):
        place = (ct.volume.geometry.affine_lps @ [*index, 1])[:3]
        np.testing.assert_allclose(theirs.TransformIndexToPhysicalPoint(index[::-1].tolist()), place, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        # The numbers of pixels are plastimatch's too.
        ("mock_data/rt.dcm", "All 2 images that it names are slices of this CT.*trust_images=True"),  # wrong frame
        ("mock_data/invalid_reference_rt.dcm", {"ROI-1": 4976, "ROI-2": 3697, "ROI-3": 4519, "ROI-4": 6954}),
        ("mock_data/non_existent_reference_rt.dcm", {"ROI-1": 4976, "ROI-2": 3697, "ROI-3": 4519, "ROI-4": 6954}),
        (
            "empty/dummy_rt.dcm",
            {"ROI-1": 4976, "ROI-2": 3697, "ROI-3": 4519, "ROI-4": 6954},
        ),  # the same, without its CT
        ("mock_data/ct_1.dcm", "modality CT: expected a DICOM RTSTRUCT"),
    ],
)
def test_the_oddities(real_dicom, tmp_path, name, outcome):
    with zipfile.ZipFile(real_dicom / "rtstruct-oddities.zip") as archive:
        archive.extractall(tmp_path)
    for path in (tmp_path / "mock_data").glob("ct_*.dcm"):
        (tmp_path / "ct").mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / "ct")
    ct = read_ct(tmp_path / "ct")
    if isinstance(outcome, str):
        with pytest.raises(NasosegError, match=outcome):
            read_rtstruct(tmp_path / name, ct)
        return
    structures = read_rtstruct(tmp_path / name, ct)
    assert {one: structures.voxels(one) for one in structures} == outcome
    # Drawn on three slices, of which the CT has two.
    assert {roi.remarks for roi in structures.rois.values()} == {("1 contour above or below the scan left out",)}


def test_an_oblique_ct_without_a_frame_of_reference(real_dicom, tmp_path):
    with zipfile.ZipFile(real_dicom / "rtstruct-oddities.zip") as archive:
        archive.extractall(tmp_path, [name for name in archive.namelist() if name.startswith("oriented_data/")])
    ct = read_ct(tmp_path / "oriented_data")
    mask = np.zeros(ct.volume.array.shape, bool)
    mask[1, 10:30, 20:70] = True
    write_rtstruct(tmp_path / "rt.dcm", {"Box": mask}, ct)
    assert np.array_equal(read_rtstruct(tmp_path / "rt.dcm", ct)["Box"], mask)
    foreign = tmp_path / "dummy.dcm"
    with zipfile.ZipFile(real_dicom / "rtstruct-oddities.zip") as archive:
        foreign.write_bytes(archive.read("empty/dummy_rt.dcm"))
    with pytest.raises(NasosegError, match="the CT has no frame of reference, and the file names other images"):
        read_rtstruct(foreign, ct)
