import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from nasoseg.data.datamodule import SliceDataModule
from nasoseg.data.dataset import SliceDataset, TrainingSampler, VolumeDataset, VolumeSampler, repeat_factors
from nasoseg.data.splits import Fold, Split, make_split
from nasoseg.data.store import Patient, Store, write_store
from nasoseg.data.transforms import Augmentation
from nasoseg.errors import NasosegError
from nasoseg.heads import expand_planes
from nasoseg.labels import OPENKBP, structure
from nasoseg.volumes.volume import Geometry


@pytest.fixture
def data(small_store):
    module = SliceDataModule(small_store.path, folds=4, batch_size=4, augmentation=Augmentation(crop=64))
    module.setup()
    return module


def samples(loader: DataLoader) -> list[tuple[str, int]]:
    return [(key, int(z)) for batch in loader for key, z in zip(batch["patient"], batch["slice"], strict=True)]


def test_a_sample_keeps_its_contract(data, small_store):
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (4, 1, 64, 64)
    assert batch["image"].dtype == torch.float32
    assert batch["image"].min() >= -1
    assert batch["image"].max() <= 1
    assert batch["labels"].shape == (4, 64, 64)
    assert batch["labels"].dtype == torch.int32
    assert batch["annotated"].shape == (4, 10)
    assert batch["annotated"].dtype == torch.bool
    for key, spacing in zip(batch["patient"], batch["spacing_mm"], strict=True):
        np.testing.assert_allclose(spacing, small_store.geometry(key).spacing_mm)


def test_volumes_are_whole_unvaried_and_in_order(data, small_store):
    loader = data.test_dataloader()
    seen = samples(loader)
    assert seen == [(key, z) for key in data.slices("test") for z in range(8)]
    for batch in loader:
        assert len(set(batch["patient"])) == 1
        key, z = batch["patient"][0], int(batch["slice"][0])
        masks = expand_planes(batch["labels"], 10)[0].sum(dim=(1, 2))
        np.testing.assert_array_equal(masks, small_store.voxels[key][z])


def test_every_test_slice_is_read_by_one_process_alone(data):
    dataset = VolumeDataset(data._dataset("test"), batch_size=3)
    shares = [
        [n for b in VolumeSampler(dataset, replicas=4, rank=rank) for n in dataset.batches[b]] for rank in range(4)
    ]
    together = sorted(n for share in shares for n in share)
    assert together == list(range(len(dataset.slices)))
    assert min(len(share) for share in shares) == 0  # three patients, four processes: one has nothing to do


def test_a_process_without_a_patient_may_repeat_one(data):
    dataset = VolumeDataset(data._dataset("test"), batch_size=3)
    samplers = [VolumeSampler(dataset, replicas=4, rank=rank, repeat=True) for rank in range(4)]
    assert [sampler.repeats for sampler in samplers] == [False, False, False, True]
    assert list(samplers[3]) == dataset.batches_of[dataset.patients[0]]


def test_an_epoch_is_a_function_of_seed_and_epoch(data):
    dataset = data._dataset("train")

    def drawn(*, epoch, seed=0, replicas=1, rank=0):
        sampler = TrainingSampler(dataset, seed=seed, replicas=replicas, rank=rank)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert drawn(epoch=3) == drawn(epoch=3)
    assert drawn(epoch=3) != drawn(epoch=4)
    assert drawn(epoch=3) != drawn(epoch=3, seed=1)
    assert sorted(n for n, _ in drawn(epoch=3)) == list(range(len(dataset)))
    shares = [drawn(epoch=3, replicas=2, rank=rank) for rank in (0, 1)]
    assert sorted(shares[0] + shares[1]) == sorted(drawn(epoch=3))


def test_repeat_factors_worked_by_hand():
    present = np.zeros((100, 2), bool)
    present[:25, 0] = True  # a quarter of the slices: drawn twice as often
    present[:4, 1] = True  # four in a hundred: five times
    weights = repeat_factors(present)
    assert weights[[0, 10, 50]].tolist() == pytest.approx([5, 2, 1])


def test_rare_structures_are_oversampled_on_request(small_store):
    def drawn(**arguments):
        module = SliceDataModule(small_store.path, folds=4, **arguments)
        module.setup()
        sampler = module.train_dataloader().sampler
        dataset = sampler.dataset
        numbers = []
        for epoch in range(20):
            sampler.set_epoch(epoch)
            numbers += [n for n, _ in sampler]
        assert len(numbers) == 20 * len(dataset)
        larynx = np.array([small_store.voxels[key][z][5] > 0 for key, z in dataset.index])
        return larynx[numbers].mean()

    assert drawn(oversample_rare=True) > 1.3 * drawn()


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(small_store, workers):
    def batches(count):
        module = SliceDataModule(
            small_store.path, folds=4, batch_size=16, augmentation=Augmentation(crop=32), workers=count
        )
        module.setup("fit")
        return list(module.train_dataloader())

    for here, there in zip(batches(0), batches(workers), strict=True):
        assert here["patient"] == there["patient"]
        assert torch.equal(here["image"], there["image"])
        assert torch.equal(here["labels"], there["labels"])


