"""The MaskRCNN task: thresholds come from validation patients, decide the masks, and stay with the weights."""

from pathlib import Path

import lightning
import pytest
import torch
from small_backbone import small_backbone

import nasoseg
from nasoseg.heads import decide
from nasoseg.metrics import OverlapMetrics
from nasoseg.tasks.mask_rcnn import DEFAULT_THRESHOLD, GRID, choose

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*LeafSpec", "ignore:The number of training batches"
)


LABELS = ["Mandible", "PTV70", "Larynx", "SpinalCord"]


def small(labels=LABELS, **arguments) -> nasoseg.MaskRCNN:
    torch.manual_seed(0)
    sizes = {"scale": 1.0, "proposals": 30, "rois": 16, "detections": 90, "anchor_sizes": [56] * 5}
    return nasoseg.MaskRCNN(labels=labels, backbone=small_backbone(), **(sizes | arguments))


@pytest.fixture(scope="module")
def fitted(small_store, tmp_path_factory):
    """A model whose first thresholds have been chosen: two steps, a validation of whole patients, a checkpoint."""
    data = nasoseg.SliceDataModule(
        small_store.path, folds=4, batch_size=4, labels=LABELS, augmentation=nasoseg.Augmentation(crop=48)
    )
    data.setup()
    model = small()
    with torch.no_grad():  # an untrained network's boxes and masks, found as three of the structures everywhere
        score = model.network.roi_heads.box_predictor.cls_score
        score.weight.zero_()
        score.bias.copy_(torch.tensor([1e-9, 0.5, 0.3, 0.2, 1e-9]).log())
    trainer = lightning.Trainer(
        default_root_dir=tmp_path_factory.mktemp("fitted"),
        max_epochs=1,
        limit_train_batches=2,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
    )
    model.make_optimizer = lambda parameters: torch.optim.SGD(parameters, lr=1e-6)
    trainer.fit(model, datamodule=data)
    path = Path(trainer.default_root_dir) / "kept.ckpt"
    trainer.save_checkpoint(path)
    logged = {name: value.item() for name, value in trainer.callback_metrics.items()}
    return model.eval(), data, logged, path


@pytest.fixture(scope="module")
def scored(fitted):
    """The validation batches, with their scores."""
    model, data, *_ = fitted
    with torch.no_grad():
        return [(batch, model.network(batch["image"])) for batch in data.val_dataloader()]


def test_every_loss_is_logged(fitted):
    _, _, logged, _ = fitted
    parts = ["classifier", "box_reg", "mask", "objectness", "rpn_box_reg"]
    assert logged["train/loss"] == pytest.approx(sum(logged[f"train/loss_{part}"] for part in parts), rel=1e-5)
    assert all(logged[f"train/loss_{part}"] > 0 for part in parts)


def dsc_at(threshold, scored) -> torch.Tensor:
    """Measure the mean DSC (k,) of the validation volumes with OverlapMetrics, at one threshold or (k,) of them."""
    overlap = OverlapMetrics(sorted({key for batch, _ in scored for key in batch["patient"]}), LABELS)
    for batch, scores in scored:
        overlap.update(
            scores > torch.as_tensor(threshold).view(-1, 1, 1),
            scores,
            (batch["labels"][:, None] >> torch.arange(len(LABELS))[:, None, None] & 1).bool(),
            annotated=batch["annotated"],
            patients=batch["patient"],
            slices=batch["slice"],
        )
    return overlap.compute().volume["dsc"].nanmean(0)


def test_thresholds_are_the_best_on_the_validation_volumes(fitted, scored):
    model, _, logged, _ = fitted
    at_each = torch.stack([dsc_at(threshold, scored) for threshold in GRID])
    chosen = dsc_at(model.thresholds, scored)
    torch.testing.assert_close(chosen.nan_to_num(0), at_each.nan_to_num(0).amax(0))
    assert (chosen[:2] > dsc_at(DEFAULT_THRESHOLD, scored)[:2]).all()  # there was something to choose
    assert model.thresholds[3] == DEFAULT_THRESHOLD  # never found
    for name, value in zip(LABELS, chosen.tolist(), strict=True):
        assert (f"val/dsc/{name}" in logged) == (value == value)
        assert logged.get(f"val/dsc/{name}", value) == pytest.approx(value, abs=1e-6, nan_ok=True)
    assert logged["val/dsc"] == pytest.approx(chosen.nanmean().item(), abs=1e-6)


def test_validating_again_uses_the_thresholds_and_leaves_them(fitted, scored, make_trainer):
    model, data, logged, _ = fitted
    again = small()
    again.load_state_dict(model.state_dict())
    with torch.no_grad():
        again.thresholds[0] += 0.05
    (found,) = make_trainer().validate(again, datamodule=data, verbose=False)
    assert again.thresholds[0] == pytest.approx(model.thresholds[0].item() + 0.05)
    assert found["val/dsc/Mandible"] == pytest.approx(dsc_at(again.thresholds, scored)[0].item(), abs=1e-6)
    assert found["val/dsc/Mandible"] != logged["val/dsc/Mandible"]
    assert found["val/dsc/PTV70"] == pytest.approx(logged["val/dsc/PTV70"], abs=1e-6)


def test_thresholds_decide_and_travel_in_the_checkpoint(fitted, scored):
    model, _, _, path = fitted
    again = small()
    again.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    assert torch.equal(again.thresholds, model.thresholds)
    batch, scores = scored[0]
    with torch.no_grad():
        logits = again.eval()(batch["image"])
    assert logits.shape == scores.shape
    assert torch.equal(decide(logits, "multilabel"), scores > model.thresholds[:, None, None])
    assert torch.isfinite(logits).all()


def test_thresholds_by_hand():
    dsc = torch.zeros(len(GRID), 5)
    dsc[2, 0], dsc[7, 0] = 0.4, 0.5  # the best
    dsc[[3, 8, 17], 1] = 0.6  # equal ones: the nearest to 0.5
    dsc[:, 3] = torch.nan  # no validation patient
    dsc[10:, 4] = torch.nan  # absent, and found below 0.55: nothing to gain
    expected = [GRID[7], GRID[8], DEFAULT_THRESHOLD, DEFAULT_THRESHOLD, DEFAULT_THRESHOLD]
    assert [GRID[place] for place in choose(dsc).tolist()] == expected


def test_a_softmax_is_refused():
    with pytest.raises(nasoseg.NasosegError, match=r"model\.head: found 'multiclass'.*use 'multilabel'"):
        nasoseg.MaskRCNN(labels=["Larynx"], head="multiclass")


def test_another_loss_is_refused():
    with pytest.raises(TypeError, match="loss"):
        small(["Larynx"], loss=nasoseg.DiceLoss())
