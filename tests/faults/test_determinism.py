"""One seed, one result: bit-equal weights from run to run, with any number of data workers."""

import pytest
import torch
import victims
import yaml

from nasoseg.tasks.checkpoints import load_checkpoint

DROPOUT = """
import torch
from nasoseg.models import UNet

class Dropping(torch.nn.Module):
    def __init__(self, classes: int):
        super().__init__()
        self.unet = UNet(1, classes, depth=2, width=2)

    def forward(self, x):
        return self.unet(torch.nn.functional.dropout(x, 0.1, self.training))
"""


def trained(commands, config, folder, *more):
    folder.mkdir()
    (folder / "dropping_network.py").write_text(DROPOUT)  # where the command runs, and imports from
    command = ["fit", "--config", config, "--run", folder / "run", "--trainer.deterministic", "true", *more]
    code, said = commands.run(*command, log=folder / "log")
    assert code == 0, said
    return load_checkpoint(folder / "run" / "checkpoints" / "last.ckpt"), victims.fit_results(folder)


def equal(first, second):
    """Compare all that a checkpoint holds of the training: weights, optimiser, random states."""
    for name in ("state_dict", "optimizer_states", "nasoseg_random_state"):
        for one, other in zip(leaves(first[name]), leaves(second[name]), strict=True):
            if isinstance(one, torch.Tensor):
                assert torch.equal(one, other), name
            else:
                assert one == other or (one != one and other != other), name


def leaves(node):
    if isinstance(node, dict):
        return [leaf for key in node for leaf in leaves(node[key])]
    if isinstance(node, list | tuple):
        return [leaf for child in node for leaf in leaves(child)]
    return [node]


@pytest.fixture
def dropping(fit_config, tmp_path):
    """A config with what draws at random: augmentation, shuffling, rare slices oversampled, dropout."""
    config = yaml.safe_load(fit_config.read_text())
    network = {"class_path": "dropping_network.Dropping", "init_args": {"classes": 4}}
    config["model"] = {"class_path": "nasoseg.SingleNetwork", "init_args": {"network": network}}
    config["data"]["oversample_rare"] = True
    config["trainer"]["max_epochs"] = 2
    (tmp_path / "dropping.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "dropping.yaml"


@pytest.mark.slow
def test_runs_of_one_seed_are_equal_bit_for_bit_with_any_number_of_workers(warm, dropping, tmp_path):
    found = {
        name: trained(warm, dropping, tmp_path / name, "--data.workers", workers, "--seed_everything", seed)
        for name, workers, seed in (("none", 0, 0), ("again", 0, 0), ("one", 1, 0), ("two", 2, 0), ("other", 0, 1))
    }
    for name in ("again", "one", "two"):
        equal(found["none"][0], found[name][0])
        assert found["none"][1] == found[name][1]
    with pytest.raises(AssertionError):
        equal(found["none"][0], found["other"][0])
