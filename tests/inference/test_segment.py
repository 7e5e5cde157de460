import dataclasses
import shutil

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK
import torch
from generated_ct_series import oblique_geometries
from generated_dicom import write_ct
from generated_scans import tissue, write_nifti
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import nasoseg
from nasoseg.data.training_data import Range
from nasoseg.errors import NasosegError
from nasoseg.volumes.nifti import ras_from_lps
from nasoseg.volumes.volume import Geometry, Volume

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*LeafSpec", "ignore:The number of training batches"
)

SHAPE = (4, 7, 6)
BONE = 1000
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def centroid_lps(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    return affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + affine[:3, 3]


@settings(max_examples=12, deadline=None, suppress_health_check=SLOW)
@given(oblique_geometries(SHAPE), st.tuples(*(st.integers(0, side - 1) for side in SHAPE)))
def test_a_marked_voxel_stays_where_it_is_through_every_writer(make_model, tmp_path, geometry, voxel):
    hu = np.full(SHAPE, 40, np.int16)
    hu[0, 0, 0] = hu[-1, -1, -1] = -1000
    hu[voxel] = BONE
    folder = tmp_path / "ct"
    shutil.rmtree(folder, ignore_errors=True)
    write_ct(folder, hu, geometry.affine_lps)
    found = nasoseg.segment(make_model(), folder)
    expected = geometry.affine_lps[:3, :3] @ voxel + geometry.affine_lps[:3, 3]
    assert found.masks["Mandible"].sum() == 1

    nifti = SimpleITK.ReadImage(str(found.to_nifti(tmp_path / "nifti")[0]))
    index = np.argwhere(SimpleITK.GetArrayFromImage(nifti))[0][::-1].tolist()
    np.testing.assert_allclose(nifti.TransformIndexToPhysicalPoint(index), expected, atol=1e-3)

    found.to_seg(tmp_path / "seg.dcm")
    volume = highdicom.seg.segread(tmp_path / "seg.dcm").get_volume(segment_numbers=[1])
    np.testing.assert_allclose(centroid_lps(volume.array[..., 0], volume.affine), expected, atol=1e-3)

    found.to_rtstruct(tmp_path / "rt.dcm")
    contours = pydicom.dcmread(tmp_path / "rt.dcm").ROIContourSequence[0].ContourSequence
    assert len(contours) == 1
    points = np.reshape(np.array(contours[0].ContourData, float), (-1, 3))
    np.testing.assert_allclose((points.min(axis=0) + points.max(axis=0)) / 2, expected, atol=1e-3)


def test_a_scan_finer_than_the_training_is_answered_on_its_own_voxels(make_model, like_ours, tmp_path):
    hu = tissue((3, 40, 40))
    hu[1, 10:25, 15:30] = BONE
    affine = np.diag([-0.2, -0.2, 2.5, 1.0])
    path = write_nifti(tmp_path / "ct.nii.gz", hu.transpose(2, 1, 0), affine)
    half_way = make_model(bands=[(520.0, 1500.0), (5000.0, 6000.0)], **like_ours)
    found = nasoseg.segment(half_way, path)
    assert "seen on pixels of 1 x 1 mm" in found.remarks[0]
    mask = found.masks["Mandible"]
    assert mask.shape == (40, 40, 3)
    # The block is three of the network's pixels wide; its edge lies within half of one.
    true = np.zeros_like(mask)
    true[15:30, 10:25, 1] = True
    assert 2 * (mask & true).sum() / (mask.sum() + true.sum()) > 0.8
    np.testing.assert_allclose(np.argwhere(mask).mean(axis=0), np.argwhere(true).mean(axis=0), atol=0.51)


def test_the_batch_changes_nothing(make_model, small_store):
    key = small_store.keys[0]
    volume = Volume(small_store.read(key, "image", slice(None)), small_store.geometry(key))
    model = make_model(bands=[(100.0, 400.0), (-120.0, 0.0)], context=1)
    steps = []
    whole = nasoseg.segment(model, volume, progress=lambda *step: steps.append(step))
    single = nasoseg.segment(model, volume, batch_size=3)
    np.testing.assert_array_equal(whole.masks.planes, single.masks.planes)
    assert whole.masks["Larynx"].any()
    assert steps[-1] == ("study", 8, 8)


def test_what_fit_has_trained_segments_as_predict_does(small_store, tmp_path):
    from lightning import Trainer

    torch.manual_seed(0)
    data = nasoseg.SliceDataModule(small_store.path, folds=4, batch_size=4, context=1, augmentation=None)
    data.setup()
    model = nasoseg.TwoStageUNet(labels=data.labels, in_channels=data.in_channels, width=4)
    trainer = Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, limit_val_batches=0, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    assert model.training_data is not None
    assert model.training_data.patients == len(data.slices("train"))
    model.eval()
    with torch.no_grad():  # so that some pixels are inside, and few on the edge, where rounding decides
        model.network.stage2.head.weight *= 1000
        logits = model(next(iter(data.test_dataloader()))["image"])
        model.network.stage2.head.bias -= logits.transpose(0, 1).flatten(1).median(dim=1).values + 0.01
    batches = trainer.predict(model, datamodule=data)
    key = batches[0]["patient"][0]
    predicted = torch.cat([b["masks"] for b in batches if b["patient"][0] == key]).transpose(0, 1).numpy()
    volume = Volume(small_store.read(key, "image", slice(None)), small_store.geometry(key))
    # As training saw it: pixels as they are, neighbours by their number, however far the small store's slices are.
    as_stored = dataclasses.replace(model.training_data, pixel_mm=None, slice_mm=None)
    found = nasoseg.segment(model, volume, training_data=as_stored)
    assert 0.05 < predicted.mean() < 0.95
    for name, mask in zip(data.labels, predicted, strict=True):
        # A logit just over 0 may be a probability of 1/2 in float32.
        assert np.count_nonzero(found.masks[name] != mask) <= 3


def test_out_of_memory_halves_the_batch(make_model, small_store):
    key = small_store.keys[0]
    volume = Volume(small_store.read(key, "image", slice(None)), small_store.geometry(key))
    model = make_model()
    network, seen = model.network, []

    def small(image):
        seen.append(len(image))
        if len(image) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(image)

    expected = nasoseg.segment(model, volume).masks.planes
    model.forward = small
    np.testing.assert_array_equal(nasoseg.segment(model, volume, batch_size=8).masks.planes, expected)
    assert seen == [8, 4, 2, 2, 2, 2]

    def never(image):
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.forward = never
    with pytest.raises(NasosegError, match="memory does not suffice for one slice of 128 x 128"):
        nasoseg.segment(model, volume)


def test_several_models_and_cleaning(make_model, small_store):
    key = small_store.keys[0]
    volume = Volume(small_store.read(key, "image", slice(None)), small_store.geometry(key))
    model = make_model(bands=[(100.0, 400.0), (-120.0, 0.0)])
    one = nasoseg.segment(model, volume)
    two = nasoseg.segment([model, model], volume, cleaning=nasoseg.Cleaning(largest_component=["Larynx"]))
    np.testing.assert_array_equal(one.masks["Mandible"], two.masks["Mandible"])
    assert 0 < two.masks["Larynx"].sum() < one.masks["Larynx"].sum()
    assert "smaller pieces removed" in two.remarks[-1]


def test_a_wrong_name_to_clean_is_told_before_the_network_runs(make_model):
    volume = Volume(tissue((3, 8, 8)), Geometry((3, 8, 8), np.diag([3.0, 1, 1, 1])))
    done = []
    with pytest.raises(NasosegError, match=r"fill_holes: .*Mandible"):
        nasoseg.segment(
            make_model(), volume, cleaning=nasoseg.Cleaning(fill_holes=["Mandibel"]), progress=lambda *_: done.append(1)
        )
    assert not done


def test_volumes_and_warnings(make_model, like_ours):
    hu = tissue((4, 12, 12))
    hu[1:3, 4:8, 4:8] = BONE
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = [2.5, 1, 1, 1]
    found = nasoseg.segment(make_model(**like_ours), Volume(hu, Geometry(hu.shape, affine)))
    assert found.volumes_ml == pytest.approx({"Mandible": 32 * 2.5 / 1000, "Larynx": 0})
    assert found.warnings == ("Larynx: not found",)
    usual = like_ours["volumes_ml"] | {"Mandible": Range(1, 2, 3)}
    found = nasoseg.segment(make_model(**like_ours | {"volumes_ml": usual}), Volume(hu, Geometry(hu.shape, affine)))
    assert found.warnings[0] == "Mandible: 0.08 ml, in the training 1 to 3 ml"


def test_wrong_arguments(make_model, tmp_path):
    hu = tissue((3, 8, 8))
    path = write_nifti(tmp_path / "ct.nii.gz", hu, ras_from_lps(np.diag([1.0, 1, 3, 1])))
    found = nasoseg.segment(make_model(), path)
    with pytest.raises(NasosegError, match="RTSTRUCT refers to DICOM images"):
        found.to_rtstruct(tmp_path / "rt.dcm")
    with pytest.raises(NasosegError, match="DICOM SEG refers to DICOM images"):
        found.to_seg(tmp_path / "seg.dcm")
    with pytest.raises(KeyError, match="Mandible"):
        found.masks["Mandibel"]
    with pytest.raises(NasosegError, match="batch_size: found 0"):
        nasoseg.segment(make_model(), path, batch_size=0)
    with pytest.raises(NasosegError, match="no such file"):
        nasoseg.segment(make_model(), tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(NasosegError, match="could not be written"):
        found.to_nifti(tmp_path / "file" / "out")
