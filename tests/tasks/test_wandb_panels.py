import numpy as np
import torch

import nasoseg
from nasoseg.tasks.wandb_panels import _all_stages, choose_slices


def test_patients_with_most_structures_and_their_fullest_slice(small_store):
    data = nasoseg.SliceDataModule(small_store.path, folds=2)
    slices = data.test_dataloader().dataset.slices
    chosen = [slices.index[number] for number in choose_slices(slices, patients=2)]
    keys = list(data.slices("test"))
    drawn = {key: small_store.is_annotated(key).sum() for key in keys}
    best = sorted(keys, key=lambda key: (-drawn[key], keys.index(key)))[:2]
    assert [key for key, _ in chosen] == best
    for key, z in chosen:
        present = (small_store.voxels[key] > 0).sum(axis=1)
        assert present[z] == present.max()
        assert small_store.voxels[key][z].sum() == small_store.voxels[key].sum(axis=1)[present == present.max()].max()
    assert len(choose_slices(slices, patients=99)) == len(keys)
    assert choose_slices(slices, patients=0) == []


def test_every_stage_is_shown_as_evaluation_gives_it():
    model = nasoseg.TwoStageUNet(labels=["Larynx", "Mandible"], width=4)
    image = torch.randn(2, 1, 48, 48)
    model(image)  # moves the batch statistics, so that evaluation differs from training
    model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad(), _all_stages(model.network):
        rough, final = model.stages(image)
    assert not model.network.training
    with torch.no_grad():
        assert torch.equal(final, model(image))
        assert rough.shape == final.shape
        assert not torch.equal(rough, final)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    single = nasoseg.UNet(labels=["Larynx"], width=4).eval()
    with torch.no_grad(), _all_stages(single.network):
        assert not single.network.training
        assert len(single.stages(image)) == 1
    assert np.isfinite(rough.numpy()).all()