def test_unlabelled_slices_are_dropped_from_training_alone(small_store):
    def counts(**arguments):
        module = SliceDataModule(small_store.path, folds=4, labels=["Brainstem"], **arguments)
        module.setup()
        return len(module._dataset("train")), len(module._dataset("validation")), len(module._dataset("test"))

    everything, labelled = counts(), counts(drop_unlabelled=True)
    split = make_split(small_store, folds=4)
    brainstem = sum((small_store.voxels[key][:, 0] > 0).sum() for key in split.part(0, "train"))
    assert labelled == (brainstem, *everything[1:])
    assert 0 < brainstem < everything[0]


def test_context_repeats_the_last_slice_beyond_the_ends(small_store):
    key = small_store.keys[0]
    windows = [(-160, 240), (-1000, 1000)]
    arguments = {"positions": range(10), "windows_hu": windows}
    flat = SliceDataset(small_store, {key: range(8)}, **arguments)
    deep = SliceDataset(small_store, {key: range(8)}, context=2, **arguments)
    for z in (0, 3, 7):
        neighbours = [min(max(z + step, 0), 7) for step in (-2, -1, 0, 1, 2)]
        expected = torch.cat([torch.stack([flat[n]["image"][w] for n in neighbours]) for w in (0, 1)])
        assert torch.equal(deep[z]["image"], expected)
    assert SliceDataModule(small_store.path, context=2, windows_hu=windows).in_channels == 10


def test_chosen_structures_come_in_the_chosen_order(small_store):
    module = SliceDataModule(small_store.path, folds=4, labels=["Mandible", "Parotid_L"])
    module.setup()
    assert module.labels == ["Mandible", "LeftParotid"]  # found as its synonym, named as in the store
    sample = module._dataset("test")[0]
    key, z = sample["patient"], sample["slice"]
    voxels = expand_planes(sample["labels"][None], 2)[0].sum(dim=(1, 2)).tolist()
    names = small_store.names
    assert voxels == [small_store.voxels[key][z][names.index(name)] for name in module.labels]


def test_paper_protocol_validates_on_the_test_slices(small_store):
    module = SliceDataModule(small_store.path, folds=4, protocol="paper")
    module.setup()
    assert samples(module.val_dataloader()) == samples(module.test_dataloader())
    assert not set(samples(module.test_dataloader())) & set(module._dataset("train").index)


def test_a_split_file_is_used_and_its_protocol_taken(small_store, tmp_path):
    make_split(small_store, folds=3, protocol="paper").save(tmp_path / "split.json")
    module = SliceDataModule(small_store.path, split=tmp_path / "split.json")
    module.setup()
    assert module.protocol == "paper"
    assert len(module.split.folds) == 3


def test_no_test_patient_is_trained_on(data):
    parts = [set(data.slices(part)) for part in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"labels": ["Larynks"]}, "did you mean 'Larynx'"),
        ({"labels": ["Larynx", "larynx"]}, "means the same"),
        ({"labels": []}, "empty list"),
        ({"fold": 7, "folds": 4}, "expected 0 to 3"),
        ({"folds": 13}, "13 folds|12 patients"),
        ({"batch_size": 0}, "batch_size"),
        ({"windows_hu": [(100, -100)]}, "windows_hu"),
        ({"windows_hu": [(-math.inf, 100)]}, "windows_hu"),
        ({"windows_hu": (-160, 240)}, r"windows_hu.*such as \[\(-160, 240\)\]"),
        ({"labels": "Larynx"}, "expected a list of structure names"),
        ({"workers": -1}, "workers"),
    ],
)
def test_bad_arguments_are_named(small_store, arguments, words):
    with pytest.raises(NasosegError, match=words):
        SliceDataModule(small_store.path, **arguments).setup()


def tiny_patient(key: str, *, side: int, annotated: tuple[bool, ...]) -> Patient:
    labels = np.zeros((2, side, side), np.uint16)
    labels[:, 4:8, 4:8] = sum(1 << i for i, drawn in enumerate(annotated) if drawn)
    image = np.full(labels.shape, 30, np.int16)
    geometry = Geometry(labels.shape, np.diag([3.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]])
    return Patient(key, image, labels, np.array(annotated), geometry.affine_lps, geometry)


