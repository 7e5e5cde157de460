import pytest
import torch
from greedy_loss import GreedyLoss

import nasoseg
from nasoseg.cli import main
from nasoseg.tasks.batch_limit import largest_batch


@pytest.fixture(scope="module")
def data(small_store):
    data = nasoseg.SliceDataModule(small_store.path, folds=4, batch_size=4, workers=0)
    data.setup()
    return data


@pytest.fixture(scope="module")
def sample(data):
    return data.train_dataloader().dataset[0]


@pytest.mark.parametrize("most", [0, 1, 5, 6, 11])
def test_finds_the_largest_that_fits_and_leaves_the_model_as_it_was(data, sample, most):
    task = nasoseg.UNet(labels=data.labels, depth=2, width=2, loss=GreedyLoss(most=most))
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}
    assert largest_batch(task, sample, below=12) == most
    assert all(torch.equal(before[name], tensor) for name, tensor in task.state_dict().items())
    assert all(parameter.grad is None for parameter in task.parameters())


def test_another_error_is_not_taken_for_want_of_memory(data, sample):
    task = nasoseg.UNet(labels=data.labels, in_channels=3, width=4)
    with pytest.raises(RuntimeError, match="channels"):
        largest_batch(task, sample, below=8)


@pytest.mark.parametrize(("most", "said"), [(5, "data.batch_size 5 fits, of 8"), (0, "not even one image fits")])
def test_fit_that_runs_out_of_memory_says_what_fits(small_store, tmp_path, capsys, most, said):
    arguments = ["--data.store", small_store.path, "--data.folds", 4, "--data.batch_size", 8, "--data.workers", 0]
    arguments += ["--run", tmp_path / "run", "--trainer.accelerator", "cpu", "--model.init_args.width", 2]
    arguments += ["--model.init_args.loss", "greedy_loss.GreedyLoss", "--model.init_args.loss.init_args.most", most]
    assert main(["fit", *map(str, arguments)]) == 1
    message = capsys.readouterr().err
    assert "out of memory" in message
    assert f"Tried just now: {said}" in message
