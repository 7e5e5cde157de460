"""The shared step on real slices: it learns, it measures, and it says when something is wrong."""

import numpy as np
import pytest
import torch
from torch.optim import SGD

import nasoseg
from nasoseg.errors import NasosegError
from nasoseg.tasks.watch import TrainingWatch

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*LeafSpec", "ignore:The number of training batches"
)


def make_model(data, **arguments):
    return nasoseg.TwoStageUNet(labels=data.labels, width=4, **arguments)


@pytest.mark.parametrize("method", [nasoseg.TwoStageUNet, nasoseg.UNet])
def test_learns_real_slices(data, method):
    """Twenty-five steps on the mandible of one batch: from nothing to a fair outline."""
    torch.manual_seed(0)
    module = nasoseg.SliceDataModule(data.store_path, folds=4, labels=["Mandible"], batch_size=8, drop_unlabelled=True)
    module.setup()
    batch = next(iter(module.train_dataloader()))
    batch["image"], batch["labels"] = batch["image"][..., 32:96, 32:96], batch["labels"][..., 32:96, 32:96]
    model = method(labels=module.labels, width=8)
    model.log = lambda *_, **__: None
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(25):
        loss = model.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    target = batch["labels"].bool()
    predicted = model(batch["image"])[:, 0] > 0  # with the batch's own statistics
    dsc = 2 * (predicted & target).sum() / (predicted.sum() + target.sum())
    assert losses[-1] < losses[0] / 2
    assert dsc > 0.6


def test_fit_and_test_measure_every_structure(data, make_trainer):
    model = make_model(data)
    trainer = make_trainer()
    trainer.fit(model, datamodule=data)
    logged = trainer.callback_metrics
    assert {"train/loss", "train/loss_stage1", "train/loss_stage2", "val/loss", "val/dsc"} <= set(logged)
    assert any(name.startswith("val/dsc/") for name in logged)
    trainer.test(model, datamodule=data, verbose=False)
    scores = model.test_scores
    assert list(scores.patients) == list(data.slices("test"))
    assert set(scores.volume) >= {"dsc", "soft_dsc", "jsc", "precision", "recall", "f1", "auc"}
    annotated = np.array([data.store.is_annotated(key) for key in scores.patients])
    np.testing.assert_array_equal(scores.annotated.numpy(), annotated)
    assert torch.isnan(scores.volume["dsc"][~scores.annotated]).all()


def test_validation_dsc_is_that_of_the_whole_volumes(data, make_trainer):
    model = make_model(data)
    trainer = make_trainer()
    (logged,) = trainer.validate(model, datamodule=data, verbose=False)
    data.setup()
    per_patient = []
    for key in data.slices("validation"):
        masks, truths = [], []
        for batch in data.val_dataloader():
            if batch["patient"][0] == key:
                masks.append((model.eval()(batch["image"]) > 0).detach())
                truths.append((batch["labels"][:, None] >> torch.arange(10)[None, :, None, None]) & 1)
        p, g = torch.cat(masks), torch.cat(truths).bool()
        both = 2 * (p & g).sum((0, 2, 3)) / (p.sum((0, 2, 3)) + g.sum((0, 2, 3)))
        per_patient.append(torch.where(torch.from_numpy(data.store.is_annotated(key)), both, torch.nan))
    expected = torch.stack(per_patient).nanmean(0)
    for name, value in zip(data.labels, expected, strict=True):
        if not value.isnan():
            assert logged[f"val/dsc/{name}"] == pytest.approx(value.item(), abs=1e-6)
    assert logged["val/dsc"] == pytest.approx(expected.nanmean().item(), abs=1e-6)


def test_another_optimiser_and_schedule(data):
    model = make_model(
        data,
        optimizer=lambda parameters: SGD(parameters, lr=0.5),
        lr_scheduler=lambda optimizer: torch.optim.lr_scheduler.ConstantLR(optimizer),
        lr_interval="step",
    )
    configured = model.configure_optimizers()
    assert isinstance(configured["optimizer"], SGD)
    assert configured["lr_scheduler"]["interval"] == "step"
    assert isinstance(make_model(data, lr_scheduler=None).configure_optimizers(), torch.optim.Adam)


def test_the_papers_schedule_by_default(data):
    configured = make_model(data).configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(30):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    np.testing.assert_allclose(rates, np.repeat([1e-3, 0.9e-3, 0.81e-3], 10))


def test_data_of_other_labels_or_channels_are_refused_before_training(data, make_trainer):
    for model, words in [
        (nasoseg.TwoStageUNet(labels=["Larynx"], width=4), "model.labels"),
        (make_model(data, in_channels=3), "model.in_channels"),
    ]:
        with pytest.raises(NasosegError, match=words):
            make_trainer().fit(model, datamodule=data)


class Exploding(torch.nn.Module):
    def forward(self, logits, target, annotated):
        return logits.sum() * torch.nan


def test_a_loss_that_is_not_finite_stops_training_and_names_the_patients(data, make_trainer):
    with pytest.raises(NasosegError, match=r"loss is nan in epoch 0, batch 0 \(patients pt_\d+.*learning rate"):
        make_trainer(callbacks=[TrainingWatch()]).fit(make_model(data, loss=Exploding()), datamodule=data)


class Growing(torch.nn.Module):
    """Grow twentyfold with every call of a training."""

    calls = 0

    def forward(self, logits, target, annotated):
        self.calls += logits.requires_grad
        return 1e-3 * logits.mean() + 20.0**self.calls


def test_a_loss_that_grows_is_said(data, make_trainer):
    with pytest.warns(UserWarning, match=r"loss has grown from 20 to \S+ on average in epoch 0: .*learning rate"):
        make_trainer(callbacks=[TrainingWatch()]).fit(nasoseg.UNet(labels=data.labels, width=4, loss=Growing()), data)


def test_a_learning_rate_that_does_nothing_is_said(data, make_trainer):
    still = make_model(data, optimizer=lambda parameters: SGD(parameters, lr=0.0))
    with pytest.warns(UserWarning, match="did not change a single weight"):
        make_trainer(callbacks=[TrainingWatch()]).fit(still, datamodule=data)


def test_a_structure_that_is_never_found_is_said(data, make_trainer):
    still = make_model(data, optimizer=lambda parameters: SGD(parameters, lr=1e-12))
    with torch.no_grad():
        still.network.stage2.head.bias.fill_(-9)
    with pytest.warns(UserWarning, match=r"DSC 0 .* for 2 validations: .*SpinalCord"):
        make_trainer(callbacks=[TrainingWatch(patience=2)], max_epochs=2).fit(still, datamodule=data)