def test_a_structure_no_training_patient_has_is_named(tmp_path):
    patients = [tiny_patient(f"p{i}", side=32, annotated=(True, i == 0)) for i in range(4)]
    write_store(tmp_path / "s.h5", patients, [structure("Larynx"), structure("Mandible")])
    split = make_split(Store(tmp_path / "s.h5"), folds=4)
    fold = next(i for i in range(4) if "p0" not in split.part(i, "train"))
    with pytest.raises(NasosegError, match=r"'Mandible'.*Leave it out"):
        SliceDataModule(tmp_path / "s.h5", folds=4, fold=fold).setup("fit")


def test_a_validation_part_without_any_of_the_structures_is_told(tmp_path):
    """The DSC that picks the best epoch would never be a number, and the first epoch would stay the best."""
    patients = [tiny_patient(f"p{i}", side=32, annotated=(True, i < 2)) for i in range(4)]
    write_store(tmp_path / "store.h5", patients, [structure("Larynx"), structure("Mandible")])
    parts = [("p0", "p1"), ("p2",), ("p3",)], [("p0", "p3"), ("p1",), ("p2",)]
    rest = [("p0", "p2"), ("p3",), ("p1",)], [("p1", "p2"), ("p3",), ("p0",)]
    whole = dict.fromkeys(("p0", "p1", "p2", "p3"), (0, 1))
    folds = tuple(Fold(*({key: whole[key] for key in part} for part in fold)) for fold in (*parts, *rest))
    slices = dict.fromkeys(whole, 2)
    Split("clean", 0, Store(tmp_path / "store.h5").content_sha256, slices, folds).save(tmp_path / "split.json")
    given = {"store": tmp_path / "store.h5", "split": tmp_path / "split.json"}
    module = SliceDataModule(**given, labels=["Mandible"], fold=0)
    with pytest.raises(NasosegError, match=r"no validation patient of fold 0 has any of Mandible annotated"):
        module.setup()
    module.setup("test")
    SliceDataModule(**given, labels=["Mandible"], fold=1).setup()
    both = SliceDataModule(**given, fold=0)
    both.setup()
    assert both.unannotated("validation") == ["Mandible"]
    assert both.unannotated("train") == []


def test_no_training_slice_left_is_told(tmp_path):
    bare = Geometry((2, 32, 32), np.eye(4))
    empty = [
        Patient(
            f"p{i}", np.zeros(bare.shape, np.int16), np.zeros(bare.shape, np.uint16), np.ones(1, bool), np.eye(4), bare
        )
        for i in range(1, 5)
    ]
    write_store(tmp_path / "s.h5", [tiny_patient("p0", side=32, annotated=(True,)), *empty], [structure("Larynx")])
    split = make_split(Store(tmp_path / "s.h5"), folds=5)
    fold = next(i for i in range(5) if "p0" not in split.part(i, "train"))
    module = SliceDataModule(tmp_path / "s.h5", folds=5, fold=fold, drop_unlabelled=True, oversample_rare=True)
    with pytest.raises(NasosegError, match=rf"no training slice of fold {fold} shows Larynx.*Leave it off"):
        module.setup("fit")


def test_planes_of_two_sizes_need_a_crop(tmp_path):
    patients = [tiny_patient(f"p{i}", side=32 + i, annotated=(True, True)) for i in range(4)]
    write_store(tmp_path / "s.h5", patients, [structure("Larynx"), structure("Mandible")])
    with pytest.raises(NasosegError, match="crop"):
        SliceDataModule(tmp_path / "s.h5", folds=4).setup("fit")
    module = SliceDataModule(tmp_path / "s.h5", folds=4, batch_size=2, augmentation=Augmentation(crop=32))
    module.setup()
    assert next(iter(module.train_dataloader()))["image"].shape[-2:] == (32, 32)
    assert len(samples(module.test_dataloader())) == 2


def test_mirroring_finds_the_partners(small_store):
    module = SliceDataModule(small_store.path, folds=4, augmentation=Augmentation(mirror=True))
    module.setup()
    order = module._dataset("train").mirror_order
    names = [s.name for s in OPENKBP]
    assert order[names.index("LeftParotid")] == names.index("RightParotid")
    lonely = SliceDataModule(small_store.path, folds=4, labels=["LeftParotid"], augmentation=Augmentation(mirror=True))
    with pytest.raises(NasosegError, match="no partner"):
        lonely.setup()


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more than this machine has
@pytest.mark.parametrize(("cores", "processes", "each"), [(2, 1, 0), (16, 1, 8), (16, 4, 4), (4, 8, 1)])
def test_processes_share_the_cores_for_reading_ahead(data, monkeypatch, cores, processes, each):
    monkeypatch.setattr("nasoseg.data.datamodule.usable_cores", lambda: cores)
    data.trainer = SimpleNamespace(num_devices=processes)
    assert data.test_dataloader().num_workers == each
